"""Texts that came from elsewhere: every error has a cause in words."""

import socket

import paramiko
import pytest

from headway.blocks.sftp.protocol import _lost
from headway.text import cause

SILENT = [
    EOFError(),
    OSError(),
    OSError(""),
    BrokenPipeError(),
    ConnectionResetError(),
    ConnectionAbortedError(),
    TimeoutError(),
    socket.gaierror(),
    paramiko.SSHException(""),
    paramiko.SSHException(),
]


@pytest.mark.parametrize("error", SILENT, ids=lambda error: type(error).__name__)
def test_an_error_without_a_text_still_has_a_cause(error: Exception) -> None:
    assert cause(error).strip() and not cause(error).endswith(".")
    assert ": ." not in str(_lost(error)) and str(_lost(error)).endswith(".")


@pytest.mark.parametrize("error", [EOFError(), OSError("Socket is closed"), ConnectionResetError(104, "reset by peer")])
def test_a_connection_that_breaks_says_so(error: Exception) -> None:
    assert str(_lost(error)).startswith(("The server closed the connection.", "The connection broke: "))


def test_a_text_stays_what_it_is_but_for_its_end() -> None:
    assert cause(OSError("no\n route to host.")) == "no route to host"
