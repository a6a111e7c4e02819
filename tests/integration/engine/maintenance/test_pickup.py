"""The pick-up watch: consumed at, replaced, overdue with one warning, and a server that cannot be looked at."""

import logging
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import col, select

from headway.models.ledger.database import reading
from headway.models.ledger.tables import ChoreRow, RunFileRow
from headway.models.values.pickup import PickUp
from headway.scheduler.engine.maintenance import pickup
from headway.scheduler.engine.maintenance.pickup import EVERY, WATCHED_FOR, LookFailed, PickupWatch
from headway.scheduler.store.runs.run_writer import open_run_ledger
from headway.wording import picked_up
from tests.integration.engine.maintenance.test_alerts import _Inbox, inbox
from tests.support.databases import url_of
from tests.support.installation import Desk
from tests.support.openssh import OpenSsh
from tests.support.sftp_faults import FaultServer

__all__ = ["inbox"]
PATH = "/acme/import/citations.csv"


class Importer:
    """The importer's folder as a look sees it, and the block that leads there."""

    def __init__(self) -> None:
        self.files: dict[str, int] = {}
        self.looks = 0
        self.problem: str | None = None

    def look(self, block: Any, paths: list[str]) -> dict[str, int | None]:
        self.looks += 1
        if self.problem:
            raise LookFailed(self.problem)
        return {path: self.files.get(path) for path in paths}

    def block(self, slug: str, name: str, *, secrets: bool = False) -> dict[str, Any] | None:
        return {"host": "flexftp"} if (slug, name, secrets) == ("sftp-server", "importer", True) else None


@pytest.fixture
def importer() -> Importer:
    return Importer()


def watch_of(desk: Desk, importer: Importer, worker_id: str = "worker-1") -> PickupWatch:
    return PickupWatch(desk.engine, importer, worker_id, importer.look)  # type: ignore[arg-type]


def deliver(
    desk: Desk, importer: Importer, path: str = PATH, size: int = 10, name: str = "Export", **receipt: Any
) -> int:
    """A run of the task that delivers one file; the run's ID."""
    if not any(row.name == name for row in _tasks(desk)):
        desk.tasks(f"name: {name}, type: data_export, on_failure: continue")
    desk.clock.move(seconds=1)
    desk.run_now(name)
    assert desk.turn() == [name]
    order = desk.orders[name]
    told = {"name": Path(path).name, "path": path, "bytes": size, "sha256": "0" * 64, "block": "importer", **receipt}
    ledger = open_run_ledger(url_of(desk.engine), order.run_id, order.claim)
    assert ledger.receipt(told)
    ledger.close()
    importer.files[path] = size
    _at(desk, order.run_id)
    assert desk.end(name)
    return order.run_id


def _tasks(desk: Desk) -> list[Any]:
    from headway.models.ledger.tables import TaskRow

    with reading(desk.engine) as session:
        return list(session.exec(select(TaskRow)).all())


def _at(desk: Desk, run_id: int) -> None:
    """The process wrote its receipt by the machine's clock; here the test's clock counts."""
    for row in files(desk, run_id):
        desk.change(row, at=desk.clock.now())


def files(desk: Desk, run_id: int) -> list[RunFileRow]:
    with reading(desk.engine) as session:
        found = select(RunFileRow).where(RunFileRow.run_id == run_id).order_by(col(RunFileRow.id))
        return list(session.exec(found).all())


def test_a_file_that_is_gone_is_consumed_at_that_time(desk: Desk, importer: Importer) -> None:
    run_id, watch = deliver(desk, importer), watch_of(desk, importer)
    assert watch.round(desk.clock.move(minutes=1)) == []
    assert files(desk, run_id)[0].pickup is PickUp.LYING
    del importer.files[PATH]
    seen_at = desk.clock.move(minutes=1)
    assert watch.round(seen_at) == []
    (file,) = files(desk, run_id)
    assert (file.pickup, file.pickup_at) == (PickUp.CONSUMED, seen_at)
    assert picked_up(file, lambda moment: f"{moment:%H:%M}") == f"consumed at {seen_at:%H:%M}"
    watch.round(desk.clock.move(minutes=1))
    assert importer.looks == 2, "it was looked at although nothing lies there any more"


