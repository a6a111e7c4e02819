"""The wheel: one top-level package, all of its files, and it works without the clone."""

import os
import shutil
import signal
import site
import subprocess
import sys
import urllib.request
import venv
import zipfile
from pathlib import Path

import pytest

from tests.acceptance.stack.test_users_folder import lay_out
from tests.support.prefect_server import free_port
from tests.support.project import PROJECT

FOLDERS = ("headway", "models", "scheduler", "blocks", "flows", "dashboard", "cli")
INSIDE = (
    "headway/prefect.yaml",
    "headway/py.typed",
    "headway/models/ledger/migrations/versions/0001_initial.py",
    "headway/models/ledger/migrations/env.py",
    "headway/models/operations/migrations/versions/0001_first_tables.py",
    "headway/flows/report_execution/reports/task_runs.sql",
    "headway/flows/report_execution/report_table.html.j2",
    "headway/flows/task_error_report/page.html.j2",
    "headway/dashboard/app_pages/tasks.py",
    "headway/dashboard/style.css",
    "headway/dashboard/icon.svg",
    "headway/dashboard/sign_in/sign_in.j2",
    "headway/cli/demo/demo.yaml",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing is left in the clone."""
    copy = tmp_path_factory.mktemp("source") / "headway"
    copy.mkdir()
    for name in (*FOLDERS, "pyproject.toml", "prefect.yaml", "README.md", "LICENSE"):
        if (PROJECT / name).is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(PROJECT / name, copy / name, symlinks=True, ignore=ignore)
        else:
            shutil.copy(PROJECT / name, copy / name)
    made = copy.parent / "made"
    options = ["--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", str(made)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(copy)], check=True)
    return next(made.glob("*.whl"))


@pytest.fixture(scope="module")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`headway` in a new environment that has the wheel, and its dependencies from this one; the clone is not there."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    (packages,) = (folder / "lib").glob("python*/site-packages")
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True)
    # A path in a .pth file is a plain path: the .pth of the editable install in there is not read.
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    return folder / "bin" / "headway"


def environment(home: Path, **more: str) -> dict[str, str]:
    without = ("PYTHONPATH", "PREFECT_API_URL", "PREFECT_API_AUTH_STRING")
    kept = {name: value for name, value in os.environ.items() if name not in without}
    return kept | {"HEADWAY_HOME": str(home)} | more


def test_the_wheel_holds_one_top_level_package_with_all_its_files(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        names = content.namelist()
    top = {name.partition("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"headway"}
    assert [name for name in INSIDE if name not in names] == []
    for folder in FOLDERS[1:]:
        ours = {f"headway/{path.relative_to(PROJECT)}" for path in (PROJECT / folder).rglob("*.py")}
        assert ours <= set(names)


def test_it_is_the_wheel_that_runs_there(program: Path, tmp_path: Path) -> None:
    code = "import headway, importlib.util as u; print(headway.__file__, u.find_spec('models'), u.find_spec('flows'))"
    done = subprocess.run([program.with_name("python"), "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.startswith(str(program.parents[1])) and done.stdout.endswith("None None\n"), done


def test_plan_up_dashboard_and_deploy_work_from_the_wheel(program: Path, tmp_path: Path) -> None:
    folder = lay_out(tmp_path / "work")
    ports = {"HEADWAY_DASHBOARD_PORT": str(free_port()), "HEADWAY_PREFECT_PORT": str(free_port())}
    env = environment(tmp_path / "home", **ports)
    file = folder / "tasks.yaml"
    file.write_text('tasks:\n  - {name: Audit, type: by_path, schedule: {cron: "0 3 * * *"}}\n')

    def headway(*arguments: str) -> str:
        done = subprocess.run([program, *arguments], cwd=folder, env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    assert "Audit" in headway("plan", str(file), "--from", "2026-11-23", "--to", "2026-11-24")
    with (tmp_path / "up.log").open("wb") as log:
        up = subprocess.Popen([program, "up"], cwd=folder, env=env, stdout=log, stderr=log)
    try:
        headway("status", "--wait", "100")
        assert "by_git" in headway("deploy")
        headway("apply", str(file))
        headway("run", "Audit", "--override", "window", "--reason", "a test", "--wait")
        with urllib.request.urlopen(f"http://127.0.0.1:{ports['HEADWAY_DASHBOARD_PORT']}/login", timeout=10) as page:
            assert b"Headway" in page.read()
    finally:
        up.send_signal(signal.SIGINT)
        assert up.wait(60) == 0
    assert "starting it again" not in (tmp_path / "up.log").read_text()
