"""A path that no delivery could be made to is refused at save, wherever it is entered."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from headway.blocks.sftp.block import SftpServer
from headway.dashboard.settings.fields import problem_with
from headway.errors import InvalidInput
from headway.models.ledger.database import reading, writing
from headway.privileges import OPERATOR
from headway.scheduler.planning.definitions.document import load_file
from headway.scheduler.store import settings
from headway.scheduler.store.settings import load_settings
from headway.scheduler.usecases.settings.configure import configure
from headway.scheduler.usecases.settings.connections import Kind, save_connection
from tests.integration.usecases.settings.test_connections import SFTP, Blocks
from tests.support.installation import Desk

FIELD = "customer_importer_file_path"
GOOD = r"\\flexftp\acme\import"
REFUSED = [
    (r"\\flexftp\acme\imp:ort", 'holds one of < > : " '),
    (r"\\flexftp\acme\imp*ort", 'holds one of < > : " '),
    (r"\\flex ftp\x", "'flex ftp' is no name of a server"),
    (r"\\flexftp\acme\import.", "ends with a dot"),
]
each_refused_path = pytest.mark.parametrize(("path", "said"), REFUSED)


@each_refused_path
def test_the_sftp_block_refuses_it(path: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        SftpServer(host="flexftp", username="ops", importer_path=path)


@each_refused_path
def test_the_dashboard_says_so_under_its_field(path: str, said: str) -> None:
    assert said in (problem_with(FIELD, path) or "") and problem_with(FIELD, GOOD) is None


@each_refused_path
def test_configure_refuses_it_and_writes_nothing(quick_desk: Desk, path: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said), writing(quick_desk.engine) as session:
        configure(session, quick_desk.clock, OPERATOR, {FIELD: path})
    assert _stored(quick_desk) is None and quick_desk.audit("edit settings") == []


@each_refused_path
def test_a_file_with_it_is_refused(tmp_path: Path, path: str, said: str) -> None:
    file = tmp_path / "tasks.yaml"
    file.write_text(f"settings:\n  {FIELD}: '{path}'\n")
    with pytest.raises(InvalidInput, match=rf"settings\.{FIELD}: .*{said}"):
        load_file(file)


@pytest.mark.parametrize("server", ["flex ftp", "imp:ort", "imp*ort", "flexftp.", r"\\flexftp"])
def test_a_connection_cannot_bear_a_name_that_no_path_could_name(quick_desk: Desk, server: str) -> None:
    blocks = Blocks()
    with pytest.raises(InvalidInput, match=r"path_server: .* is no name of a server"):
        _connect(quick_desk, blocks, path_server=server)
    assert blocks.stored == {}


@each_refused_path
def test_a_connection_form_takes_no_path_of_its_own(quick_desk: Desk, path: str, said: str) -> None:
    with pytest.raises(InvalidInput, match="importer_path: unknown key"):
        _connect(quick_desk, Blocks(), importer_path=path)


def test_a_stored_value_that_is_refused_now_stops_nothing_and_can_be_corrected(quick_desk: Desk) -> None:
    with writing(quick_desk.engine) as session:
        settings.put(session, FIELD, REFUSED[0][0])
        settings.put(session, "alert_recipients", ["ops@example.com", "ä@example.com"])
        settings.put(session, "max_running", 9)
    with reading(quick_desk.engine) as session:
        known = load_settings(session)
    assert known.customer_importer_file_path is None and known.max_running == 9
    assert known.alert_recipients == ["ops@example.com"]
    with writing(quick_desk.engine) as session:
        configure(session, quick_desk.clock, OPERATOR, {FIELD: GOOD}, opened=known)
    assert _stored(quick_desk) == GOOD


def _stored(desk: Desk) -> str | None:
    with reading(desk.engine) as session:
        return load_settings(session).customer_importer_file_path


def _connect(desk: Desk, blocks: Blocks, **fields: Any) -> None:
    save_connection(desk.engine, desk.clock, OPERATOR, blocks, Kind.SFTP, {**SFTP, **fields}, {})
