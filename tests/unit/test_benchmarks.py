"""What all benchmarks together say of themselves."""

from pathlib import Path

from benchmarks.__main__ import NAMES, verdicts


def test_every_benchmark_takes_part() -> None:
    files = {path.stem for path in (Path(__file__).parents[2] / "benchmarks").glob("*.py")}
    assert files - {"__init__", "__main__", "no_op"} == set(NAMES)


def test_what_was_reached_and_what_was_missed_is_read_from_the_output() -> None:
    output = """
Load at the beginning: 0.1
reached  median 0.27 s, at most 0.5
MISSED   idle 4.0% of a core, at most 3%
target at least 0.9 of sftp put: met (0.97)
ratio 2.10 at worst; target 2 at most: MISSED
targets: 1.5 s and 1.5 x: not met
"""
    assert [good for _, good in verdicts(output)] == [True, False, True, False, False]
    assert verdicts(output)[0][0] == "median 0.27 s, at most 0.5"
