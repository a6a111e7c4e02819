"""Chains: each task's step, its chain's first task, and the steps that follow it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from headway.models.values.schedule import After
from headway.models.values.task import Task
from headway.scheduler.planning.chains import link, loops

HOUR = timedelta(hours=1)


def task(uid: int, after: int | None = None) -> Task:
    return Task(
        uid=uid, name=f"task {uid}", type="sleep", group="group", schedule=After(after, HOUR) if after else None
    )


def shape(*tasks: Task) -> dict[int, tuple[int, int, tuple[int, ...]]]:
    return {uid: (one.step, one.root, one.successors) for uid, one in link(tasks).items()}


def test_task_in_no_chain_is_step_1_of_its_own() -> None:
    assert shape(task(7)) == {7: (1, 7, ())}


def test_step_is_the_depth_from_1_in_whatever_order_the_tasks_are_given() -> None:
    expected = {1: (3, 3, ()), 2: (2, 3, (1,)), 3: (1, 3, (2,))}
    assert shape(task(1, 2), task(2, 3), task(3)) == expected
    assert shape(task(3), task(2, 3), task(1, 2)) == expected


def test_predecessor_may_have_several_successors() -> None:
    assert shape(task(1), task(4, 1), task(2, 1), task(3, 4)) == {
        1: (1, 1, (2, 4)),
        2: (2, 1, ()),
        3: (3, 1, ()),
        4: (2, 1, (3,)),
    }


def test_disabled_step_keeps_its_place() -> None:
    middle = Task(uid=2, name="task 2", type="sleep", group="group", schedule=After(1, HOUR), enabled=False)
    assert shape(task(1), middle, task(3, 2))[3] == (3, 1, ())


def test_step_after_a_missing_task_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'task 2' comes after a task that does not exist"):
        link([task(1), task(2, 9)])


@pytest.mark.parametrize(
    "tasks",
    [
        [task(1, 1)],
        [task(1, 2), task(2, 1)],
        [task(1, 2), task(2, 3), task(3, 1)],
        [task(1), task(2, 3), task(3, 2)],
        [task(4, 1), task(1, 2), task(2, 1)],  # leads into a loop
    ],
)
def test_chain_that_loops_is_refused(tasks: list[Task]) -> None:
    with pytest.raises(ValueError, match="part of a chain that loops"):
        link(tasks)


@pytest.mark.parametrize(
    ("after", "found"),
    [
        ({}, []),
        ({"b": "a", "c": "b"}, []),
        ({"a": "a"}, [["a"]]),
        ({"a": "b", "b": "a"}, [["a", "b"]]),
        ({"d": "a", "a": "b", "b": "a"}, [["a", "b"]]),  # the way in is not part of it
        ({"a": "b", "b": "a", "c": "c", "x": "gone"}, [["a", "b"], ["c"]]),
    ],
)
def test_loops_among_names_are_found_once_each(after: dict[str, str], found: list[list[str]]) -> None:
    assert loops(after) == found
