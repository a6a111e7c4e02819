"""A small believable parking office and contact centre, for the demo and for tests.

Deterministic: the same seed gives the same rows, down to the instants (the world's "now" is fixed).
People, numbers and plates are made up; phone numbers are from the range kept free for fiction.
"""

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Any

import sqlalchemy as sa

from headway.models.operations.tables import (
    Attempt,
    CallingList,
    Campaign,
    CampaignExclusion,
    CampaignList,
    CampaignState,
    Citation,
    CitationStatus,
    Customer,
    Disposition,
    DispositionKind,
    ExclusionEntry,
    ExclusionKind,
    ExclusionList,
    LookupEntry,
    LookupTable,
    Lot,
    OperationsModel,
    Permit,
    PermitStatus,
    Record,
    RecordResult,
)

WORLD_NOW = datetime(2026, 11, 20, 21, 0, tzinfo=UTC)
BATCH = 1000

FIRST_NAMES = [
    "Ada",
    "Ben",
    "Carla",
    "Diego",
    "Elena",
    "Farid",
    "Grace",
    "Hiro",
    "Imani",
    "Jonas",
    "Keiko",
    "Liam",
    "Mara",
    "Noor",
    "Omar",
    "Priya",
]
LAST_NAMES = [
    "Alvarez",
    "Brandt",
    "Chen",
    "Dube",
    "Ellis",
    "Fischer",
    "Garcia",
    "Hughes",
    "Ito",
    "Jensen",
    "Kowalski",
    "Lopez",
    "Moore",
]
STREETS = [
    "Birch Lane",
    "Cedar Street",
    "Dock Road",
    "Elm Avenue",
    "Harbor Way",
    "Mill Street",
    "Orchard Road",
]
TOWNS = [("Albany", "NY", "12203"), ("Newark", "NJ", "07102"), ("Stamford", "CT", "06901")]
OFFICERS = ["Officer 11", "Officer 14", "Officer 23", "Officer 31"]
NOTES = ["", "", "", "Warned before", 'Sign said "No parking"', "Blocked dock, asked to move", "Señal tapada"]
LOTS = [
    ("A", "Harbor garage", "Downtown", 420),
    ("B", "Station lot", "Downtown", 180),
    ("C", "North campus", "Campus", 260),
    ("D", "Hospital deck", "Medical", 310),
    ("E", "Market square", "Downtown", 90),
]
VIOLATIONS = [
    ("EXPM", "Expired meter", 3500),
    ("FIRE", "Fire lane", 11500),
    ("NPRM", "No valid permit", 6000),
    ("OVER", "Over time limit", 4000),
    ("ADAZ", "Accessible space without placard", 18000),
    ("DBLP", "Double parked", 9500),
]
MAKES = [
    ("CHEV", "Chevrolet"),
    ("FORD", "Ford"),
    ("HOND", "Honda"),
    ("TOYT", "Toyota"),
    ("VOLK", "Volkswagen"),
]
RECORD_DISPOSITIONS = [
    ("PTP", "Promise to pay", True),
    ("REF", "Refused", True),
    ("RTR", "Retry later", False),
]
CALL_DISPOSITIONS = [("ANS", "Answered", True), ("NOA", "No answer", False), ("BSY", "Busy", False)]


def build(engine: sa.Engine, *, seed: int = 1, citations: int = 2000, customers: int = 300, records: int = 400) -> bool:
    """Fill an empty, migrated operations database in one transaction.

    Returns False, and changes nothing, where a world is there already.
    """
    dice = random.Random(seed)
    with engine.begin() as connection:
        if connection.execute(sa.select(sa.func.count()).select_from(Lot)).scalar_one():
            return False
        for table, rows in _world(dice, citations, customers, records):
            _insert(connection, table, rows)
        _advance_sequences(connection)
    return True


Rows = Iterator[dict[str, Any]]


