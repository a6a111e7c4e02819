"""Files that people open: the task log as CSV, a run's log as text. Both stream, page by page."""

import csv
import io
import json
import unicodedata
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from headway.dashboard.data import engine
from headway.errors import SchedulerError
from headway.models.ledger.database import reading
from headway.models.ledger.tables import AuditRow, RunRow, id_of
from headway.models.values.actor import Actor, Privilege
from headway.models.values.run import SHOWN_AS, RunStatus
from headway.privileges import require
from headway.scheduler.store.queries.runs_of_task import fresh_run
from headway.scheduler.store.settings import load_settings
from headway.scheduler.usecases.log.browse_audit import AuditQuery, all_of_audit, browse_audit
from headway.scheduler.usecases.log.browse_log import LogQuery, all_lines, pages_of_log
from headway.scheduler.usecases.people.sign_in import SignedIn
from headway.text import printable
from headway.wording import LEVELS, duration, in_zone, size_kb

COLUMNS = [
    *("Run", "Start time", "End time", "Object", "Task", "UID", "Duration", "Size (KB)", "Result", "Error"),
    *("Type", "Step", "Processed", "Errors", "Attempts", "Trigger"),
]
AUDIT_COLUMNS = ["When", "Who", "What", "Subject", "Reason", "Before", "After"]
BIGGEST_ID = 2**63 - 1
_STARTS_A_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")


def inert(value: object) -> object:
    """A cell that no spreadsheet takes for a formula: text that could begin one gets an apostrophe before it."""
    if not isinstance(value, str):
        return value
    seen = next((one for one in value if not one.isspace() and unicodedata.category(one) not in ("Cc", "Cf")), "")
    return f"'{value}" if seen in _STARTS_A_FORMULA or value.startswith(("\t", "\r", "\n")) else value


def log_csv(request: Request) -> Response:
    """The task log under the filter of the query string."""
    signed_in = _signed_in(request)
    try:
        require(signed_in.actor, Privilege.VIEW)
        query = query_of(dict(request.query_params))
    except (SchedulerError, ValueError) as error:
        return PlainTextResponse(str(error), 403 if isinstance(error, SchedulerError) else 400)
    return _file("task-log.csv", "text/csv", _csv(signed_in.actor, query, _zone(signed_in)))


def run_text(request: Request) -> Response:
    """Every log line of one run."""
    signed_in = _signed_in(request)
    try:
        require(signed_in.actor, Privilege.VIEW)
    except SchedulerError as error:
        return PlainTextResponse(str(error), 403)
    run_id = int(request.path_params["run"])
    with reading(engine()) as session:
        if run_id > BIGGEST_ID or fresh_run(session, run_id) is None:
            return PlainTextResponse(f"There is no run {run_id}.", 404)
    return _file(f"run-{run_id}.txt", "text/plain", _text(signed_in.actor, run_id, _zone(signed_in)))


def audit_csv(request: Request) -> Response:
    """The audit trail under the filter of the query string."""
    signed_in, asked = _signed_in(request), request.query_params
    try:
        since = _instant(asked.get("since"))
        actions = tuple(one for one in asked.get("what", "").split(",") if one)
        query = AuditQuery(asked.get("search", ""), since, None, actions)
        with reading(engine()) as session:
            browse_audit(session, signed_in.actor, query, limit=1)  # refused before anything is sent
    except (SchedulerError, ValueError) as error:
        return PlainTextResponse(str(error), 403 if isinstance(error, SchedulerError) else 400)
    zone = _zone(signed_in)
    rows = (audit_cells(row, zone) for row in all_of_audit(engine(), signed_in.actor, query))
    return _file("audit.csv", "text/csv", _as_csv(AUDIT_COLUMNS, rows))


def audit_cells(row: AuditRow, zone: str) -> list[object]:
    """One row as it is shown, in the order of AUDIT_COLUMNS; of before and after only what differs."""
    when = in_zone(row.at, zone, seconds=True)
    return [when, row.actor, row.action, row.subject, row.reason or "", *_changed(row.before, row.after)]


def _changed(before: Any, after: Any) -> tuple[str, str]:
    if isinstance(before, dict) and isinstance(after, dict):
        keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
        return _short({key: before.get(key) for key in keys}), _short({key: after.get(key) for key in keys})
    return _short(before), _short(after)


