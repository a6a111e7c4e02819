"""campaign_trigger on real databases, and beside it the rule that a start by hand does not cancel the planned stop."""

import logging
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlmodel import col

from headway.blocks.database.block import Database
from headway.flows.campaign_trigger import flow as module
from headway.flows.campaign_trigger.flow import campaign_trigger
from headway.models.operations.sample_data import WORLD_NOW
from headway.models.operations.tables import (
    Attempt,
    Campaign,
    CampaignExclusion,
    CampaignList,
    ExclusionKind,
    Record,
    RecordResult,
)
from tests.support.campaign_world import changing, exclude, insert, rows, update
from tests.support.flow_world import Ran, run

pytest_plugins = ["tests.support.flow_world"]

CAMPAIGN = "Overdue citations"


@pytest.fixture
def world(flow_prefect: None, own_world_on_both: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """A small contact centre as block `operations`: ten records in the campaign's list, none finished."""
    monkeypatch.setattr(module.switch, "retry_delay_seconds", 0)
    own_world_on_both.save("operations", overwrite=True)
    with changing(own_world_on_both) as connection:
        for model in (RecordResult, Attempt, CampaignExclusion):
            connection.execute(sa.delete(model))
    return own_world_on_both


def trigger(step: str = "start", campaign: str = CAMPAIGN) -> Ran:
    return run(campaign_trigger, campaign=campaign, step=step)


def campaign(world: Database) -> dict[str, object]:
    return rows(world, "campaign")[0]


def test_a_campaign_starts_and_stops(world):
    ran = trigger("start")
    assert (ran.done().processed, ran.done().errors) == (1, 0)
    assert ran.message == "Campaign 'Overdue citations' started: 10 of 10 records can be dialled"
    assert ran.lines(logging.WARNING) == []
    started = campaign(world)
    assert (started["state"], started["stopped_at"]) == ("running", None)
    assert datetime.now(UTC) - started["started_at"] < timedelta(minutes=5)

    ran = trigger("stop")
    assert ran.message == "Campaign 'Overdue citations' stopped: no new attempts, no attempt is in progress"
    stopped = campaign(world)
    assert (stopped["state"], stopped["started_at"]) == ("stopped", started["started_at"])
    assert stopped["stopped_at"] >= started["started_at"]
    assert [one["state"] for one in rows(world, "campaign")] == ["stopped", "stopped"]  # the other never moved


@pytest.mark.parametrize("step", ["start", "stop"])
def test_a_second_try_changes_nothing(world, step):
    trigger("start").done()
    trigger(step).done()
    before = campaign(world)
    ran = trigger(step)
    assert ran.done().processed == 1
    assert campaign(world) == before
    assert f"was {'running' if step == 'start' else 'stopped'} already, since" in ran.message


def test_a_campaign_that_never_ran_may_be_stopped(world):
    assert "was stopped already: no new attempts" in trigger("stop").message
    assert campaign(world)["stopped_at"] is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda w: update(w, CampaignList, enabled=False), "no calling list is enabled"),
        (lambda w: update(w, CampaignList, col(CampaignList.list_uid) == 1, list_uid=3), "hold no record"),
        (lambda w: exclude(w, ExclusionKind.RECORD, *accounts(w)), "0 are completed, 10 excluded, 0 without a number"),
        (lambda w: exclude(w, ExclusionKind.STATE, "ny", "nj", "ct"), "10 excluded"),
        (lambda w: exclude(w, ExclusionKind.POSTAL_CODE, "12203", "07102", "06901"), "10 excluded"),
        (lambda w: exclude(w, ExclusionKind.AREA_CODE, "212", "712"), "0 excluded, 10 without a number"),
        (lambda w: exclude(w, ExclusionKind.INTERNAL, *numbers(w)), "0 excluded, 10 without a number"),
        (lambda w: finish(w), "10 are completed, 0 excluded"),
    ],
)
def test_a_campaign_with_nothing_to_dial_starts_with_a_warning(world, change, reason):
    change(world)
    ran = trigger("start")
    assert ran.done().errors == 0
    assert "started; nothing will be dialled: " in ran.message
    assert reason in ran.message
    assert ran.lines(logging.WARNING) == [ran.message]
    assert campaign(world)["state"] == "running"


def accounts(world: Database) -> list[str]:
    return [one["account"] for one in rows(world, "record")]


