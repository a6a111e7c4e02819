"""The app: the line that stands above every page, and the pages themselves."""

from pathlib import Path

import streamlit as st

from headway import wording as words
from headway.dashboard import ui
from headway.dashboard.data import CLOCK, engine
from headway.models.values.actor import Privilege
from headway.models.values.instant import FOREVER
from headway.privileges import may
from headway.scheduler.usecases.people.sign_in import set_timezone, sign_out
from headway.scheduler.usecases.tasks.browse_tasks import Overview, overview

st.set_page_config(page_title="Headway", page_icon=Path(__file__).with_name("icon.svg"), layout="wide")
st.html(Path(__file__).with_name("style.css"))


@st.fragment(run_every=ui.REFRESH_SECONDS)
def situation() -> None:
    """How many failed, stuck, late, waiting, running; and the next window."""
    if not ui.allowed(Privilege.VIEW):
        return
    now = ui.fetch(lambda session, actor: overview(session, CLOCK, actor, catalog=ui.catalog(session)))
    counts = [
        ("failed", now.failed, "red"),
        ("stuck", now.stuck, "red"),
        ("late", now.late, "orange"),
        ("waiting", now.waiting, "blue"),
        ("running", now.running, "green"),
    ]
    badges = " ".join(f":{colour if count else 'gray'}-badge[{count} {name}]" for name, count, colour in counts)
    st.markdown(f"{badges} &nbsp; {words.plain(_windows(now, ui.zone()))}", help=_WHAT_THEY_MEAN)
    if now.engine_problem:
        st.error(f"Nothing can start: {words.plain(now.engine_problem)}")


_WHAT_THEY_MEAN = (
    "failed: waits for a reset. stuck: in progress longer than the long-running setting, or its worker is silent. "
    "late: due for over 15 minutes and still waiting. waiting: due, not started. running: in progress."
)


def _windows(now: Overview, zone: str) -> str:
    if now.window_now is not None:
        end = now.window_now.end
        until = "with no end in sight" if end == FOREVER else f"until {words.day_and_time(end, zone)}"
        return f"In {' and '.join(now.window_now.names)} {until}"
    if now.window_next is not None:
        begins = words.day_and_time(now.window_next.start, zone)
        return f"Next window: {' and '.join(now.window_next.names)}, {begins}"
    return "No maintenance window ahead"


def account() -> None:
    """Who is signed in, the zone for times, and the way out."""
    signed_in = ui.viewer()
    chosen = ui.zone()
    with st.popover(words.plain(signed_in.actor.name), icon=":material/account_circle:", width="stretch"):
        zones = words.zones()
        index = zones.index(chosen) if chosen in zones else None
        zone = st.selectbox("Show times in", zones, index=index, key="zone")
        if zone and zone != chosen:
            ui.act(lambda session, actor: set_timezone(session, signed_in.key, zone), f"Times are shown in {zone} now.")
        st.link_button("Change password", "/change-password", width="stretch")
        if st.button("Sign out", key="sign_out", width="stretch"):
            sign_out(engine(), CLOCK, signed_in.key)
            st.html("<script>window.location.assign('/login')</script>", unsafe_allow_javascript=True)
            st.stop()


def pages() -> dict[str, list[st.Page]]:
    """The pages that this viewer may see; those with their own address are reached by links."""
    actor = ui.viewer().actor
    see, purge, users = (may(actor, one) for one in (Privilege.VIEW, Privilege.PURGE, Privilege.USERS))
    define = st.Page("app_pages/define.py", title="Define task", icon=":material/edit_calendar:", url_path="define")
    day = [
        st.Page("app_pages/tasks.py", title="Tasks", icon=":material/list:", default=True),
        st.Page("app_pages/task_log.py", title="Task log", icon=":material/history:", url_path="log"),
        *([define] if may(actor, Privilege.MANAGE) else []),
        st.Page("app_pages/board.py", title="Day board", icon=":material/view_timeline:", url_path="board"),
        st.Page("app_pages/windows.py", title="Maintenance windows", icon=":material/event_busy:", url_path="windows"),
        st.Page("app_pages/run.py", title="Run", url_path="run", visibility="hidden"),
        st.Page("app_pages/task.py", title="Task", url_path="task", visibility="hidden"),
        st.Page("app_pages/reset.py", title="Reset", url_path="reset", visibility="hidden"),
    ]
    only_people = users and not see
    people = st.Page(
        "app_pages/users.py",
        title="User management",
        icon=":material/group:",
        url_path="users",
        default=only_people,
    )
    rest = [
        (
            see,
            st.Page(
                "app_pages/settings.py", title="Configuration", icon=":material/settings:", url_path="configuration"
            ),
        ),
        (users, people),
        (purge, st.Page("app_pages/purge.py", title="System purge", icon=":material/delete:", url_path="purge")),
        (see or users, st.Page("app_pages/audit.py", title="Audit", icon=":material/fact_check:", url_path="audit")),
    ]
    shown = [page for visible, page in rest if visible]
    return {"": shown} if only_people else {"": day, "System": shown}


page = st.navigation(pages(), position="top")
ui.viewer()
ui.tell()
left, right = st.columns([5, 1], vertical_alignment="center")
with left:
    situation()
with right:
    account()
page.run()
