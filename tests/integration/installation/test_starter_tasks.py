"""What a new installation has ready to switch on."""

from headway.models.ledger.database import writing
from headway.models.ledger.tables import AuditRow
from headway.privileges import OPERATOR
from headway.scheduler.installation.starter_tasks import ERROR_REPORT, offer_tasks
from headway.scheduler.store.tasks import load_types, save_types
from headway.scheduler.usecases.tasks.task_state import delete_task, set_state
from tests.support.installation import Desk, task_named


def test_the_error_report_is_there_disabled_and_can_be_enabled(desk: Desk) -> None:
    assert offer_tasks(desk.engine, desk.clock) == [ERROR_REPORT]
    task = desk.task(ERROR_REPORT)
    assert (task.enabled, task.cron, task.type, task.parameters) == (False, "0 7 * * *", "task_error_report", {})
    (audit,) = desk.audit("create task")
    assert isinstance(audit, AuditRow) and audit.actor == "headway up"
    with writing(desk.engine) as session:
        assert set_state(session, desk.clock, OPERATOR, task_named(session, ERROR_REPORT), enabled=True)


def test_who_deletes_it_does_not_get_it_again(desk: Desk) -> None:
    offer_tasks(desk.engine, desk.clock)
    with writing(desk.engine) as session:
        delete_task(session, desk.clock, OPERATOR, task_named(session, ERROR_REPORT))
    assert offer_tasks(desk.engine, desk.clock) == []


def test_a_task_of_that_name_stays_as_it_is(desk: Desk) -> None:
    desk.tasks(f"name: {ERROR_REPORT}, type: job0")
    assert offer_tasks(desk.engine, desk.clock) == []
    assert desk.task(ERROR_REPORT).type == "job0"


def test_it_waits_for_its_type(quick_desk: Desk) -> None:
    with writing(quick_desk.engine) as session:
        types = load_types(session)
        save_types(session, [one for one in types.values() if one.name != "task_error_report"], quick_desk.clock.now())
    assert offer_tasks(quick_desk.engine, quick_desk.clock) == []
    with writing(quick_desk.engine) as session:
        save_types(session, types.values(), quick_desk.clock.now())
    assert offer_tasks(quick_desk.engine, quick_desk.clock) == [ERROR_REPORT]
