"""What the Step column says."""

import pytest

from headway.scheduler.planning.step_label import has_steps, step_shown

SCHEMA = {
    "properties": {
        "campaign": {"type": "string", "default": "x"},
        "step": {"enum": ["start", "stop"], "default": "start", "step": True},
    }
}


@pytest.mark.parametrize(
    ("step", "parameters", "schema", "shown"),
    [
        (1, {}, SCHEMA, "1 · Start"),  # the default
        (2, {"step": "stop"}, SCHEMA, "2 · Stop"),
        (1, None, SCHEMA, "1 · Start"),
        (3, {"step": "wind_down"}, SCHEMA, "3 · Wind down"),
        (1, {"step": None}, SCHEMA, "1"),
        (2, {"step": "stop"}, {"properties": {"step": {"type": "string"}}}, "2"),  # not marked: some other step
        (2, {"step": "stop"}, {"properties": {"step": {"type": "string", "step": False}}}, "2"),
        (4, {"step": "stop"}, None, "4"),
        (4, {}, {}, "4"),
    ],
)
def test_a_type_that_marks_a_parameter_as_its_step_has_the_word_beside_the_number(step, parameters, schema, shown):
    assert step_shown(step, parameters, schema) == shown
    assert has_steps(schema) == (schema is SCHEMA)
