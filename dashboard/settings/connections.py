"""The importer's SFTP connection and the mail connection: their fields, and trying them out."""

from collections.abc import Callable, Iterator
from typing import Any

import streamlit as st
from pydantic import ValidationError

from headway import wording as words
from headway.blocks.sftp.block import HostKey, SftpServer, read_host_key
from headway.blocks.sftp.connection_test import TrialStep, try_importer_path
from headway.blocks.transfer import TransferError
from headway.dashboard import ui
from headway.dashboard.data import CLOCK, engine
from headway.errors import InvalidInput, SchedulerError
from headway.models.values.actor import Actor
from headway.scheduler.installation.addresses import use_prefect
from headway.scheduler.installation.deploy import sync_importer_path
from headway.scheduler.planning.definitions.document import SettingsSection, explain
from headway.scheduler.prefect_side.api import PrefectApi
from headway.scheduler.prefect_side.mail_test import try_mail
from headway.scheduler.usecases.settings.configure import checked_settings
from headway.scheduler.usecases.settings.connections import (
    Connection,
    Kind,
    Step,
    connection,
    save_connection,
    trust_host_key,
    try_connection,
)

_CHECKS = {"size": "by its size", "read_back": "by reading every byte back"}
_SECRETS = {"password": "Password", "private_key": "Private key", "private_key_passphrase": "Passphrase of the key"}
_TYPES = {"STARTTLS": "STARTTLS", "SSL": "TLS from the start (SSL)", "INSECURE": "none"}


def stored(kind: Kind) -> tuple[PrefectApi, Connection | None] | None:
    """Prefect and the stored connection; None, and said so, where Prefect cannot be asked."""
    try:
        prefect = use_prefect()
        return prefect, connection(ui.viewer().actor, prefect, kind)
    except (SchedulerError, OSError) as error:
        st.warning(words.plain(str(error)))
        return None


def sftp(settings: SettingsSection, *, locked: bool) -> None:
    """The importer's server."""
    found = stored(Kind.SFTP)
    if found is None:
        return
    prefect, known = found
    fields = known.fields if known else {}
    if locked:
        _read_only(fields, known, {"host": "Host", "port": "Port", "username": "User", "path_server": "Name in paths"})
        return
    path = settings.customer_importer_file_path
    named = path.strip("\\").split("\\")[0] if path else ""
    with st.form(f"sftp_form_{_number('sftp')}"):
        host, port, user = st.columns([3, 1, 2])
        server = host.text_input("Host", fields.get("host", named), placeholder="sftp.example.com")
        port_number = port.number_input("Port", 1, 65535, int(fields.get("port", 22)), step=1)
        username = user.text_input("User", fields.get("username", ""))
        secrets = _secret_fields(known)
        left, middle, right = st.columns(3)
        path_server = left.text_input("Name in paths", fields.get("path_server") or named,
                                      help="How the importer path calls this server; empty: the host")  # fmt: skip
        root = middle.text_input("Root folder", fields.get("root", "/"),
                                 help=r"\\server\share\folder is share/folder below it")  # fmt: skip
        verify = right.selectbox("An upload is checked", list(_CHECKS), format_func=_CHECKS.__getitem__,
                                 index=list(_CHECKS).index(fields.get("verify", "size")))  # fmt: skip
        submitted = st.form_submit_button("Save connection", type="primary")
    if submitted:
        values = {
            "host": server,
            "port": int(port_number),
            "username": username,
            "path_server": path_server,
            "root": root,
            "verify": verify,
        }
        _save("sftp", prefect, Kind.SFTP, values, secrets)
    _host_key(fields)
    if known is not None:
        _sftp_trial(prefect, known)


def _secret_fields(known: Connection | None) -> dict[str, str | None]:
    """What is entered stays entered: a stored secret is never shown, only replaced or forgotten."""
    there = known.secrets if known else frozenset()
    hints = {name: "stored; leave empty to keep it" if name in there else "none is stored" for name in _SECRETS}
    left, right = st.columns(2)
    entered = {
        "password": left.text_input("Password", type="password", placeholder=hints["password"],
                                    autocomplete="new-password"),
        "private_key_passphrase": left.text_input("Passphrase of the key", type="password",
                                                  placeholder=hints["private_key_passphrase"],
                                                  autocomplete="new-password"),
        "private_key": right.text_area("Private key (PEM)", placeholder=hints["private_key"], height=122),
    }  # fmt: skip
    forgotten: list[str] = []
    if there:
        forgotten = st.multiselect("Forget", sorted(there), format_func=_SECRETS.__getitem__,
                                   placeholder="a stored secret that is not needed any more")  # fmt: skip
    given: dict[str, str | None] = {name: value for name, value in entered.items() if value}
    return {**dict.fromkeys(forgotten), **given}


