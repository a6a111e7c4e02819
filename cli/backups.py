"""Commands that keep HEADWAY_HOME safe: backup, restore."""

from pathlib import Path

import typer

from headway.cli.common import machine_only, say


def register(app: typer.Typer) -> None:
    app.command()(backup)
    app.command()(restore)


def backup(
    folder: Path = typer.Argument(..., metavar="DIR", help="A new folder."),
) -> None:
    """Copy everything in HEADWAY_HOME to a new folder, while it runs. It holds keys and secrets: keep it safe."""
    from headway.models.ledger.database import home
    from headway.scheduler.installation.backup import back_up

    machine_only()
    made = back_up(home(), folder.absolute())
    say(f"{len(made.files)} files, {made.bytes:,} bytes in {folder}.")
    for what in made.outside:
        say(f"Not in it: {what}.")


def restore(
    folder: Path = typer.Argument(..., metavar="DIR", help="What `headway backup` made."),
    replace: bool = typer.Option(False, "--replace", help="Set aside what is in HEADWAY_HOME."),
) -> None:
    """Put a back-up into HEADWAY_HOME, after checking every file. Refused while anything runs on it."""
    from headway.models.ledger.database import home
    from headway.scheduler.installation.restore import restore as put_back

    machine_only()
    restored, aside = put_back(folder.absolute(), home(), replace=replace)
    say(f"{len(restored.files)} files of {restored.made_at} are in {home()}.")
    if aside is not None:
        say(f"What was there before is in {aside}.")
    for what in restored.outside:
        say(f"Not restored: {what}.")
