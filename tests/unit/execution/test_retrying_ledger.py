"""Writes of a run's process: repeated, one at a time, never torn by a signal, ended by a lost claim."""

import logging
import os
import signal
import threading
from typing import Any
from unittest import mock

import pytest

from headway.blocks.transfer import TransferError
from headway.flows.shared import delivery
from headway.flows.shared.result import announce_rename
from headway.scheduler.execution.ledger_port import ExitCode, RunLedger
from headway.scheduler.execution.retrying_ledger import LedgerDown, RetryingLedger
from headway.scheduler.execution.run_output import RunOutput


class Flaky:
    """A ledger of which only `running` is used: answers what it is told, in order."""

    def __init__(self, *answers: bool | Exception) -> None:
        self.answers = list(answers)
        self.closed = False

    def running(self) -> bool:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        self.closed = True


class Away:
    """A ledger that takes log lines, or whose database is away."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.is_away = False

    def write(self, call: Any, patience_seconds: float = 0) -> None:
        if self.is_away:
            raise LedgerDown("OperationalError: no such host")
        call(self)

    def try_write(self, call: Any, what: str) -> None:
        self.write(call)

    def log(self, lines: Any) -> bool:
        self.lines += [line.message for line in lines]
        return True


def guarded(ledger: Any) -> tuple[RetryingLedger, list[int]]:
    left: list[int] = []
    return RetryingLedger(ledger, leave=left.append), left


def running(ledger: RunLedger) -> bool:
    return ledger.running()


def test_a_write_that_fails_is_repeated() -> None:
    ledger, left = guarded(Flaky(OSError("locked"), OSError("locked"), True))

    ledger.write(running)
    assert left == []


def test_a_database_that_stays_away_is_an_error_of_its_own() -> None:
    ledger, _ = guarded(Flaky(*[OSError("no such host")] * 50))

    with pytest.raises(LedgerDown, match="OSError: no such host"):
        ledger.write(running, patience_seconds=0.3)


def test_a_lost_claim_ends_the_process() -> None:
    ledger, left = guarded(Flaky(False))

    ledger.write(running)
    assert left == [ExitCode.CLAIM_LOST]


def test_what_a_run_can_do_without_is_only_told(capsys: pytest.CaptureFixture[str]) -> None:
    ledger, left = guarded(Flaky(*[OSError("away")] * 50))

    ledger.try_write(running, "Progress")
    assert "Progress could not be written to the ledger: OSError: away" in capsys.readouterr().err
    assert left == []


def test_a_term_waits_until_the_write_is_done() -> None:
    order: list[str] = []

    class Slow(Flaky):
        def running(self) -> bool:
            os.kill(os.getpid(), signal.SIGTERM)
            order.append("written")
            return True

    previous = signal.signal(signal.SIGTERM, lambda number, frame: order.append("TERM"))
    try:
        guarded(Slow())[0].write(running)
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert order == ["written", "TERM"]


def test_two_threads_never_write_at_the_same_time() -> None:
    inside = 0
    most = 0

    class Counting(Flaky):
        def running(self) -> bool:
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            os.sched_yield()
            inside -= 1
            return True

    ledger, _ = guarded(Counting())
    threads = [threading.Thread(target=lambda: [ledger.write(running) for _ in range(200)]) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_what_needs_the_claim_is_in_the_ledger_at_once_and_fails_with_it(caplog: pytest.LogCaptureFixture) -> None:
    """A line before a file gets its name: behind all that was said before, and not swallowed as other lines are."""
    ledger, logger = Away(), logging.getLogger("tests.sample")
    caplog.set_level(logging.INFO, logger.name)
    with RunOutput(ledger, [logger.name], lambda: None, lambda: None):  # type: ignore[arg-type]
        logger.warning("Half way")
        announce_rename(logger, "/in/a.csv")
        assert ledger.lines == ["Half way", "Uploaded /in/a.csv: it gets its name now"]
        ledger.is_away = True
        with pytest.raises(LedgerDown):
            announce_rename(logger, "/in/a.csv")
        with (
            mock.patch.object(delivery, "get_run_logger", lambda: logger),
            pytest.raises(
                TransferError, match=r"^/in/a\.csv is uploaded and .*: OperationalError: no such host$"
            ) as refused,
        ):
            delivery.still_ours("/in/a.csv")
    assert not refused.value.permanent
