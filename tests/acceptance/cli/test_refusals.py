"""What the command line refuses, with which exit code, and that it says what to do instead."""

import shutil
import socket
from datetime import timedelta
from pathlib import Path

import pytest

from headway.models.values.run import RunStatus
from headway.privileges import OPERATOR
from tests.support.command_line import Forks, Headway
from tests.support.written_ledger import Ledger, now

pytest_plugins = ["tests.support.stack"]

TASKS = """
tasks:
  - {name: Codes, type: lookup_import, schedule: {cron: "30 3 * * *"}, parameters: {lookup: codes, file_name: c.csv}}
  - {name: Old codes, type: lookup_import, historical: true, parameters: {lookup: old, file_name: old.csv}}
"""


@pytest.fixture(scope="module")
def untouched(forks: Forks, new_installation: Path, tmp_path_factory: pytest.TempPathFactory) -> Headway:
    """One installation for all commands that must not change it."""
    folder = tmp_path_factory.mktemp("refusals")
    shutil.copytree(new_installation, folder / "home")
    headway = Headway(folder / "home", forks, folder)
    headway.apply(TASKS)
    return headway


@pytest.fixture
def loaded(nowhere: Headway, untouched: Headway) -> Headway:
    shutil.copytree(untouched.home, nowhere.home)  # into nothing: another database's WAL beside it would be replayed
    nowhere.file(TASKS)
    return nowhere


@pytest.fixture
def ledger(loaded: Headway) -> Ledger:
    return Ledger(loaded.database)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--bogus"], ["--bogus"]),
        (["explode"], ["explode", "--help"]),
        (["run"], ["TASK", "run --help"]),
        (["apply"], ["FILE"]),
        (["purge"], ["--older-than"]),
        (["purge", "--older-than", "soon"], ["--older-than", "integer"]),
        (["purge", "--older-than", "-1"], ["--older-than", "0 or more"]),
        (["log", "--limit", "0"], ["--limit"]),
        (["status", "--wait", "long"], ["--wait"]),
        (["user", "promote", "ann"], ["promote"]),
        (["tasks", "Codes"], ["Codes"]),
        # times
        (["plan", "--from", "tomorrow"], ["--from", "tomorrow", "2026-11-23T08:15"]),
        (["plan", "--from", "2026-11-24", "--to", "2026-11-23"], ["--to", "2026-11-23", "not later"]),
        (["plan", "--from", "2026-13-01"], ["--from", "2026-13-01"]),
        (["log", "--since", "12:30"], ["--since", "12:30"]),
        # names
        (["run", "Cods"], ["Cods"]),
        (["why", "Cods"], ["Cods"]),
        (["reset", "999"], ["999"]),
        (["enable", ""], ["''"]),
        (["log", "--task", "Cods"], ["Cods"]),
        (["log", "12x"], ["12x", "run's ID"]),
        (["log", "4711"], ["4711", "headway log"]),
        (["log", "99999999999999999999"], ["99999999999999999999"]),
        (["user", "grant", "nobody", "view"], ["nobody", "user list"]),
        # overrides
        (["run", "Codes", "--override", "window"], ["--override", "--reason"]),
        (["run", "Codes", "--override", "window", "--reason", "  "], ["--reason"]),
        (["run", "Codes", "--override", "reset,busy", "--reason", "x"], ["busy, reset", "only window and spacing"]),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else None,
)
def test_invalid_input_is_2_and_writes_nothing(untouched: Headway, args: list[str], words: list[str]) -> None:
    ledger = Ledger(untouched.database)
    before = ledger.contents()
    answer = untouched(*args)
    answer.refused(2, *words)
    assert answer.out == "" and ledger.contents() == before


def test_no_command_shows_the_help(nowhere: Headway) -> None:
    answer = nowhere()
    assert answer.exit_code == 2 and "headway demo" in answer.out + answer.err


CHANGES = [
    ["run", "Codes"],
    ["reset", "Codes", "--yes"],
    ["enable", "Codes"],
    ["disable", "Codes"],
    ["delete", "Codes"],
    ["purge", "--older-than", "1"],
    ["user", "add", "bob"],
    ["user", "list"],
    ["user", "grant", "viewer", "users"],
    ["user", "revoke", "viewer", "view"],
    ["apply", "tasks.yaml"],
    ["apply", "tasks.yaml", "--dry-run"],
]


