"""How an error leaves the command line."""

import pytest
from sqlalchemy.exc import InternalError, OperationalError

from headway.cli.app import _unexpected
from headway.cli.services import _refuse_without_its_servers
from headway.errors import InvalidInput, Refused, SchedulerError, Unreachable
from headway.scheduler.prefect_side.http import PrefectRefused, PrefectUnreachable
from headway.scheduler.prefect_side.server import ServerError


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (OperationalError, "attempt to write a readonly database"),  # SQLite
        (InternalError, "cannot execute INSERT in a read-only transaction"),  # PostgreSQL
    ],
)
def test_a_database_that_may_not_be_written_is_no_defect_of_ours(
    kind: type[OperationalError] | type[InternalError], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        _unexpected(kind("INSERT", {}, Exception(said)))
    assert left.value.code == 5
    assert capsys.readouterr().err == f"the database cannot be reached or written: {said}\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PrefectUnreachable("Prefect does not answer"), 5),
        (ServerError("Prefect's server ended while it started"), 5),
        (PrefectRefused("Prefect refused POST /deployments"), 4),
    ],
)
def test_what_prefect_could_not_be_asked_or_refused_is_in_the_one_tree(error: SchedulerError, code: int) -> None:
    assert isinstance(error, Unreachable if code == 5 else Refused) and error.exit_code == code


def test_the_demo_without_its_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InvalidInput, match=r"asyncssh and aiosmtpd: pip install 'headway\[demo\]'"):
        _refuse_without_its_servers()