def test_a_file_that_stays_is_warned_about_once(desk: Desk, importer: Importer, inbox: _Inbox) -> None:
    desk.define("settings: {alert_recipients: [ops@example.com], pickup_after: '02:00:00'}")
    run_id, watch = deliver(desk, importer), watch_of(desk, importer)
    assert watch.round(desk.clock.move(hours=1, minutes=59)) == []
    (overdue,) = watch.round(desk.clock.move(minutes=1))
    assert (overdue.run_id, overdue.task, overdue.paths) == (run_id, "Export", [PATH])
    for _ in range(3):
        assert watch.round(desk.clock.move(hours=1)) == []
    assert len(inbox.mails) == 1
    text = inbox.mails[0].decode()
    assert "what 'Export' delivered has not been picked up for 2 h 00 min" in " ".join(text.split())
    assert PATH in text and f"headway log {run_id}" in text
    notes = [event for event in desk.events(run_id) if event.before == event.after]
    assert [note.why for note in notes] == [f"not picked up within 2 h 00 min: {PATH}"]
    assert "NOT PICKED UP" in picked_up(files(desk, run_id)[0], str)
    del importer.files[PATH]
    watch.round(desk.clock.move(hours=1))
    assert desk.events(run_id)[-1].why == f"{PATH} has been consumed after all"


def test_files_of_one_run_are_one_warning(desk: Desk, importer: Importer, inbox: _Inbox) -> None:
    run_id = deliver(desk, importer)
    order = desk.orders["Export"]
    desk.change(desk.run("Export"), status="running", ended_at=None, claim=order.claim)
    ledger = open_run_ledger(url_of(desk.engine), run_id, order.claim)
    ready = {"name": "citations.csv.done", "path": f"{PATH}.done", "bytes": 0, "block": "importer"}
    assert ledger.receipt(ready)
    ledger.close()
    importer.files[f"{PATH}.done"] = 0
    _at(desk, run_id)
    (overdue,) = watch_of(desk, importer).round(desk.clock.move(hours=4))
    assert overdue.paths == [PATH, f"{PATH}.done"]


def test_only_the_importers_files_are_watched(desk: Desk, importer: Importer) -> None:
    elsewhere = deliver(desk, importer, "/reports/a.pdf", block=None)
    at_once = deliver(desk, importer, "/acme/import/b.csv", consumed=True)
    assert watch_of(desk, importer).round(desk.clock.move(days=1)) == []
    assert importer.looks == 0
    assert files(desk, elsewhere)[0].pickup is None and picked_up(files(desk, elsewhere)[0], str) == ""
    assert files(desk, at_once)[0].pickup is PickUp.CONSUMED


def test_a_later_delivery_of_the_same_name_replaces_the_file(desk: Desk, importer: Importer) -> None:
    first, second = deliver(desk, importer), deliver(desk, importer, size=20)
    assert files(desk, first)[0].pickup is PickUp.REPLACED
    assert "another file had its name" in picked_up(files(desk, first)[0], str)
    importer.files[PATH] = 21  # and a stranger's file replaces that
    watch_of(desk, importer).round(desk.clock.move(minutes=1))
    assert files(desk, second)[0].pickup is PickUp.REPLACED


def test_what_lies_there_for_weeks_is_given_up(desk: Desk, importer: Importer) -> None:
    run_id, watch = deliver(desk, importer), watch_of(desk, importer)
    assert len(watch.round(desk.clock.move(days=1))) == 1
    watch.round(desk.clock.move(days=WATCHED_FOR.days))
    assert files(desk, run_id)[0].pickup is PickUp.LEFT
    assert "when the watch ended" in picked_up(files(desk, run_id)[0], str)


def test_without_pickup_after_nobody_looks(desk: Desk, importer: Importer) -> None:
    desk.define("settings: {pickup_after: null}")
    deliver(desk, importer)
    assert watch_of(desk, importer).round(desk.clock.move(days=2)) == []
    assert importer.looks == 0


def test_a_server_that_cannot_be_looked_at_is_logged_once_and_does_no_harm(
    desk: Desk, importer: Importer, caplog: pytest.LogCaptureFixture
) -> None:
    run_id, watch = deliver(desk, importer), watch_of(desk, importer)
    importer.problem = "flexftp:22 does not answer."
    with caplog.at_level(logging.INFO, logger="headway.pickup"):
        for _ in range(3):
            assert watch.round(desk.clock.move(hours=5)) == []
        assert files(desk, run_id)[0].pickup is PickUp.LYING
        assert caplog.text.count("flexftp:22 does not answer") == 1
        importer.problem = None
        assert len(watch.round(desk.clock.move(minutes=1))) == 1
    assert "can be looked at again" in caplog.text


