"""All calls to Prefect, over its REST API.

Cheap to import: httpx comes with the first call, Prefect itself (two seconds of imports) only for
`deploy` and `register_block_types`. An instance may be shared by threads, but not across a fork.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from headway.errors import PrefectRefused, PrefectUnreachable
from headway.scheduler.prefect_side.http import PAGE, PrefectHttp

WORK_POOL = "headway"
WORKER_TYPE = "headway"
HELD = "Held"
RESULT_KEY = "headway-result"
"""The artifact in which flows/shared/result.py leaves what a flow returned."""
_TERMINAL = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})
_OUR_KEY = re.compile(r"\d{1,18}:\d+")


@dataclass(kw_only=True, frozen=True)
class Deployment:
    """A deployment of the work pool: one task type."""

    id: str
    name: str
    flow_name: str
    description: str
    tags: tuple[str, ...] = ()
    parameter_schema: dict[str, Any] = field(default_factory=dict)
    """JSON schema (OpenAPI flavour) of the flow's parameters."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """The deployment's own defaults."""
    entrypoint: str | None = None
    paused: bool = False
    work_pool: str | None = None


@dataclass(frozen=True)
class FlowRunState:
    """What Prefect says about a flow run now."""

    flow_run_id: str
    type: str
    """SCHEDULED, PENDING, RUNNING, COMPLETED, FAILED, CANCELLED, CRASHED, PAUSED or CANCELLING."""
    name: str
    message: str

    @property
    def terminal(self) -> bool:
        return self.type in _TERMINAL


class PrefectApi(PrefectHttp):
    """One Prefect server, seen from outside.

    Every method raises PrefectUnreachable if it does not answer within `timeout_seconds`, and
    PrefectRefused if it says no, unless its docstring says otherwise.
    """

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> "PrefectApi":
        """By PREFECT_API_URL, PREFECT_API_AUTH_STRING and PREFECT_API_KEY (default: this process's)."""
        environ = os.environ if environ is None else environ
        url = environ.get("PREFECT_API_URL")
        if not url:
            raise PrefectUnreachable("PREFECT_API_URL is not set. Start 'headway up', or set it.")
        return cls(url, auth_string=environ.get("PREFECT_API_AUTH_STRING"), api_key=environ.get("PREFECT_API_KEY"))

    # ------------------------------------------------------------------ the server and the pool

    def health(self, timeout_seconds: float = 5) -> str | None:
        """None if Prefect answers, knows us and reaches its database; else the reason. Never raises."""
        try:
            self._send("GET", f"/work_pools/{WORK_POOL}", timeout_seconds=timeout_seconds)
        except PrefectRefused as refused:
            return None if refused.status_code == 404 else str(refused)
        except PrefectUnreachable as unreachable:
            return str(unreachable)
        return None

    def ensure_work_pool(self) -> None:
        """The pool `headway` exists afterwards; harmless twice."""
        pool = {
            "name": WORK_POOL,
            "type": WORKER_TYPE,
            "description": "Headway's scheduler: runs start when its rules let them, and say why they wait.",
        }
        try:
            self._send("POST", "/work_pools/", json=pool)
        except PrefectRefused as refused:
            if refused.status_code != 409:
                raise

    # ------------------------------------------------------------------ deployments

    def deployments(self, work_pool: str | None = WORK_POOL) -> list[Deployment]:
        """The pool's deployments by name; of every pool if None."""
        wanted = {"work_pools": {"name": {"any_": [work_pool]}}} if work_pool else {}
        found = list(self._pages("/deployments/filter", wanted))
        flows = self._flow_names({row["flow_id"] for row in found})
        return sorted((_deployment(row, flows) for row in found), key=lambda one: (one.name, one.flow_name))

    def delete_deployment(self, deployment_id: str) -> bool:
        """False if there was none."""
        return self._send_unless_missing("DELETE", f"/deployments/{deployment_id}")

    def deploy(self, prefect_yaml: Path, environ: Mapping[str, str] | None = None) -> str:
        """Deploys everything that a prefect.yaml names, by Prefect's own command; returns what it printed.

        Its entries are created, or replaced where flow and name are the same. What it no longer names
        stays: see `delete_deployment`.
        """
        command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
        answer = subprocess.run(
            [*command, "--prefect-file", prefect_yaml.name],
            cwd=prefect_yaml.parent,
            env={**(os.environ if environ is None else environ), **self._as_environment()},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode != 0:
            raise PrefectRefused(f"'{prefect_yaml}' could not be deployed:\n{_tail(answer)}")
        return answer.stdout

    # ------------------------------------------------------------------ flow runs

    def create_flow_run(
        self,
        deployment_id: str,
        *,
        idempotency_key: str,
        parameters: Mapping[str, Any],
        name: str,
        tags: Sequence[str] = (),
        labels: Mapping[str, str] | None = None,
    ) -> str:
        """A flow run that the deployment's own work pool starts at once; returns its id.

        For deployments of other pools. A second call with the same key returns the same flow run.
        """
        body = {
            "idempotency_key": idempotency_key,
            "parameters": dict(parameters),
            "name": name,
            "tags": list(tags),
            "labels": dict(labels or {}),
            "state": {"type": "SCHEDULED", "name": "Scheduled"},
        }
        created = self._send("POST", f"/deployments/{deployment_id}/create_flow_run", json=body)
        return str(created.json()["id"])

    def flow_run_of(self, run_id: int, attempt: int) -> str | None:
        """The id of the flow run that this attempt's process made, if it came that far.

        For a process that died before it could tell the ledger.
        """
        wanted = {"flow_runs": {"idempotency_key": {"any_": [f"{run_id}:{attempt}"]}}}
        return next((str(row["id"]) for row in self._pages("/flow_runs/filter", wanted)), None)

    def state(self, flow_run_id: str) -> FlowRunState | None:
        """None if Prefect has no such flow run (any more)."""
        return self.states([flow_run_id]).get(flow_run_id)

    def states(self, flow_run_ids: Iterable[str]) -> dict[str, FlowRunState]:
        """By flow run id; one that Prefect does not know is left out."""
        return {one.flow_run_id: one for one in self._states(flow_run_ids, {})}

    def cancelled_among(self, flow_run_ids: Iterable[str]) -> list[FlowRunState]:
        """Those of these flow runs that a person cancelled in Prefect (CANCELLING or CANCELLED)."""
        by_state = {"state": {"type": {"any_": ["CANCELLING", "CANCELLED"]}}}
        return list(self._states(flow_run_ids, by_state))

    def unfinished(self) -> list[str]:
        """Ids of the pool's flow runs that Prefect believes to be on their way: pending, running or cancelling."""
        wanted = {
            "work_pools": {"name": {"any_": [WORK_POOL]}},
            "flow_runs": {"state": {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}},
        }
        return [str(row["id"]) for row in self._pages("/flow_runs/filter", wanted)]

    def unfinished_of(self, deployment_ids: Iterable[str]) -> dict[str, int]:
        """As `unfinished`, of these deployments, with those that wait for their pool's worker.

        Only what runs of ours made, each flow run with its run's ID.
        """
        wanted = {
            "deployments": {"id": {"any_": list(deployment_ids)}},
            "flow_runs": {"state": {"type": {"any_": ["SCHEDULED", "PENDING", "RUNNING"]}}},
        }
        keys = {str(row["id"]): row.get("idempotency_key") or "" for row in self._pages("/flow_runs/filter", wanted)}
        return {flow_run_id: int(key.partition(":")[0]) for flow_run_id, key in keys.items() if is_our_key(key)}

    def cancel(self, flow_run_id: str, reason: str) -> bool:
        """Tell the flow run's own pool to end it; one that no worker has taken yet is over at once."""
        state = self.state(flow_run_id)
        if state is None or state.terminal:
            return False
        kind = "CANCELLED" if state.type == "SCHEDULED" else "CANCELLING"
        return self._set_state(flow_run_id, kind, kind.capitalize(), reason, {})

    def log_lines(self, flow_run_id: str, after: datetime | None) -> Iterator[dict[str, Any]]:
        """Its log records in order (timestamp, level, name, message), those later than `after` only."""
        wanted: dict[str, Any] = {"logs": {"flow_run_id": {"any_": [flow_run_id]}}, "sort": "TIMESTAMP_ASC"}
        if after is not None:
            wanted["logs"]["timestamp"] = {"after_": after.isoformat()}
        for line in self._pages("/logs/filter", wanted):
            if after is None or datetime.fromisoformat(line["timestamp"]) > after:
                yield line

    def left_result(self, flow_run_id: str) -> dict[str, Any] | None:
        """What a flow of ours left in Prefect when no process of ours read its result; None if it left nothing."""
        wanted = {
            "artifacts": {"flow_run_id": {"any_": [flow_run_id]}, "key": {"any_": [RESULT_KEY]}},
            "sort": "CREATED_DESC",
            "limit": 1,
        }
        found = self._send("POST", "/artifacts/filter", json=wanted).json()
        data = found[0]["data"] if found else None
        if isinstance(data, str):  # how Prefect keeps an object
            data = json.loads(data)
        return data if isinstance(data, dict) else None

    def hold(self, flow_run_id: str, reason: str, until: datetime) -> bool:
        """The flow run waits: Scheduled, called Held, with the reason; a worker polls it again at `until`.

        False, and it stays what it is, if it is gone, ended, cancelled or running by now.
        """
        state = self.state(flow_run_id)
        if state is None or state.type not in {"SCHEDULED", "PENDING"}:
            return False
        details = {"scheduled_time": until.isoformat()}
        if not self._set_state(flow_run_id, "SCHEDULED", HELD, reason, details):
            return False
        return self._undo_if_overtaken(flow_run_id)

    def _undo_if_overtaken(self, flow_run_id: str) -> bool:
        """Whether our Held replaced a state that may be held; if not, that state is set again.

        Prefect has no compare-and-set: between our look and our Held a person may have cancelled the
        run, or its process may have begun.
        """
        history = self._send("GET", "/flow_run_states/", params={"flow_run_id": flow_run_id}).json()
        history.sort(key=lambda state: state["timestamp"])
        ours = max(index for index, state in enumerate(history) if state["name"] == HELD)
        before = history[ours - 1] if ours else None
        if before is None or before["type"] in {"SCHEDULED", "PENDING"}:
            return True
        if ours == len(history) - 1:
            self._set_state(flow_run_id, before["type"], before["name"], before.get("message") or "", {})
        return False

    def end(self, flow_run_id: str, how: Literal["completed", "failed", "crashed", "cancelled"], message: str) -> bool:
        """The flow run of a process that has ended has this end state, unless it has one already.

        True if this call changed it.
        """
        state = self.state(flow_run_id)
        if state is None or state.terminal:
            return False
        return self._set_state(flow_run_id, how.upper(), how.capitalize(), message, {})

    def put_back_stranded(self, older_than: timedelta) -> list[str]:
        """Schedules again what a worker of the pool polled, and died over; returns the flow runs' ids.

        They are Pending for so long, and were not made by a run of ours: those have its number as
        their idempotency key. One that a process takes over right now is only polled once more.
        """
        before = datetime.now(UTC) - older_than
        wanted = {
            "work_pools": {"name": {"any_": [WORK_POOL]}},
            "flow_runs": {"state": {"type": {"any_": ["PENDING"]}}},
        }
        stranded = [
            str(row["id"])
            for row in self._pages("/flow_runs/filter", wanted)
            if not is_our_key(row.get("idempotency_key")) and datetime.fromisoformat(row["state"]["timestamp"]) < before
        ]
        return [one for one in stranded if self._set_state(one, "SCHEDULED", "Scheduled", "Polled anew.", {})]

    def _set_state(self, flow_run_id: str, kind: str, name: str, message: str, details: dict[str, Any]) -> bool:
        # Forced: orchestration would let "failed" be retried by Prefect, where retries are ours.
        body = {
            "state": {"type": kind, "name": name, "message": message, "state_details": details},
            "force": True,
        }
        return self._send_unless_missing("POST", f"/flow_runs/{flow_run_id}/set_state", json=body)

    def _states(self, flow_run_ids: Iterable[str], also: dict[str, Any]) -> Iterator[FlowRunState]:
        ids = sorted(set(flow_run_ids))
        for start in range(0, len(ids), PAGE):
            wanted = {"flow_runs": {"id": {"any_": ids[start : start + PAGE]}, **also}}
            for row in self._pages("/flow_runs/filter", wanted):
                state = row.get("state") or {}
                yield FlowRunState(
                    flow_run_id=str(row["id"]),
                    type=row.get("state_type") or "PENDING",
                    name=row.get("state_name") or "",
                    message=state.get("message") or "",
                )

    # ------------------------------------------------------------------ blocks

    def register_block_types(self, modules: Sequence[ModuleType]) -> list[str]:
        """Makes the block types of these modules known to Prefect; returns their slugs."""
        from headway.scheduler.prefect_side.block_types import register

        return register(modules, self._as_environment())

    def save_block(self, type_slug: str, name: str, fields: Mapping[str, Any]) -> str:
        """Creates or replaces the block document; returns its id. The type must be registered."""
        block_type = self._send("GET", f"/block_types/slug/{type_slug}").json()["id"]
        body = {"block_schema_id": self._newest_schema(block_type, type_slug), "data": dict(fields)}
        path = f"/block_types/slug/{type_slug}/block_documents/name/{name}"
        try:
            known = str(self._send("GET", path).json()["id"])
        except PrefectRefused as refused:
            if refused.status_code != 404:
                raise
            made = {**body, "name": name, "block_type_id": block_type}
            return str(self._send("POST", "/block_documents/", json=made).json()["id"])
        self._send("PATCH", f"/block_documents/{known}", json={**body, "merge_existing_data": False})
        return known

    def block(self, type_slug: str, name: str, *, secrets: bool = False) -> dict[str, Any] | None:
        """The fields of a block document, its secrets obscured unless asked for; None if there is none."""
        path = f"/block_types/slug/{type_slug}/block_documents/name/{name}"
        try:
            answer = self._send("GET", path, params={"include_secrets": str(secrets).lower()})
        except PrefectRefused as refused:
            if refused.status_code == 404:
                return None
            raise
        return dict(answer.json()["data"])

    def block_names(self, type_slug: str) -> list[tuple[str, str]]:
        """The (ID, name) of each block document of that type, by name."""
        wanted = {"block_types": {"slug": {"any_": [type_slug]}}, "block_documents": {"is_anonymous": {"eq_": False}}}
        found = [(str(row["id"]), str(row["name"])) for row in self._pages("/block_documents/filter", wanted)]
        return sorted(found, key=lambda one: one[1])

    def _flow_names(self, flow_ids: set[str]) -> dict[str, str]:
        if not flow_ids:
            return {}
        wanted = {"flows": {"id": {"any_": sorted(flow_ids)}}}
        return {row["id"]: row["name"] for row in self._pages("/flows/filter", wanted)}

    def _newest_schema(self, block_type_id: str, type_slug: str) -> str:
        wanted = {"block_schemas": {"block_type_id": {"any_": [block_type_id]}}, "limit": 1}
        found = self._send("POST", "/block_schemas/filter", json=wanted).json()
        if not found:
            raise PrefectRefused(f"Block type '{type_slug}' has no fields registered. Run 'headway deploy' first.")
        return str(found[0]["id"])


def is_our_key(idempotency_key: str | None) -> bool:
    """Whether a flow run with this key was made by a run of ours ("run id:attempt"), not in Prefect."""
    return _OUR_KEY.fullmatch(idempotency_key or "") is not None


def _deployment(row: Mapping[str, Any], flow_names: Mapping[str, str]) -> Deployment:
    return Deployment(
        id=str(row["id"]),
        name=row["name"],
        flow_name=flow_names.get(row["flow_id"], ""),
        description=row.get("description") or "",
        tags=tuple(row.get("tags") or ()),
        parameter_schema=row.get("parameter_openapi_schema") or {},
        parameters=row.get("parameters") or {},
        entrypoint=row.get("entrypoint"),
        paused=bool(row.get("paused")),
        work_pool=row.get("work_pool_name"),
    )


def _tail(answer: "subprocess.CompletedProcess[str]") -> str:
    """What an operator needs of a failed command: of a traceback only what it ends with."""
    lines = (answer.stdout + answer.stderr).strip().splitlines()
    traced = any("Traceback (most recent call last)" in line for line in lines)
    return "\n".join(lines[-1:] if traced else lines[-15:])
