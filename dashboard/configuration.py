"""Where the dashboard listens, and Streamlit's options as they have to be here."""

import json
import os

from headway import environment

IDENTITY_HEADER = "x-headway-session"
"""The guard alone sets it. Streamlit resumes a session only for the value it began with (server.trustedUserHeaders)."""

_OPTIONS: dict[str, object] = {
    "browser.gatherUsageStats": False,
    "client.showErrorDetails": "none",
    "client.toolbarMode": "minimal",
    "global.developmentMode": False,
    "logger.level": "warning",
    "runner.postScriptGC": False,  # it looks at every object there is, after every click
    "server.address": "127.0.0.1",
    "server.enableAgentApi": False,
    "server.enableCORS": True,
    "server.enableStaticServing": False,
    "server.enableXsrfProtection": True,
    "server.fileWatcherType": "none",
    "server.headless": True,
    "server.maxUploadSize": 5,
    "server.runOnSave": False,
    "server.scriptHealthCheckEnabled": False,
    "server.trustedUserHeaders": {IDENTITY_HEADER: "headway_session"},
    "theme.baseFontSize": 14,
    "theme.light.primaryColor": "#2f6fd0",  # red is for what failed
    "theme.dark.primaryColor": "#3b73d2",  # white can be read on it
}


def configure_streamlit() -> None:
    """Set Streamlit's options, over any config.toml that lies about. RuntimeError if one of them did not take.

    Outside its own command line Streamlit reads no option from the environment, so they are given as flags.
    """
    from streamlit import config

    flags = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in _OPTIONS.items()}
    config.get_config_options(force_reparse=True, options_from_flags={**flags, "server.port": port()})
    for name, value in _OPTIONS.items():
        if config.get_option(name) != value:
            raise RuntimeError(f"Streamlit's option {name} is {config.get_option(name)!r}, it has to be {value!r}")


def port() -> int:
    """HEADWAY_DASHBOARD_PORT, 8501 if it is not set."""
    return environment.port("HEADWAY_DASHBOARD_PORT", 8501)


def host() -> str:
    """HEADWAY_DASHBOARD_HOST, this machine only if it is not set."""
    return os.environ.get("HEADWAY_DASHBOARD_HOST") or "127.0.0.1"


def trusted_proxies() -> str | None:
    """HEADWAY_TRUSTED_PROXIES: addresses (comma) of proxies whose X-Forwarded-For and -Proto are believed."""
    return os.environ.get("HEADWAY_TRUSTED_PROXIES") or None


def cookie_name(*, secure: bool) -> str:
    """The session cookie's name: cookies ignore ports, so two installations on one host need two names."""
    return f"{'__Host-' if secure else ''}headway_{port()}"
