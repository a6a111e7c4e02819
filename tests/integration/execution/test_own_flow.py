"""A data team's own flow out of a folder that is nobody's package: fetched by its deployment's pull steps."""

import os
import re
from pathlib import Path

import pytest
from prefect.flows import load_flow_from_entrypoint

from headway.scheduler.execution.run_outcome import outcome_of
from headway.scheduler.planning.definitions.task_types import OWN_PREFECT_YAML, types_in
from headway.scheduler.prefect_side.api import Deployment
from tests.support.flow_world import run
from tests.support.prefect_server import ServerForTests
from tests.support.run_harness import EngineRoom

pytest_plugins = ["tests.support.flow_world"]

FLOW = """
from prefect import flow
from own_words import WORD

@flow
def counted(rows: int = 3) -> dict:
    return {"processed": rows, "errors": [WORD] * 2, "summary": f"Read {rows}."}
"""


@pytest.fixture(params=["own_jobs_{}.py:counted", "own_jobs_{}.counted"], ids=["path", "module"])
def deployment(request: pytest.FixtureRequest, prefect_server: ServerForTests, tmp_path: Path) -> Deployment:
    """Deployed from its own folder, by a file's path and by a module's name."""
    name = request.node.callspec.id
    entrypoint = request.param.format(name)
    (tmp_path / f"own_jobs_{name}.py").write_text(FLOW)
    (tmp_path / "own_words.py").write_text("WORD = 'off'\n")
    file = tmp_path / "prefect.yaml"
    entry = f"{{name: own_{name}, entrypoint: '{entrypoint}', work_pool: {{name: headway}}}}"
    file.write_text(f"deployments:\n  - {entry}\n")
    prefect_server.api.deploy(file, {**os.environ, **prefect_server.environment})
    return next(one for one in prefect_server.api.deployments() if one.name == f"own_{name}")


def test_it_runs_from_its_own_folder_with_counts(engine: EngineRoom, deployment: Deployment) -> None:
    assert set(deployment.parameter_schema["properties"]) == {"rows"}
    order = engine.again(
        engine.order("nothing"),
        deployment_id=deployment.id,
        entrypoint=deployment.entrypoint,
        parameters={"rows": 7},
    )
    run = engine.begin(order)
    run.exited()
    ended = run.wrote("ended")
    assert ended["kind"] == "completed", ended
    assert (ended["processed"], ended["errors"], ended["message"]) == (7, 2, "Read 7.")


def test_a_module_that_is_nowhere_fails_by_its_name(engine: EngineRoom) -> None:
    run = engine.begin(engine.again(engine.order("nothing"), entrypoint="no_such_package.jobs.counted"))
    run.exited()
    assert "No module named 'no_such_package'" in run.wrote("ended")["error"]


def test_the_twenty_lines_of_the_documentation_work(flow_prefect: None, tmp_path: Path) -> None:
    page = (OWN_PREFECT_YAML.parent / "docs" / "howto" / "task-types.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.S)
    (text,) = re.findall(r"```yaml\n(.*?)```", page, re.S)
    assert len([line for line in f"{code}{text}".splitlines() if line.strip()]) <= 20
    (tmp_path / "prefect.yaml").write_text(text)
    assert types_in(tmp_path / "prefect.yaml")["lots"].entrypoint == "lots.py:lots"
    (tmp_path / "lots.py").write_text(code)
    flow = load_flow_from_entrypoint(f"{tmp_path}/lots.py:lots")
    outcome = outcome_of(run(flow, limit=3).result)
    assert (outcome.processed, outcome.errors, outcome.message) == (2, 1, "2 lots compared")
