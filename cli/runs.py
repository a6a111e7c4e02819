"""Commands about runs: run, reset, log, purge, release."""

import sys
import threading
from typing import TYPE_CHECKING, Any

import typer

from headway.cli.common import actor, brief, engine, instant, print_json, print_table, read, say, task_of, wide, write
from headway.clock import SystemClock
from headway.errors import InvalidInput, Refused
from headway.models.values.actor import Privilege
from headway.models.values.run import SHOWN_AS, RunStatus
from headway.scheduler.planning.plan_document import instant as iso
from headway.wording import duration, picked_up, size, trouble
from headway.wording import in_zone as shown

if TYPE_CHECKING:
    from headway.models.ledger.tables import RunFileRow, RunRow
    from headway.scheduler.usecases.runs.reset import ResetPreview

_JSON = typer.Option(False, "--json", help="One JSON document on stdout.")
_TASK = typer.Argument(..., metavar="TASK", help="The task's name (or its UID).")


def register(app: typer.Typer) -> None:
    for command in (run, reset, log, purge):
        app.command()(command)


def run(
    task: str = _TASK,
    follow: bool = typer.Option(False, "--follow", help="Go on to the chain's following steps."),
    override: str = typer.Option("", "--override", metavar="RULES", help="Lift window, spacing or both (comma)."),
    reason: str = typer.Option("", "--reason", metavar="TEXT", help="Why it is overridden; kept in the audit trail."),
    wait: bool = typer.Option(False, "--wait", help="Wait for its end; exit 0 only if it completed."),
) -> None:
    """Run now: as soon as possible, under the same rules as everything else.

    It adds a waiting run that is due now (or answers with the one that waits already). `headway why TASK` tells what
    it waits for. Example: headway run 'Citations export' --override window --reason 'importer asked for it'
    """
    from headway.scheduler.usecases.runs.run_now import run_now

    rules = frozenset(one.strip() for one in override.split(",") if one.strip())
    with write() as (session, actor):
        row = task_of(session, actor, task, Privilege.MANAGE)
        asked = run_now(session, SystemClock(), actor, row, follow=follow, override=rules, reason=reason or None)
        name = row.name
    say(f"Run {asked.run_id} of '{name}' waits for its turn." if asked.new else f"Run {asked.run_id} waits already.")
    if wait:
        _wait_for(asked.run_id)


def _wait_for(run_id: int) -> None:
    """Follow the run to its end, telling when its state changes."""
    from headway.models.ledger.database import reading
    from headway.scheduler.usecases.runs.run_now import follow_run

    database, pause = engine(), threading.Event()
    told = None
    while True:
        with reading(database) as session:
            row = follow_run(session, actor(session), run_id)
        if row is None:
            raise Refused(f"run {run_id} is not in the ledger any more")
        state = SHOWN_AS[row.status]
        if state != told:
            say(f"{state}{': ' + (row.error or row.message) if row.error or row.message else ''}")
            told = state
        if row.ended_at is not None:
            if row.status not in (RunStatus.COMPLETED, RunStatus.COMPLETED_WITH_ERRORS):
                raise Refused(f"run {run_id} ended: {state}")
            return
        pause.wait(0.2)


def reset(task: str = _TASK, yes: bool = typer.Option(False, "--yes", help="Finish without asking.")) -> None:
    """Reset a task that failed or is running: shows why it failed and what will happen, then asks."""
    from headway.models.ledger.tables import id_of
    from headway.scheduler.store.settings import load_settings
    from headway.scheduler.usecases.runs.reset import preview_reset
    from headway.scheduler.usecases.runs.reset import reset as finish

    with read() as (session, actor):
        row = task_of(session, actor, task, Privilege.MANAGE)
        zone = load_settings(session).timezone
        preview = preview_reset(session, SystemClock(), actor, row)
    _print_preview(preview, zone)
    if not yes:
        if not sys.stdin.isatty():
            raise InvalidInput("reset asks before it finishes; give --yes where nobody can answer")
        typer.confirm("Finish?", abort=True)
    status = finish(engine(), SystemClock(), actor, id_of(row), shown=preview.run_id)
    say(f"Reset. Run {preview.run_id}: {SHOWN_AS[status]}; process ID 0.")
    following = ", then the following steps: --follow" if preview.skipped else ""
    say(f"Run it again now: headway run '{preview.task}'{following}")


