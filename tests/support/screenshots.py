"""The pictures of docs/howto/operators.md, taken of the dashboard as it is.

    python -m tests.support.screenshots [--to docs/images] [--theme light] [--width 1280] [--all]

An ordinary morning is furnished in a temporary home, served, and looked at with Chromium. `--all` takes every page.
"""

import argparse
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright
from prefect.utilities.callables import parameter_schema

from headway.flows.data_export.flow import data_export
from headway.flows.lookup_import.flow import lookup_import
from headway.models.ledger.database import writing
from headway.models.ledger.tables import RunRow
from headway.models.values.actor import Privilege
from headway.models.values.run import RunStatus
from headway.privileges import OPERATOR
from headway.scheduler.planning.definitions.document import load_text
from headway.scheduler.planning.definitions.task_types import TaskType
from headway.scheduler.store.tasks import save_types
from headway.scheduler.usecases.tasks.apply import apply
from tests.support.dashboard_browser import CHROMIUM, FLAGS, click, settled
from tests.support.dashboard_stack import PASSWORD, World, new_world, serving

SETTINGS = r"settings: {customer_importer_file_path: '\\flexftp\acme\import'}"
TASKS: list[dict[str, object]] = [
    {"name": "Citations export", "type": "data_export", "object": "Citations", "schedule": {"cron": "15 1 * * *"},
     "description": "Nightly hand-off to the importer",
     "parameters": {"table": "citation", "file_name": "citations_{date}.csv", "ready_file": True}},
    {"name": "Permits export", "type": "data_export", "object": "Permits", "schedule": {"cron": "45 2 * * *"},
     "parameters": {"table": "permit", "file_name": "permits_{date}.csv"}},
    {"name": "Customers export", "type": "data_export", "object": "Customers", "schedule": {"cron": "0 3 * * 1-5"}},
    {"name": "Customers reload", "type": "lookup_import", "object": "Customers",
     "schedule": {"after": "Customers export", "spacing": "01:00:00"}},
    {"name": "Customers report", "type": "report_execution", "object": "Customers",
     "schedule": {"after": "Customers reload", "spacing": "01:00:00"}},
    {"name": "Lots export", "type": "data_export", "object": "Lots", "schedule": {"cron": "30 5 * * *"}},
    {"name": "Violation codes import", "type": "lookup_import", "object": "Violation codes",
     "schedule": {"cron": "30 6 * * *"}},
]  # fmt: skip
FAILED = "TransferError: flexftp refused /acme/import/permits.csv: permission denied"


def furnish(world: World) -> dict[str, int]:
    """A morning after a night in which one export failed; the runs by a short name."""
    schemas = {flow.name: parameter_schema(flow).model_dump() for flow in (data_export, lookup_import)}
    types = [TaskType(name=name, group=name, parameter_schema=schema) for name, schema in schemas.items()]
    with writing(world.engine) as session:
        save_types(session, [*types, TaskType(name="report_execution", group="reports")], datetime.now(UTC))
        apply(session, world.clock, OPERATOR, load_text(SETTINGS, "settings"))
    world.worker()
    world.user("olga", *Privilege)
    world.user("sam", Privilege.VIEW)
    world.tasks(*TASKS)
    runs: dict[str, int] = {}
    for day in range(12, 0, -1):
        ago = timedelta(days=day, hours=2)
        lines = [(20, "Exporting 1,200 rows"), (20, "100 %, 1,200 rows")]
        runs["good"] = world.run(
            "Citations export", RunStatus.COMPLETED, ago=ago, took=timedelta(minutes=3 + day % 4), lines=lines,
            files=[f"citations_{day}.csv"], processed=1200 + day, bytes=186_927,
        )  # fmt: skip
        if day > 1:
            world.run("Permits export", RunStatus.COMPLETED, ago=ago, took=timedelta(minutes=2), processed=340)
    runs["errors"] = world.run(
        "Violation codes import", RunStatus.COMPLETED_WITH_ERRORS, ago=timedelta(hours=20),
        lines=[(20, "reading violation_codes.csv"), (40, "row 18: the code 'A-' has no description")],
        processed=412, errors=1,
    )  # fmt: skip
    failing = [(20, "Exporting 340 rows"), (20, "60 %, 340 rows"), (40, FAILED)]
    runs["failed"] = world.run(
        "Permits export", RunStatus.FAILED, ago=timedelta(hours=4), lines=failing, error=FAILED, errors=1
    )
    lines = [(20, "rendering page 1"), (20, "rendering page 2"), (20, "rendering page 3")]
    runs["running"] = world.run("Customers export", RunStatus.RUNNING, ago=timedelta(minutes=4), lines=lines)
    runs["waiting"] = world.run("Lots export", RunStatus.WAITING, ago=timedelta(minutes=20))
    with writing(world.engine) as session:
        row = session.get_one(RunRow, runs["running"])
        row.progress, row.process_id = 42.0, 4711
        session.add(row)
    return runs


