"""Commands about tasks: tasks, why, enable, disable, delete."""

import typer

from headway.cli.common import brief, print_json, print_table, read, say, say_it_runs, task_of, wide, write
from headway.clock import SystemClock
from headway.errors import InvalidInput
from headway.models.values.actor import Privilege
from headway.scheduler.planning.plan_document import instant
from headway.wording import in_zone as shown

_JSON = typer.Option(False, "--json", help="One JSON document on stdout.")
_TASK = typer.Argument(..., metavar="TASK", help="The task's name (or its UID).")


def register(app: typer.Typer) -> None:
    for command in (tasks, why, enable, disable, delete):
        app.command()(command)


def tasks(
    everything: bool = typer.Option(False, "--all", help="Every task: disabled and historical ones too."),
    as_json: bool = _JSON,
) -> None:
    """The enabled tasks, or every one: next start, state, progress, last result."""
    from headway.scheduler.store.settings import load_settings
    from headway.scheduler.usecases.tasks.task_list import task_list

    with read() as (session, actor):
        lines = task_list(session, SystemClock(), actor, everything=everything)
        zone = load_settings(session).timezone
    if as_json:
        keys = (
            "uid name type object step enabled historical state process_id attempts progress next_start_at "  # noqa: SIM905
            "last_result needs_reset".split()
        )
        rows = [{key: getattr(line, key) for key in keys} for line in lines]
        print_json({"tasks": [{**row, "next_start_at": instant(row["next_start_at"])} for row in rows]})
        return
    table = []
    for line in lines:
        name = line.name + (" (historical)" if line.historical else "" if line.enabled else " (disabled)")
        state = "NEEDS RESET" if line.needs_reset else line.state
        if line.progress is not None:
            state += f" {line.progress:.0f} %"
        more = [line.object, line.type, line.step_shown, str(line.process_id)] if wide() else []
        table.append(
            [brief(line.next_start_at, zone), name, str(line.uid), *more, state, line.last_result or "", line.reason]
        )
    headers = ["Start time", "Task", "UID"]
    headers += ["Object", "Type", "Step", "PID"] if wide() else []
    empty = "No tasks yet. `headway apply FILE` makes some; `headway demo` shows examples."
    print_table([*headers, "State", "Last result", "Waits because"], table, empty, text=["Task", "Waits because"])


def why(task: str = _TASK, as_json: bool = _JSON) -> None:
    """Why a task waits: every rule's verdict on its waiting (else its next) run, and the earliest start."""
    from headway.scheduler.store.settings import load_settings
    from headway.scheduler.usecases.runs.why import why as explain

    with read() as (session, actor):
        found = explain(session, SystemClock(), actor, task_of(session, actor, task, Privilege.VIEW))
        zone = load_settings(session).timezone
    if found.problem:
        raise InvalidInput(f"'{found.task}' is not valid as it is defined: {found.problem}")
    if as_json:
        verdicts = [
            {
                "rule": rule.value,
                "held": hold is not None,
                "reason": hold.reason if hold else "",
                "until": instant(hold.until) if hold else None,
            }
            for rule, hold in found.verdicts
        ]
        print_json(
            {
                "task": found.task,
                "run": found.run_id,
                "due_at": instant(found.due_at),
                "earliest_start_at": instant(found.earliest_start_at),
                "verdicts": verdicts,
            }
        )
        return
    if found.due_at is None:
        say(f"'{found.task}' has no run waiting and none to come.")
    else:
        run = f"run {found.run_id}, " if found.run_id else "its next run, "
        say(f"'{found.task}': {run}due {shown(found.due_at, zone)}")
        earliest = shown(found.earliest_start_at, zone) or "unknown: it depends on an event (see below)"
        say(f"Earliest start: {earliest}")
    rows = [
        [rule.value, "holds" if hold else "ok", hold.reason if hold else "", shown(hold.until, zone) if hold else ""]
        for rule, hold in found.verdicts
    ]
    for rule, verdict, reason, until in rows:
        say(f"  {rule:9} {verdict:6} {reason}{f' (clears by itself {until})' if until else ''}")


def enable(task: str = _TASK) -> None:
    """Enable a task: it comes due again, from now on."""
    _set_enabled(task, True)


def disable(task: str = _TASK) -> None:
    """Disable a task: it gets no scheduled runs, and can still be run now."""
    _set_enabled(task, False)


def _set_enabled(task: str, enabled: bool) -> None:
    from headway.scheduler.store.tasks import has_process
    from headway.scheduler.usecases.tasks.task_state import set_state

    with write() as (session, actor):
        row = task_of(session, actor, task, Privilege.MANAGE)
        running = has_process(session, row)
        changed = set_state(session, SystemClock(), actor, row, enabled=enabled)
    word = "enabled" if enabled else "disabled"
    say(f"'{task}' is {word}." if changed else f"'{task}' was {word} already.")
    if changed and running:
        say_it_runs(task)


def delete(task: str = _TASK) -> None:
    """Delete a task that never ran. One that has run can only be marked historical."""
    from headway.scheduler.usecases.tasks.task_state import delete_task

    with write() as (session, actor):
        delete_task(session, SystemClock(), actor, task_of(session, actor, task, Privilege.MANAGE))
    say(f"'{task}' is deleted.")
