"""Commands about people: user add, list, grant, revoke."""

import typer

from headway.cli.common import print_table, read, say, write
from headway.clock import SystemClock

user = typer.Typer(help="Users and their privileges: view, manage, purge, users.", no_args_is_help=True)
_NAME = typer.Argument(..., metavar="NAME")
_PRIVILEGE = typer.Argument(..., metavar="PRIVILEGE", help="view, manage, purge or users")


def register(app: typer.Typer) -> None:
    app.add_typer(user, name="user")


@user.command()
def add(name: str = _NAME) -> None:
    """Add a user without privileges; prints the one-time password."""
    from headway.scheduler.usecases.people.people import add_user

    with write() as (session, actor):
        password = add_user(session, SystemClock(), actor, name)
    say(f"User '{name}' is added. One-time password, told only now: {password}")


@user.command("list")
def list_() -> None:
    """Every user with the privileges granted."""
    from headway.scheduler.usecases.people.people import users

    with read() as (session, actor):
        found = users(session, actor)
    rows = [[row.name, ", ".join(privileges), "locked" if row.locked_at else ""] for row, privileges in found]
    print_table(["User", "Privileges", ""], rows, "No users yet; `headway user add NAME` adds one.")


@user.command()
def grant(name: str = _NAME, privilege: str = _PRIVILEGE) -> None:
    """Give a user a privilege."""
    from headway.scheduler.usecases.people.people import grant as give
    from headway.scheduler.usecases.people.people import privilege_named

    with write() as (session, actor):
        changed = give(session, SystemClock(), actor, name, privilege_named(privilege))
    say(f"'{name}' has the privilege '{privilege}'{'' if changed else ' already'}.")


@user.command()
def revoke(name: str = _NAME, privilege: str = _PRIVILEGE) -> None:
    """Take a privilege from a user; refused for the last user manager."""
    from headway.scheduler.usecases.people.people import privilege_named
    from headway.scheduler.usecases.people.people import revoke as take

    with write() as (session, actor):
        changed = take(session, SystemClock(), actor, name, privilege_named(privilege))
    say(f"'{name}' {'no longer has' if changed else 'did not have'} the privilege '{privilege}'.")
