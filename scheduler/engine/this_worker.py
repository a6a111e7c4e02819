"""What every part of the service works with: the worker it belongs to, and the worker's signals."""

import threading
import uuid
from dataclasses import dataclass, field

from sqlalchemy import Engine

from headway.clock import Clock, SystemClock
from headway.models.ledger.database import database_url, make_engine
from headway.scheduler.execution.process_identity import ProcessIdentity, identify_self
from headway.scheduler.prefect_side.api import PrefectApi


def _new_id() -> str:
    return f"worker-{uuid.uuid4().hex[:12]}"


@dataclass(kw_only=True, frozen=True)
class ThisWorker:
    """One worker: its name, its process, its ledger, its Prefect and its clock."""

    engine: Engine
    """The ledger."""
    url: str
    """The ledger's address, for the processes of its runs."""
    prefect: PrefectApi
    clock: Clock = field(default_factory=SystemClock)
    id: str = field(default_factory=_new_id)
    process: ProcessIdentity = field(default_factory=identify_self)

    @classmethod
    def from_environment(cls) -> "ThisWorker":
        """The worker for HEADWAY_DATABASE_URL (or HEADWAY_HOME) and PREFECT_API_URL."""
        url = database_url()
        return cls(engine=make_engine(url), url=url, prefect=PrefectApi.from_environment())


@dataclass(frozen=True)
class Signals:
    """What the threads of one worker say to one another."""

    stopping: threading.Event = field(default_factory=threading.Event)
    """Every thread ends."""
    no_starts: threading.Event = field(default_factory=threading.Event)
    """The worker starts nothing more: it stops, or it was declared dead."""
    wake: threading.Event = field(default_factory=threading.Event)
    """The next turn is due now."""
