"""Defaults of what Headway stands on that are not to stay as they are, seen where they take effect."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from headway.dashboard import configuration
from headway.models.ledger import database
from headway.scheduler.engine.process_pool import RUN_PROCESSES
from headway.scheduler.execution.warm_server import WarmServer
from headway.scheduler.prefect_side.server import client_environment
from tests.support.prefect_server import free_port
from tests.support.run_harness import PATIENCE_SECONDS

WANTED = {"browser.gatherUsageStats": False, "client.showErrorDetails": "none", "server.address": "127.0.0.1"}
_OPTIONS = f"""
import json
from headway.dashboard.configuration import configure_streamlit
configure_streamlit()
from streamlit import config
print(json.dumps({{name: config.get_option(name) for name in {list(WANTED)!r}}}))
"""


def test_streamlit_tells_nobody_anything_and_listens_here_whatever_lies_about(tmp_path: Path) -> None:
    (tmp_path / ".streamlit").mkdir()
    (tmp_path / ".streamlit" / "config.toml").write_text(
        '[browser]\ngatherUsageStats = true\n[client]\nshowErrorDetails = "full"\n[server]\naddress = "0.0.0.0"\n'
    )
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path])}
    command = [sys.executable, "-c", _OPTIONS]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment)
    assert json.loads(done.stdout.splitlines()[-1]) == WANTED


def test_the_dashboard_listens_on_this_machine_only_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEADWAY_DASHBOARD_HOST", raising=False)
    assert configuration.host() == "127.0.0.1"


@pytest.mark.parametrize(("fixed_in", "journal", "synchronous"), [((0,), "wal", 1), ((99,), "truncate", 2)])
def test_the_ledger_is_in_wal_only_with_a_sqlite_that_has_the_fix_and_says_which(
    fixed_in: tuple[int, ...], journal: str, synchronous: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before 3.51.3 several processes could corrupt one (sqlite.org, walresetbug)."""
    assert database._WAL_IS_SAFE_FROM == (3, 51, 3)
    monkeypatch.setattr(database, "_WAL_IS_SAFE_FROM", fixed_in)
    engine = database.make_engine(f"sqlite:///{tmp_path / 'headway.db'}")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == journal
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == synchronous  # 2 is FULL
    engine.dispose()
    told = {"wal": "WAL", "truncate": "rollback"}[journal]
    assert database.sqlite_in_use() == f"SQLite {database.sqlite_module().sqlite_version}, {told} journal"


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_no_database_is_open_in_the_process_that_runs_are_forked_from(tmp_path: Path) -> None:
    """Nor a connection to anybody but its worker: a child would use it together with its siblings."""
    environment = {**os.environ, **client_environment(tmp_path, free_port(), environ={})}
    warm = WarmServer(["headway.flows.data_export.flow"], environment, lambda exited: None, program=RUN_PROCESSES)
    warm.start()
    try:
        assert warm.ready.wait(PATIENCE_SECONDS) and warm.pid
        open_there = [os.readlink(one) for one in Path(f"/proc/{warm.pid}/fd").iterdir()]
        network = Path(f"/proc/{warm.pid}/net/tcp").read_text() + Path(f"/proc/{warm.pid}/net/tcp6").read_text()
    finally:
        warm.stop(grace_seconds=1)
    sockets = [one.removeprefix("socket:[").removesuffix("]") for one in open_there if one.startswith("socket:")]
    assert [one for one in open_there if ".db" in one] == []
    assert [one for one in sockets if f" {one} " in network] == []
    assert len(sockets) <= 3, open_there  # its own pair for signals, and its worker
