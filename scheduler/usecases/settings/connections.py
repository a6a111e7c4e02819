"""The two connections of the installation: the importer's SFTP server and the mail server.

They are kept as Prefect blocks, because that is where flows find them. Secrets go in and never come out again, nor
into the audit trail. An audit row is written before Prefect is asked, and a second one where Prefect then refuses:
no change is without its row.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from sqlalchemy import Engine

from headway.clock import Clock
from headway.errors import InvalidInput, Refused, Unreachable
from headway.models.ledger.database import reading, writing
from headway.models.values.actor import Actor, Privilege
from headway.models.values.importer_path import parse_unc, read_server
from headway.privileges import require
from headway.scheduler.planning.definitions.document import explain
from headway.scheduler.planning.definitions.task_types import IMPORTER_BLOCK, SFTP_SLUG
from headway.scheduler.store import audit
from headway.scheduler.store.settings import load_settings


class BlockStore(Protocol):
    """What is asked of Prefect: `PrefectApi` has it."""

    def block(self, type_slug: str, name: str, *, secrets: bool = False) -> dict[str, Any] | None: ...

    def save_block(self, type_slug: str, name: str, fields: Mapping[str, Any]) -> str: ...


class Kind(StrEnum):
    """Which connection."""

    SFTP = "sftp"
    MAIL = "mail"


class _Fields(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    @field_validator("*", mode="before")
    @classmethod
    def _nothing(cls, value: Any) -> Any:
        """An empty field of a form has no value."""
        return None if isinstance(value, str) and not value.strip() else value


class SftpFields(_Fields):
    """What a person says about the importer's SFTP server, secrets apart."""

    host: str = Field(max_length=253)
    port: int = Field(default=22, ge=1, le=65535)
    username: str = Field(max_length=200)
    path_server: str | None = None
    root: str | None = "/"
    verify: Literal["size", "read_back"] = "size"

    @field_validator("path_server")
    @classmethod
    def _a_server(cls, value: str | None) -> str | None:
        return None if value is None else read_server(value)

    @field_validator("root")
    @classmethod
    def _absolute(cls, value: str | None) -> str:
        if value is not None and (not value.startswith("/") or ".." in value.split("/")):
            raise ValueError(f"{value!r} is no folder to begin at: start it with a slash, such as /upload")
        return value or "/"


class MailFields(_Fields):
    """What a person says about the mail server, the password apart."""

    smtp_server: str = Field(max_length=253)
    smtp_port: int | None = Field(default=None, ge=1, le=65535)
    smtp_type: Literal["SSL", "STARTTLS", "INSECURE"] = "STARTTLS"
    username: str | None = None
    verify: bool = True


@dataclass(kw_only=True, frozen=True)
class _Block:
    slug: str
    name: str
    title: str
    fields: type[_Fields]
    secrets: tuple[str, ...]
    where: tuple[str, ...]  # what the secrets are for: no other place gets to see them
    kept: tuple[str, ...] = ()  # shown, but not of the form


_BLOCKS = {
    Kind.SFTP: _Block(
        slug=SFTP_SLUG,
        name=IMPORTER_BLOCK,
        title=f"SFTP connection '{IMPORTER_BLOCK}'",
        fields=SftpFields,
        secrets=("password", "private_key", "private_key_passphrase"),
        where=("host", "port"),
        kept=("known_host_key", "importer_path"),
    ),
    Kind.MAIL: _Block(
        slug="email-server-credentials",
        name="headway-mail",
        title="mail connection",
        fields=MailFields,
        secrets=("password",),
        where=("smtp_server", "smtp_port", "smtp_type"),
    ),
}


@dataclass(frozen=True)
class Connection:
    """A connection as it may be shown. secrets: the names of the stored ones, never their values."""

    fields: dict[str, Any]
    secrets: frozenset[str] = field(default_factory=frozenset)


class Step(Protocol):
    """One step of a trial: what was tried, whether it went well, what was seen or what to do."""

    @property
    def name(self) -> str: ...
    @property
    def ok(self) -> bool: ...
    @property
    def said(self) -> str: ...


def connection(actor: Actor, prefect: BlockStore, kind: Kind) -> Connection | None:
    """The stored connection without its secrets; None where there is none yet."""
    require(actor, Privilege.VIEW)
    block = _BLOCKS[kind]
    stored = prefect.block(block.slug, block.name)
    return None if stored is None else _shown(block, stored)


