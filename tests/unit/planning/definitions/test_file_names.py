"""File name tokens: what they become, and what is refused before it lands in a name."""

import pytest

from headway.scheduler.planning.definitions.file_names import NAMES, resolve, unknown_tokens, with_texts
from tests.support.clock import utc


def _resolve(text: str, timezone: str = "America/New_York", **changes: object) -> str:
    facts: dict[str, object] = {"task": "Citations export", "object_name": "Citations", "sequence": 7} | changes
    return resolve(text, due_at=utc("2026-11-24T03:05:09"), timezone=timezone, **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("plain.csv", "plain.csv"),
        ("{date}.csv", "20261123.csv"),  # the local day of the due, not UTC's
        ("{time}", "2205"),
        ("{date:%d.%m.%Y}_{time:%H%M%S}", "23.11.2026_220509"),
        ("{sequence}", "7"),
        ("{sequence:4}", "   7"),
        ("{sequence:04}", "0007"),
        ("{object}-{task}", "Citations-Citations_export"),
        ("{task}{task}", "Citations_exportCitations_export"),
    ],
)
def test_tokens_become(text: str, name: str) -> None:
    assert _resolve(text) == name
    assert unknown_tokens(text) == []


def test_the_zone_is_the_tasks() -> None:
    assert _resolve("{date}{time}", "Asia/Kathmandu") == "202611240850"


def test_a_tasks_name_cannot_leave_its_folder() -> None:
    assert _resolve("{task}.csv", task="../../etc/pass wd") == ".._.._etc_pass_wd.csv"


@pytest.mark.parametrize(
    "text",
    [
        "{dat}.csv",
        "{}",
        "{DATE}",
        "{date",
        "date}",
        "{{date}}",
        "{task:x}",
        "{object:10}",
        "{sequence:x}",
        "{sequence:}",
        "{sequence:99999999999}",  # a name of a hundred gigabytes
        "{sequence:-4}",
    ],
)
def test_an_unknown_token_is_named_at_save_time_and_refused_at_the_claim(text: str) -> None:
    assert unknown_tokens(text)
    with pytest.raises(ValueError, match="token") as refusal:
        _resolve(text)
    assert all(name in str(refusal.value) for name in NAMES)


def test_only_parameters_that_say_so_have_tokens_nested_ones_too() -> None:
    mail = {"properties": {"subject": {"tokens": True, "default": "{task}"}, "block": {"type": "string"}}}
    schema = {
        "definitions": {"Mail": mail},
        "properties": {
            "file_name": {"tokens": True, "default": "{date}.csv"},
            "query": {"type": "string"},
            "odd": True,
            "mail": {"anyOf": [{"$ref": "#/definitions/Mail"}, {"type": "null"}]},
        },
    }
    seen: list[str] = []

    def change(path: str, text: str) -> str:
        seen.append(path)
        return text.replace("{", "<").replace("}", ">")

    given = {"query": "{date}", "mail": {"block": "{task}"}}
    assert with_texts(given, schema, change) == {
        "file_name": "<date>.csv",
        "query": "{date}",
        "mail": {"block": "{task}", "subject": "<task>"},
    }
    assert seen == ["file_name", "mail.subject"]
    assert with_texts({"mail": None}, schema, lambda _path, text: text) == {"mail": None}
    assert with_texts({"a": 1}, None, change) == {"a": 1}
