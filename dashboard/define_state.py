"""The widgets' state of Define task: each task's own, so that nothing of one form gets into another."""

from typing import Any

import streamlit as st

from dashboard import ui


def key(name: str) -> str:
    return f"define_{ui.query_number('task') or 'new'}_{name}"


def seed(name: str, value: Any) -> None:
    """What the widget begins with, unless it has something already."""
    st.session_state.setdefault(key(name), value)


def is_fresh() -> bool:
    """Whether the form has just been opened: Streamlit forgets the widgets of a page that was left."""
    return key("type") not in st.session_state


def forget() -> None:
    """Drop what was typed: the form begins anew from what is stored."""
    for name in [name for name in st.session_state if str(name).startswith(key(""))]:
        del st.session_state[name]
