"""Fixtures of the acceptance tests: the command line with a home of its own. A pytest plugin.

`headway`: a new installation. `nowhere`: the same, but nothing has been made yet.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.runner import Forks, Headway


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
