"""Chains of steps: each task's step number, its chain's first task, and the steps that follow it."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from headway.models.values.schedule import After
from headway.models.values.task import Task


def link(tasks: Iterable[Task]) -> dict[int, Task]:
    """The tasks by UID, with `step`, `root` and `successors` set. Raises ValueError for a loop or a gap."""
    by_uid = {task.uid: task for task in tasks}
    successors: dict[int, list[int]] = {}
    for task in by_uid.values():
        if isinstance(task.schedule, After):
            successors.setdefault(task.schedule.predecessor, []).append(task.uid)
    linked: dict[int, Task] = {}
    for uid, task in by_uid.items():
        step, root = _depth(task, by_uid)
        linked[uid] = replace(task, step=step, root=root, successors=tuple(sorted(successors.get(uid, ()))))
    return linked


def loops(after: Mapping[str, str]) -> list[list[str]]:
    """The loops among names, given as step: predecessor. Each loop once, from its first name in the given order."""
    found: list[list[str]] = []
    done: set[str] = set()
    for name in after:
        path: list[str] = []
        while name in after and name not in done:
            done.add(name)
            path.append(name)
            name = after[name]
        if name in path:
            found.append(path[path.index(name) :])
    return found


def _depth(task: Task, by_uid: Mapping[int, Task]) -> tuple[int, int]:
    step, seen = 1, {task.uid}
    while isinstance(task.schedule, After):
        before = by_uid.get(task.schedule.predecessor)
        if before is None:
            raise ValueError(f"'{task.name}' comes after a task that does not exist")
        if before.uid in seen:
            raise ValueError(f"'{task.name}' is part of a chain that loops")
        seen.add(before.uid)
        task, step = before, step + 1
    return step, task.uid
