"""What a campaign came to, as rows of a file: a row a record (simple), or a row an attempt (detailed).

The columns: the calling lists' own fields, then the campaign's form fields, then the fixed ones. A campaign with
several lists has the fields of all of them, each once, in the order of the lists; a record of a list without that
field has no value there. Lists that were taken from the campaign come last, as long as it has results of theirs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from headway.flows.shared.campaigns import ATTEMPT, CampaignFacts, find_campaign, is_open
from headway.flows.shared.exclusions import RECORD, excludes_record
from headway.models.operations.tables import CallingList, CampaignList, Disposition, RecordResult

Detail = Literal["simple", "detailed"]
FIXED_FIELDS = [
    "This Phone number",
    "Is Call Attempt",
    "Completed",
    "Record Disposition",
    "Record Disposition Code",
    "Out of Quota",
    "Call Disposition",
    "Call Disposition Code",
    "Call Note",
    "Agent",
    "ANI",
    "Answered Duration",
    "Global Interaction Identifier",
]
TOTAL_ATTEMPTS = "Total attempts (per rec)"
KEY_COLUMNS = 2  # of a row as it is read: when it changed, its uid; then come the fields and the form as JSON

RESULT: Any = RecordResult.__table__  # type: ignore[attr-defined]
LIST: Any = CallingList.__table__  # type: ignore[attr-defined]
CAMPAIGN_LIST: Any = CampaignList.__table__  # type: ignore[attr-defined]
DISPOSITION: Any = Disposition.__table__  # type: ignore[attr-defined]
OF_RECORD = DISPOSITION.alias("record_disposition")
OF_CALL = DISPOSITION.alias("call_disposition")


@dataclass(frozen=True)
class Results:
    """A campaign's results: how they are read, and the columns of their file."""

    campaign: CampaignFacts
    detail: Detail
    list_fields: list[str]

    @property
    def columns(self) -> list[str]:
        simple = [TOTAL_ATTEMPTS] if self.detail == "simple" else []
        return [*self.list_fields, *self.campaign.form_fields, *FIXED_FIELDS, *simple]

    @property
    def stream(self) -> str:
        """Names these results among all that a task exports; the campaign may be renamed."""
        return f"campaign {self.campaign.uid} {self.detail}"

    @property
    def key(self) -> tuple[Any, Any]:
        """When a row changed, and its uid: the order of the file."""
        return (RESULT.c.updated_at, RESULT.c.record_uid) if self.detail == "simple" else _ATTEMPT_KEY

    def query(self) -> sa.Select[Any]:
        """All rows but the excluded ones, by key: the key, the record's fields, the form, the fixed fields."""
        found = _records(self.campaign.uid) if self.detail == "simple" else _attempts(self.campaign.uid)
        return found.where(~excludes_record(self.campaign.uid)).order_by(*self.key)

    def excluded(self) -> sa.Select[Any]:
        """How many rows are left out because their record is excluded."""
        found = _records(self.campaign.uid) if self.detail == "simple" else _attempts(self.campaign.uid)
        left_out = found.where(excludes_record(self.campaign.uid)).subquery()
        return sa.select(sa.func.count()).select_from(left_out)

    def file_rows(self, batch: Sequence[Any]) -> Iterator[list[Any]]:
        """The file's rows of rows as they were read."""
        for _at, _uid, fields, form, *fixed in batch:
            form = form or {}
            own = [fields.get(name) for name in self.list_fields]
            yield [*own, *(form.get(name) for name in self.campaign.form_fields), *fixed]


_ATTEMPT_KEY = (ATTEMPT.c.started_at, ATTEMPT.c.uid)


def results_of(connection: sa.Connection, campaign: str, detail: Detail) -> Results:
    """The results of the campaign of that name. Raises InputRefused where there is none."""
    facts = find_campaign(connection, campaign)
    has_results = sa.exists().where(
        RESULT.c.campaign_uid == facts.uid, RESULT.c.record_uid == RECORD.c.uid, RECORD.c.list_uid == LIST.c.uid
    )
    theirs = (CAMPAIGN_LIST.c.list_uid == LIST.c.uid) & (CAMPAIGN_LIST.c.campaign_uid == facts.uid)
    rows = connection.execute(
        sa.select(LIST.c.columns)
        .select_from(LIST.outerjoin(CAMPAIGN_LIST, theirs))
        .where(CAMPAIGN_LIST.c.campaign_uid.is_not(None) | has_results.correlate(LIST))
        .order_by(CAMPAIGN_LIST.c.campaign_uid.is_(None), CAMPAIGN_LIST.c.priority, LIST.c.uid)
    )
    fields = dict.fromkeys(name for (columns,) in rows for name in columns)
    return Results(facts, detail, list(fields))


def _records(campaign_uid: int) -> sa.Select[Any]:
    """A row a record that was tried: its own result, and the call of its last attempt."""
    joined = (
        RESULT.join(RECORD, RECORD.c.uid == RESULT.c.record_uid)
        .outerjoin(ATTEMPT, ATTEMPT.c.uid == RESULT.c.last_attempt_uid)
        .outerjoin(OF_RECORD, OF_RECORD.c.uid == RESULT.c.disposition_uid)
        .outerjoin(OF_CALL, OF_CALL.c.uid == ATTEMPT.c.call_disposition_uid)
    )
    key = (RESULT.c.updated_at, RESULT.c.record_uid)
    fixed = _fixed(RESULT.c.completed, RESULT.c.out_of_quota)
    chosen = sa.select(*key, RECORD.c.fields, ATTEMPT.c.form, *fixed, RESULT.c.attempts)
    return chosen.select_from(joined).where(RESULT.c.campaign_uid == campaign_uid)


def _attempts(campaign_uid: int) -> sa.Select[Any]:
    """A row an attempt that has ended, also where nothing was dialled."""
    joined = (
        ATTEMPT.join(RECORD, RECORD.c.uid == ATTEMPT.c.record_uid)
        .outerjoin(OF_RECORD, OF_RECORD.c.uid == ATTEMPT.c.record_disposition_uid)
        .outerjoin(OF_CALL, OF_CALL.c.uid == ATTEMPT.c.call_disposition_uid)
    )
    fixed = _fixed(ATTEMPT.c.completed, ATTEMPT.c.out_of_quota)
    chosen = sa.select(*_ATTEMPT_KEY, RECORD.c.fields, ATTEMPT.c.form, *fixed)
    return chosen.select_from(joined).where(ATTEMPT.c.campaign_uid == campaign_uid, ~is_open())


def _fixed(completed: Any, out_of_quota: Any) -> list[Any]:
    """The columns of FIXED_FIELDS, in that order."""
    return [
        ATTEMPT.c.phone,
        ATTEMPT.c.is_call_attempt,
        completed,
        OF_RECORD.c.name.label("record_disposition"),
        OF_RECORD.c.code.label("record_disposition_code"),
        out_of_quota,
        OF_CALL.c.name.label("call_disposition"),
        OF_CALL.c.code.label("call_disposition_code"),
        ATTEMPT.c.note,
        ATTEMPT.c.agent,
        ATTEMPT.c.ani,
        ATTEMPT.c.answered_seconds,
        ATTEMPT.c.interaction_id,
    ]