def rest(page: Page) -> None:
    """Everything that was asked for is on the page, tables drawn."""
    settled(page)
    page.wait_for_timeout(1500)  # a canvas tells nobody when it has been painted


def pick_waiting(page: Page) -> None:
    rows = page.locator(".st-key-tasks_table table tbody tr").all_inner_texts()
    click(page, "tasks_table", 14, next(number for number, text in enumerate(rows) if "Waiting" in text))
    page.get_by_text("Open task").wait_for()


def to_parameters(page: Page) -> None:
    page.get_by_label("Description", exact=True).fill("Nightly hand-off, with the header")
    page.get_by_label("Description", exact=True).press("Enter")
    page.get_by_role("tab", name="3 Define Task Parameters").click()
    page.locator("table.diff ins").first.wait_for()


def to_release(page: Page) -> None:
    """What the release of the next occurrence would move; nothing is released."""
    page.locator("[class*=st-key-window_Daily-maintenance_]").first.get_by_role("button", name="Release").click()
    page.get_by_role("dialog").get_by_role("button", name="Release").wait_for()


def shots(runs: dict[str, int]) -> dict[str, tuple[str, Callable[[Page], None] | None]]:
    """Name -> the address, and what to do there before the picture is taken."""
    return {
        "tasks": ("/", pick_waiting),
        "task-waiting": ("/task?task=6", None),
        "task-log": ("/log", None),
        "run": (f"/run?run={runs['failed']}", None),
        "reset": ("/reset?task=2", None),
        "define": ("/define?task=1", to_parameters),
        "board": ("/board?board_span=Week", None),
        "windows": ("/windows", to_release),
        "configuration": ("/configuration", None),
        "users": ("/users", None),
    }


OTHERS = {"run-live": "/run?run={running}", "define-new": "/define", "chain": "/task?task=3", "log-task": "/log?task=1",
          "task": "/task?task=1", "audit": "/audit",
          "day": "/board", "purge": "/purge", "nowhere": "/task?task=999"}  # fmt: skip


def take(page: Page, path: str, before: Callable[[Page], None] | None, file: Path) -> None:
    width = (page.viewport_size or {})["width"]
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(path)
    rest(page)
    if before is not None:
        before(page)
        rest(page)
    height = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
    filled = page.evaluate("Math.ceil(document.querySelector('.block-container').getBoundingClientRect().height)")
    page.set_viewport_size({"width": width, "height": int(min(max(height, filled), 1800)) if filled > 900 else filled})
    page.wait_for_timeout(700)
    page.screenshot(path=file)
    shrink(file)
    print(file)


def shrink(file: Path) -> None:
    """A third of the size: the pages have few colours. By coverage, so that a small red mark stays red."""
    with Image.open(file) as picture:
        small = picture.convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    small.save(file, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--to", type=Path, default=Path("docs/images"))
    parser.add_argument("--theme", choices=["light", "dark"], default="light")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args()
    options.to.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        world = new_world(Path(folder))
        runs = furnish(world)
        world.engine.dispose()
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, "--font-render-hinting=none"])
        with serving(Path(folder)) as url:
            viewport = {"width": options.width, "height": 900}
            page = chromium.new_page(base_url=url, viewport=viewport, color_scheme=options.theme)  # type: ignore[arg-type]
            page.goto("/login")
            page.fill("#name", "olga")
            page.screenshot(
                path=options.to / "sign-in.png", clip={"x": 0, "y": 0, "width": options.width, "height": 700}
            )
            page.fill("#password", PASSWORD)
            page.click("button[type=submit]")
            page.locator(".st-key-tasks_table table").wait_for(state="attached")
            wanted = shots(runs)
            if options.all:
                wanted |= {name: (path.format(**runs), None) for name, path in OTHERS.items()}
            for name, (path, before) in wanted.items():
                take(page, path, before, options.to / f"{name}.png")
        chromium.close()


if __name__ == "__main__":
    main()
