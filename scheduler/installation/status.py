"""Each part of this installation, and whether it is up."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from headway.clock import SystemClock
from headway.errors import SchedulerError
from headway.models.ledger.database import database_url, home, reading, shown_url
from headway.scheduler.installation.addresses import dashboard_port, dashboard_url
from headway.scheduler.installation.setup import open_database
from headway.scheduler.prefect_side.api import PrefectApi
from headway.scheduler.prefect_side.server import client_environment
from headway.scheduler.store import settings, workers


@dataclass(frozen=True)
class Part:
    name: str
    ok: bool
    detail: str


def status() -> list[Part]:
    """Each part of this installation, and whether it is up."""
    return [_database(), _prefect(), _worker(), _dashboard()]


def _database() -> Part:
    try:
        if no_database_yet():
            return Part("database", False, "not there yet; start `headway up`")
        engine = open_database()
        with reading(engine) as session:
            settings.definitions_version(session)
        return Part("database", True, shown_url(engine.url))
    except (SchedulerError, OSError) as error:
        return Part("database", False, str(error))


def no_database_yet() -> bool:
    """Whether it is a SQLite file that does not exist; looking must not make it."""
    try:
        url = make_url(database_url())
    except (ArgumentError, ValueError):
        return False  # opening it says what is wrong
    return url.get_backend_name() == "sqlite" and not Path(url.database or "").exists()


def _prefect() -> Part:
    environment = (
        client_environment(home())
        if (home() / "prefect-keys.json").exists() or os.environ.get("PREFECT_API_URL")
        else None
    )
    if environment is None:
        return Part("prefect", False, "not set up yet; start `headway up`")
    problem = PrefectApi.from_environment({**os.environ, **environment}).health()
    return Part("prefect", problem is None, problem or environment["PREFECT_API_URL"])


def _worker() -> Part:
    try:
        if no_database_yet():
            return Part("worker", False, "not started yet")
        with reading(open_database()) as session:
            alive = workers.alive(session, SystemClock().now())
            problem = workers.engine_problem(session, SystemClock().now())
        detail = problem or ", ".join(f"{one.id} on {one.host}" for one in alive)
        return Part("worker", problem is None, detail)
    except (SchedulerError, OSError) as error:
        return Part("worker", False, str(error))


def _dashboard() -> Part:
    import urllib.error
    import urllib.request

    url = dashboard_url()
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=2) as answer:  # our own # nosec B310
            return Part("dashboard", answer.status == 200, url)
    except (urllib.error.URLError, OSError) as error:
        return Part("dashboard", False, f"{url}: {getattr(error, 'reason', error)}")


def parts_document(parts: list[Part]) -> dict[str, Any]:
    return {"ready": all(part.ok for part in parts), "parts": [part.__dict__ for part in parts]}


def save_up(prefect: PrefectApi) -> None:
    """Where the running parts are, for people who look."""
    document = {"pid": os.getpid(), "prefect": prefect.url, "dashboard": f"http://127.0.0.1:{dashboard_port()}"}
    (home() / "up.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
