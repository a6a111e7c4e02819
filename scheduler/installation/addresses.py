"""Where the parts of this installation listen, and how this process reaches Prefect."""

import os

from headway.environment import port
from headway.errors import Unreachable
from headway.models.ledger.database import home
from headway.scheduler.installation.home_lock import refuse_half_restored
from headway.scheduler.prefect_side.api import PrefectApi
from headway.scheduler.prefect_side.server import client_environment


def dashboard_port() -> int:
    return port("HEADWAY_DASHBOARD_PORT", 8501)


def dashboard_host() -> str:
    """Where the dashboard is reached from this machine."""
    host = os.environ.get("HEADWAY_DASHBOARD_HOST") or "127.0.0.1"
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # nosec B104


def dashboard_url() -> str:
    host = dashboard_host()
    return f"http://{f'[{host}]' if ':' in host else host}:{dashboard_port()}"


def prefect_port() -> int:
    return port("HEADWAY_PREFECT_PORT", 4200)


def refuse_taken_port(host: str, port: int, variable: str, what: str) -> None:
    """Unreachable, naming the variable, if something else listens on that port there."""
    import socket

    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Unreachable(
                f"port {port} on {host} cannot be used for {what} ({error.strerror}): stop what listens there, or "
                f"set {variable} to a free port"
            ) from None


def use_prefect() -> PrefectApi:
    """Prefect as this installation knows it; the environment set so that Prefect's own code finds it too."""
    refuse_half_restored(home())
    os.environ.setdefault("HEADWAY_HOME", str(home()))  # `prefect deploy` works in another folder
    os.environ.update(client_environment(home()))
    return PrefectApi.from_environment()
