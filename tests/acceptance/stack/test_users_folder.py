"""A user's own names are theirs: a folder with modules named like Headway's folders deploys and runs there.

The same modules run as they run in Prefect's own process worker: by path, by module, and fetched by a pull step.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headway.models.values.run import RunStatus
from tests.support.command_line import Answer
from tests.support.prefect_server import free_port
from tests.support.running_stack import RunningStack

pytest_plugins = ["tests.support.stack"]

FILES = {
    "models.py": "ORDERS = 7\n",
    "scheduler.py": "NAME = 'mine'\n",
    "cli.py": "NAME = 'mine'\n",
    "headway_local.py": "NAME = 'mine'\n",
    "dashboard/__init__.py": "NAME = 'mine'\n",
    "api/__init__.py": "NAME = 'mine'\n",
    "tests/__init__.py": "NAME = 'mine'\n",
    "blocks/__init__.py": "NAME = 'mine'\n",
    "flows/__init__.py": "",
    "flows/common.py": "import models\n\ndef clean(text: str) -> str:\n    return f'{text.strip()} {models.ORDERS}'\n",
    "flows/etl.py": """
from prefect import flow, get_run_logger
from flows.common import clean
import api, blocks, cli, dashboard, scheduler, tests


@flow
def etl(word: str = " orders "):
    mine = {one.NAME for one in (api, blocks, cli, dashboard, scheduler, tests)}
    get_run_logger().info("cleaned %s %s", clean(word), mine)
""",
}
CLEANED = "cleaned orders 7 {'mine'}"
YAML = """
name: theirs
prefect-version: 3.8.8
deployments:
  - name: by_path
    entrypoint: flows/etl.py:etl
    work_pool: {name: headway}
  - name: by_module
    entrypoint: flows.etl.etl
    work_pool: {name: headway}
  - name: by_git
    entrypoint: flows/etl.py:etl
    work_pool: {name: headway}
    pull:
      - prefect.deployments.steps.git_clone: {repository: "file://REPOSITORY", branch: main}
"""
KINDS = ("by_path", "by_module", "by_git")


def lay_out(folder: Path) -> Path:
    """The user's folder, and the same files in a git repository beside it."""
    repository = folder.parent / "repository"
    for root in (folder, repository):
        for name, text in FILES.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
    (folder / "prefect.yaml").write_text(YAML.replace("REPOSITORY", str(repository)))
    (folder / "models").mkdir()  # beside models.py: an empty folder of that name takes nothing from it
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "flows"]):
        subprocess.run([*git, *command], cwd=repository, check=True)
    return folder


@pytest.fixture(scope="module")
def users_folder(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Deployed from the folder, and a worker that was started in it."""
    folder = lay_out(tmp_path_factory.mktemp("team") / "work")
    in_folder(stack, folder, "deploy").ok()
    stack.stop_worker()
    stack.start_worker(folder)
    yield folder
    stack.stop_worker()
    api = stack.server.api()
    for one in api.deployments():
        if one.name in KINDS:
            api.delete_deployment(one.id)
    stack.headway("deploy").ok()
    stack.start_worker()


def in_folder(stack: RunningStack, folder: Path, *args: str) -> Answer:
    """The command line as it is typed there: a process of its own, without the clone on its path."""
    program = str(Path(sys.executable).with_name("headway"))
    environment = {name: value for name, value in stack.headway.environment.items() if name != "PYTHONPATH"}
    done = subprocess.run([program, *args], cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    return Answer(args, done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("kind", KINDS)
def test_modules_of_a_users_folder_run_whatever_they_are_named(
    stack: RunningStack, users_folder: Path, kind: str
) -> None:
    file = users_folder / f"{kind}.yaml"
    file.write_text(f"tasks:\n  - {{name: {kind}, type: {kind}, window: allow, parameters: {{word: ' orders '}}}}\n")
    in_folder(stack, users_folder, "apply", str(file)).ok()
    in_folder(stack, users_folder, "run", kind, "--wait").ok()
    run = stack.headway("log", "--task", kind, "--json").json()["runs"][0]
    assert run["result"] == "Completed", run
    lines = stack.headway("log", str(run["id"]), "--json").json()["lines"]
    assert CLEANED in {line["message"] for line in lines}


def test_the_shipped_types_run_there_too(stack: RunningStack, users_folder: Path) -> None:
    stack.apply("  - {name: Away, type: campaign_trigger, window: allow, parameters: {campaign: none, step: start}}\n")
    stack.headway("run", "Away").ok()
    run = stack.ended("Away")
    assert run.status is RunStatus.FAILED and "none" in run.error and "import" not in run.error.lower()


def test_up_stays_up_beside_a_users_models(tmp_path: Path) -> None:
    """`headway up` in a folder with models.py: worker and dashboard start once, and end with 0."""
    folder = lay_out(tmp_path / "work")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
        "HEADWAY_HOME": str(tmp_path / "home"),
        "HEADWAY_DASHBOARD_PORT": str(free_port()),
        "HEADWAY_PREFECT_PORT": str(free_port()),
    }
    program = str(Path(sys.executable).with_name("headway"))
    with (tmp_path / "up.log").open("wb") as log:
        up = subprocess.Popen([program, "up"], cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        status = [program, "status", "--wait", "90"]
        done = subprocess.run(status, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr + (tmp_path / "up.log").read_text()
    finally:
        up.send_signal(signal.SIGINT)
        assert up.wait(60) == 0
    assert "starting it again" not in (tmp_path / "up.log").read_text()
    for part in ("worker", "dashboard"):
        said = (tmp_path / "home" / "logs" / f"{part}.log").read_text()
        assert "Fatal Python error" not in said and "Traceback" not in said, said