def numbers(world: Database) -> list[str]:
    return sorted({number for one in rows(world, "record") for number in one["phones"]})


def finish(world: Database) -> None:
    result = {"campaign_uid": 1, "attempts": 1, "completed": True, "out_of_quota": False, "updated_at": WORLD_NOW}
    insert(world, RecordResult, *({**result, "record_uid": uid} for uid in range(1, 11)))


@pytest.mark.parametrize(
    ("kind", "values", "dialable"),
    [
        (ExclusionKind.RECORD, ["C000003", "C000015", "nobody"], 9),  # 15 is of the other campaign's list
        (ExclusionKind.INTERNAL, ["+12125550103"], 10),  # record 3 has a second number
        (ExclusionKind.INTERNAL, ["+12125550104"], 9),  # record 4 has not
        (ExclusionKind.AREA_CODE, ["212"], 3),  # records 3, 6 and 9 have a number elsewhere
        (ExclusionKind.POSTAL_CODE, ["00000"], 10),
    ],
)
def test_exclusions_keep_from_dialling_by_their_kind(world, kind, values, dialable):
    exclude(world, kind, *values)
    assert f"{dialable} of 10 records can be dialled" in trigger("start").message


def test_a_zip_code_counts_by_its_first_five(world):
    update(world, Record, col(Record.uid) == 2, postal_code="99501-1234")
    exclude(world, ExclusionKind.POSTAL_CODE, "99501")
    assert "9 of 10 records" in trigger("start").message


def test_a_list_of_no_campaign_or_of_another_excludes_nothing(world):
    exclude(world, ExclusionKind.RECORD, *accounts(world), campaign_uid=None)
    exclude(world, ExclusionKind.RECORD, *accounts(world), campaign_uid=2)
    assert "10 of 10 records can be dialled" in trigger("start").message


def test_a_record_without_a_number_is_not_dialled(world):
    update(world, Record, col(Record.uid) == 1, phones=[])
    assert "9 of 10 records" in trigger("start").message


def test_stop_says_how_many_attempts_are_still_open_and_leaves_them(world):
    trigger("start").done()
    now = datetime.now(UTC)
    attempt = {
        "campaign_uid": 1,
        "record_uid": 1,
        "started_at": now,
        "phone": "+12125550101",
        "is_call_attempt": True,
        "note": "",
        "agent": "",
        "ani": "",
        "answered_seconds": 0,
        "form": {},
    }
    insert(
        world,
        Attempt,
        {**attempt, "interaction_id": "open 1", "call_disposition_uid": None},
        {**attempt, "interaction_id": "open 2", "call_disposition_uid": None},
        {**attempt, "interaction_id": "ended", "call_disposition_uid": 4},
        {**attempt, "interaction_id": "not dialled", "call_disposition_uid": None, "is_call_attempt": False},
        {**attempt, "interaction_id": "elsewhere", "call_disposition_uid": None, "campaign_uid": 2},
        {
            **attempt,
            "started_at": now - timedelta(days=9),
            "interaction_id": "lost long ago",
            "call_disposition_uid": None,
        },
    )
    before = rows(world, "attempt")
    assert trigger("stop").message.endswith("no new attempts, 2 attempts in progress finish")
    assert rows(world, "attempt") == before


def test_outside_its_contact_hours_it_says_when_it_dials(world):
    minute = timedelta(minutes=1)
    now = datetime.now(UTC)
    closed = {"opens": f"{now + 60 * minute:%H:%M}", "closes": f"{now + 61 * minute:%H:%M}"}
    update(world, Campaign, timezone="UTC", **closed)
    assert any("contact hours are from" in line for line in trigger("start").lines())
    update(world, Campaign, opens="00:00", closes="24:00")
    assert not any("contact hours" in line for line in trigger("start").lines())


@pytest.mark.parametrize("step", ["start", "stop"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Overdue", "There is no campaign 'Overdue' (there are: 'Overdue citations', 'Permit renewals')"),
        (" ", "No campaign is named (there are: 'Overdue citations', 'Permit renewals')"),
    ],
)
def test_an_unknown_campaign_is_refused_and_nothing_changes(world, step, name, message):
    before = rows(world, "campaign")
    ran = trigger(step, name)
    assert ran.ended == "FAILED"
    assert message in ran.message
    assert rows(world, "campaign") == before
