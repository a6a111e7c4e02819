"""The `headway` command: its sub-commands, and how errors leave it (exit codes of the contract)."""

import logging
import os
import sys
import traceback

import typer
from typer.exceptions import TyperException

from headway.cli import backups, definitions, people, runs, services, tasks
from headway.cli.common import STATE, fail
from headway.errors import InvalidInput, SchedulerError
from headway.text import first_line

app = typer.Typer(
    name="headway",
    help="Starts scheduled work at the right moment, and says why it waits.\n\nFirst steps: `headway demo` shows it "
    "all on sample data; `headway up` starts a new installation. Exit codes: 0 done, 2 invalid input, 3 not allowed, "
    "4 refused by state, 5 Prefect or database unreachable, 1 a defect.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback()
def _everywhere(
    as_user: str = typer.Option(
        None, "--as", metavar="USER", envvar="HEADWAY_USER", help="Act with this user's privileges."
    ),
) -> None:
    if as_user is not None and not as_user.strip():
        raise InvalidInput("--as names nobody; leave it out to act as the operator of this machine")
    STATE.as_user = as_user


for module in (services, definitions, tasks, runs, people, backups):
    module.register(app)


def main() -> None:
    """Run the command line; every error leaves as a sentence and its exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        sys.exit(app(standalone_mode=False))  # what typer.Exit carries comes back as a value
    except SchedulerError as error:
        fail(str(error), error.exit_code)
    except typer.Abort:
        fail("stopped; nothing was changed", 4)
    except TyperException as error:  # a command line that cannot be read: usage, hint, what is wrong
        error.show(sys.stderr)  # type: ignore[attr-defined]
        sys.exit(2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        _unexpected(error)


def _unexpected(error: Exception) -> None:
    """A database that does not answer is 5; anything else is a defect of ours, kept in a file, not on the screen."""
    if type(error).__module__.startswith("sqlalchemy"):
        from sqlalchemy.exc import InternalError, OperationalError

        if isinstance(error, OperationalError | InternalError):  # Internal: PostgreSQL's for "read-only", for example
            fail(f"the database cannot be reached or written: {first_line(error.orig or error)}", 5)
    from headway.models.ledger.database import home

    place = home() / "logs" / "defects.log"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("a", encoding="utf-8") as file:
            traceback.print_exc(file=file)
        where = f"; the details are in {place}"
    except OSError:
        where = ""
    fail(f"a defect in Headway: {type(error).__name__}: {first_line(error)}{where}", 1)
