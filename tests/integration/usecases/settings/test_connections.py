"""The SFTP and the mail connection: kept as Prefect blocks, tried out, and never a secret in the audit trail."""

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import chain, combinations
from typing import Any

import prefect_email
import pytest

from headway.blocks.sftp import block as sftp
from headway.errors import InvalidInput, NotAllowed, PrefectUnreachable, Refused, Unreachable
from headway.models.values.actor import Actor, Privilege
from headway.privileges import OPERATOR
from headway.scheduler.prefect_side.mail_test import MailStep
from headway.scheduler.usecases.settings.connections import (
    Kind,
    connection,
    save_connection,
    trust_host_key,
    try_connection,
)
from tests.support.installation import Desk
from tests.support.prefect_server import ServerForTests

SFTP = {"host": "flexftp", "port": 22, "username": "headway", "path_server": "", "root": "/", "verify": "size"}
MAIL = {"smtp_server": "mail.example.com", "smtp_port": None, "smtp_type": "STARTTLS", "username": "", "verify": True}
SECRET, KEY = "correct horse battery", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA"
SETS = [frozenset(chosen) for chosen in chain.from_iterable(combinations(Privilege, n) for n in range(5))]


@dataclass
class Blocks:
    """Prefect's block documents, in memory."""

    stored: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    away: bool = False

    def block(self, type_slug: str, name: str, *, secrets: bool = False) -> dict[str, Any] | None:
        self._answer()
        found = deepcopy(self.stored.get((type_slug, name)))
        if found is not None and not secrets:
            found = {key: "********" if key in ("password", "private_key") else value for key, value in found.items()}
        return found

    def save_block(self, type_slug: str, name: str, fields: Mapping[str, Any]) -> str:
        self._answer()
        self.stored[type_slug, name] = dict(fields)
        return "id"

    def _answer(self) -> None:
        if self.away:
            raise PrefectUnreachable("Prefect at http://127.0.0.1:4200/api cannot be reached: refused.")

    @property
    def sftp(self) -> dict[str, Any]:
        return self.stored["sftp-server", "importer"]


@pytest.fixture
def blocks() -> Blocks:
    return Blocks()


def _save(desk: Desk, blocks: Blocks, actor: Actor = OPERATOR, secrets: Any = None, **changes: Any) -> bool:
    return save_connection(desk.engine, desk.clock, actor, blocks, Kind.SFTP, {**SFTP, **changes}, secrets or {})


def test_it_is_stored_for_the_flows_and_shown_without_its_secrets(quick_desk: Desk, blocks: Blocks) -> None:
    assert connection(OPERATOR, blocks, Kind.SFTP) is None
    assert _save(quick_desk, blocks, secrets={"password": SECRET})
    assert blocks.sftp == {"host": "flexftp", "port": 22, "username": "headway", "root": "/", "verify": "size",
                           "password": SECRET}  # fmt: skip
    shown = connection(OPERATOR, blocks, Kind.SFTP)
    assert shown is not None and shown.secrets == {"password"}
    assert shown.fields == {key: value for key, value in blocks.sftp.items() if key != "password"}
    assert not _save(quick_desk, blocks)  # the same again is no change
    (row,) = quick_desk.audit("edit connection")
    assert row.before is None and (row.after["host"], row.after["password"]) == ("flexftp", "new")


def test_a_secret_stays_until_another_is_given_or_it_is_forgotten(quick_desk: Desk, blocks: Blocks) -> None:
    _save(quick_desk, blocks, secrets={"password": SECRET, "private_key": "PEM"})
    _save(quick_desk, blocks, username="other")
    assert (blocks.sftp["password"], blocks.sftp["username"]) == (SECRET, "other")
    _save(quick_desk, blocks, username="other", secrets={"password": "another", "private_key": None})
    assert blocks.sftp["password"] == "another" and "private_key" not in blocks.sftp
    row = quick_desk.audit("edit connection")[-1]
    assert (row.before["password"], row.after["password"]) == ("set", "new")
    assert (row.before["private_key"], row.after["private_key"]) == ("set", "none")


