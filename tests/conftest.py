"""What all tests share: the servers and databases as plugins, and a home of its own for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest_plugins = [
    "tests.support.sftp_servers",
    "tests.support.prefect_server",
    "tests.support.databases",
    "tests.support.installation",
]


@pytest.fixture(autouse=True)
def _home_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """HEADWAY_HOME in a fresh folder, and nothing of the caller's own installation in the environment."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HEADWAY_HOME", str(home))
    for name in ("HEADWAY_DATABASE_URL", "HEADWAY_USER"):
        monkeypatch.delenv(name, raising=False)
    return home


@pytest.hookimpl(wrapper=True)  # before xdist's own hook, which reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """What is tested side by side: files; but all that needs the whole stack is one lot."""
    for item in items:
        whole = "stack" in getattr(item, "fixturenames", ())
        item.add_marker(pytest.mark.xdist_group("stack" if whole else item.nodeid.split("::")[0]))
    yield