def test_a_viewer_may_only_look(loaded: Headway, ledger: Ledger) -> None:
    loaded("user", "add", "viewer").ok()
    loaded("user", "grant", "viewer", "view").ok()
    before = ledger.contents()
    for args in CHANGES:
        loaded("--as", "viewer", *args).refused(3, "'viewer' is not allowed", "headway user grant viewer")
    loaded("run", "Codes", HEADWAY_USER="viewer").refused(3, "'viewer'")
    assert ledger.contents() == before
    for looking in (["tasks"], ["log"], ["plan"], ["why", "Codes"], ["export"]):
        loaded("--as", "viewer", *looking).ok()


def test_a_name_that_is_empty_is_nobody_and_not_the_operator(loaded: Headway) -> None:
    for name in ("", "  "):
        loaded("--as", name, "user", "list").refused(2, "--as names nobody")


def test_the_demo_leaves_an_installation_alone(loaded: Headway, ledger: Ledger) -> None:
    before = ledger.contents()
    loaded("demo").refused(4, "is an installation with tasks of its own", "another HEADWAY_HOME")
    assert ledger.contents() == before


@pytest.mark.parametrize("command", ["up", "worker"])
def test_a_grace_that_is_no_length_is_told_at_the_start(loaded: Headway, command: str) -> None:
    loaded(command, HEADWAY_STOP_GRACE_SECONDS="5m").refused(2, "HEADWAY_STOP_GRACE_SECONDS is '5m'")


def test_without_a_privilege_nothing_is_seen(loaded: Headway) -> None:
    loaded("user", "add", "guest").ok()
    for looking in (["tasks"], ["log"], ["log", "1"], ["plan"], ["why", "Codes"], ["export"]):
        loaded("--as", "guest", *looking).refused(3, "'guest'", "view")
    loaded("--as", "nobody", "tasks").refused(3, "'nobody'", "does not exist", "headway user add nobody")


def test_management_and_purge_imply_view_and_nothing_else(loaded: Headway) -> None:
    for name, privilege in (("manager", "manage"), ("cleaner", "purge"), ("clerk", "users")):
        loaded("user", "add", name).ok()
        loaded("user", "grant", name, privilege).ok()
    for name in ("manager", "cleaner"):
        loaded("--as", name, "tasks").ok()
        loaded("--as", name, "user", "list").refused(3, name)
    loaded("--as", "manager", "run", "Codes").ok()
    loaded("--as", "manager", "purge", "--older-than", "1").refused(3, "purge")
    loaded("--as", "cleaner", "purge", "--older-than", "1").ok()
    loaded("--as", "cleaner", "disable", "Codes").refused(3, "manage")
    loaded("--as", "clerk", "user", "list").ok()
    loaded("--as", "clerk", "tasks").refused(3, "view")


def test_reset_of_a_task_that_is_not_running_is_4(loaded: Headway, ledger: Ledger) -> None:
    before = ledger.contents()
    loaded("reset", "Codes", "--yes").refused(4, "You can't reset a task that's not running")
    ledger.ended("Codes", now() - timedelta(hours=2))
    loaded("reset", "Codes", "--yes").refused(4, "You can't reset a task that's not running")
    assert ledger.contents()["audit"] == before["audit"]


def test_what_failed_is_run_only_after_a_reset(loaded: Headway, ledger: Ledger) -> None:
    run_id = ledger.ended("Codes", now() - timedelta(hours=2), status=RunStatus.FAILED, error="no such file c.csv")
    loaded("run", "Codes").refused(4, "needs a reset", "headway reset 'Codes'")
    loaded("reset", "Codes").refused(2, "--yes")
    shown = loaded("reset", "Codes", "--yes").ok().out
    assert "no such file c.csv" in shown and f"run {run_id}" in shown and "Next start" in shown
    assert "Execution failed" in shown  # it stays what it was
    loaded("run", "Codes").ok()
    assert ledger.audit()[-2].action == "reset"


def test_historical_and_deleted_tasks(loaded: Headway, ledger: Ledger) -> None:
    loaded("run", "Old codes").refused(4, "historical")
    ledger.ended("Codes", now() - timedelta(hours=2))
    loaded("delete", "Codes").refused(4, "istorical")
    loaded("delete", "Old codes").ok()
    loaded("why", "Old codes").refused(2, "Old codes")


