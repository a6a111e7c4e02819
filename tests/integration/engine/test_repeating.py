"""Work that a thread repeats goes on after an error, and ends when the worker stops."""

import threading

from headway.scheduler.engine.repeating import repeat


def test_an_error_costs_one_round_only() -> None:
    stopping, rounds = threading.Event(), []

    def work() -> None:
        rounds.append(len(rounds))
        if len(rounds) == 1:
            raise OSError
        stopping.set()

    repeat(work, 0, stopping)
    assert rounds == [0, 1]