def _world(dice: random.Random, citations: int, customers: int, records: int) -> Iterator[tuple[Any, Rows]]:
    """Tables in the order in which their references allow them to be filled."""
    yield Customer, (_customer(dice, uid) for uid in range(1, customers + 1))
    yield (
        Lot,
        ({"uid": i, "code": c, "name": n, "zone": z, "capacity": k} for i, (c, n, z, k) in _from_1(LOTS)),
    )
    yield Permit, (_permit(dice, uid) for uid in range(1, customers + 1, 2))
    yield Citation, (_citation(dice, uid, customers) for uid in range(1, citations + 1))
    yield from _lookups()
    yield from _dispositions_and_campaigns()
    yield Record, (_record(dice, uid, records) for uid in range(1, records + 1))
    attempts = list(_attempts(dice, records))
    yield Attempt, iter(attempts)
    yield RecordResult, _results(attempts)
    yield from _exclusions(dice, records)


def _from_1(items: list[Any]) -> Iterator[tuple[int, Any]]:
    return iter(enumerate(items, start=1))


def _customer(dice: random.Random, uid: int) -> dict[str, Any]:
    first, last = dice.choice(FIRST_NAMES), dice.choice(LAST_NAMES)
    city, state, postal_code = dice.choice(TOWNS)
    return {
        "uid": uid,
        "account": f"C{uid:06d}",
        "first_name": first,
        "last_name": last,
        "email": f"{first}.{last}{uid}@example.com".lower(),
        "phone": _phone(uid),
        "street": f"{dice.randint(1, 990)} {dice.choice(STREETS)}",
        "city": city,
        "state": state,
        "postal_code": postal_code,
        "created_at": _ago(dice, days=900),
    }


def _phone(uid: int) -> str:
    return f"+1{212 + uid // 100 % 700:03d}55501{uid % 100:02d}"


def _ago(dice: random.Random, *, days: int) -> datetime:
    return WORLD_NOW - timedelta(seconds=dice.randint(60, days * 86_400))


def _plate(uid: int) -> str:
    return f"{chr(65 + uid % 23)}{chr(65 + uid // 23 % 23)}K{uid % 10_000:04d}"


def _permit(dice: random.Random, customer_uid: int) -> dict[str, Any]:
    valid_from = date(2026, 1, 1) + timedelta(days=dice.randint(0, 300))
    valid_to = valid_from + timedelta(days=dice.choice([29, 89, 364]))
    expired = valid_to < WORLD_NOW.date()
    return {
        "uid": customer_uid,
        "number": f"P26-{customer_uid:05d}",
        "customer_uid": customer_uid,
        "lot_uid": dice.randint(1, len(LOTS)),
        "plate": _plate(customer_uid),
        "valid_from": valid_from,
        "valid_to": valid_to,
        "price_cents": dice.choice([4500, 12_000, 42_000]),
        "status": PermitStatus.EXPIRED if expired else PermitStatus.ACTIVE,
    }


def _citation(dice: random.Random, uid: int, customers: int) -> dict[str, Any]:
    code, _, fine = dice.choice(VIOLATIONS)
    owner = dice.randint(1, customers) if customers and dice.random() < 0.7 else None
    status = dice.choices(list(CitationStatus), weights=[50, 40, 7, 3])[0]
    return {
        "uid": uid,
        "number": f"T{26_000_000 + uid}",
        "issued_at": _ago(dice, days=120),
        "lot_uid": dice.randint(1, len(LOTS)),
        "customer_uid": owner,
        "plate": _plate(owner if owner else 20_000 + uid),
        "plate_state": dice.choice(TOWNS)[1],
        "violation_code": code,
        "fine_cents": fine,
        "paid_cents": fine if status is CitationStatus.PAID else 0,
        "officer": dice.choice(OFFICERS),
        "note": dice.choice(NOTES),
        "status": status,
    }