def _print_preview(preview: "ResetPreview", zone: str) -> None:
    say(f"'{preview.task}', run {preview.run_id}: {SHOWN_AS[preview.status]}")
    if preview.error:
        say(f"  Error: {preview.error}")
    for line in preview.last_lines[-5:]:
        say(f"  log: {line.message.splitlines()[0] if line.message else ''}")
    say(f"  Locks that will be freed: {', '.join(preview.locks) or 'none'}")
    say(f"  Steps that were skipped: {', '.join(preview.skipped) or 'none'}")
    say(f"  Files already delivered: {', '.join(preview.delivered) or 'none'}")
    say(f"  Next start: {shown(preview.next_start_at, zone) or 'none'}")
    if preview.warning:
        say(f"  WARNING: {preview.warning}")


def log(
    run: str = typer.Argument("", metavar="[RUN]", help="A run's ID: its report detail."),
    task: str = typer.Option("", "--task", metavar="T", help="Only this task's runs."),
    errors: bool = typer.Option(False, "--errors", help="Only failed runs, and those with errors."),
    since: str = typer.Option("", "--since", metavar="T", help="Only runs from this time on."),
    limit: int = typer.Option(
        None, "--limit", min=1, help="At most so many runs, the newest (default: 200; all with --since or --json)."
    ),
    as_json: bool = _JSON,
) -> None:
    """The task log, newest first; or, with a RUN, its report detail: counts, files, what happened, every line."""
    if run:
        _report(run, as_json)
        return
    from headway.models.ledger.tables import id_of
    from headway.scheduler.store.settings import load_settings
    from headway.scheduler.usecases.log.browse_log import LogQuery, newest_of_log

    at_most = limit or (None if since or as_json else 200)
    with read() as (session, actor):
        zone = load_settings(session).timezone
        which = LogQuery(
            task_uid=task_of(session, actor, task, Privilege.VIEW).uid if task else None,
            since=instant(since, zone, "--since") if since else None,
            errors=errors,
        )
        page = newest_of_log(session, actor, which, limit=at_most)
    rows, steps, cut_off = page.rows, page.steps, page.following is not None
    if as_json:
        print_json({"runs": [_log_row(row, name) for row, name in rows]})
        return
    table = []
    for row, name in rows:
        most = [str(row.id), brief(row.started_at or row.due_at, zone), name, SHOWN_AS[row.status]]
        more = [duration(row), size(row), row.object, row.type, steps[id_of(row)]] if wide() else []
        table.append([*most, str(row.processed), str(row.errors), *more, trouble(row)])
    headers = ["Run", "Start time", "Task", "Result", "Done", "Errors"]
    headers += ["mm:ss", "KB", "Object", "Type", "Step", "Error"] if wide() else ["Error"]
    empty = "No run has ended yet. `headway run TASK` starts one; `headway tasks` shows what waits."
    print_table(headers, table, empty, text=["Task", "Error"])
    if cut_off:
        print(f"These are the newest {at_most} runs; --limit or --since shows others.", file=sys.stderr)


def _log_row(row: "RunRow", name: str) -> dict[str, Any]:
    return {
        "id": row.id,
        "task": name,
        "uid": row.task_uid,
        "type": row.type,
        "object": row.object,
        "step": row.step,
        "trigger": row.trigger.value,
        "due_at": iso(row.due_at),
        "start_at": iso(row.started_at),
        "end_at": iso(row.ended_at),
        "duration": duration(row) or None,
        "size_kb": round(row.bytes / 1024, 1),
        "result": SHOWN_AS[row.status],
        "error": trouble(row) or None,
        "processed": row.processed,
        "errors": row.errors,
        "attempts": row.attempt,
    }