def test_of_two_workers_one_looks(desk: Desk, importer: Importer) -> None:
    deliver(desk, importer)
    now, looking, go_on = desk.clock.move(hours=5), threading.Event(), threading.Event()
    warned: list[Any] = []

    def slow_look(block: Any, paths: list[str]) -> dict[str, int | None]:
        looking.set()
        assert go_on.wait(30)
        return importer.look(block, paths)

    slow = PickupWatch(desk.engine, importer, "worker-1", slow_look)  # type: ignore[arg-type]
    thread = threading.Thread(target=lambda: warned.extend(slow.round(now)))
    thread.start()
    assert looking.wait(30)
    other = watch_of(desk, importer, "worker-2")
    assert other.round(now) == other.round(now + EVERY) == []
    assert importer.looks == 0
    go_on.set()
    thread.join(30)
    assert len(warned) == 1
    assert other.round(now + EVERY / 2) == [] and importer.looks == 1, "the next round is not due yet"
    other.round(now + EVERY)
    assert importer.looks == 2


def test_a_worker_that_dies_while_it_looks_keeps_nobody_from_looking_later(desk: Desk, importer: Importer) -> None:
    deliver(desk, importer)
    now = desk.clock.move(hours=5)

    def dies(block: Any, paths: list[str]) -> dict[str, int | None]:
        with reading(desk.engine) as session:
            assert session.exec(select(ChoreRow)).one().worker_id == "worker-1"
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pickup.pickups, "finish_chore", lambda *args: None)  # nor does it live to give it back
        with pytest.raises(KeyboardInterrupt):
            PickupWatch(desk.engine, importer, "worker-1", dies).round(now)  # type: ignore[arg-type]
    other = watch_of(desk, importer, "worker-2")
    assert other.round(now + EVERY) == []
    assert len(other.round(now + timedelta(minutes=3))) == 1


class RealImporter(Importer):
    """The block of a real server; looked at by the process that a worker starts."""

    def __init__(self, server: FaultServer | OpenSsh, **changes: Any) -> None:
        super().__init__()
        block = server.block(**changes)
        secrets = {name: getattr(block, name) for name in ("password", "private_key", "private_key_passphrase")}
        shown = {name: value.get_secret_value() for name, value in secrets.items() if value is not None}
        self.fields = {**block.model_dump(mode="json", exclude=set(secrets)), **shown}

    def block(self, slug: str, name: str, *, secrets: bool = False) -> dict[str, Any] | None:
        return self.fields


def test_a_real_server_is_looked_at(any_sftp: FaultServer | OpenSsh, quick_desk: Desk) -> None:
    server, desk = RealImporter(any_sftp), quick_desk
    folder = any_sftp.block().importer_folder()
    (any_sftp.folder / "stays.csv").write_bytes(b"0123456789")
    stays = deliver(desk, server, f"{folder}/stays.csv", name="Stays")
    gone = deliver(desk, server, f"{folder}/gone.csv", name="Stays")
    overdue = PickupWatch(desk.engine, server, "worker-1").round(desk.clock.move(hours=5))  # type: ignore[arg-type]
    assert [one.run_id for one in overdue] == [stays]
    assert (files(desk, stays)[0].pickup, files(desk, gone)[0].pickup) == (PickUp.LYING, PickUp.CONSUMED)


@pytest.mark.parametrize(
    ("changes", "folder", "words"),
    [
        ({}, "/acme/no_such_folder", "refused to look into"),  # nobody can say that it was picked up
        ({"known_host_key": None}, "", "host key"),
        ({"port": 1}, "", "127.0.0.1:1"),
    ],
)
def test_a_real_server_that_refuses_says_why(
    fault_server: FaultServer,
    quick_desk: Desk,
    caplog: pytest.LogCaptureFixture,
    changes: dict[str, Any],
    folder: str,
    words: str,
) -> None:
    desk, server = quick_desk, RealImporter(fault_server)
    server.fields.update(changes)
    run_id = deliver(desk, server, f"{folder or '/acme/import'}/a.csv")
    with caplog.at_level(logging.WARNING, logger="headway.pickup"):
        assert PickupWatch(desk.engine, server, "worker-1").round(desk.clock.move(hours=5)) == []  # type: ignore[arg-type]
    assert files(desk, run_id)[0].pickup is PickUp.LYING
    assert words in caplog.text
