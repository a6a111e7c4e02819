"""calling_list_import: where files come from, late and missing ones."""

import logging
import os
from email import message_from_bytes

import pytest

from headway.blocks.drop_folder import DropFolder
from headway.flows.shared import incoming
from tests.integration.flows.calling_list_import.calling_lists import FILE, load, names, people, put
from tests.support.mail_server import MailServer
from tests.support.sftp_faults import FaultServer

pytest_plugins = ["tests.support.flow_world", "tests.support.kill_points", "tests.support.mail_server"]


# --- where files come from ----------------------------------------------------------------------------------


def test_a_folder_of_another_sftp_server(server, own_world):
    server.block(attempts=1, importer_path=None).save("partner", overwrite=True)
    (server.root / "leads").mkdir()
    (server.root / "leads" / "people.csv").write_text(FILE + ",,,,,,,\n")
    load(source="sftp", sftp_server="partner", folder="leads").done()
    assert "C000900" in people(own_world)
    found = sorted(path.name for path in (server.root / "leads").rglob("*.csv"))
    assert found == ["people.csv", "people_error.csv"]
    assert (server.root / "leads" / "archive" / "people.csv").exists()


def test_a_drop_folder(server, own_world, tmp_path):
    (tmp_path / "drop").mkdir()
    (tmp_path / "drop" / "people.csv").write_text(FILE)
    DropFolder(root=str(tmp_path / "drop")).save("drop-folder", overwrite=True)
    load(source="drop_folder").done()
    assert "C000900" in people(own_world)


def _several(server: FaultServer) -> None:
    for age, (name, balance) in enumerate([("people_b.csv", "1"), ("people_c.csv", "2"), ("people_a.csv", "3")]):
        path = put(server, f"account,balance\nC000003,{balance}\nN{age},0\n", name)
        os.utime(path, (1_700_000_000 + age, 1_700_000_000 + age))


def test_all_files_are_loaded_oldest_first(server, own_world):
    _several(server)
    result = load(file_name="people_*.csv").done()
    assert result.processed == 6
    assert result.summary.endswith("from people_b.csv, people_c.csv, people_a.csv")
    assert people(own_world)["C000003"]["fields"]["balance"] == "3"


def test_the_newest_file_is_loaded_and_the_older_ones_are_put_away(server, own_world):
    _several(server)
    ran = load(file_name="people_*.csv", which="newest", policy="replace")
    assert ran.done().processed == 2
    assert set(people(own_world)) == {"C000003", "N2"}
    assert names(server) == ["archive/people_a.csv", "archive/people_b.csv", "archive/people_c.csv"]
    assert "people_b.csv is older than people_a.csv: not loaded." in ran.lines(logging.WARNING)


def test_replace_takes_one_file_only(server, own_world):
    _several(server)
    ran = load(file_name="people_*.csv", policy="replace")
    assert ran.ended == "FAILED"
    assert "3 files fit 'people_*.csv'" in ran.message
    assert len(people(own_world)) == 10


@pytest.mark.parametrize(("on_missing", "ended"), [("fail", "FAILED"), ("wait", "FAILED"), ("skip", "COMPLETED")])
def test_a_missing_file(server, on_missing, ended):
    ran = load(on_missing=on_missing, wait_minutes=0)
    assert ran.ended == ended
    assert ("Expected file did not arrive: no file 'people.csv' in /acme/import" in ran.message) == (ended == "FAILED")


class _Arrives(logging.Handler):
    """Puts the file once the run has said that it is late."""

    def __init__(self, server: FaultServer) -> None:
        super().__init__(logging.ERROR)
        self.server = server

    def emit(self, record: logging.LogRecord) -> None:
        put(self.server, FILE)


def test_a_late_file_is_told_of_and_loaded_when_it_comes(server, own_world, mail_server: MailServer, monkeypatch):
    monkeypatch.setattr(incoming, "POLL_SECONDS", 0.01)
    logger, arrives = logging.getLogger("prefect.flow_runs"), _Arrives(server)
    logger.addHandler(arrives)
    try:
        mail = {"to": ["ops@example.com"], "subject": "Late"}
        ran = load(on_missing="alert", wait_minutes=5, alert_minutes=0, alert_mail=mail)
    finally:
        logger.removeHandler(arrives)
    result = ran.done()
    assert (result.processed, result.errors) == (2, 1)
    told = "Expected file did not arrive: no file 'people.csv' in /acme/import for 0:00:00; still waiting."
    assert ran.lines(logging.ERROR) == [told]
    (sent,) = mail_server.mails
    assert sent.recipients == ["ops@example.com"]
    assert told in str(message_from_bytes(sent.content).get_payload(decode=True), "utf-8")
