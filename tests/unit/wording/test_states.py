"""What became of runs, their processes and their files, in words."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from headway.models.values.pickup import PickUp
from headway.models.values.run import RunStatus
from headway.wording import duration, in_zone, picked_up, process_in_words, size, size_kb, trouble

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@dataclass(kw_only=True)
class ARun:
    status: RunStatus = RunStatus.COMPLETED
    started_at: datetime | None = None
    ended_at: datetime | None = None
    bytes: int = 0
    error: str | None = None
    message: str = ""


@dataclass
class AFile:
    pickup: PickUp | None
    pickup_at: datetime | None = None
    overdue_at: datetime | None = None


def test_a_run_s_duration_needs_both_its_ends() -> None:
    assert duration(ARun(started_at=NOON, ended_at=NOON + timedelta(seconds=83))) == "01:23"
    assert duration(ARun(started_at=NOON)) == duration(ARun(ended_at=NOON)) == ""


def test_a_size_has_one_decimal() -> None:
    run = ARun(bytes=12_850)
    assert (size_kb(run), size(run), size(ARun())) == (12.5, "12.5", "0.0")


def test_trouble_is_the_error_or_what_the_run_says_where_it_did_not_complete() -> None:
    assert trouble(ARun(message="12 rows")) == ""
    assert trouble(ARun(status=RunStatus.COMPLETED_WITH_ERRORS, message="1 row refused")) == "1 row refused"
    assert trouble(ARun(status=RunStatus.FAILED, error="no such table", message="12 rows")) == "no such table"


def test_a_process_id_says_what_it_means() -> None:
    assert process_in_words(0, "Completed") == "0: it is not running"
    assert process_in_words(7, "Execution failed").startswith("7: it failed")
    assert process_in_words(7, "In progress").startswith("7: it is running on the server")


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (AFile(None), ""),
        (AFile(PickUp.LYING), "not picked up yet"),
        (AFile(PickUp.LYING, overdue_at=NOON), "NOT PICKED UP: warned at 2026-11-23 12:00 UTC"),
        (AFile(PickUp.CONSUMED, NOON), "consumed at 2026-11-23 12:00 UTC"),
        (AFile(PickUp.REPLACED, NOON), "another file had its name at 2026-11-23 12:00 UTC"),
        (AFile(PickUp.LEFT, NOON), "still there at 2026-11-23 12:00 UTC, when the watch ended"),
    ],
)
def test_what_became_of_a_delivered_file(file: AFile, said: str) -> None:
    assert picked_up(file, lambda moment: in_zone(moment, "UTC")) == said
