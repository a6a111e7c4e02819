"""Commands that run things: up, demo, status, worker, deploy, host-key."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from headway.cli.common import engine, machine_only, print_json, print_table, say
from headway.errors import InvalidInput, Unreachable

if TYPE_CHECKING:
    from threading import Event

    from headway.cli.demo.demo import Demo
    from headway.scheduler.installation.supervisor import Stack

_JSON = typer.Option(False, "--json", help="One JSON document on stdout.")


def register(app: typer.Typer) -> None:
    for command in (up, demo, status, worker, deploy):
        app.command()(command)
    app.command("host-key")(host_key)


def up() -> None:
    """Start everything: Prefect's server (unless PREFECT_API_URL is set), worker and dashboard. Ctrl-C ends it all."""
    from headway.cli.block_modules import BLOCK_MODULES
    from headway.scheduler.installation.supervisor import Stack

    machine_only()
    _run(Stack(say, BLOCK_MODULES), demo=False)


def demo() -> None:
    """`up` with a small parking and contact-centre world: an export is delivered over SFTP within a minute.

    SFTP server and mail catcher are embedded, on loopback. Spacing between steps is short here, so that one sees a
    chain move while one watches.
    """
    from headway.cli.block_modules import BLOCK_MODULES
    from headway.scheduler.installation.supervisor import Stack

    machine_only()
    _refuse_without_its_servers()
    _run(Stack(say, BLOCK_MODULES), demo=True)


def _refuse_without_its_servers() -> None:
    """InvalidInput where the extra `demo` is not installed."""
    from importlib.util import find_spec

    if missing := [name for name in ("asyncssh", "aiosmtpd") if find_spec(name) is None]:
        raise InvalidInput(f"the demo's own servers need {' and '.join(missing)}: pip install 'headway[demo]'")


def _run(stack: "object", *, demo: bool) -> None:
    from headway.cli.demo.demo import Demo
    from headway.models.ledger.database import home
    from headway.scheduler.installation.home_lock import in_use
    from headway.scheduler.installation.supervisor import Stack, stop_on_signals

    assert isinstance(stack, Stack)
    stop = stop_on_signals()
    world = Demo(say) if demo else None
    with in_use(home()):
        _run_until(stop, stack, world)
    say("Stopped.")


def _run_until(stop: "Event", stack: "Stack", world: "Demo | None") -> None:
    from headway.cli.demo.demo import Demo
    from headway.scheduler.installation.addresses import dashboard_url
    from headway.scheduler.installation.status import save_up, status

    try:
        if world is not None:
            world.refuse_an_installation()
            world.before()
        prefect = stack.prepare()
        if world is not None:
            world.furnish(prefect)
        elif Demo.was_here():
            say("This is the demo's HEADWAY_HOME; set another one for an installation of your own.")
        stack.start()
        save_up(prefect)
        while not stop.wait(0.3) and not all(part.ok for part in status()):
            for child in stack.children:
                child.keep_up(say)
        if not stop.is_set():
            say(f"Dashboard: {dashboard_url()}")
            say(f"Prefect:   {prefect.url.removesuffix('/api')}")
            if world is not None:
                world.begin()
            say("Ready. Ctrl-C ends all of it.")
            stack.watch(stop)
    finally:
        stack.stop()
        if world is not None:
            world.close()


def status(
    wait: float = typer.Option(0, "--wait", metavar="SECONDS", help="Wait up to so long until everything is up."),
    as_json: bool = _JSON,
) -> None:
    """What is up: database, Prefect, worker, dashboard. Exit 0 once everything is, else 5."""
    from headway.scheduler.installation.status import parts_document
    from headway.scheduler.installation.status import status as look

    deadline = time.monotonic() + wait
    parts = look()
    while not all(part.ok for part in parts) and time.monotonic() < deadline:
        time.sleep(0.5)
        parts = look()
    if as_json:
        print_json(parts_document(parts))
    else:
        for part in parts:
            say(f"{part.name:10} {'up' if part.ok else 'DOWN':5} {part.detail}")
    if down := [part.name for part in parts if not part.ok]:
        raise Unreachable(f"not up: {', '.join(down)}; `headway up` starts what is missing on this machine")


def worker() -> None:
    """One more worker, on this machine or another: same HEADWAY_DATABASE_URL, same PREFECT_API_URL."""
    import logging

    from headway.cli.common import engine
    from headway.environment import stop_grace_seconds
    from headway.models.ledger.database import home
    from headway.scheduler.engine.prefect_worker import run_worker
    from headway.scheduler.installation.addresses import use_prefect
    from headway.scheduler.installation.deploy import sync_importer_path
    from headway.scheduler.installation.exit_with_parent import end_with_parent
    from headway.scheduler.installation.home_lock import in_use

    machine_only()
    stop_grace_seconds()  # what is wrong with it is said now, and not when it is needed
    logging.getLogger("headway").setLevel(logging.INFO)
    end_with_parent()
    engine().dispose()
    with in_use(home()):
        sync_importer_path(use_prefect())
        run_worker()


def deploy(
    file: Path | None = typer.Argument(
        None, metavar="[FILE]", help="A prefect.yaml (default: the working folder's, else Headway's own)."
    ),
) -> None:
    """Deploy a prefect.yaml and refresh the task types. What other files have deployed on the pool stays."""
    from headway.cli.block_modules import BLOCK_MODULES
    from headway.scheduler.installation.addresses import use_prefect
    from headway.scheduler.installation.deploy import deploy as deploy_all
    from headway.scheduler.planning.definitions.task_types import prefect_yaml

    machine_only()
    if file is not None and not file.is_file():
        raise InvalidInput(f"{file}: there is no such file; name a prefect.yaml")
    types = deploy_all(use_prefect(), (file or prefect_yaml()).resolve(), blocks=BLOCK_MODULES)
    rows = [[one.name, one.group, "exporter" if one.exporter else "", one.description] for one in types]
    print_table(["Type", "Group", "", "Description"], rows, "prefect.yaml deploys nothing on the headway pool.")


def host_key(
    host: str = typer.Argument(..., metavar="HOST", help="The SFTP server."),
    port: int = typer.Option(22, "--port", min=1, max=65535),
    block: str = typer.Option("", "--block", metavar="NAME", help="Store it in this SFTP block once confirmed."),
    yes: bool = typer.Option(False, "--yes", help="Store it without asking."),
) -> None:
    """Show an SFTP server's host key; with --block, store it there once confirmed. No credential is sent."""
    import sys

    from headway.blocks.sftp.block import read_host_key
    from headway.blocks.transfer import TransferError
    from headway.clock import SystemClock
    from headway.privileges import OPERATOR
    from headway.scheduler.installation.addresses import use_prefect
    from headway.scheduler.usecases.settings.connections import trust_host_key

    if block:
        machine_only()
    try:
        found = read_host_key(host, port, 10)
    except TransferError as error:
        raise Unreachable(str(error)) from None
    say(f"{host}:{port} has the host key {found.fingerprint}\n{found.key}")
    if not block:
        return
    if not yes:
        if not sys.stdin.isatty():
            raise InvalidInput("host-key asks before it stores the key; give --yes where nobody can answer")
        typer.confirm(f"Is that what the server's owner says? Store it in the block '{block}'?", abort=True)
    stored = trust_host_key(engine(), SystemClock(), OPERATOR, use_prefect(), found.key, block)
    say(f"Stored in the block '{block}'." if stored else f"The block '{block}' had it already.")
