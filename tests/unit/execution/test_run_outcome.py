"""What a flow returned or raised, read as an outcome."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prefect.states import Cancelled, Completed, Failed
from pydantic import BaseModel

from headway.scheduler.execution.ledger_port import Outcome
from headway.scheduler.execution.run_outcome import failure_of, one_line, outcome_of, own_traceback


class Result(BaseModel):
    processed: int = 3
    errors: int = 1
    bytes: int = 10
    files: list[dict[str, str]] = [{"name": "a.csv"}]
    summary: str = "Sent."


FULL = Outcome(kind="completed", processed=3, errors=1, bytes=10, files=({"name": "a.csv"},), message="Sent.")


@pytest.mark.parametrize(
    ("returned", "outcome"),
    [
        (Result(), FULL),
        (Result().model_dump(), FULL),
        (SimpleNamespace(**Result().model_dump()), FULL),
        (None, Outcome(kind="completed")),
        ("processed 3", Outcome(kind="completed")),
        (3, Outcome(kind="completed")),
        ([1, 2, 3], Outcome(kind="completed")),  # a list's own 'count' and 'index' are no counts
        (
            {"processed": [1, 2], "errors": ["row 7"]},
            Outcome(kind="completed", processed=2, errors=1),
        ),  # lists are counted
        ({"errors": True}, Outcome(kind="completed")),  # a flag is no count
        ({"files": "a.csv"}, Outcome(kind="completed", files=("a.csv",))),
        ({"files": 2}, Outcome(kind="completed")),
        (
            Completed(message="All in.", data={"processed": 2}),
            Outcome(kind="completed", processed=2, message="All in."),
        ),
        (Failed(message="No\nlist."), Outcome(kind="failed", error="No list.")),
        (Failed(data=ValueError("x")), Outcome(kind="failed", error="ValueError: x")),
        (Cancelled(message="Enough."), Outcome(kind="cancelled", message="Enough.")),
    ],
)
def test_outcomes_are_read_from_what_a_flow_returns(returned: Any, outcome: Outcome) -> None:
    assert outcome_of(returned) == outcome


def test_an_error_is_one_line_of_type_and_message() -> None:
    assert failure_of(KeyError("a\n  b")).error == "KeyError: 'a\\n b'"
    assert one_line(RuntimeError("two\nlines")) == "RuntimeError: two lines"
    assert one_line(RuntimeError()) == "RuntimeError"


@pytest.mark.parametrize("permanent", [True, False])
def test_an_error_says_whether_trying_again_may_help(permanent: bool) -> None:
    error = RuntimeError("no such list")
    error.permanent = permanent  # type: ignore[attr-defined]

    assert failure_of(error).permanent is permanent


def test_a_long_error_is_cut() -> None:
    cut = one_line(RuntimeError("x" * 9999))
    assert len(cut) == 500
    assert cut.endswith("…")


def test_a_traceback_keeps_causes_and_drops_the_engines_frames() -> None:
    try:
        try:
            outcome_of(_Trap())  # a frame of the scheduler's, between ours
        except ZeroDivisionError as error:
            raise ValueError("outer") from error
    except ValueError as error:
        text = own_traceback(error)
    assert "ZeroDivisionError" in text
    assert "ValueError: outer" in text
    assert "run_outcome.py" not in text.replace("test_run_outcome.py", "")


class _Trap:
    @property
    def summary(self) -> str:
        return str(1 / 0)


class Refused(Exception):
    expected = True


def test_an_expected_error_is_its_sentence_alone() -> None:
    assert one_line(Refused("There is no\n table 'x'. Make it.")) == "There is no table 'x'. Make it."
    assert one_line(Refused()) == "Refused"  # without a sentence its name has to do


def test_only_prefects_own_folder_counts_as_the_engine(tmp_path: Path) -> None:
    """A data team's folder may be called prefect: its frames stay in the traceback."""
    file = tmp_path / "prefect" / "theirs.py"
    file.parent.mkdir()
    file.write_text("def fail():\n    raise ValueError('theirs')\n")
    names: dict[str, Any] = {}
    exec(compile(file.read_text(), str(file), "exec"), names)
    with pytest.raises(ValueError, match="theirs") as raised:
        names["fail"]()
    assert "theirs.py" in own_traceback(raised.value)
