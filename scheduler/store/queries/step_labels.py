"""What the Step column says of runs."""

from collections.abc import Sequence

from sqlmodel import Session, col, select

from headway.models.ledger.tables import RunRow, TaskRow, TaskTypeRow, id_of
from headway.scheduler.planning.step_label import has_steps, step_shown


def steps_of(session: Session, runs: Sequence[RunRow]) -> dict[int, str]:
    """Each run's step as it is shown, by the run's ID. A run that never started has its task's parameters."""
    named = select(TaskTypeRow.name, TaskTypeRow.parameter_schema)
    types = session.exec(named.where(col(TaskTypeRow.name).in_({run.type for run in runs}))).all()
    schemas = {name: schema for name, schema in types if has_steps(schema)}
    tasks = select(TaskRow.uid, TaskRow.parameters).where(col(TaskRow.type).in_(schemas))
    of_task = dict(session.exec(tasks).all()) if schemas and any(run.parameters is None for run in runs) else {}
    return {
        id_of(run): step_shown(
            run.step,
            of_task.get(run.task_uid) if run.parameters is None else run.parameters,
            schemas.get(run.type),
        )
        for run in runs
    }
