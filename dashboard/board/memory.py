"""The forecast that the day board draws, made once for all viewers: a page's own globals last for one run of it."""

from datetime import datetime
from threading import Lock

from headway.dashboard import ui
from headway.dashboard.data import CLOCK
from headway.scheduler.usecases.ahead.look_ahead import Ahead, look_ahead

_ahead: Ahead | None = None
_making = Lock()


def is_there() -> bool:
    """Whether there is one, if only an old one: making the first takes longest."""
    return _ahead is not None


def forecast(until: datetime) -> Ahead:
    """The forecast to `until` or short of it; made anew once something has happened, or a minute has passed."""
    global _ahead
    with _making:
        _ahead = ui.fetch(lambda s, actor: look_ahead(s, CLOCK, actor, until, catalog=ui.catalog(s), known=_ahead))
        return _ahead
