"""Commands about what is defined: plan, apply, export, deploy."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from headway.cli.common import brief, instant, print_json, print_table, read, say, say_it_runs, write
from headway.clock import SystemClock
from headway.errors import InvalidInput
from headway.models.values.finding import Finding, Level
from headway.scheduler.planning.definitions.document import SettingsSection, TaskSection, load_file
from headway.text import printable

if TYPE_CHECKING:
    from headway.scheduler.planning.forecast.planned import Planned
    from headway.scheduler.usecases.tasks.apply import Change

_JSON = typer.Option(False, "--json", help="One JSON document on stdout.")


_FAR = timedelta(days=3660)
_DEFAULTS = TaskSection(name="-", type="-").model_dump(mode="json")


def register(app: typer.Typer) -> None:
    app.command()(plan)
    app.command()(apply)
    app.command()(export)


def plan(
    file: Path | None = typer.Argument(
        None, metavar="[FILE]", help="A YAML file; without it, what is stored is forecast."
    ),
    from_: str = typer.Option("", "--from", metavar="T", help="Begin here (default: now)."),
    to: str = typer.Option("", "--to", metavar="T", help="Nothing comes due from here on (default: 7 days later)."),
    as_json: bool = _JSON,
) -> None:
    """Forecast: what will start when, and what holds it until then.

    A FILE is forecast alone, from an empty board; neither server nor database is needed. A time without an offset is
    in the settings' zone. Example: headway plan tasks.yaml --from 2026-11-23 --to 2026-11-30
    """
    from headway.scheduler.planning.forecast.forecast import forecast
    from headway.scheduler.planning.plan_document import document

    now = SystemClock().now()
    if file is None:
        _plan_stored(from_, to, as_json)
        return
    from headway.scheduler.planning.definitions.resolved_definitions import build
    from headway.scheduler.planning.definitions.task_types import known_types
    from headway.scheduler.planning.lint import lint

    definitions = load_file(file)
    zone = (definitions.settings or SettingsSection()).timezone
    start, end = _range(from_, to, zone, now)
    resolved = build(definitions, known_types())
    findings = lint(resolved, start)
    runs = forecast(resolved.tasks, resolved.calendar, resolved.limits.max_running, start, end)
    if as_json:
        print_json(document(start, end, runs, findings))
    else:
        _print_plan(runs, findings, zone)
    _stop_on_errors(findings)


def _plan_stored(from_: str, to: str, as_json: bool) -> None:
    from headway.scheduler.planning.plan_document import document
    from headway.scheduler.usecases.ahead.forecast_stored import forecast_stored

    clock = SystemClock()
    with read() as (session, actor):
        from headway.scheduler.store.settings import load_settings

        zone = load_settings(session).timezone
        start, end = _range(from_, to, zone, clock.now())
        runs, findings = forecast_stored(session, clock, actor, start, end)
    if as_json:
        print_json(document(start, end, runs, findings))
        return
    _print_plan(runs, findings, zone)
    for line in _errors(findings):
        print(printable(line), file=sys.stderr)


def _range(from_: str, to: str, zone: str, now: Any) -> tuple[Any, Any]:
    start = instant(from_, zone, "--from") if from_ else now
    end = instant(to, zone, "--to") if to else start + timedelta(days=7)
    if end <= start:
        raise InvalidInput(
            f"--to {to or end.isoformat()} is not later than --from {from_ or 'now'}: give a later --to, or an earlier "
            "--from"
        )
    if end - start > _FAR:
        raise InvalidInput(f"--to {to} is more than ten years after --from {from_ or 'now'}; look at less at once")
    return start, end


def _print_plan(runs: "list[Planned]", findings: list[Finding], zone: str) -> None:
    rows = [
        [
            brief(run.started_at, zone) if run.outcome == "planned" else run.outcome,
            brief(run.due_at, zone),
            run.task.name,
            run.task.type,
            str(run.task.step),
            "; ".join(hold.reason for hold in run.holds),
        ]
        for run in runs
    ]
    headers = ["Start", "Due", "Task", "Type", "Step", "Held by"]
    print_table(headers, rows, "Nothing comes due in that time.", text=["Task", "Held by"])
    if warnings := [finding for finding in findings if finding.level is Level.WARNING]:
        say("")
        _print_findings(warnings)


def _print_findings(findings: list[Finding]) -> None:
    for finding in findings:
        say(f"{finding.id} {finding.level}: {finding.message}")


def _stop_on_errors(findings: list[Finding]) -> None:
    if errors := _errors(findings):
        raise InvalidInput(errors)


def _errors(findings: list[Finding]) -> list[str]:
    return [f"{finding.id} error: {finding.message}" for finding in findings if finding.level is Level.ERROR]


def apply(
    file: Path = typer.Argument(..., metavar="FILE", help="The YAML file."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Only show the difference and the lint."),
) -> None:
    """Make settings, windows and tasks as a YAML file says, all or nothing; what it does not name stays.

    Prints what changes and what the lint finds. A finding of level error (or a file that is not valid) changes
    nothing and exits 2. `headway export` writes the same YAML.
    """
    from headway.scheduler.usecases.tasks.apply import apply as apply_definitions

    definitions = load_file(file)
    with write() as (session, actor):
        applied = apply_definitions(session, SystemClock(), actor, definitions, dry_run=dry_run)
    for change in [] if applied.errors else applied.changes:
        _print_change(change)
    if not applied.changes:
        say("Nothing to change.")
    _print_findings([finding for finding in applied.findings if finding.level is Level.WARNING])
    for name in applied.running:
        say_it_runs(name)
    _stop_on_errors(applied.findings)
    if dry_run and applied.changes:
        say("Dry run: nothing was changed.")
    elif applied.changes:
        from headway.scheduler.installation.deploy import sync_importer_path

        sync_importer_path()


def _print_change(change: "Change") -> None:
    sign = "+" if change.before is None else "-" if change.after is None else "~"
    say(f"{sign} {change.kind} '{change.name}'" if change.kind != "settings" else f"{sign} settings")
    for key in change.fields():
        before, after = (change.before or {}).get(key), (change.after or {}).get(key)
        if change.before is None:
            if after not in (None, "", [], {}, _DEFAULTS.get(key)):
                say(f"    {key}: {_short(after)}")
        else:
            say(f"    {key}: {_short(before)} -> {_short(after)}")


def _short(value: Any) -> Any:
    """A schedule without what it does not say."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {one}" for key, one in value.items() if one is not None)
    return value


def export() -> None:
    """Print what is stored as YAML; `headway apply` of it changes nothing."""
    from headway.scheduler.usecases.tasks.export import as_yaml, export_definitions

    with read() as (session, actor):
        definitions = export_definitions(session, actor)
    print(as_yaml(definitions), end="")
