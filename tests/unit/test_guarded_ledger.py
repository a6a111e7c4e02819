"""Writes of a run's process: repeated, one at a time, never torn by a signal, ended by a lost claim."""

import os
import signal
import threading
from typing import Any

import pytest

from scheduler.guarded_ledger import GuardedLedger, LedgerDown
from scheduler.run_ledger import ExitCode, RunLedger


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


def guarded(ledger: Any) -> tuple[GuardedLedger, list[int]]:
    left: list[int] = []
    return GuardedLedger(ledger, leave=left.append), left


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