def _lookups() -> Iterator[tuple[Any, Rows]]:
    codes = [{"code": c, "text": t, "fine": f"{f / 100:.2f}"} for c, t, f in VIOLATIONS]
    makes = [{"code": c, "name": n} for c, n in MAKES]
    tables = [("violation_codes", "What a ticket can be written for", codes), ("vehicle_makes", "", makes)]
    yield (
        LookupTable,
        (
            {"uid": i, "name": n, "description": d, "key_columns": ["code"], "loaded_at": WORLD_NOW}
            for i, (n, d, _) in _from_1(tables)
        ),
    )
    yield (
        LookupEntry,
        (
            {"lookup_uid": i, "key": fields["code"], "fields": fields, "updated_at": WORLD_NOW}
            for i, (_, _, entries) in _from_1(tables)
            for fields in entries
        ),
    )


def _dispositions_and_campaigns() -> Iterator[tuple[Any, Rows]]:
    both = [(DispositionKind.RECORD, *d) for d in RECORD_DISPOSITIONS]
    both += [(DispositionKind.CALL, *d) for d in CALL_DISPOSITIONS]
    yield (
        Disposition,
        (
            {"uid": i, "kind": kind, "code": code, "name": name, "completes": completes}
            for i, (kind, code, name, completes) in _from_1(both)
        ),
    )
    hours = {"timezone": "America/New_York", "opens": "09:00", "closes": "20:00", "started_at": None}
    form = {"form_fields": ["promise_date", "language"], "state": CampaignState.STOPPED, "stopped_at": None}
    names = [("Overdue citations", "Reminder calls"), ("Permit renewals", "Before a permit ends")]
    yield Campaign, ({"uid": i, "name": n, "description": d} | hours | form for i, (n, d) in _from_1(names))
    columns = ["account", "first_name", "last_name", "balance"]
    lists = ["Overdue November", "Renewals winter", "Renewals (old)"]
    shape = {"columns": columns, "key_columns": ["account"], "required_columns": ["account"]}
    yield (
        CallingList,
        ({"uid": i, "name": n, "description": "", "loaded_at": WORLD_NOW} | shape for i, n in _from_1(lists)),
    )
    pairs = [(1, 1, True), (2, 2, True), (2, 3, False)]
    yield (
        CampaignList,
        ({"campaign_uid": c, "list_uid": m, "enabled": on, "priority": 0} for c, m, on in pairs),
    )


def _record(dice: random.Random, uid: int, records: int) -> dict[str, Any]:
    account = f"C{uid:06d}"
    _, state, postal_code = dice.choice(TOWNS)
    fields = {
        "account": account,
        "first_name": dice.choice(FIRST_NAMES),
        "last_name": dice.choice(LAST_NAMES),
        "balance": f"{dice.randint(20, 400)}.00",
    }
    return {
        "uid": uid,
        "list_uid": 1 if uid <= records // 2 else 2,
        "key": account,
        "account": account,
        "state": state,
        "postal_code": postal_code,
        "fields": fields,
        "phones": [_phone(uid), _phone(uid + 50_000)] if uid % 3 == 0 else [_phone(uid)],
        "created_at": WORLD_NOW - timedelta(days=10),
        "updated_at": WORLD_NOW - timedelta(days=10),
    }


