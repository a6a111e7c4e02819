"""The files in deploy/ say only what Headway and Prefect understand, and the docs know every variable."""

import importlib.util
import os
import re
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.project import PROJECT

DEPLOY = PROJECT / "deploy"
SOURCES = ("headway", "models", "scheduler", "blocks", "flows", "dashboard", "cli")
OURS = re.compile(r"\bHEADWAY_[A-Z_]+\b")
QUOTED = re.compile(r'"(HEADWAY_[A-Z_]+)"')
INTERNAL = {"HEADWAY_ENDS_WITH_INPUT", "HEADWAY_RUN"}  # between Headway's own processes


def variables(*folders: str) -> set[str]:
    files = [path for folder in folders for path in (PROJECT / folder).rglob("*.py")]
    return {name for path in files for name in QUOTED.findall(path.read_text(encoding="utf-8"))} - INTERNAL


def test_every_variable_is_in_the_docs() -> None:
    documented = set(OURS.findall((PROJECT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")))
    assert variables(*SOURCES) <= documented


@pytest.mark.parametrize("path", sorted(path.name for path in DEPLOY.rglob("*") if path.is_file()))
def test_deploy_files_name_variables_that_exist(path: str) -> None:
    (file,) = DEPLOY.rglob(path)
    assert set(OURS.findall(file.read_text(encoding="utf-8"))) <= variables(*SOURCES)


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
    logins = ("POSTGRES_PASSWORD", "LEDGER_PASSWORD", "OPERATIONS_PASSWORD")
    for name in (*logins, "PREFECT_PASSWORD", "PREFECT_ENCRYPTION_KEY"):
        assert not re.search(rf"\${{{name}}}", text) and f"${{{name}:?}}" in text
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert published and all(port.startswith("127.0.0.1:") for port in published)
    assert services["worker"]["command"] == "worker"


def test_what_tasks_work_on_has_a_login_of_its_own() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    example = (DEPLOY / "headway.env.example").read_text(encoding="utf-8")
    for given in (compose["services"]["worker"]["environment"], dict(re.findall(r"^(\w+)=(.*)$", example, re.M))):
        assert given["HEADWAY_DATABASE_URL"].startswith("postgresql://headway:")
        assert given["HEADWAY_OPERATIONS_DATABASE_URL"].startswith("postgresql://operations:")
    assert "POSTGRES_USER" not in compose["services"]["postgres"]["environment"]  # so the superuser is neither


def test_the_compose_file_lets_people_set_what_the_docs_offer() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]
    settable = {name for name, value in services["headway"]["environment"].items() if value.startswith(f"${{{name}:-")}
    oidc = {f"HEADWAY_OIDC_{name}" for name in ("ISSUER", "CLIENT_ID", "CLIENT_SECRET", "CLAIM", "SCOPE", "LABEL")}
    assert settable == {"HEADWAY_TRUSTED_PROXIES", "HEADWAY_STOP_GRACE_SECONDS", *oidc}
    grace = "HEADWAY_STOP_GRACE_SECONDS"  # an empty one is no number
    assert {services[name]["environment"][grace] for name in ("headway", "worker")} == {f"${{{grace}:-30}}"}
    reports = [[one for one in services[name]["volumes"] if "REPORTS" in one] for name in ("headway", "worker")]
    assert reports[0] == reports[1] and reports[0][0].endswith(":/srv/headway-reports:ro")


@pytest.mark.parametrize("name", [".gitignore", ".dockerignore"])
def test_secrets_stay_out_of_image_and_history(name: str) -> None:
    assert "**/.env" in (PROJECT / name).read_text(encoding="utf-8").splitlines()


def test_the_proxy_example_passes_on_what_the_dashboard_asks_for() -> None:
    docs = (PROJECT / "docs" / "howto" / "deployment.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```nginx\n(.*?)```", docs, re.S)
    passed = dict(re.findall(r"proxy_set_header (\S+) (\S+);", example))
    assert passed.keys() == {"Host", "X-Forwarded-For", "X-Forwarded-Proto", "Upgrade", "Connection"}
    assert passed["Host"] == "$http_host"  # with the port: the guard compares it with the Origin


class AsService:
    """deploy/headway-as-service with an environment file of its own and a `runuser` that only tells."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file, self.headway = folder, folder / "headway.env", folder / "headway"
        self.headway.write_text('#!/bin/sh\nprintf "%s\\0" "$(pwd)" "$(umask)" "$#" "$@"\nenv -0\n')
        (folder / "runuser").write_text('#!/bin/sh\n[ "$1 $2 $3" = "-u headway --" ] && shift 3 && exec "$@"\n')
        for path in (self.headway, folder / "runuser"):
            path.chmod(0o755)
        text = (DEPLOY / "headway-as-service").read_text(encoding="utf-8")
        for there, here in (("/etc/headway.env", self.file), ("/opt/headway/.venv/bin/headway", self.headway)):
            assert there in text
            text = re.sub(rf"(?m)(=| ){there}( |$)", rf"\g<1>{here}\2", text)
        self.script = folder / "as-service"
        self.script.write_text(text)

    def run(self, *arguments: str) -> tuple[list[str], dict[str, str]]:
        """What `headway` was started with: folder, umask, count and arguments; and its variables."""
        done = self.try_to_run(*arguments)
        assert done.returncode == 0, done.stderr
        told = done.stdout.split("\0")[:-1]
        count = 3 + int(told[2])
        return told[:count], dict(one.split("=", 1) for one in told[count:])

    def try_to_run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": f"{self.folder}:{os.environ['PATH']}"}
        command = ["sh", str(self.script), *arguments]
        return subprocess.run(command, env=environment, cwd=self.folder, capture_output=True, text=True, check=False)


@pytest.fixture
def as_service(tmp_path: Path) -> AsService:
    return AsService(tmp_path)


def test_the_wrapper_is_headway_with_the_services_home_and_nothing_else(as_service: AsService) -> None:
    told, variables = as_service.run("run", "Customers reload", "--wait")
    assert told == [str(as_service.folder), "0077", "3", "run", "Customers reload", "--wait"]
    assert variables["HEADWAY_HOME"] == "/var/lib/headway"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("GIVEN=plain", "plain"),
        ("  GIVEN =  with spaces within  ", "with spaces within"),
        ("GIVEN=$HOME $(id) `id` *", "$HOME $(id) `id` *"),  # nothing is expanded
        ("GIVEN=postgresql://headway:a#b=;&'c@host/headway?x=1", "postgresql://headway:a#b=;&'c@host/headway?x=1"),
        ('GIVEN="in \' quotes  "', "in ' quotes  "),
        ("GIVEN='in \" quotes'", 'in " quotes'),
        ("GIVEN=", ""),
        ("GIVEN=Zm9vCg==", "Zm9vCg=="),
        ("GIVEN=first\nGIVEN=last", "last"),
        ("# GIVEN=no\n; GIVEN=no\n\nno assignment", None),
        ("# a comment with a \\ in it", None),
    ],
)
def test_the_wrapper_reads_values_as_systemd_does(as_service: AsService, line: str, value: str | None) -> None:
    as_service.file.write_text(line)  # no newline at its end
    assert as_service.run("status")[1].get("GIVEN") == value


@pytest.mark.parametrize(
    "line",
    [
        "GIVEN=joined \\\nTO=this",  # systemd joins lines
        'GIVEN="a\\"b"',
        'GIVEN="a" "b"',
        'GIVEN="over\nlines"',
        "GIVEN=ended as Windows does\r",
        "export GIVEN=1",
    ],
)
def test_the_wrapper_refuses_what_systemd_would_read_otherwise(as_service: AsService, line: str) -> None:
    as_service.file.write_text(line, newline="")
    done = as_service.try_to_run("status")
    assert (done.returncode, done.stdout) == (2, "") and str(as_service.file) in done.stderr


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """start.py with an environment of its own, and what it runs in `start.commands`."""
    spec = importlib.util.spec_from_file_location("start", PROJECT / "start.py")
    assert spec is not None and spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.VENV, module.BIN, module.commands = tmp_path, tmp_path / "bin", []

    def ran(command: list[str]) -> int:
        module.commands.append(command)
        return 0

    monkeypatch.setattr(subprocess, "call", ran)
    monkeypatch.setattr(subprocess, "check_call", ran)
    return module


@pytest.mark.parametrize("pip", [True, False, None])
def test_a_set_up_that_failed_before_pip_was_there_begins_anew(start: Any, pip: bool | None) -> None:
    if pip is not None:
        start.BIN.mkdir()
        (start.BIN / "python").write_text(f"#!/bin/sh\nexit {0 if pip else 1}\n")
        (start.BIN / "python").chmod(0o755)
    start.install()
    made = [[sys.executable, "-m", "venv", "--clear", str(start.VENV)]]
    assert start.commands[:-2] == ([] if pip else made)


def test_a_python_without_venv_is_told_which_package_it_lacks(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "call", lambda command: 1)
    with pytest.raises(SystemExit, match="apt install python3-venv"):
        start.install()