def _host_key(fields: dict[str, Any]) -> None:
    key = fields.get("known_host_key")
    if key:
        parsed = HostKey.parse(key)
        st.text(f"Known host key: {parsed.fingerprint} ({parsed.type})")
    elif fields:
        st.caption("No host key is known yet: *Test connection* shows the server's, and asks before it is stored.")


def _sftp_trial(prefect: PrefectApi, known: Connection) -> None:
    """Test connection: the host key first, then the whole way."""
    state = st.session_state
    about = "Writes a small file to the importer path, reads it back, renames it and removes it"
    if st.button("Test connection", key="sftp_test", icon=":material/network_check:", help=about):
        state.pop("sftp_shown_key", None)
        state.sftp_steps = None
        if not known.fields.get("known_host_key"):
            _look_at_host_key(known)
        else:
            _try(prefect, Kind.SFTP, _sftp_steps)
            if any(step.name == "Host key and sign-in" and not step.ok for step in state.sftp_steps or ()):
                _look_at_host_key(known)
    shown = state.get("sftp_shown_key")
    if shown is not None and shown.key != known.fields.get("known_host_key"):
        _ask_about(shown, prefect, known)
    if state.pop("sftp_go_on", False):
        _try(prefect, Kind.SFTP, _sftp_steps)
    if state.get("sftp_steps"):
        _results(state.sftp_steps)


def _look_at_host_key(known: Connection) -> None:
    """Keep the key that the server shows now for a person to compare. No credential is sent."""
    host, port = str(known.fields.get("host")), int(known.fields.get("port", 22))
    try:
        with st.spinner(f"Asking {host}:{port} for its host key"):
            st.session_state.sftp_shown_key = read_host_key(host, port, 10)
    except TransferError as error:
        if known.fields.get("known_host_key") is None:
            st.error(words.plain(str(error)))


def _ask_about(shown: Any, prefect: PrefectApi, known: Connection) -> None:
    with st.container(border=True):
        if known.fields.get("known_host_key"):
            st.warning("The server shows another host key than the stored one. It may be another machine that answers: "
                       "store it only if the server's owner has announced the change.")  # fmt: skip
        st.markdown("**Is this the server's host key?** Compare it with what the server's owner says.")
        st.code(f"{shown.fingerprint}\n{shown.key}", language=None, wrap_lines=True)
        if st.button("Yes, store it and go on", key="sftp_trust", type="primary"):
            ui.act_alone(
                lambda actor: trust_host_key(engine(), CLOCK, actor, prefect, shown.key),
                lambda done: _trusted(),
            )


def _trusted() -> str:
    st.session_state.pop("sftp_shown_key", None)
    st.session_state.sftp_go_on = True
    return "The host key is stored."


def _sftp_steps(fields: dict[str, Any]) -> Iterator[Step]:
    try:
        server = SftpServer(**fields)
    except ValidationError as error:
        yield TrialStep("Read the connection", False, "; ".join(explain(error)))
        return
    yield from try_importer_path(server)


