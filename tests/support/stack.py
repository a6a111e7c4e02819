"""Fixtures of the acceptance tests: the command line with a home of its own, and all parts running. A pytest plugin.

`headway`: a new installation. `nowhere`: the same, but nothing has been made yet. `stack`: server, worker and SFTP
server, shared by the tests of a session.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command_line import Forks, Headway
from tests.support.prefect_server import free_port
from tests.support.running_stack import RunningStack
from tests.support.sftp_faults import FaultServer


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    forks = Forks(tmp_path_factory.mktemp("forks"))
    yield forks
    forks.stop()


@pytest.fixture(scope="session")
def new_installation(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home as the first command makes it, to copy from: migrating takes seconds."""
    home = tmp_path_factory.mktemp("new") / "home"
    Headway(home, forks, home.parent)("tasks").ok()
    return home


@pytest.fixture
def nowhere(forks: Forks, tmp_path: Path) -> Headway:
    return Headway(tmp_path / "home", forks, tmp_path)


@pytest.fixture
def headway(nowhere: Headway, new_installation: Path) -> Headway:
    shutil.copytree(new_installation, nowhere.home)
    return nowhere


@pytest.fixture(scope="session")
def stack(forks: Forks, new_installation: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """Everything up; what a test stops, it starts again."""
    folder = tmp_path_factory.mktemp("stack")
    shutil.copytree(new_installation, folder / "home")
    more = {
        "HEADWAY_PREFECT_PORT": str(free_port()),
        "HEADWAY_DASHBOARD_PORT": str(free_port()),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
    }
    sftp = FaultServer(tmp_path_factory.mktemp("importer"))
    sftp.reset()
    running = RunningStack(Headway(folder / "home", forks, folder, more), sftp)
    try:
        running.prepare()
        running.start_worker()
        yield running
    finally:
        running.clean_up()
        sftp.stop()
