"""The parameter schemas that the dashboard draws its forms from."""

import json

import pytest
from pydantic import ValidationError

from headway.flows.calling_list_import.flow import calling_list_import
from headway.flows.campaign_results_export.flow import campaign_results_export
from headway.flows.campaign_trigger.flow import campaign_trigger
from headway.flows.data_export.flow import data_export
from headway.flows.exclusion_import.flow import exclusion_import
from headway.flows.lookup_import.flow import lookup_import
from headway.flows.report_execution.flow import report_execution
from headway.flows.shared.file_writers import CsvOptions
from headway.scheduler.planning.definitions.parameters import problems_in

FLOWS = [calling_list_import, data_export, lookup_import, campaign_results_export, exclusion_import, report_execution]


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_every_parameter_is_described(flow):
    schema = flow.parameters.model_dump()
    plain = {name for name, field in schema["properties"].items() if not field.get("description")}
    assert plain == set()
    for model in schema["definitions"].values():
        assert all(field.get("description") for field in model["properties"].values()), model["title"]


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_nested_parameters_allow_no_unknown_keys(flow):
    definitions = flow.parameters.model_dump()["definitions"]
    assert definitions
    assert all(model["additionalProperties"] is False for model in definitions.values())


@pytest.mark.parametrize(
    ("flow", "tokens"),
    [
        (calling_list_import, {"calling_list", "file_name"}),
        (data_export, {"file_name", "table"}),
        (lookup_import, {"file_name", "lookup"}),
        (campaign_trigger, {"campaign"}),
        (campaign_results_export, {"file_name", "campaign"}),
        (exclusion_import, {"file_name", "exclusion_list"}),
    ],
)
def test_the_scheduler_fills_tokens_in_names_only(flow, tokens):
    properties = flow.parameters.model_dump()["properties"]
    assert {name for name, field in properties.items() if field.get("tokens")} == tokens


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_the_schema_is_plain_json_and_all_but_the_essentials_has_defaults(flow):
    schema = json.loads(json.dumps(flow.parameters.model_dump()))
    assert set(schema["required"]) <= {"file_name", "lookup"}


def test_only_the_trigger_has_a_step_of_its_own():
    assert campaign_trigger.parameters.model_dump()["properties"]["step"]["step"] is True
    assert not any(field.get("step") for flow in FLOWS for field in flow.parameters.model_dump()["properties"].values())


@pytest.mark.parametrize("flow", [data_export, campaign_results_export], ids=lambda flow: flow.name)
def test_an_export_has_no_destination_parameter(flow):
    names = set(flow.parameters.model_dump()["properties"])
    assert not {name for name in names if any(word in name for word in ("dest", "folder", "path", "host", "target"))}


@pytest.mark.parametrize(
    ("csv", "wrong"),
    [
        ({"separator": ";;"}, "separator"),
        ({"separator": '"'}, "separator"),
        ({"separator": ""}, "separator"),
        ({"quote": "''"}, "quote"),
        ({"encoding": "utf-9"}, "encoding"),
        ({"encoding": "hex"}, "encoding"),
        ({"separator": "tab", "quote": "'", "encoding": "cp1252"}, None),
        ({"separator": "\t"}, None),
        ({"separator": "\\t"}, None),
        ({"separator": "^", "encoding": "UTF-16"}, None),
    ],
)
def test_what_a_file_cannot_look_like_is_refused_when_the_task_is_saved(csv, wrong):
    """The schema and the flow's own check agree."""
    problems = problems_in({"csv": csv}, data_export.parameters.model_dump())
    assert [wrong] == [name for name in csv if any(f"csv.{name}" in text for text in problems)] or not (
        wrong or problems
    )
    if wrong:
        with pytest.raises(ValidationError):
            CsvOptions(**csv)
    else:
        CsvOptions(**csv)