def mail(settings: SettingsSection, *, locked: bool) -> None:
    """The server that alerts are sent through."""
    found = stored(Kind.MAIL)
    if found is None:
        return
    prefect, known = found
    fields = known.fields if known else {}
    if locked:
        _read_only(fields, known, {"smtp_server": "Server", "smtp_port": "Port", "smtp_type": "Encryption",
                                   "username": "User"})  # fmt: skip
        return
    there = known.secrets if known else frozenset()
    with st.form(f"mail_form_{_number('mail')}"):
        left, middle, right = st.columns([3, 1, 2])
        server = left.text_input("Mail server", fields.get("smtp_server", ""), placeholder="smtp.example.com")
        port = middle.number_input("Port", 1, 65535, fields.get("smtp_port"), step=1, placeholder="usual")
        kind = right.selectbox("Encryption", list(_TYPES), format_func=_TYPES.__getitem__,
                               index=list(_TYPES).index(fields.get("smtp_type") or "STARTTLS"))  # fmt: skip
        left, right = st.columns(2)
        username = left.text_input("User (also the sender's address)", fields.get("username") or "",
                                   placeholder="headway@example.com; empty: no sign-in")  # fmt: skip
        hint = "stored; leave empty to keep it" if "password" in there else "none is stored"
        password = right.text_input("Password", type="password", placeholder=hint, autocomplete="new-password")
        verify = st.checkbox("The server's certificate has to be valid", fields.get("verify") is not False)
        submitted = st.form_submit_button("Save connection", type="primary")
    if submitted:
        values = {
            "smtp_server": server,
            "smtp_port": None if port is None else int(port),
            "smtp_type": kind,
            "username": username,
            "verify": verify,
        }
        _save("mail", prefect, Kind.MAIL, values, {"password": password} if password else {})
    if known is not None:
        _mail_trial(prefect, settings)


def _mail_trial(prefect: PrefectApi, settings: SettingsSection) -> None:
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    recipient = left.text_input("Test mail to", next(iter(settings.alert_recipients), ""), key="mail_to",
                                placeholder="you@example.com").strip()  # fmt: skip
    if right.button("Send test mail", key="mail_test", icon=":material/send:", width="stretch"):
        st.session_state.mail_steps = None
        try:
            checked_settings({"alert_recipients": [recipient]})
        except InvalidInput:
            st.error("Test mail to: write a mail address, such as ops@example.com")
            return
        _try(prefect, Kind.MAIL, lambda fields: try_mail(fields, recipient))
    if st.session_state.get("mail_steps"):
        _results(st.session_state.mail_steps)


# What both have


def _number(name: str) -> int:
    """Part of a form's key: another one once it was saved, so that entered secrets are gone from it."""
    return int(st.session_state.setdefault(f"_form_{name}", 0))


def _save(name: str, prefect: PrefectApi, kind: Kind, values: dict[str, Any], secrets: dict[str, str | None]) -> None:
    def saved(changed: bool) -> str:
        st.session_state[f"_form_{name}"] += 1
        st.session_state.pop(f"{name}_steps", None)
        st.session_state.pop("sftp_shown_key", None)
        if kind is Kind.SFTP:
            sync_importer_path(prefect)
        return "Saved. Test the connection before an export needs it." if changed else "Nothing has changed."

    ui.act_alone(lambda actor: save_connection(engine(), CLOCK, actor, prefect, kind, values, secrets), saved)


def _try(prefect: PrefectApi, kind: Kind, trial: Callable[[dict[str, Any]], Any]) -> None:
    """Take the steps while one looks; they stay on screen."""
    if kind is Kind.SFTP:
        sync_importer_path(prefect)
    steps: list[Step] = []
    place = st.empty()
    with place.status("Testing the connection ...", expanded=True):

        def told(step: Step) -> None:
            steps.append(step)
            _line(step)

        def do(actor: Actor) -> list[Step]:
            return try_connection(engine(), CLOCK, actor, prefect, kind, trial, told)

        done = ui.act_alone(do, "", rerun=False)
    if done is not None:  # a refusal stays on screen instead
        place.empty()
    st.session_state[f"{kind.value}_steps"] = steps


def _results(steps: list[Step]) -> None:
    with st.status(_verdict(steps), expanded=True, state="complete" if steps[-1].ok else "error"):
        for step in steps:
            _line(step)


def _verdict(steps: list[Step]) -> str:
    if steps and steps[-1].ok:
        return "The connection works: every step went well"
    return f"The connection does not work: {steps[-1].name}" if steps else "The connection was not tested"


def _line(step: Step) -> None:
    mark = ":green[:material/check_circle:]" if step.ok else ":red[:material/error:]"
    st.markdown(f"{mark} **{words.plain(step.name)}**: {words.plain(step.said)}")


def _read_only(fields: dict[str, Any], known: Connection | None, labels: dict[str, str]) -> None:
    if known is None:
        st.info("There is no connection yet. Somebody with the privilege Task management can set it up here.")
        return
    facts: list[tuple[str, object]] = [(label, fields.get(name)) for name, label in labels.items()]
    facts += [(_SECRETS[name], "stored") for name in sorted(known.secrets)]
    ui.facts(facts)
