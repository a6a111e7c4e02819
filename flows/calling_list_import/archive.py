"""What a replacing import does with the old records: their results go to the archive first, then they go."""

from datetime import datetime

import sqlalchemy as sa

from headway.models.operations.tables import ResultArchive

_RESULTS = """
INSERT INTO result_archive (list_name, campaign_name, record_key, fields, result, attempts, archived_at)
SELECT :list_name, campaign.name, record.key, {fields},
  {object}(
    'disposition', coalesce(disposition.name, ''), 'disposition_code', coalesce(disposition.code, ''),
    'attempts', coalesce(record_result.attempts, 0),
    'completed', {completed}, 'out_of_quota', {out_of_quota}, 'updated_at', {updated_at}),
  coalesce((
    SELECT {array}({object_of_row}) FROM (
      SELECT attempt.*, called.name AS call_name, called.code AS call_code,
        recorded.name AS record_name, recorded.code AS record_code
      FROM attempt
      LEFT JOIN disposition AS called ON called.uid = attempt.call_disposition_uid
      LEFT JOIN disposition AS recorded ON recorded.uid = attempt.record_disposition_uid
      WHERE attempt.record_uid = record.uid AND attempt.campaign_uid = campaign.uid
      ORDER BY attempt.started_at, attempt.uid
    ) AS one), {array_of_none}),
  :now
FROM record
JOIN (
  SELECT record_uid, campaign_uid FROM record_result WHERE record_uid IN ({theirs})
  UNION
  SELECT record_uid, campaign_uid FROM attempt WHERE record_uid IN ({theirs})
) AS touched ON touched.record_uid = record.uid
JOIN campaign ON campaign.uid = touched.campaign_uid
LEFT JOIN record_result ON record_result.record_uid = record.uid AND record_result.campaign_uid = campaign.uid
LEFT JOIN disposition ON disposition.uid = record_result.disposition_uid
WHERE record.list_uid = :list_uid
ORDER BY record.uid, campaign.uid
"""
_ATTEMPT = """{object}(
  'started_at', {started_at}, 'phone', one.phone, 'is_call_attempt', {is_call_attempt},
  'completed', {completed}, 'out_of_quota', {out_of_quota},
  'record_disposition', coalesce(one.record_name, ''), 'record_disposition_code', coalesce(one.record_code, ''),
  'call_disposition', coalesce(one.call_name, ''), 'call_disposition_code', coalesce(one.call_code, ''),
  'note', one.note, 'agent', one.agent, 'ani', one.ani, 'answered_seconds', one.answered_seconds,
  'interaction_id', one.interaction_id, 'form', {form})"""
_THEIRS = "SELECT uid FROM record WHERE list_uid = :list_uid"


def archive_results(connection: sa.Connection, list_uid: int, list_name: str, now: datetime) -> int:
    """Write a row for each of the list's records and each campaign that tried it or judged it; how many."""
    values = {"list_uid": list_uid, "list_name": list_name, "now": now}
    now_is = sa.bindparam("now", type_=ResultArchive.__table__.c.archived_at.type)  # type: ignore[attr-defined]
    return connection.execute(sa.text(_statement(connection.dialect.name)).bindparams(now_is), values).rowcount


def remove_records(connection: sa.Connection, list_uid: int) -> int:
    """Delete the list's records with their attempts and results; how many records."""
    for table in ("record_result", "attempt"):
        connection.execute(sa.text(f"DELETE FROM {table} WHERE record_uid IN ({_THEIRS})"), {"list_uid": list_uid})
    return connection.execute(sa.text("DELETE FROM record WHERE list_uid = :list_uid"), {"list_uid": list_uid}).rowcount


def _statement(dialect: str) -> str:
    if dialect == "postgresql":
        words = {"object": "jsonb_build_object", "array": "jsonb_agg", "array_of_none": "'[]'::jsonb"}
        words["fields"] = "CAST(record.fields AS jsonb)"
        form, truth, instant = "one.form", "coalesce({0}, false)", _POSTGRESQL_INSTANT
    else:
        words = {"object": "json_object", "array": "json_group_array", "array_of_none": "'[]'"}
        words["fields"] = "record.fields"
        form, truth, instant = "json(one.form)", "json(CASE WHEN {0} THEN 'true' ELSE 'false' END)", _SQLITE_INSTANT
    attempt = _ATTEMPT.format(
        **words,
        form=form,
        started_at=instant.format("one.started_at"),
        **{name: truth.format(f"one.{name}") for name in ("is_call_attempt", "completed", "out_of_quota")},
    )
    result = {name: truth.format(f"record_result.{name}") for name in ("completed", "out_of_quota")}
    updated_at = instant.format("record_result.updated_at")
    return _RESULTS.format(**words, theirs=_THEIRS, object_of_row=attempt, updated_at=updated_at, **result)


# Both give the instant as ISO 8601 in UTC, whole seconds, with a Z.
_SQLITE_INSTANT = "coalesce(strftime('%Y-%m-%dT%H:%M:%SZ', {0}), '')"
_POSTGRESQL_INSTANT = "coalesce(to_char({0} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), '')"
