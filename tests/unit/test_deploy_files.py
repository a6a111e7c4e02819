"""The files in deploy/ say only what Headway and Prefect understand, and the docs know every variable."""

import re
from configparser import ConfigParser
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).parents[2]
DEPLOY = PROJECT / "deploy"
OURS = re.compile(r"\bHEADWAY_[A-Z_]+\b")
QUOTED = re.compile(r'"(HEADWAY_[A-Z_]+)"')
INTERNAL = {"HEADWAY_ENDS_WITH_INPUT", "HEADWAY_RUN"}  # between Headway's own processes


def variables(*folders: str) -> set[str]:
    files = [path for folder in folders for path in (PROJECT / folder).rglob("*.py")]
    return {name for path in files for name in QUOTED.findall(path.read_text(encoding="utf-8"))} - INTERNAL


def test_every_variable_is_in_the_docs() -> None:
    documented = set(OURS.findall((PROJECT / "docs" / "settings.md").read_text(encoding="utf-8")))
    assert variables("models", "scheduler", "blocks", "flows", "dashboard") <= documented


@pytest.mark.parametrize("path", sorted(path.name for path in DEPLOY.rglob("*") if path.is_file()))
def test_deploy_files_name_variables_that_exist(path: str) -> None:
    (file,) = DEPLOY.rglob(path)
    assert set(OURS.findall(file.read_text(encoding="utf-8"))) <= variables("models", "scheduler", "dashboard")


@pytest.mark.parametrize("name", ["headway", "headway-worker"])
def test_the_units_start_a_command_and_give_it_time_to_stop(name: str) -> None:
    unit = ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DEPLOY / "systemd" / f"{name}.service")
    service = unit["Service"]
    command = service["ExecStart"].split()
    assert command[0].endswith("/.venv/bin/headway") and command[1:] == ["up" if name == "headway" else "worker"]
    assert int(service["TimeoutStopSec"]) > 60 and service["KillMode"] == "mixed"


def test_the_compose_file_has_no_secret_and_listens_on_loopback_only() -> None:
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    services = yaml.safe_load(text)["services"]
    for name in ("POSTGRES_PASSWORD", "PREFECT_PASSWORD", "PREFECT_ENCRYPTION_KEY"):
        assert not re.search(rf"\${{{name}}}", text) and f"${{{name}:?}}" in text
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert published and all(port.startswith("127.0.0.1:") for port in published)
    assert services["worker"]["command"] == "worker"
