"""The command line asks for the same privileges as the use cases behind it: every command, every single privilege."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import typer.main

from headway.cli.app import app
from headway.clock import SystemClock
from headway.models.ledger.database import writing
from headway.models.values.actor import Privilege
from headway.models.values.run import RunStatus
from headway.privileges import OPERATOR
from headway.scheduler.usecases.people import people
from tests.support.command_line import Forks, Headway
from tests.support.written_ledger import Ledger, now

pytest_plugins = ["tests.support.stack"]

VIEW, MANAGE, PURGE, USERS = Privilege.VIEW, Privilege.MANAGE, Privilege.PURGE, Privilege.USERS
NOBODY: frozenset[Privilege] = frozenset()
"""For the operator of the machine only: refused with `--as`, whoever that is."""
LOOK = frozenset({VIEW, MANAGE, PURGE})
ANYBODY = frozenset(Privilege)
TASKS = """
tasks:
  - {name: fresh, type: lookup_import, parameters: {lookup: codes, file_name: c.csv}}
  - {name: ran, type: lookup_import, parameters: {lookup: codes, file_name: d.csv}}
"""


@dataclass(frozen=True)
class Command:
    """How it is called, and which single privileges are enough for it."""

    args: tuple[str, ...]
    enough: frozenset[Privilege]
    even_without: bool = False
    """It needs no privilege: it tells nothing of what is stored."""


def _of(line: str, enough: frozenset[Privilege], *, even_without: bool = False) -> Command:
    return Command(tuple(line.split()), enough, even_without)


COMMANDS: dict[str, list[Command]] = {
    "up": [_of("up", NOBODY)],
    "demo": [_of("demo", NOBODY)],
    "worker": [_of("worker", NOBODY)],
    "deploy": [_of("deploy", NOBODY)],
    "host-key": [_of("host-key 127.0.0.1 --port 1 --block importer --yes", NOBODY)],
    "backup": [_of("backup copy", NOBODY)],
    "restore": [_of("restore copy", NOBODY)],
    "status": [_of("status", ANYBODY, even_without=True)],  # what is up, as anybody can see who may log in there
    "plan": [_of("plan", LOOK), _of("plan tasks.yaml", ANYBODY, even_without=True)],  # a file alone: nothing stored
    "apply": [_of("apply tasks.yaml", frozenset({MANAGE})), _of("apply tasks.yaml --dry-run", frozenset({MANAGE}))],
    "export": [_of("export", LOOK)],
    "tasks": [_of("tasks", LOOK), _of("tasks --json", LOOK)],
    "why": [_of("why fresh", LOOK)],
    "log": [_of("log", LOOK), _of("log 1", LOOK), _of("log --task ran", LOOK), _of("log 1 --json", LOOK)],
    "run": [_of("run fresh", frozenset({MANAGE})), _of("run fresh --override window --reason x", frozenset({MANAGE}))],
    "reset": [_of("reset ran --yes", frozenset({MANAGE}))],
    "enable": [_of("enable fresh", frozenset({MANAGE}))],
    "disable": [_of("disable fresh", frozenset({MANAGE}))],
    "delete": [_of("delete fresh", frozenset({MANAGE}))],
    "purge": [
        _of("purge --older-than 0", frozenset({PURGE})),
        _of("purge --older-than 0 --dry-run", frozenset({PURGE})),
    ],
    "user add": [_of("user add carl", frozenset({USERS}))],
    "user list": [_of("user list", frozenset({USERS}))],
    "user grant": [_of("user grant nothing view", frozenset({USERS}))],
    "user revoke": [_of("user revoke nothing view", frozenset({USERS}))],
}
USERS_THERE: dict[str, frozenset[Privilege]] = {
    "nothing": frozenset(),
    **{privilege.name.lower(): frozenset({privilege}) for privilege in Privilege},
}
CASES = [command for commands in COMMANDS.values() for command in commands]


def commands_of(group: Any, before: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands_of(command, f"{before}{name} ")
        else:
            yield f"{before}{name}"


@pytest.fixture(scope="module")
def peopled(forks: Forks, new_installation: Path, tmp_path_factory: pytest.TempPathFactory) -> Headway:
    """A user for each single privilege, one without any; a task that never ran and one that failed."""
    folder = tmp_path_factory.mktemp("entrances")
    shutil.copytree(new_installation, folder / "home")
    headway = Headway(folder / "home", forks, folder)
    headway.apply(TASKS)
    ledger = Ledger(headway.database)
    with writing(ledger.engine) as session:
        for name, privileges in USERS_THERE.items():
            people.add_user(session, SystemClock(), OPERATOR, name)
            session.flush()
            for privilege in privileges:
                people.grant(session, SystemClock(), OPERATOR, name, privilege)
    ledger.ended("ran", now() - timedelta(hours=2), status=RunStatus.FAILED)
    ledger.engine.dispose()
    return headway


def test_every_command_is_in_the_table() -> None:
    """A new command has to say here what it takes."""
    assert set(COMMANDS) == set(commands_of(typer.main.get_command(app)))


@pytest.mark.parametrize("command", CASES, ids=[" ".join(command.args) for command in CASES])
def test_a_command_with_as_takes_its_privilege_and_no_other(peopled: Headway, tmp_path: Path, command: Command) -> None:
    shutil.copytree(peopled.home, tmp_path / "home")
    headway = Headway(tmp_path / "home", peopled.forks, tmp_path)
    headway.file(TASKS)
    ledger = Ledger(headway.database)
    before = ledger.contents()
    allowed = [user for user, has in USERS_THERE.items() if has & command.enough or command.even_without]
    for user in USERS_THERE.keys() - allowed:
        answer = headway("--as", user, *command.args)
        assert answer.exit_code == 3, (user, answer)
        assert f"'{user}'" in answer.err and answer.out == ""
    assert ledger.contents() == before
    assert not (tmp_path / "copy").exists()
    ledger.engine.dispose()
    for number, user in enumerate(allowed):
        answer = headway("--as", user, *command.args)
        assert answer.exit_code != 3, (user, answer)
        if number == 0:  # what is done cannot always be done again
            assert answer.exit_code in (0, 5), answer  # 5: what it asks about is not up


def test_a_user_who_is_not_there_may_do_nothing(peopled: Headway) -> None:
    for command in CASES:
        if not command.even_without:
            peopled("--as", "stranger", *command.args).refused(3, "stranger")
