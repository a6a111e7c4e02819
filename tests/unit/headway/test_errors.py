"""What Prefect could not be asked, or refused, belongs to the one error tree."""

import pytest

from headway.errors import PrefectError, PrefectRefused, PrefectUnreachable, Refused, SchedulerError, Unreachable
from headway.scheduler.prefect_side.server import ServerError


@pytest.mark.parametrize(
    ("error", "kind", "exit_code"),
    [
        (PrefectUnreachable("no route", nothing_done=True), Unreachable, 5),
        (PrefectRefused("no such deployment", 404), Refused, 4),
        (ServerError("the port is taken"), Unreachable, 5),
    ],
)
def test_prefects_errors_leave_the_command_line_as_the_contract_says(
    error: SchedulerError, kind: type[SchedulerError], exit_code: int
) -> None:
    assert isinstance(error, kind)
    assert error.exit_code == exit_code


@pytest.mark.parametrize("kind", [PrefectUnreachable, PrefectRefused])
def test_an_error_of_prefects_that_says_nothing_says_its_meaning(kind: type[PrefectError]) -> None:
    assert str(kind()) == (kind.__doc__ or "").strip()
