"""Campaign trigger: starts or stops an outbound campaign.

*start*: the campaign dials, within its own contact hours, the records of its enabled calling lists that are
neither completed nor excluded. Where there are none it starts all the same, with a warning. *stop*: no new
attempts; those in progress finish. One that is running (or stopped) already stays as it is, so a second try
is harmless. Each task does one of the two: a start asked for by hand does not cancel the planned stop.

Its counts: *processed* is 1, the campaign that now is as asked; *errors* is always 0 (a campaign that cannot be
found fails the run, and a warning is none); nothing is transferred.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from prefect import flow, get_run_logger, task
from prefect.client.schemas.objects import State
from pydantic import Field

from headway.blocks.database.block import Database
from headway.flows.shared.campaigns import ATTEMPT, CAMPAIGN, CampaignFacts, find_campaign, is_open, load_writable
from headway.flows.shared.delivery import TRANSFER
from headway.flows.shared.exclusions import RECORD, can_be_dialled, keeps_from_dialling
from headway.flows.shared.result import RunResult, completed, report_progress
from headway.models.operations.tables import CallingList, CampaignList, CampaignState, RecordResult

Step = Literal["start", "stop"]
STATES: dict[Step, CampaignState] = {"start": CampaignState.RUNNING, "stop": CampaignState.STOPPED}

CALLING_LIST: Any = CallingList.__table__  # type: ignore[attr-defined]
CAMPAIGN_LIST: Any = CampaignList.__table__  # type: ignore[attr-defined]
RESULT: Any = RecordResult.__table__  # type: ignore[attr-defined]


@flow(name="campaign_trigger", persist_result=False)
def campaign_trigger(
    campaign: Annotated[str, Field(min_length=1, max_length=100, json_schema_extra={"tokens": True})] = "{object}",
    step: Annotated[Step, Field(json_schema_extra={"step": True})] = "start",
    database: str = "operations",
) -> State[RunResult]:
    """Starts or stops an outbound campaign; the Step column shows which.

    Args:
        campaign: Name of the campaign; by default the task's object.
        step: start (dialling begins, within the campaign's contact hours) or stop (no new attempts; those in progress
            finish).
        database: Name of the database block that holds the campaigns.
    """
    target = load_writable(database)
    summary = start_campaign(target, campaign) if step == "start" else stop_campaign(target, campaign)
    report_progress(get_run_logger(), 100, 1)
    return completed(RunResult(processed=1, summary=summary))


def start_campaign(target: Database, name: str) -> str:
    """Start it; returns what an operator should know. Warns where nothing will be dialled."""
    logger = get_run_logger()
    with target.reading() as connection:
        facts = find_campaign(connection, name)
        work = work_of(connection, facts.uid)
    switched = switch(target, facts, "start")
    now = datetime.now(UTC)
    done = f"Campaign '{facts.name}' {'started' if switched else f'was running already, since {_since(facts)}'}"
    if work.dialable:
        done += f": {work.dialable:,} of {work.records:,} records can be dialled"
        logger.info(done)
    else:
        done += f"; nothing will be dialled: {work.why_nothing()}"
        logger.warning(done)
    if not facts.is_open_at(now):
        logger.info(f"It is {facts.local(now)}; contact hours are from {facts.opens} to {facts.closes}.")
    return done


def stop_campaign(target: Database, name: str) -> str:
    """Stop it; returns what an operator should know, with the attempts that are still in progress."""
    with target.reading() as connection:
        facts = find_campaign(connection, name)
    switched = switch(target, facts, "stop")
    with target.reading() as connection:
        still_open = open_attempts(connection, facts)
    done = f"Campaign '{facts.name}' {'stopped' if switched else f'was stopped already{_stopped(facts)}'}"
    ends = f"{still_open:,} attempts in progress finish" if still_open else "no attempt is in progress"
    done += f": no new attempts, {ends}"
    get_run_logger().info(done)
    return done


def _since(facts: CampaignFacts) -> str:
    return facts.local(facts.started_at) if facts.started_at else "an unknown time"


def _stopped(facts: CampaignFacts) -> str:
    return f", since {facts.local(facts.stopped_at)}" if facts.stopped_at else ""


@dataclass(kw_only=True, frozen=True)
class Work:
    """What a campaign has to dial. Each record is counted once: completed, else excluded, else without number."""

    lists: int
    records: int
    finished: int
    excluded: int
    dialable: int

    def why_nothing(self) -> str:
        """Why none of the records can be dialled."""
        if not self.lists:
            return "no calling list is enabled. Enable one"
        if not self.records:
            return "its enabled calling lists hold no record. Import one"
        numberless = self.records - self.finished - self.excluded
        return (
            f"of {self.records:,} records {self.finished:,} are completed, {self.excluded:,} excluded, "
            f"{numberless:,} without a number that may be dialled"
        )


def work_of(connection: sa.Connection, campaign_uid: int) -> Work:
    """What the campaign has to dial in its enabled lists, as of now."""
    enabled = (CAMPAIGN_LIST.c.campaign_uid == campaign_uid) & CAMPAIGN_LIST.c.enabled
    lists = connection.execute(sa.select(sa.func.count()).select_from(CAMPAIGN_LIST).where(enabled)).scalar_one()
    finished = sa.func.coalesce(RESULT.c.completed, sa.false())
    place = sa.case(
        (finished, "finished"),
        (keeps_from_dialling(campaign_uid), "excluded"),
        (can_be_dialled(campaign_uid), "dialable"),
        else_="numberless",
    )
    theirs = (RESULT.c.record_uid == RECORD.c.uid) & (RESULT.c.campaign_uid == campaign_uid)
    sorted_out = (
        sa.select(place.label("place"))
        .select_from(
            RECORD.join(CAMPAIGN_LIST, CAMPAIGN_LIST.c.list_uid == RECORD.c.list_uid).outerjoin(RESULT, theirs)
        )
        .where(enabled)
        .subquery()
    )
    rows = connection.execute(sa.select(sorted_out.c.place, sa.func.count()).group_by(sorted_out.c.place))
    counts = {str(place): int(count) for place, count in rows}
    return Work(
        lists=lists,
        records=sum(counts.values()),
        finished=counts.get("finished", 0),
        excluded=counts.get("excluded", 0),
        dialable=counts.get("dialable", 0),
    )


def open_attempts(connection: sa.Connection, facts: CampaignFacts) -> int:
    """Calls in progress: those without an outcome that began after the campaign's last start."""
    theirs = (ATTEMPT.c.campaign_uid == facts.uid) & is_open()
    if facts.started_at is not None:
        theirs &= ATTEMPT.c.started_at >= facts.started_at
    return int(connection.execute(sa.select(sa.func.count()).select_from(ATTEMPT).where(theirs)).scalar_one())


@task(name="switch", **TRANSFER)
def switch(target: Database, facts: CampaignFacts, step: Step) -> bool:
    """Bring the campaign to its state in one statement; whether that changed anything."""
    at = CAMPAIGN.c.started_at if step == "start" else CAMPAIGN.c.stopped_at
    statement = (
        sa.update(CAMPAIGN)
        .where(CAMPAIGN.c.uid == facts.uid, CAMPAIGN.c.state != STATES[step])
        .values({CAMPAIGN.c.state: STATES[step], at: datetime.now(UTC)})
    )
    engine = target.engine()
    try:
        with engine.begin() as connection:
            return connection.execute(statement).rowcount == 1
    finally:
        engine.dispose()
