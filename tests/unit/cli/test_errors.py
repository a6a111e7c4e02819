"""How an error leaves the command line."""

import pytest
from sqlalchemy.exc import InternalError, OperationalError

from headway.cli.app import _unexpected


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
