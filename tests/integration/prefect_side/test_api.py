"""All that the scheduler asks of Prefect's API, on a real server."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import prefect_email
import pytest

from headway.errors import PrefectRefused, PrefectUnreachable
from headway.scheduler.prefect_side.api import PrefectApi
from tests.support import sample_blocks
from tests.support.prefect_server import ServerForTests, free_port

PREFECT_YAML = """
deployments:
  - name: Deployed counting
    description: Counts things
    entrypoint: tests.support.sample_flows.counting
    tags: [group:counts]
    parameters: {processed: 5}
    work_pool: {name: headway}
  - name: Elsewhere
    entrypoint: tests.support.sample_flows.nothing
    work_pool: {name: other}
"""


def test_it_is_cheap_to_import() -> None:
    code = (
        "import sys, headway.scheduler.prefect_side.api; print([m for m in ('prefect', 'httpx') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_a_healthy_server_has_no_problem(prefect_server: ServerForTests) -> None:
    assert prefect_server.api.health() is None


def test_a_server_that_is_not_there_is_a_problem_with_its_address() -> None:
    url = f"http://127.0.0.1:{free_port()}/api"
    assert url in (PrefectApi(url).health() or "")


def test_a_refused_login_names_the_variable_to_check(prefect_server: ServerForTests) -> None:
    stranger = PrefectApi(prefect_server.url, auth_string="headway:wrong")

    assert "PREFECT_API_AUTH_STRING" in (stranger.health() or "")
    with pytest.raises(PrefectUnreachable, match="refuses the login"):
        stranger.deployments()


def test_a_missing_address_says_what_to_do() -> None:
    with pytest.raises(PrefectUnreachable, match="headway up"):
        PrefectApi.from_environment({})


def test_the_work_pool_is_made_once(prefect_server: ServerForTests) -> None:
    prefect_server.api.ensure_work_pool()
    prefect_server.api.ensure_work_pool()

    assert prefect_server.call("GET", "/work_pools/headway")["type"] == "headway"


def test_deployments_are_read_back_as_task_types(prefect_server: ServerForTests) -> None:
    schema = {"type": "object", "properties": {"limit": {"type": "integer"}}}
    deployment_id = prefect_server.deploy("with_params", name="Limited", schema=schema)

    [found] = [one for one in prefect_server.api.deployments() if one.id == deployment_id]
    assert (found.name, found.flow_name) == ("Limited", "with_params")
    assert found.entrypoint == "tests.support.sample_flows.with_params"
    assert found.tags == ("group:samples",)
    assert found.parameter_schema == schema
    assert not found.paused


def test_more_deployments_than_one_page_are_all_read(
    prefect_server: ServerForTests, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {prefect_server.deploy(name) for name in ("nothing", "counting", "failing")}
    monkeypatch.setattr("headway.scheduler.prefect_side.http.PAGE", 2)

    assert wanted <= {one.id for one in prefect_server.api.deployments()}


def test_a_deleted_deployment_is_gone_and_deleting_it_again_harmless(prefect_server: ServerForTests) -> None:
    body = {
        "name": "to be deleted",
        "flow_id": prefect_server.call("POST", "/flows/", {"name": "nothing"})["id"],
        "work_pool_name": "headway",
    }
    deployment_id = prefect_server.call("POST", "/deployments/", body)["id"]

    assert prefect_server.api.delete_deployment(deployment_id)
    assert not prefect_server.api.delete_deployment(deployment_id)
    assert deployment_id not in {one.id for one in prefect_server.api.deployments()}


def test_a_prefect_yaml_is_deployed_with_its_schema(prefect_server: ServerForTests, tmp_path: Path) -> None:
    prefect_server.call("POST", "/work_pools/", {"name": "other", "type": "process"})
    prefect_yaml = tmp_path / "prefect.yaml"
    prefect_yaml.write_text(PREFECT_YAML)
    environ = {**os.environ, **prefect_server.environment, "PYTHONPATH": str(Path.cwd())}

    prefect_server.api.deploy(prefect_yaml, environ)
    names = {one.name: one for one in prefect_server.api.deployments()}
    assert "Elsewhere" not in names  # of another pool
    found = names["Deployed counting"]
    assert found.description == "Counts things"
    assert found.entrypoint == "tests.support.sample_flows.counting"
    assert found.parameters == {"processed": 5}
    assert set(found.parameter_schema["properties"]) == {"processed", "errors"}


def test_a_prefect_yaml_that_cannot_be_deployed_says_why(prefect_server: ServerForTests, tmp_path: Path) -> None:
    prefect_yaml = tmp_path / "prefect.yaml"
    prefect_yaml.write_text(PREFECT_YAML.replace("sample_flows.counting", "no_such_module.counting"))

    environ = {**os.environ, **prefect_server.environment, "PYTHONPATH": str(Path.cwd())}
    with pytest.raises(PrefectRefused, match=r"could not be deployed:\nModuleNotFoundError.*no_such_module"):
        prefect_server.api.deploy(prefect_yaml, environ)


def test_a_block_is_saved_replaced_and_read(prefect_server: ServerForTests) -> None:
    api = prefect_server.api
    assert api.register_block_types([sample_blocks]) == ["sample-door"]

    first = api.save_block("sample-door", "front", {"host": "a", "password": "s3cret"})
    second = api.save_block("sample-door", "front", {"host": "b", "password": "s3cret"})
    assert first == second
    assert api.block("sample-door", "front", secrets=True) == {"host": "b", "password": "s3cret"}
    hidden = api.block("sample-door", "front")
    assert hidden is not None
    assert "s3cret" not in str(hidden)


def test_a_package_offers_the_blocks_that_it_imports_from_its_modules(prefect_server: ServerForTests) -> None:
    assert "email-server-credentials" in prefect_server.api.register_block_types([prefect_email])


def test_a_block_that_does_not_exist_is_none(prefect_server: ServerForTests) -> None:
    assert prefect_server.api.block("sample-door", "back") is None


def test_states_of_many_flow_runs_are_read_at_once(prefect_server: ServerForTests) -> None:
    deployment = prefect_server.deploy("nothing")
    waiting, cancelled = prefect_server.schedule(deployment), prefect_server.schedule(deployment)
    prefect_server.cancel(cancelled)

    unknown = "00000000-0000-4000-8000-000000000000"
    assert set(prefect_server.api.states([waiting, cancelled, unknown])) == {waiting, cancelled}
    [found] = prefect_server.api.cancelled_among([waiting, cancelled, unknown])
    assert (found.flow_run_id, found.terminal) == (cancelled, True)


def test_an_end_is_given_once_and_never_replaces_another(prefect_server: ServerForTests) -> None:
    flow_run = prefect_server.schedule(prefect_server.deploy("nothing"))

    assert prefect_server.api.end(flow_run, "crashed", "the process ended with exit code 3")
    assert not prefect_server.api.end(flow_run, "cancelled", "too late")
    assert _shown(prefect_server, flow_run) == ("Crashed", "the process ended with exit code 3")


def test_a_run_handed_to_another_pool_is_scheduled_once(prefect_server: ServerForTests) -> None:
    deployment = prefect_server.deploy("counting")
    order: dict[str, Any] = {"idempotency_key": "9:1", "parameters": {"processed": 1}, "name": "handed over"}

    first = prefect_server.api.create_flow_run(deployment, **order)
    assert prefect_server.api.create_flow_run(deployment, **order) == first
    assert _shown(prefect_server, first)[0] == "Scheduled"
    prefect_server.schedule(deployment)  # somebody else's
    assert prefect_server.api.unfinished_of([deployment]) == {first: 9}
    assert prefect_server.api.cancel(first, "reset") and prefect_server.api.unfinished_of([deployment]) == {}


def _shown(prefect_server: ServerForTests, flow_run: str) -> tuple[str, str]:
    state = prefect_server.api.state(flow_run)
    assert state is not None
    return state.name, state.message