def _report(run: str, as_json: bool) -> None:
    from headway.scheduler.store.settings import load_settings
    from headway.scheduler.usecases.log.browse_log import LineQuery, run_lines, run_report

    if not run.isdecimal() or len(run) > 18:  # what a database's integer holds
        raise InvalidInput(f"{run!r} is not a run's ID; `headway log` lists them")
    with read() as (session, actor):
        zone = load_settings(session).timezone
        report = run_report(session, actor, int(run))
        lines = run_lines(session, actor, int(run), LineQuery(), limit=100_000)
    row, name, files, events = report.run, report.task.name, report.files, report.events
    if as_json:
        document = {
            **_log_row(row, name),
            "files": [{**file.receipt, **_pickup(file)} for file in files],
            "events": [
                {"at": iso(e.at), "before": e.before, "after": e.after, "who": e.who, "why": e.why} for e in events
            ],
            "lines": [{"at": iso(line.at), "level": line.level, "message": line.message} for line in lines],
        }
        print_json(document)
        return
    say(f"Run {row.id} of '{name}': {SHOWN_AS[row.status]}")
    say(f"Due {shown(row.due_at, zone)}, start {shown(row.started_at, zone) or '-'}, duration {duration(row) or '-'}")
    say(f"Processed {row.processed}, errors {row.errors}, {size(row)} KB, attempts {row.attempt}")
    if row.error or row.message:
        say(row.error or row.message)
    for file in files:
        became = picked_up(file, lambda moment: shown(moment, zone))
        say(f"File {file.path or file.name}: {file.bytes} bytes, SHA-256 {file.sha256}{became and ', ' + became}")
    say("")
    for event in events:
        step = f"{event.before} -> {event.after}" if event.before else event.after
        step = "note" if event.before == event.after else step
        say(f"{shown(event.at, zone)}  {step}, by {event.who}{': ' + event.why if event.why else ''}")
    say("")
    for line in lines:
        say(f"{shown(line.at, zone)}  {'ERROR ' if line.level >= 40 else ''}{line.message}")


def _pickup(file: "RunFileRow") -> dict[str, Any]:
    return {
        "pickup": file.pickup and file.pickup.value,
        "pickup_at": iso(file.pickup_at),
        "overdue_at": iso(file.overdue_at),
    }


def purge(
    older_than: int = typer.Option(
        None,
        "--older-than",
        metavar="DAYS",
        help="Runs that ended more days ago go; left out: the setting retention_days, or only what --rule names.",
    ),
    rules: list[str] = typer.Option(
        [],
        "--rule",
        metavar="TYPE:RESULT:DAYS",
        help="Other days for a type and result; * is any, `keep` is never. The first that fits decides. Repeatable.",
    ),
    types: list[str] = typer.Option([], "--type", metavar="TYPE", help="Only runs of this type. Repeatable."),
    results: list[str] = typer.Option(
        [], "--result", metavar="RESULT", help="Only runs that ended so, such as completed. Repeatable."
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Only count what would go."),
    reason: str = typer.Option("", "--reason", metavar="TEXT", help="Kept in the audit trail."),
    progress: bool = typer.Option(False, "--progress", help="Tell on stderr how far it is: DELETED/ALL, a line each."),
    as_json: bool = _JSON,
) -> None:
    """Purge old runs and their logs. Open runs, each task's last run, unreset failures and the audit trail stay."""
    from headway.scheduler.planning.retention import Retention, results_of, rule_of
    from headway.scheduler.usecases.log.purge import purge as delete_old
    from headway.scheduler.usecases.log.purge import would_go

    kinds = frozenset(types)
    retention = Retention(older_than, tuple(rule_of(text) for text in rules), kinds, results_of(results))
    with read() as (session, actor):
        purged = would_go(session, SystemClock(), actor, retention) if dry_run else None
    if purged is None:

        def tell(done: int, of: int) -> None:
            if progress:
                print(f"{done}/{of}", file=sys.stderr, flush=True)

        purged = delete_old(engine(), SystemClock(), actor, retention, reason=reason or None, on_progress=tell)
    counts = [{"type": kind, "result": result, "runs": count} for (kind, result), count in purged.runs.items()]
    if as_json:
        document = {"dry_run": dry_run, "before": iso(purged.before), "runs": purged.total, "lines": purged.lines}
        print_json({**document, "kept": purged.kept, "kept_why": purged.kept_why, "counts": counts})
        return
    rows = [[kind, SHOWN_AS[RunStatus(result)], str(count)] for (kind, result), count in purged.runs.items()]
    print_table(["Type", "Result", "Runs"], rows, "Nothing is old enough to go.")
    word = "would go" if dry_run else "are gone"
    say(f"{purged.total} runs and {purged.lines} log lines {word}; {purged.kept} old ones stay.")
    for why, count in purged.kept_why.items():
        say(f"  {count}: {why}")