def _short(value: Any) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False, default=str)


def parameters_of(query: LogQuery) -> dict[str, str]:
    """The query as the download's query string says it."""
    found = {
        "since": query.since.isoformat() if query.since else "",
        "until": query.until.isoformat() if query.until else "",
        "task": str(query.task_uid or ""),
        "search": query.search,
        "types": ",".join(query.types),
        "results": ",".join(query.results),
        "errors": "1" if query.errors else "",
        "oldest": "" if query.newest_first else "1",
    }
    return {key: value for key, value in found.items() if value}


def query_of(parameters: dict[str, str]) -> LogQuery:
    """The other way round. ValueError for what is no filter."""
    task = int(parameters.get("task") or 0)
    if not 0 <= task <= BIGGEST_ID:
        raise ValueError(f"task {task} is no task's UID")
    return LogQuery(
        since=_instant(parameters.get("since")),
        until=_instant(parameters.get("until")),
        task_uid=task or None,
        search=parameters.get("search", ""),
        types=tuple(one for one in parameters.get("types", "").split(",") if one),
        results=tuple(RunStatus(one) for one in parameters.get("results", "").split(",") if one),
        errors=bool(parameters.get("errors")),
        newest_first=not parameters.get("oldest"),
    )


def _instant(text: str | None) -> datetime | None:
    at = datetime.fromisoformat(text) if text else None
    if at is not None and at.tzinfo is None:
        raise ValueError(f"{text} says no offset: write it like 2026-11-20T16:00:00+00:00")
    return at


def cells(run: RunRow, name: str, step: str, zone: str) -> list[object]:
    """One run as the task log shows it, in the order of COLUMNS."""
    return [
        run.id,
        in_zone(run.started_at or run.due_at, zone),
        in_zone(run.ended_at, zone),
        run.object,
        name,
        run.task_uid,
        duration(run),
        size_kb(run),
        SHOWN_AS[run.status],
        run.error or ("" if run.status is RunStatus.COMPLETED else run.message),
        run.type,
        step,
        run.processed,
        run.errors,
        run.attempt,
        run.trigger.value,
    ]


def _csv(actor: Actor, query: LogQuery, zone: str) -> Iterator[str]:
    pages = pages_of_log(engine(), actor, query)
    rows = (cells(run, name, page.steps[id_of(run)], zone) for page in pages for run, name in page.rows)
    return _as_csv(COLUMNS, rows)


def _as_csv(columns: list[str], rows: Iterable[list[object]]) -> Iterator[str]:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    yield "\ufeff"  # or a spreadsheet takes the UTF-8 for something else
    for row in rows:
        writer.writerow([inert(cell) for cell in row])
        if text.tell() > 60_000:
            yield _taken(text)
    yield _taken(text)


def _text(actor: Actor, run_id: int, zone: str) -> Iterator[str]:
    text = io.StringIO()
    for line in all_lines(engine(), actor, run_id):
        head = f"{in_zone(line.at, zone, seconds=True)}  {LEVELS.get(line.level, line.level):8}  "
        text.write(f"{head}{_only_text(line.message, len(head))}\n")
        if text.tell() > 60_000:
            yield _taken(text)
    yield _taken(text)


def _only_text(message: str, indent: int) -> str:
    """Without what steers a terminal; further lines set in, so that none passes for a line of its own."""
    return f"\n{' ' * indent}".join(printable(line.expandtabs()) for line in message.splitlines())


def _taken(text: io.StringIO) -> str:
    content = text.getvalue()
    text.seek(0)
    text.truncate()
    return content


def _file(name: str, kind: str, content: Iterator[str]) -> Response:
    headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
    return StreamingResponse(content, media_type=f"{kind}; charset=utf-8", headers=headers)


def _zone(signed_in: SignedIn) -> str:
    if signed_in.timezone:
        return signed_in.timezone
    with reading(engine()) as session:
        return load_settings(session).timezone


def _signed_in(request: Request) -> SignedIn:
    signed_in = request.scope["headway"]
    assert isinstance(signed_in, SignedIn)  # the guard lets no other request through
    return signed_in


ROUTES = [
    Route("/download/task-log.csv", log_csv, methods=["GET"]),
    Route("/download/audit.csv", audit_csv, methods=["GET"]),
    Route("/download/run/{run:int}.txt", run_text, methods=["GET"]),
]