def test_no_secret_is_ever_in_the_audit_trail(quick_desk: Desk, blocks: Blocks) -> None:
    secrets = {"password": SECRET, "private_key": SECRET + "key", "private_key_passphrase": SECRET + "phrase"}
    _save(quick_desk, blocks, secrets=secrets)
    trust_host_key(quick_desk.engine, quick_desk.clock, OPERATOR, blocks, KEY)
    try_connection(quick_desk.engine, quick_desk.clock, OPERATOR, blocks, Kind.SFTP, lambda fields: _steps())
    rows = quick_desk.audit()
    assert [row.action for row in rows][-3:] == ["edit connection", "trust host key", "test connection"]
    assert SECRET not in json.dumps([(row.before, row.after, row.reason) for row in rows])


def test_the_key_of_any_sftp_block_is_stored_and_audited(quick_desk: Desk, blocks: Blocks) -> None:
    """As `headway host-key --block` does."""
    clerk = (quick_desk.engine, quick_desk.clock, OPERATOR, blocks)
    blocks.stored["sftp-server", "archive"] = {"host": "h", "username": "u", "password": SECRET}
    assert trust_host_key(*clerk, KEY, "archive") and not trust_host_key(*clerk, KEY, "archive")
    assert blocks.stored["sftp-server", "archive"]["known_host_key"] == KEY
    row = quick_desk.audit()[-1]
    assert (row.action, row.subject) == ("trust host key", "SFTP connection 'archive'") and row.after
    assert row.after["known_host_key"] == KEY and SECRET not in json.dumps(row.after)
    with pytest.raises(InvalidInput, match="no SFTP block 'elsewhere'"):
        trust_host_key(*clerk, KEY, "elsewhere")


def test_another_address_is_another_server(quick_desk: Desk, blocks: Blocks) -> None:
    """Whoever may edit must not have the stored password sent to a machine of his own."""
    for change in ({"host": "elsewhere"}, {"port": 2222}):
        _save(quick_desk, blocks, secrets={"password": SECRET})
        trust_host_key(quick_desk.engine, quick_desk.clock, OPERATOR, blocks, KEY)
        _save(quick_desk, blocks, **change)
        assert "password" not in blocks.sftp and "known_host_key" not in blocks.sftp
    save_connection(quick_desk.engine, quick_desk.clock, OPERATOR, blocks, Kind.MAIL, MAIL, {"password": SECRET})
    plain = {**MAIL, "smtp_type": "INSECURE"}
    save_connection(quick_desk.engine, quick_desk.clock, OPERATOR, blocks, Kind.MAIL, plain)
    assert "password" not in blocks.stored["email-server-credentials", "headway-mail"]


def test_what_the_form_does_not_know_stays(quick_desk: Desk, blocks: Blocks) -> None:
    _save(quick_desk, blocks)
    blocks.sftp.update(attempts=7, importer_path=r"\\flexftp\acme", known_host_key=KEY)
    _save(quick_desk, blocks, verify="read_back")
    assert (blocks.sftp["attempts"], blocks.sftp["verify"], blocks.sftp["known_host_key"]) == (7, "read_back", KEY)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"host": " "}, "host: text is expected"),
        ({"port": 70_000}, "port: .*less than or equal to 65535"),
        ({"root": "upload"}, "root: 'upload' is no folder to begin at: start it with a slash, such as /upload"),
        ({"verify": "hope"}, "verify: .*'size' or 'read_back'"),
        ({"path_server": "elsewhere"}, "path_server: the importer path .* names the server 'flexftp'.*'elsewhere'"),
    ],
)
def test_invalid_input_names_field_value_and_remedy(
    quick_desk: Desk, blocks: Blocks, changes: dict[str, Any], said: str
) -> None:
    quick_desk.define("settings: {customer_importer_file_path: '\\\\flexftp\\acme\\import'}")
    with pytest.raises(InvalidInput, match=said):
        _save(quick_desk, blocks, **changes)
    assert blocks.stored == {}


def test_while_prefect_is_away_nothing_changes_and_it_says_so(quick_desk: Desk, blocks: Blocks) -> None:
    _save(quick_desk, blocks)
    blocks.away = True
    with pytest.raises(Unreachable, match=r"Prefect at .* cannot be reached"):
        connection(OPERATOR, blocks, Kind.SFTP)
    with pytest.raises(Unreachable):
        _save(quick_desk, blocks, username="other")
    assert len(quick_desk.audit("edit connection")) == 1


