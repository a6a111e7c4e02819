"""Reads a run's outcome from what its flow returned or raised."""

import importlib.util
import traceback
from collections.abc import Mapping, Sequence, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from headway.scheduler.execution.ledger_port import Outcome

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

_LONGEST_ERROR = 500
_PREFECT = Path(getattr(importlib.util.find_spec("prefect"), "origin", None) or "prefect").parent


def outcome_of(returned: Any) -> Outcome:
    """The outcome of a flow that returned this.

    Counts are read from an object's attributes or a mapping's keys: processed, errors, bytes, files
    and summary. A Prefect state says by its type how it ended, and has the counts in its data.
    """
    from prefect.client.schemas.objects import State

    if isinstance(returned, State):
        return _outcome_of_state(returned)
    return Outcome(kind="completed", message=_text(_read(returned, "summary")), **counts_of(returned))


def failure_of(error: BaseException) -> Outcome:
    """The outcome of a flow that raised this; permanent if the exception has that attribute, and true."""
    return Outcome(kind="failed", error=one_line(error), permanent=getattr(error, "permanent", False) is True)


def state_failure(state: "State[Any]") -> Outcome:
    """The outcome of a flow that Prefect ended in this state without a word of the flow's own."""
    message = " ".join((state.message or "").split())
    if state.is_cancelled() or state.is_cancelling():
        return Outcome(kind="cancelled", message=message or "Cancelled in Prefect.")
    if isinstance(state.data, BaseException):
        return failure_of(state.data)
    return Outcome(kind="failed", error=(message or f"Prefect ended it as {state.name}.")[:_LONGEST_ERROR])


def is_expected(error: BaseException) -> bool:
    """Whether its class says `expected = True`: its message is a sentence for an operator, not a defect."""
    return getattr(error, "expected", False) is True and bool(str(error))


def one_line(error: BaseException) -> str:
    """Exception type and message, in one line of at most 500 characters; of an expected error the message alone."""
    message = " ".join(str(error).split())
    if is_expected(error):
        return message if len(message) <= _LONGEST_ERROR else message[: _LONGEST_ERROR - 1] + "…"
    named = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return named if len(named) <= _LONGEST_ERROR else named[: _LONGEST_ERROR - 1] + "…"


def own_traceback(error: BaseException) -> str:
    """The traceback without the engine's frames: what is left is the flow's and its libraries'."""
    summary = traceback.TracebackException.from_exception(error)
    _drop_engine_frames(summary, set())
    return "".join(summary.format()).rstrip()


def _drop_engine_frames(summary: traceback.TracebackException, seen: set[int]) -> None:
    seen.add(id(summary))
    kept = [frame for frame in summary.stack if not _is_engine(frame.filename)]
    summary.stack = traceback.StackSummary.from_list(kept)
    for linked in (summary.__cause__, summary.__context__):
        if linked is not None and id(linked) not in seen:
            _drop_engine_frames(linked, seen)


def _is_engine(filename: str) -> bool:
    path = Path(filename)
    return path.parent == Path(__file__).parent or path.is_relative_to(_PREFECT)


def _outcome_of_state(state: "State[Any]") -> Outcome:
    if not state.is_completed():
        return state_failure(state)
    message = state.message or _text(_read(state.data, "summary"))
    return Outcome(kind="completed", message=message, **counts_of(state.data))


def counts_of(result: Any) -> dict[str, Any]:
    """processed, errors, bytes and files of what a flow returned, as Outcome takes them."""
    return {
        "processed": _number(_read(result, "processed")),
        "errors": _number(_read(result, "errors")) or 0,
        "bytes": _number(_read(result, "bytes")),
        "files": _files(_read(result, "files")),
    }


def _read(result: Any, name: str) -> Any:
    if isinstance(result, Mapping):
        return result.get(name)
    # A plain list, text or number has no counts, whatever its class offers under these names.
    if result is None or isinstance(result, str | bytes | int | float | Sequence):
        return None
    found = getattr(result, name, None)
    return None if callable(found) else found


def _number(value: Any) -> int | None:
    """A count; of a list of things, how many."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return int(value)
    return len(value) if isinstance(value, Sized) and not isinstance(value, str | bytes) else None


def _files(value: Any) -> tuple[Any, ...]:
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, Sequence | set | frozenset) or isinstance(value, bytes):
        return ()
    return tuple(_plain(one) for one in value)


def _plain(value: Any) -> Any:
    """As JSON takes it."""
    if hasattr(value, "model_dump"):
        return cast(Any, value).model_dump(mode="json")
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


def _text(value: Any) -> str:
    return "" if value is None else str(value)
