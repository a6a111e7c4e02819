"""Counts agree with the log: every shipped task type is run, and what it counts is what its log says.

The old system showed 0 processed while the log held hundreds. Here a type whose counts and log differ fails, and so
does one that does not take part: each deployment of prefect.yaml has its scenarios below.
"""

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from headway.blocks.database.block import Database
from headway.flows.calling_list_import.flow import calling_list_import
from headway.flows.campaign_results_export.flow import campaign_results_export
from headway.flows.campaign_trigger.flow import campaign_trigger
from headway.flows.data_export.flow import data_export
from headway.flows.exclusion_import.flow import exclusion_import
from headway.flows.lookup_import.flow import lookup_import
from headway.flows.report_execution.flow import report_execution
from headway.flows.system_purge.flow import system_purge
from headway.models.values.run import RunStatus
from headway.scheduler.execution.run_outcome import outcome_of
from headway.scheduler.planning.definitions.task_types import OWN_PREFECT_YAML, types_in
from headway.scheduler.store.runs.run_writer import open_run_ledger
from tests.integration.flows.task_error_report.test_flow import Office, quick_office
from tests.support.databases import url_of
from tests.support.flow_world import Ran, run
from tests.support.installation import Desk
from tests.support.mail_server import MailServer
from tests.support.sftp_faults import FaultServer

pytest_plugins = ["tests.support.flow_world", "tests.support.mail_server"]
__all__ = ["quick_office"]

BAD_ROWS = 130  # more than are logged one by one
MAIL = {"to": ["ops@example.com"], "cc": ["gone@example.com"], "subject": "Counts"}


@dataclass
class World:
    """All that any of the types works on."""

    importer: FaultServer
    mail: MailServer
    office: Office

    def put(self, name: str, head: str, good: list[str], bad: list[str]) -> None:
        """A file at the importer path."""
        (self.importer.folder / name).write_text("\n".join([head, *good, *bad]) + "\n", encoding="utf-8")


@pytest.fixture
def world(importer: FaultServer, own_world: Database, no_pauses: None, quick_office: Office) -> Iterator[World]:
    own_world.save("operations", overwrite=True)
    yield World(importer, quick_office.server, quick_office)


Scenario = Callable[[World, bool], Ran]
"""A run of the type; True: of an input with errors in it."""


def _lookup_import(world: World, errors: bool) -> Ran:
    bad = [f"X{n}," for n in range(BAD_ROWS if errors else 0)]
    world.put("codes.csv", "code,text", [f"C{n},right" for n in range(40)], bad)
    return run(lookup_import, lookup="codes", file_name="codes.csv", key_columns=["code"], required_columns=["text"],
               create_table=True)  # fmt: skip


def _exclusion_import(world: World, errors: bool) -> Ran:
    world.put("dnc.csv", "account,comment", [f"A{n},asked" for n in range(40)], [",nobody"] * (BAD_ROWS * errors))
    return run(exclusion_import, exclusion_list="New list", file_name="dnc.csv", create_list=True)


def _calling_list_import(world: World, errors: bool) -> Ran:
    good = [f"C{n:06d},Ada,Ito,212555{n:04d}" for n in range(100, 140)]
    bad = [f",Ada,Ito,2125550{n:03d}" for n in range(BAD_ROWS if errors else 0)]
    world.put("people.csv", "account,first_name,last_name,phone", good, bad)
    return run(calling_list_import, calling_list="Overdue November", file_name="people.csv")


def _report_execution(world: World, errors: bool) -> Ran:
    world.mail.refuse = {"gone@example.com": "550 no such user"} if errors else {}
    return run(
        report_execution,
        report="citations_by_lot",
        values={"period": "2026-01-01 to 2026-12-31"},
        mail=MAIL,
        file_name="r.pdf",
    )


def _task_error_report(world: World, errors: bool) -> Ran:
    world.mail.refuse = {"gone@example.com": "550 no such user"} if errors else {}
    for minutes in (50, 40, 30):
        world.office.ended("a", minutes, f"line {minutes}: bad", status=RunStatus.COMPLETED_WITH_ERRORS)
    return world.office.report(mail=MAIL)


def _system_purge(world: World, errors: bool) -> Ran:
    for days in range(10, 15):
        world.office.ended("a", days * 24 * 60)
    return run(system_purge, older_than_days=5)


SCENARIOS: dict[str, Scenario] = {
    "data_export": lambda world, errors: run(data_export, table="citation", file_name="citations.csv"),
    "lookup_import": _lookup_import,
    "report_execution": _report_execution,
    "task_error_report": _task_error_report,
    "campaign_trigger": lambda world, errors: run(campaign_trigger, campaign="Overdue citations", step="start"),
    "campaign_results_export": lambda world, errors: run(
        campaign_results_export, campaign="Overdue citations", file_name="results.csv"
    ),
    "calling_list_import": _calling_list_import,
    "exclusion_import": _exclusion_import,
    "system_purge": _system_purge,
}
COUNT_ERRORS = {"lookup_import", "report_execution", "task_error_report", "calling_list_import", "exclusion_import"}
"""The types that complete although something went wrong. The others fail instead: they never count an error."""


def test_every_shipped_type_takes_part() -> None:
    assert set(SCENARIOS) == set(types_in(OWN_PREFECT_YAML))


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_a_clean_run_counts_what_its_log_says(world: World, name: str) -> None:
    ran = SCENARIOS[name](world, False)
    result = ran.done()
    assert errors_in(ran) == result.errors == 0, ran.lines(logging.ERROR)
    assert result.processed > 0
    assert_processed_is_told(ran)
    assert sum(receipt["bytes"] for receipt in ran.receipts) in (0, result.bytes)


@pytest.mark.parametrize("name", sorted(COUNT_ERRORS))
def test_errors_are_counted_as_often_as_the_log_says(world: World, name: str) -> None:
    ran = SCENARIOS[name](world, True)
    result = ran.done()
    assert errors_in(ran) == result.errors == (1 if "report" in name else BAD_ROWS), ran.lines(logging.ERROR)[-3:]
    assert_processed_is_told(ran)


@pytest.mark.parametrize("name", ["lookup_import", "data_export"])
def test_the_ledger_has_the_same_counts_and_the_right_end(world: World, name: str) -> None:
    desk = world.office.desk
    result = SCENARIOS[name](world, name in COUNT_ERRORS).done()
    row = ended(desk, result)
    assert (row.processed, row.errors, row.bytes) == (result.processed, result.errors, result.bytes)
    assert row.status is (RunStatus.COMPLETED_WITH_ERRORS if name in COUNT_ERRORS else RunStatus.COMPLETED)


def errors_in(ran: Ran) -> int:
    """How many errors the log tells of: a line each, and what a line says there are more."""
    return sum(_errors_of(line) for line in ran.lines(logging.ERROR))


def _errors_of(line: str) -> int:
    more = re.match(r"([\d,]+) more bad rows", line)
    return int(more[1].replace(",", "")) if more else 1


def assert_processed_is_told(ran: Ran) -> None:
    """The last count in the log, which the screen showed while it ran, is the result's."""
    told = [vars(record)["processed"] for record in ran.records if getattr(record, "processed", None) is not None]
    assert told and told[-1] == ran.done().processed


def ended(desk: Desk, result: Any) -> Any:
    """The row of a run whose process ends with this result."""
    desk.run_now("b")
    assert desk.turn() == ["b"]
    order = desk.orders["b"]
    ledger = open_run_ledger(url_of(desk.engine), order.run_id, order.claim)
    assert ledger.ended(outcome_of(result))
    ledger.close()
    return desk.run("b")
