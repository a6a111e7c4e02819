"""Runs `headway` commands in fresh processes forked from one that has the imports done.

A test suite calls the command line a hundred times, and four fifths of each call are imports. Every
command still has a process, a standard output, a standard error and an exit code of its own; a few tests
start Python anew, so that the real entry points are held too.

Protocol: one JSON document a line on standard input (args, environment, cwd, folder, timeout_seconds);
one a line back: the exit code. What the command prints is in `out` and `err` in the folder.
"""

import importlib
import json
import os
import pkgutil
import signal
import sys
from pathlib import Path
from typing import Any

import jsonschema
import sqlmodel

import headway.cli.app
import headway.scheduler.usecases as usecases


def _import_all() -> None:
    """What the commands import when they run. Opens nothing."""
    assert jsonschema and sqlmodel
    for module in pkgutil.walk_packages(usecases.__path__, "headway.scheduler.usecases."):
        importlib.import_module(module.name)


def serve() -> None:
    """Answer orders until standard input ends."""
    _import_all()
    for line in sys.stdin:
        process_id = os.fork()
        if process_id == 0:
            _become(json.loads(line))
        _, status = os.waitpid(process_id, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(order: dict[str, Any]) -> None:
    """Be the ordered command; never returns. A command that takes too long dies of SIGALRM: exit code -14."""
    signal.alarm(order["timeout_seconds"])
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["cwd"])
    folder = Path(order["folder"])
    for number, name, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, str(folder / "out"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        (2, str(folder / "err"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    ):
        os.dup2(os.open(name, flags, 0o600), number)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.argv = ["headway", *order["args"]]
    code: Any = 0
    try:
        headway.cli.app.main()
    except SystemExit as left:
        code = left.code
    except BaseException:
        sys.excepthook(*sys.exc_info())  # a traceback is what the tests must be able to see
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


if __name__ == "__main__":
    serve()
