"""Which records and numbers a campaign excludes: the one place that knows it.

A do-not-call list excludes only where a campaign is associated with it (`campaign_exclusion`). By its kind:

- *record*: the whole record with that account, in every list of the campaign. It is neither dialled nor in
  the campaign's results exports.
- *internal*: that number. The record stays, and its other numbers are dialled.
- *area_code*: every number with that North American area code (+1, then the code).
- *postal_code*: records with that postal code (of a ZIP+4 the first five count) are not dialled.
- *state*: records with that state are not dialled.

All but the first only keep from dialling: what a call came to before is a result like any other.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles

from headway.models.operations.tables import CampaignExclusion, ExclusionEntry, ExclusionKind, ExclusionList, Record

RECORD: Any = Record.__table__  # type: ignore[attr-defined]
ENTRY: Any = ExclusionEntry.__table__  # type: ignore[attr-defined]
LIST: Any = ExclusionList.__table__  # type: ignore[attr-defined]
HOLDS_FOR: Any = CampaignExclusion.__table__  # type: ignore[attr-defined]

Condition = sa.ColumnElement[bool]


class _EachText(sa.sql.functions.FunctionElement[Any]):
    """The texts of a JSON array as rows with a column `value`."""

    inherit_cache = True


@compiles(_EachText, "sqlite")
def _each_on_sqlite(element: _EachText, compiler: Any, **kwargs: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **kwargs)})"


@compiles(_EachText, "postgresql")
def _each_on_postgresql(element: _EachText, compiler: Any, **kwargs: Any) -> str:
    return f"json_array_elements_text({compiler.process(element.clauses, **kwargs)})"


PHONE: Any = _EachText(RECORD.c.phones).table_valued("value", name="phone")
"""The numbers of a row of `record`."""

ZIP_DIGITS = 5


def excludes_record(campaign_uid: int) -> Condition:
    """Of a row of `record`: whether a *record* list takes it out of this campaign, and out of its results."""
    return _listed(campaign_uid, ExclusionKind.RECORD, ENTRY.c.value == RECORD.c.account)


def can_be_dialled(campaign_uid: int) -> Condition:
    """Of a row of `record`: whether no list keeps it from being dialled, and a number is left to dial."""
    return ~keeps_from_dialling(campaign_uid) & _has_a_number_left(campaign_uid)


def keeps_from_dialling(campaign_uid: int) -> Condition:
    """Of a row of `record`: whether a list excludes it by account, postal code or state."""
    zip_code = sa.func.substr(RECORD.c.postal_code, 1, ZIP_DIGITS)
    by_postal_code = ENTRY.c.value.in_([RECORD.c.postal_code, zip_code])
    by_state = sa.func.upper(ENTRY.c.value) == sa.func.upper(RECORD.c.state)
    return sa.or_(
        excludes_record(campaign_uid),
        _listed(campaign_uid, ExclusionKind.POSTAL_CODE, by_postal_code),
        _listed(campaign_uid, ExclusionKind.STATE, by_state),
    )


def _has_a_number_left(campaign_uid: int) -> Condition:
    area_code = sa.func.substr(PHONE.c.value, 3, 3)
    is_north_american = sa.func.substr(PHONE.c.value, 1, 2) == "+1"
    by_number = _listed(campaign_uid, ExclusionKind.INTERNAL, ENTRY.c.value == PHONE.c.value)
    by_area = _listed(campaign_uid, ExclusionKind.AREA_CODE, (ENTRY.c.value == area_code) & is_north_american)
    return sa.exists().where(PHONE.c.value != "", ~by_number, ~by_area).correlate(RECORD)


def _listed(campaign_uid: int, kind: ExclusionKind, matches: Any) -> Condition:
    """Whether an entry of the campaign's lists of this kind matches the row of the enclosing query."""
    return (
        sa.exists()
        .where(
            HOLDS_FOR.c.campaign_uid == campaign_uid,
            LIST.c.uid == HOLDS_FOR.c.exclusion_list_uid,
            LIST.c.kind == kind,
            ENTRY.c.exclusion_list_uid == LIST.c.uid,
            matches,
        )
        .correlate(RECORD, PHONE)
    )