def save_connection(
    engine: Engine,
    clock: Clock,
    actor: Actor,
    prefect: BlockStore,
    kind: Kind,
    values: Mapping[str, Any],
    secrets: Mapping[str, str | None] | None = None,
) -> bool:
    """Store the connection as a form says it; False where nothing differs.

    secrets: the new ones; a secret that is left out stays, None removes it. The block's other fields stay too. Another
    address means another server: secrets that are not given again are removed then, and the operator has to confirm
    the host key.
    """
    require(actor, Privilege.MANAGE)
    block = _BLOCKS[kind]
    checked = _checked(block, values)
    if kind is Kind.SFTP:
        _is_on_the_path(engine, checked)
    given = {name: value or None for name, value in (secrets or {}).items() if name in block.secrets}
    stored = prefect.block(block.slug, block.name, secrets=True)
    known = stored or {}
    if any(known.get(name) != checked[name] for name in block.where):
        known = {name: value for name, value in known.items() if name not in (*block.secrets, "known_host_key")}
    after = {**known, **checked, **given}
    after = {name: value for name, value in after.items() if value is not None}
    if after == stored:
        return False
    _store(engine, clock, actor, prefect, block, "edit connection", stored, after)
    return True


def trust_host_key(
    engine: Engine, clock: Clock, actor: Actor, prefect: BlockStore, host_key: str, name: str = IMPORTER_BLOCK
) -> bool:
    """Store the public key of that SFTP block's server, once a person has compared it; False if it was stored already.

    Raises InvalidInput where there is no such block, Unreachable where Prefect does not answer.
    """
    require(actor, Privilege.MANAGE)
    block = replace(_BLOCKS[Kind.SFTP], name=name, title=f"SFTP connection '{name}'")
    stored = prefect.block(block.slug, block.name, secrets=True)
    if stored is None:
        raise InvalidInput(f"there is no SFTP block '{name}' that could keep the key: save its host and user first")
    if stored.get("known_host_key") == host_key:
        return False
    after = {**stored, "known_host_key": host_key}
    _store(engine, clock, actor, prefect, block, "trust host key", stored, after)
    return True


def try_connection(
    engine: Engine,
    clock: Clock,
    actor: Actor,
    prefect: BlockStore,
    kind: Kind,
    trial: Callable[[dict[str, Any]], Iterable[Step]],
    told: Callable[[Step], None] = lambda step: None,
) -> list[Step]:
    """Try the stored connection, as flows will use it; `told` gets each step as it is done.

    trial: how, given the block's fields with their secrets; the scheduler itself knows no SFTP.
    """
    require(actor, Privilege.MANAGE)
    block = _BLOCKS[kind]
    stored = prefect.block(block.slug, block.name, secrets=True)
    if stored is None:
        raise Refused(f"there is no {block.title} yet: fill in its fields and save it first")
    steps: list[Step] = []
    try:
        for step in trial(stored):
            steps.append(step)
            told(step)
    finally:  # `told` may be interrupted: what was done stays on record
        after = {"steps": [{"step": one.name, "ok": one.ok, "said": one.said} for one in steps]}
        with writing(engine) as session:
            audit.record(session, clock.now(), actor, "test connection", block.title, after=after)
    return steps


def _checked(block: _Block, values: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return block.fields.model_validate(dict(values)).model_dump(mode="json")
    except ValidationError as error:
        raise InvalidInput(explain(error, dict(values))) from None


def _is_on_the_path(engine: Engine, checked: dict[str, Any]) -> None:
    """The importer path has to name this server, or every delivery is refused."""
    with reading(engine) as session:
        path = load_settings(session).customer_importer_file_path
    name = checked["path_server"] or checked["host"]
    if path is None or (unc := parse_unc(path)).is_on(name):
        return
    raise InvalidInput(
        f"path_server: the importer path {path} names the server '{unc.server}', and this connection is '{name}': "
        f"write '{unc.server}' here, or correct the path"
    )


def _shown(block: _Block, stored: Mapping[str, Any]) -> Connection:
    names = {*block.fields.model_fields, *block.kept}
    fields = {name: value for name, value in stored.items() if name in names}
    return Connection(fields, frozenset(name for name in block.secrets if stored.get(name)))


def _facts(block: _Block, stored: Mapping[str, Any] | None, changed: Iterable[str] = ()) -> dict[str, Any] | None:
    """For the audit trail: of a secret only whether there is one, and whether it is another now."""
    if stored is None:
        return None
    shown = _shown(block, stored)
    secrets = {name: "none" if not stored.get(name) else "new" if name in changed else "set" for name in block.secrets}
    return {**shown.fields, **secrets}


def _store(
    engine: Engine,
    clock: Clock,
    actor: Actor,
    prefect: BlockStore,
    block: _Block,
    action: str,
    stored: Mapping[str, Any] | None,
    after: Mapping[str, Any],
) -> None:
    changed = [name for name in block.secrets if (stored or {}).get(name) != after.get(name)]
    before, then = _facts(block, stored), _facts(block, after, changed)
    with writing(engine) as session:
        audit.record(session, clock.now(), actor, action, block.title, before=before, after=then)
    try:
        prefect.save_block(block.slug, block.name, after)
    except (Unreachable, Refused) as error:
        with writing(engine) as session:
            undone = f"{action}: not done"
            audit.record(session, clock.now(), actor, undone, block.title, before=then, after=before, reason=str(error))
        raise