def _attempts(dice: random.Random, records: int) -> Rows:
    """None to three attempts a record; every 17th record was looked at without dialling."""
    uid = 0
    for record_uid in range(1, records + 1):
        started_at = WORLD_NOW - timedelta(days=9) + timedelta(minutes=record_uid)
        for _ in range(dice.randint(0, 3)):
            uid += 1
            started_at += timedelta(hours=dice.randint(1, 30))
            yield _attempt(dice, uid, record_uid, 1 if record_uid <= records // 2 else 2, started_at)


def _attempt(dice: random.Random, uid: int, record_uid: int, campaign_uid: int, at: datetime) -> dict[str, Any]:
    dialled = record_uid % 17 != 0
    call = dice.randrange(len(CALL_DISPOSITIONS))
    record = dice.randrange(len(RECORD_DISPOSITIONS)) if dialled and call == 0 else 2
    answered = dialled and call == 0
    return {
        "uid": uid,
        "campaign_uid": campaign_uid,
        "record_uid": record_uid,
        "started_at": at,
        "phone": _phone(record_uid) if dialled else "",
        "is_call_attempt": dialled,
        "completed": RECORD_DISPOSITIONS[record][2],
        "out_of_quota": False,
        "record_disposition_uid": record + 1,
        "call_disposition_uid": len(RECORD_DISPOSITIONS) + call + 1 if dialled else None,
        "note": dice.choice(["", "Wants a letter", "Speaks Spanish"]) if answered else "",
        "agent": dice.choice(["agent.lee", "agent.ruiz"]) if answered else "",
        "ani": "+12125550100" if dialled else "",
        "answered_seconds": dice.randint(15, 400) if answered else 0,
        "interaction_id": f"{dice.getrandbits(128):032x}",
        "form": {"language": dice.choice(["en", "es"])} if answered else {},
    }


def _results(attempts: list[dict[str, Any]]) -> Rows:
    """One row a record: what its last attempt came to."""
    last: dict[int, dict[str, Any]] = {}
    for attempt in attempts:
        tried = last[attempt["record_uid"]]["attempts"] if attempt["record_uid"] in last else 0
        last[attempt["record_uid"]] = {
            "campaign_uid": attempt["campaign_uid"],
            "record_uid": attempt["record_uid"],
            "disposition_uid": attempt["record_disposition_uid"],
            "last_attempt_uid": attempt["uid"],
            "attempts": tried + 1,
            "completed": attempt["completed"],
            "out_of_quota": False,
            "updated_at": attempt["started_at"],
        }
    return iter(last.values())


def _exclusions(dice: random.Random, records: int) -> Iterator[tuple[Any, Rows]]:
    lists = [
        ("Do not call", ExclusionKind.INTERNAL, [_phone(uid) for uid in range(7, records + 1, 40)]),
        ("Accounts in dispute", ExclusionKind.RECORD, [f"C{uid:06d}" for uid in range(5, records + 1, 50)]),
        ("Old area codes", ExclusionKind.AREA_CODE, ["917"]),  # in no campaign: it excludes nothing
    ]
    yield (
        ExclusionList,
        (
            {"uid": i, "name": n, "description": "", "kind": kind, "loaded_at": WORLD_NOW}
            for i, (n, kind, _) in _from_1(lists)
        ),
    )
    reasons = ["", "Asked not to be called", "In dispute"]
    yield (
        ExclusionEntry,
        (
            {"exclusion_list_uid": i, "value": value, "comment": dice.choice(reasons), "added_at": WORLD_NOW}
            for i, (_, _, values) in _from_1(lists)
            for value in values
        ),
    )
    yield (
        CampaignExclusion,
        ({"campaign_uid": c, "exclusion_list_uid": e} for c, e in [(1, 1), (1, 2), (2, 1)]),
    )


def _insert(connection: sa.Connection, model: type[OperationsModel], rows: Rows) -> None:
    statement = sa.insert(model)
    while batch := list(islice(rows, BATCH)):
        connection.execute(statement, batch)


def _advance_sequences(connection: sa.Connection) -> None:
    """PostgreSQL's counters know nothing of the uids given here: move them behind the last one."""
    if connection.dialect.name != "postgresql":
        return
    for table in OperationsModel.metadata.sorted_tables:
        if "uid" in table.c:
            connection.execute(
                sa.select(
                    sa.func.setval(
                        sa.func.pg_get_serial_sequence(table.name, "uid"),
                        sa.select(sa.func.coalesce(sa.func.max(table.c.uid), 0) + 1).scalar_subquery(),
                        False,
                    )
                )
            )
