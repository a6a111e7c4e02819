"""One worker's service without its threads: Prefect and warm servers are stand-ins."""

from typing import Any

from headway.scheduler.engine.service import SchedulerService
from headway.scheduler.engine.this_worker import ThisWorker
from headway.scheduler.execution.warm_server import StartOrder, WarmServerGone
from headway.scheduler.prefect_side.api import FlowRunState
from tests.support.databases import url_of
from tests.support.installation import Desk


class Prefect:
    """Hears how flow runs ended."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.problem: str | None = None
        self.cancelled: list[str] = []

    def health(self) -> str | None:
        return self.problem

    def unfinished(self) -> list[str]:
        return []

    def cancelled_among(self, flow_run_ids: list[str]) -> list[FlowRunState]:
        mine = [one for one in self.cancelled if one in flow_run_ids]
        return [FlowRunState(one, "CANCELLED", "Cancelled", "") for one in mine]

    def end(self, flow_run_id: str, how: str, message: str) -> bool:
        self.told.append(flow_run_id)
        return True

    def flow_run_of(self, run_id: int, attempt: int) -> str | None:
        return None


class Warm:
    """A warm server that is gone, or takes orders."""

    def __init__(self, *given: Any, program: str = "", gone: bool = False) -> None:
        self.gone = gone
        self.begun: list[StartOrder] = []
        self.alive = not gone
        self.ready = self

    def is_set(self) -> bool:
        return True

    def start(self) -> None: ...

    def begin(self, order: StartOrder) -> None:
        if self.gone:
            raise WarmServerGone
        self.begun.append(order)

    def running(self) -> list[object]:
        return []

    def drain(self, timeout: float | None = None) -> bool:
        return True

    def stop(self) -> None: ...


def one_worker(desk: Desk) -> SchedulerService:
    url, prefect = url_of(desk.engine), Prefect()
    return SchedulerService(ThisWorker(engine=desk.engine, url=url, prefect=prefect, clock=desk.clock))  # type: ignore[arg-type]