def test_a_change_that_prefect_refuses_is_on_record_with_its_end(
    quick_desk: Desk, blocks: Blocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> str:
        raise PrefectUnreachable("gone in between")

    monkeypatch.setattr(blocks, "save_block", refuse)
    with pytest.raises(Unreachable, match="gone in between"):
        _save(quick_desk, blocks)
    done, undone = [row for row in quick_desk.audit() if row.action.startswith("edit connection")]
    assert done.after == undone.before and undone.action == "edit connection: not done"


def test_trying_needs_something_to_try(quick_desk: Desk, blocks: Blocks) -> None:
    for kind in Kind:
        with pytest.raises(Refused, match="fill in its fields and save it first"):
            try_connection(quick_desk.engine, quick_desk.clock, OPERATOR, blocks, kind, lambda fields: _steps())
    with pytest.raises(InvalidInput, match="save its host and user first"):
        trust_host_key(quick_desk.engine, quick_desk.clock, OPERATOR, blocks, KEY)


def test_each_step_is_told_and_on_record_even_if_somebody_walks_away(quick_desk: Desk, blocks: Blocks) -> None:
    _save(quick_desk, blocks, secrets={"password": SECRET})
    given: list[dict[str, Any]] = []

    def trial(fields: dict[str, Any]) -> Iterator[MailStep]:
        given.append(fields)
        return _steps()

    def walk_away(step: object) -> None:
        raise KeyboardInterrupt

    seen: list[str] = []
    act = (quick_desk.engine, quick_desk.clock, OPERATOR, blocks, Kind.SFTP, trial)
    steps = try_connection(*act, lambda step: seen.append(step.name))
    assert seen == [step.name for step in steps] == ["one", "two"] and given[0]["password"] == SECRET
    with pytest.raises(KeyboardInterrupt):
        try_connection(*act, walk_away)
    whole, cut = quick_desk.audit("test connection")
    assert [step["ok"] for step in whole.after["steps"]] == [True, False]
    assert [step["step"] for step in cut.after["steps"]] == ["one"]


@pytest.mark.parametrize("granted", SETS)
def test_seeing_takes_view_and_the_rest_task_management(
    quick_desk: Desk, blocks: Blocks, granted: frozenset[Privilege]
) -> None:
    _save(quick_desk, blocks)
    before, rows = deepcopy(blocks.stored), len(quick_desk.audit())
    actor = Actor("bob", granted)
    clerk = (quick_desk.engine, quick_desk.clock, actor, blocks)
    if not granted & {Privilege.VIEW, Privilege.MANAGE, Privilege.PURGE}:
        with pytest.raises(NotAllowed):
            connection(actor, blocks, Kind.SFTP)
    else:
        assert connection(actor, blocks, Kind.SFTP) is not None
    if Privilege.MANAGE in granted:
        assert save_connection(*clerk, Kind.SFTP, {**SFTP, "username": "x"})
        assert trust_host_key(*clerk, KEY) and not trust_host_key(*clerk, KEY)
        assert try_connection(*clerk, Kind.SFTP, lambda fields: _steps())
        return
    with pytest.raises(NotAllowed):
        save_connection(*clerk, Kind.SFTP, {**SFTP, "username": "x"})
    with pytest.raises(NotAllowed):
        trust_host_key(*clerk, KEY)
    with pytest.raises(NotAllowed):
        try_connection(*clerk, Kind.SFTP, lambda fields: _steps())
    assert blocks.stored == before and len(quick_desk.audit()) == rows


def test_prefect_itself_keeps_it_and_hides_the_secret(quick_desk: Desk, prefect_server: ServerForTests) -> None:
    prefect_server.api.register_block_types([sftp, prefect_email])
    clerk = (quick_desk.engine, quick_desk.clock, OPERATOR, prefect_server.api)
    assert save_connection(*clerk, Kind.SFTP, SFTP, {"password": SECRET})
    assert not save_connection(*clerk, Kind.SFTP, SFTP)
    shown = connection(OPERATOR, prefect_server.api, Kind.SFTP)
    assert shown is not None and shown.secrets == {"password"} and shown.fields["username"] == "headway"
    stored = prefect_server.api.block("sftp-server", "importer", secrets=True)
    assert stored is not None and stored["password"] == SECRET


def _steps() -> Iterator[MailStep]:
    yield MailStep("one", True, "well")
    yield MailStep("two", False, "not well")
