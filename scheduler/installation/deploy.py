"""Deploying: a prefect.yaml goes to Prefect, and the task types come back from there."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from headway.clock import SystemClock
from headway.errors import InvalidInput, PrefectError, PrefectRefused
from headway.models.ledger.database import writing
from headway.privileges import OPERATOR
from headway.scheduler.installation.addresses import use_prefect
from headway.scheduler.installation.setup import open_database, with_schema
from headway.scheduler.planning.definitions.task_types import POOL, TaskType, is_task_type
from headway.scheduler.prefect_side.api import Deployment, PrefectApi
from headway.scheduler.prefect_side.importer_block import keep_importer_path
from headway.scheduler.prefect_side.ledger_block import keep_ledger_block
from headway.scheduler.store import audit
from headway.scheduler.store.tasks import load_types, save_types


def deploy(prefect: PrefectApi, *files: Path, blocks: Sequence[ModuleType]) -> list[TaskType]:
    """Deploy these prefect.yamls and read the task types back from Prefect. Unreachable if Prefect does not answer.

    What other files have deployed on the pool stays a task type. blocks: the modules of the block types to register.
    """
    engine = open_database()
    try:
        prefect.ensure_work_pool()
        prefect.register_block_types(blocks)
        for file in files:
            prefect.deploy(file)
        found = [one for one in prefect.deployments(None) if is_task_type(one.work_pool, one.tags)]
        _refuse_same_names(found)
        types = [
            TaskType.of_deployment(
                one.name,
                list(one.tags),
                description=one.description or "",
                entrypoint=one.entrypoint or "",
                deployment_id=one.id,
                work_pool=one.work_pool or POOL,
                parameter_schema=one.parameter_schema,
            )
            for one in found
        ]
        _own_blocks(prefect)
    except PrefectRefused as error:
        raise InvalidInput(f"Prefect refused the deployment; correct the file: {error}") from None
    types = [_with_all_of_its_schema(one) for one in types]
    with writing(engine) as session:
        now, known = SystemClock().now(), _facts(load_types(session).values())
        save_types(session, types, now)
        made = _facts(load_types(session).values())
        if changed := [name for name in {**known, **made} if known.get(name) != made.get(name)]:
            before, after = ({name: one.get(name) for name in changed} for one in (known, made))
            audit.record(session, now, OPERATOR, "deploy", "task types", before=before, after=after)
    sync_importer_path(prefect)
    return types


def _facts(types: Iterable[TaskType]) -> dict[str, dict[str, Any]]:
    """What a deployment decides of a task type, for the audit trail."""
    return {
        one.name: {"group": one.group, "entrypoint": one.entrypoint, "work_pool": one.work_pool, "tags": [*one.tags]}
        for one in types
    }


def _refuse_same_names(deployments: Sequence[Deployment]) -> None:
    """A task names its type by the deployment's name alone, so that name must be unique on the pool."""
    by_name: dict[str, Deployment] = {}
    for one in deployments:
        other = by_name.setdefault(one.name, one)
        if other is not one:
            raise InvalidInput(
                f"two deployments of the pool are named '{one.name}', of the flows '{other.flow_name}' and "
                f"'{one.flow_name}': a task type's name is unique. Rename one in its prefect.yaml, and remove the old "
                f"one with `prefect deployment delete '{one.flow_name}/{one.name}'`"
            )


def _with_all_of_its_schema(task_type: TaskType) -> TaskType:
    """A deployment that keeps no schema gets its flow's."""
    return task_type if task_type.parameter_schema else with_schema(replace(task_type, parameter_schema=None))


def _own_blocks(prefect: PrefectApi) -> None:
    """The scheduler's own database to read, and the operations database that tasks work on, unless another is named."""
    from headway.scheduler.prefect_side.operations_block import keep_operations_block

    keep_ledger_block(prefect)
    keep_operations_block(prefect)


def sync_importer_path(prefect: PrefectApi | None = None) -> bool:
    """Give the importer's block the configured path; False where there is no block, or Prefect is away.

    The setting is the truth; deploying, starting a worker and applying a file all come by here.
    """
    try:
        api = prefect or use_prefect()
        if api.health(timeout_seconds=1) is not None:
            return False
        return keep_importer_path(open_database(), api)
    except PrefectError:
        return False
