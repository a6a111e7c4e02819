"""The lint asked about one task finds for it what the whole lint finds for it."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from headway.scheduler.planning.definitions.document import Definitions
from headway.scheduler.planning.definitions.resolved_definitions import build
from headway.scheduler.planning.definitions.task_types import TaskType
from headway.scheduler.planning.lint import lint

TYPES = {name: TaskType(name=name, group=group) for name, group in (("a", "a"), ("b", "b"), ("c", "a"))}
NOW = datetime(2026, 3, 1, tzinfo=UTC)  # a week before the clocks change


def task(number: int, chance: random.Random) -> dict[str, Any]:
    if number == 0 or chance.random() < 0.7:
        schedule = {"cron": f"{chance.choice([0, 1, 2, 30])} {chance.choice([1, 2, 3])} * * *"}
    else:
        schedule = {"after": f"t{chance.randrange(number)}", "spacing": chance.choice(["00:30:00", "01:30:00"])}
    estimate = {"expected_duration": timedelta(minutes=chance.choice([1, 5, 50, 200]))} if chance.random() < 0.5 else {}
    return {"name": f"t{number}", "type": chance.choice("abc"), "schedule": schedule, **estimate}


@pytest.mark.parametrize("seed", range(12))
def test_asked_about_one_task_the_lint_says_the_same_of_it(seed: int) -> None:
    chance = random.Random(seed)
    definitions = {"settings": {"min_spacing": "00:00:00"}, "tasks": [task(number, chance) for number in range(12)]}
    world = build(Definitions.model_validate(definitions), TYPES)
    whole = lint(world, NOW)
    for name in (one.name for one in world.tasks.values()):
        asked = [finding for finding in lint(world, NOW, about={name}) if name in finding.tasks]
        assert asked == [finding for finding in whole if name in finding.tasks]
    assert {"L1"} <= {finding.id for finding in whole}
