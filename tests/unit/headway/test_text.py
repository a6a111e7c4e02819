"""An error always has a cause in words."""

import asyncio

import pytest

from headway.text import first_line


class _OwnTimeout(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError("no route to host"), "no route to host"),
        (ValueError("first\nsecond"), "first"),
        (ValueError("\nafter an empty line"), "after an empty line"),
        (ConnectionResetError(), "connection reset"),
        (BrokenPipeError(), "broken pipe"),
        (EOFError(), "EOF error"),
        (asyncio.IncompleteReadError(b"", None), "0 bytes read on a total of undefined expected bytes"),
        (TimeoutError(), "timeout error"),
        (OSError(" \n"), "OS error"),
        (_OwnTimeout(), "own timeout"),
    ],
)
def test_an_error_that_says_nothing_is_named_in_words(error: Exception, said: str) -> None:
    assert first_line(error) == said
