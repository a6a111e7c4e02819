"""The first command that anybody types: from nothing to a delivered file, and back to nothing."""

import re
import shutil
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.support.command_line import Forks, Headway
from tests.support.prefect_server import free_port
from tests.support.project import PROJECT
from tests.support.running_stack import processes_of, until

pytest_plugins = ["tests.support.stack"]


@pytest.fixture
def fresh(forks: Forks, tmp_path: Path) -> Headway:
    ports = {"HEADWAY_PREFECT_PORT": str(free_port()), "HEADWAY_DASHBOARD_PORT": str(free_port())}
    return Headway(tmp_path / "home", forks, tmp_path, ports)


def test_demo_delivers_within_a_minute_and_leaves_no_process_behind(fresh: Headway) -> None:
    printed = fresh.folder / "printed"
    with printed.open("w") as out:
        demo = subprocess.Popen(
            [sys.executable, "-m", "headway.cli", "demo"],
            cwd=PROJECT,
            env=fresh.environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        waited = fresh("status", "--wait", "240", timeout_seconds=300)
        assert waited.exit_code == 0, waited.out + printed.read_text()
        _look_at_the_demo(fresh, printed)
        demo.send_signal(signal.SIGINT)
        assert demo.wait(90) == 0, printed.read_text()
        assert "Traceback" not in printed.read_text()
        assert processes_of(fresh.home) == {}
        assert fresh("status").exit_code == 5
    finally:
        if demo.poll() is None:
            demo.kill()
            demo.wait()
        for process_id in processes_of(fresh.home):
            subprocess.run(["kill", "-KILL", str(process_id)], check=False)
        shutil.rmtree(fresh.home / "prefect", ignore_errors=True)


def _look_at_the_demo(fresh: Headway, printed: Path) -> None:
    importer = fresh.home / "demo" / "sftp" / "acme" / "import"
    ready = time.monotonic()
    until(lambda: list(importer.glob("customers*.csv")), "a delivered file", 60)
    assert time.monotonic() - ready <= 60

    def completed() -> list[dict[str, object]]:
        runs = fresh("log", "--task", "Customers export", "--json").json()["runs"]
        return [run for run in runs if run["result"] == "Completed"]

    run = until(completed, "the first export's row in the log")[0]
    assert run["processed"] and run["size_kb"] and re.fullmatch(r"\d\d:\d\d", str(run["duration"]))

    def spacing() -> dict[str, str] | None:
        step = fresh("why", "Customers reload", "--json").json()
        (verdict,) = [one for one in step["verdicts"] if one["rule"] == "spacing"]
        return verdict if step["run"] is not None and verdict["held"] else None

    held = until(spacing, "the next step, waiting for its spacing", 40)
    assert "Customers export" in held["reason"]
    cleared_after = datetime.fromisoformat(held["until"]) - datetime.fromisoformat(str(run["start_at"]))
    assert cleared_after == timedelta(seconds=45)
    text = printed.read_text()
    assert re.search(r"First user: admin, one-time password: \S{12,}", text)
    for line in ("Dashboard: http://127.0.0.1:", "Prefect:   http://127.0.0.1:", "Ready. Ctrl-C ends all of it."):
        assert line in text
    assert "short" in text, "it has to say that its spacing is short"
    keys = fresh.home / "prefect-keys.json"
    assert keys.stat().st_mode & 0o077 == 0 and (fresh.home / "headway.db").stat().st_mode & 0o077 == 0
