"""The pick-up watch: whether files delivered to the importer path are taken from there, and a warning where not."""

import json
import logging
import subprocess
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from headway.environment import python_module
from headway.models.ledger.database import reading, writing
from headway.models.ledger.tables import RunFileRow
from headway.scheduler.planning.definitions.task_types import IMPORTER_BLOCK, SFTP_SLUG
from headway.scheduler.prefect_side.api import PrefectApi
from headway.scheduler.prefect_side.mail import send_mail
from headway.scheduler.store import pickups
from headway.scheduler.store.pickups import Overdue
from headway.scheduler.store.settings import load_settings
from headway.wording import length_in_words

log = logging.getLogger("headway.pickup")

EVERY = timedelta(seconds=60)
WATCHED_FOR = timedelta(days=14)
CHORE = "pickup"
_LONGEST_LOOK = timedelta(seconds=90)
_LOOKER = "headway.blocks.sftp.pickup_probe"  # a name and not an import: the scheduler does not know the blocks

Look = Callable[[Mapping[str, Any], list[str]], dict[str, int | None]]


class LookFailed(Exception):
    """The importer's server could not be looked at; the message says why."""


class PickupWatch:
    """One worker's part in the watch. Any number of workers may call `round`: one at a time looks."""

    def __init__(self, engine: Engine, prefect: PrefectApi, worker_id: str, look: Look | None = None) -> None:
        self._engine = engine
        self._prefect = prefect
        self._worker_id = worker_id
        self._look = look or self._look_by_process
        self._process: subprocess.Popen[str] | None = None
        self._problem: str | None = None

    def round(self, now: datetime) -> list[Overdue]:
        """Look at what still lies there, write down what became of it, warn; the runs warned about.

        Harmless where there is nothing to look at, or where the server cannot be looked at: that is logged once.
        """
        with reading(self._engine) as session:
            settings = load_settings(session)
            any_lying = bool(pickups.lying(session))
        if settings.pickup_after is None or not any_lying:
            return []
        with writing(self._engine) as session:
            if not pickups.take_chore(session, CHORE, self._worker_id, now, _LONGEST_LOOK + EVERY):
                return []
            pickups.give_up(session, now - WATCHED_FOR, now)
            files = pickups.lying(session)
        try:
            overdue = self._note(self._sizes(files), files, settings.pickup_after, now)
        finally:
            with writing(self._engine) as session:
                pickups.finish_chore(session, CHORE, self._worker_id, now + EVERY)
        if overdue:
            _warn(overdue, settings.pickup_after, settings.alert_recipients)
        return overdue

    def stop(self) -> None:
        """Ends a look that is under way."""
        if self._process is not None:
            self._process.kill()

    def _sizes(self, files: list[RunFileRow]) -> dict[str, int | None]:
        """What is at each path; empty where the server cannot be looked at."""
        try:
            block = self._prefect.block(SFTP_SLUG, IMPORTER_BLOCK, secrets=True)
            sizes = {} if block is None else self._look(block, sorted({file.path for file in files}))
        except LookFailed as failed:
            if self._problem is None:
                log.warning("It cannot be seen whether delivered files were picked up: %s", failed)
            self._problem = str(failed)
            return {}
        if self._problem is not None:
            log.info("Delivered files can be looked at again")
        self._problem = None
        return sizes

    def _note(
        self, sizes: dict[str, int | None], files: list[RunFileRow], after: timedelta, now: datetime
    ) -> list[Overdue]:
        if not sizes:
            return []
        with writing(self._engine) as session:
            pickups.note_what_became(session, sizes, files, now)
            return pickups.mark_overdue(session, after, files, now)

    def _look_by_process(self, block: Mapping[str, Any], paths: list[str]) -> dict[str, int | None]:
        command = python_module(_LOOKER)
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
            self._process = process
            try:
                asked = json.dumps({"block": dict(block), "paths": paths}, default=str)
                out, err = process.communicate(asked, timeout=_LONGEST_LOOK.total_seconds())
            except subprocess.TimeoutExpired:
                process.kill()
                raise LookFailed(f"no answer within {_LONGEST_LOOK.total_seconds():.0f} s") from None
            finally:
                self._process = None
        try:
            answer = json.loads(out)
        except ValueError:
            last = err.strip().splitlines()[-1:] or [f"exit code {process.returncode}"]
            raise LookFailed(f"the look ended with: {last[0]}") from None
        if "error" in answer:
            raise LookFailed(answer["error"])
        return dict(answer["files"])


def _warn(overdue: Sequence[Overdue], after: timedelta, recipients: list[str]) -> None:
    """One mail about all that one look found."""
    whose = f"'{overdue[0].task}'" if len(overdue) == 1 else f"{len(overdue)} runs"
    subject = f"Headway: what {whose} delivered has not been picked up for {length_in_words(after)}"
    text = "\n\n".join(_paragraph(one) for one in overdue) + "\n\nSee whether the importer runs."
    log.warning("%s: %s", subject, ", ".join(path for one in overdue for path in one.paths))
    send_mail(recipients, subject, text)


def _paragraph(overdue: Overdue) -> str:
    files = "\n".join(f"  {path}" for path in overdue.paths)
    return (
        f"Run {overdue.run_id} of '{overdue.task}' delivered until {overdue.since:%Y-%m-%d %H:%M} UTC what still lies "
        f"at the importer path:\n{files}\n`headway log {overdue.run_id}` shows what becomes of it."
    )