def test_a_second_run_now_answers_with_the_waiting_one(loaded: Headway, ledger: Ledger) -> None:
    first = loaded("run", "Codes").ok().out
    second = loaded("run", "Codes", "--follow", "--override", "window", "--reason", "importer asked").ok().out
    (run,) = ledger.runs("Codes")
    assert f"Run {run.id} " in first and f"Run {run.id} waits already" in second
    assert run.follow and run.overrides == ["window"] and run.override_reason == "importer asked"
    entry = ledger.audit()[-1]
    assert (entry.actor, entry.action, entry.reason) == (OPERATOR.name, "run now", "importer asked")


def test_enable_and_disable_leave_their_audit_rows(loaded: Headway, ledger: Ledger) -> None:
    assert "is disabled" in loaded("disable", "Codes").ok().out
    assert "disabled already" in loaded("disable", "Codes").ok().out
    assert loaded("tasks", "--json").json()["tasks"] == []
    loaded("user", "add", "ann").ok()
    loaded("user", "grant", "ann", "manage").ok()
    loaded("--as", "ann", "enable", "Codes").ok()
    changes = [(row.actor, row.action) for row in ledger.audit() if "Codes" in row.subject and "able" in row.action]
    assert [actor for actor, _ in changes] == [OPERATOR.name, "ann"]


def test_users(headway: Headway) -> None:
    password = headway("user", "add", "ann").ok().out.rsplit(maxsplit=1)[-1]
    assert len(password) >= 12
    stored = str(Ledger(headway.database).contents())
    assert password not in stored and "$argon2id$v=19$m=19456,t=2,p=1$" in stored  # as OWASP advises
    headway("user", "add", "ann").refused(4, "'ann'")
    headway("user", "add", " ann").refused(2, "user name")
    headway("user", "grant", "ann", "admin").refused(2, "admin", "view, manage, purge, users")
    headway("user", "grant", "ann", "users").ok()
    assert "already" in headway("user", "grant", "ann", "users").ok().out
    headway("--as", "ann", "user", "revoke", "ann", "users").refused(4, "last user manager")
    headway("user", "add", "ben").ok()
    headway("user", "grant", "ben", "users").ok()
    headway("user", "revoke", "ann", "users").ok()
    assert "did not have" in headway("user", "revoke", "ann", "users").ok().out
    listed = headway("user", "list").ok().out
    assert [line.split()[0] for line in listed.splitlines()[1:]] == ["ann", "ben"]


def test_a_database_that_does_not_answer_is_5(nowhere: Headway) -> None:
    with socket.socket() as closed:  # bound and not listening: nobody else can take the port meanwhile
        closed.bind(("127.0.0.1", 0))
        url = f"postgresql://ops:secret@127.0.0.1:{closed.getsockname()[1]}/headway"
        for args in (["tasks"], ["run", "X"], ["export"], ["plan"], ["user", "list"], ["deploy"]):
            message = nowhere(*args, HEADWAY_DATABASE_URL=url).refused(5, "database", "127.0.0.1")
            assert "secret" not in message and len(message.splitlines()) == 1
        answer = nowhere("status", HEADWAY_DATABASE_URL=url)
        assert answer.exit_code == 5 and "secret" not in answer.out


def test_a_database_address_that_is_none_is_invalid(nowhere: Headway) -> None:
    for url in ("nonsense", "mysql://localhost/x", "postgresql://127.0.0.1:port/x"):
        answer = nowhere("tasks", HEADWAY_DATABASE_URL=url)
        answer.refused(2, "HEADWAY_DATABASE_URL")


def test_a_file_that_is_no_database_is_5(nowhere: Headway) -> None:
    nowhere.home.mkdir()
    (nowhere.home / "headway.db").write_bytes(b"this is no database, " * 500)
    nowhere("tasks").refused(5, "headway.db", "not a database")


def test_a_database_of_another_version_is_5(loaded: Headway, ledger: Ledger) -> None:
    with ledger.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    loaded("tasks").refused(5, "9999", "headway up")


def test_prefect_that_does_not_answer_is_5(loaded: Headway) -> None:
    loaded("deploy", PREFECT_API_URL="http://127.0.0.1:1/api").refused(5, "127.0.0.1:1")
    loaded("host-key", "127.0.0.1", "--port", "1").refused(5, "127.0.0.1")


def test_control_characters_never_reach_the_terminal(loaded: Headway) -> None:
    answer = loaded("run", "\x1b[2Jno such")
    assert answer.exit_code == 2 and "\x1b" not in answer.err
