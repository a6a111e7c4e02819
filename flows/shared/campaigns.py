"""What task types need to know of a campaign: which one is meant, and which of its attempts are open."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from headway.blocks.database.block import Database
from headway.flows.data_export.flow import load_database
from headway.flows.shared.result import InputRefused
from headway.models.operations.tables import Attempt, Campaign, CampaignState
from headway.models.values.zone import zone

CAMPAIGN: Any = Campaign.__table__  # type: ignore[attr-defined]
ATTEMPT: Any = Attempt.__table__  # type: ignore[attr-defined]


def load_writable(name: str) -> Database:
    """The database block of that name. Raises InputRefused where there is none, or it is for reading only."""
    block = load_database(name)
    if block.read_only:
        raise InputRefused(f"The database block '{name}' is read-only, and this task writes. Name another block.")
    return block


@dataclass(kw_only=True, frozen=True)
class CampaignFacts:
    """A campaign as it was read. Instants are aware UTC; `opens` and `closes` are HH:MM in `timezone`."""

    uid: int
    name: str
    timezone: str
    opens: str
    closes: str
    form_fields: list[str]
    state: CampaignState
    started_at: datetime | None
    stopped_at: datetime | None

    def local(self, instant: datetime) -> str:
        """An instant as the campaign's clocks show it."""
        return f"{instant.astimezone(zone(self.timezone)):%a %-d %b %Y %H:%M} ({self.timezone})"

    def is_open_at(self, instant: datetime) -> bool:
        """Whether the instant lies within the contact hours; hours that end before they begin pass midnight."""
        now = f"{instant.astimezone(zone(self.timezone)):%H:%M}"
        if self.opens <= self.closes:
            return self.opens <= now < self.closes
        return now >= self.opens or now < self.closes


def find_campaign(connection: sa.Connection, name: str) -> CampaignFacts:
    """The campaign of that name. Raises InputRefused, which names those that there are."""
    columns = [CAMPAIGN.c[field] for field in CampaignFacts.__dataclass_fields__]
    row = connection.execute(sa.select(*columns).where(CAMPAIGN.c.name == name)).mappings().first()
    if row is not None:
        return CampaignFacts(**row)
    names = connection.execute(sa.select(CAMPAIGN.c.name).order_by(CAMPAIGN.c.name).limit(20)).scalars().all()
    known = ", ".join(f"'{one}'" for one in names) or "none yet"
    asked = f"There is no campaign '{name}'" if name.strip() else "No campaign is named"
    raise InputRefused(
        f"{asked} (there are: {known}). Correct the parameter campaign, or name the task's object like the campaign."
    )


def is_open(attempt: Any = ATTEMPT) -> sa.ColumnElement[bool]:
    """Whether an attempt is still in progress: a call without a call disposition."""
    condition: sa.ColumnElement[bool] = attempt.c.is_call_attempt & attempt.c.call_disposition_uid.is_(None)
    return condition
