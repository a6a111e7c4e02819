"""The command line as a test sees it: arguments in; exit code, standard output and standard error out."""

import json
import os
import selectors
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.project import PROJECT

TIMEOUT_SECONDS = 120
_NOT_OURS = ("HEADWAY_", "PREFECT_")


def clean_environment(home: Path, **more: str) -> dict[str, str]:
    """This process's environment without any Headway or Prefect setting of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_OURS)}
    return {**kept, "HEADWAY_HOME": str(home), "COLUMNS": "200", "NO_COLOR": "1", **more}


@dataclass(frozen=True)
class Answer:
    """What a command left behind."""

    args: tuple[str, ...]
    exit_code: int
    out: str
    err: str

    def ok(self) -> "Answer":
        """Itself, if it exited with 0 and said nothing on stderr but warnings."""
        assert self.exit_code == 0, f"{self.args} left with {self.exit_code}:\n{self.out}\n{self.err}"
        return self

    def json(self) -> Any:
        """The one JSON document on stdout; anything else there is an error."""
        self.ok()
        assert self.out.count("\n") == 1 and self.out.endswith("\n"), self.out
        return json.loads(self.out)

    def refused(self, exit_code: int, *words: str) -> str:
        """Its message, if it was refused with that code and the message holds all the words."""
        assert self.exit_code == exit_code, f"{self.args} left with {self.exit_code}:\n{self.out}\n{self.err}"
        for word in words:
            assert word in self.err, f"{word!r} is not in: {self.err}"
        return self.err


class Forks:
    """The process that commands are forked from; one for all tests."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.cli_forks"],
            cwd=PROJECT,
            env=clean_environment(folder / "nowhere"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, args: tuple[str, ...], environment: dict[str, str], cwd: Path, timeout_seconds: int) -> Answer:
        assert self._process.stdin is not None and self._process.stdout is not None
        order = {
            "args": args,
            "environment": environment,
            "cwd": str(cwd),
            "folder": str(self._folder),
            "timeout_seconds": timeout_seconds,
        }
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            assert selector.select(timeout_seconds + 60), f"no answer to {args}"
        code = self._process.stdout.readline()
        assert code, f"the process that commands are forked from ended at {args}"
        out, err = ((self._folder / name).read_text(encoding="utf-8") for name in ("out", "err"))
        return Answer(args, int(code), out, err)

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@dataclass
class Headway:
    """`headway` with a HEADWAY_HOME of its own. Calling it runs one command to its end, always with a timeout."""

    home: Path
    forks: Forks
    folder: Path
    more: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return clean_environment(self.home, **self.more)

    @property
    def database(self) -> str:
        return self.more.get("HEADWAY_DATABASE_URL", f"sqlite:///{self.home / 'headway.db'}")

    def __call__(self, *args: str, timeout_seconds: int = TIMEOUT_SECONDS, **environment: str) -> Answer:
        answer = self.forks.run(args, {**self.environment, **environment}, self.folder, timeout_seconds)
        assert "Traceback" not in answer.out + answer.err, f"{args}:\n{answer.err}"
        return answer

    def anew(self, *command: str, timeout_seconds: int = TIMEOUT_SECONDS, **environment: str) -> Answer:
        """The same in a Python of its own, for what forks cannot tell: entry points, imports."""
        done = subprocess.run(
            [*(command if command[0].startswith("/") else (sys.executable, "-m", "headway.cli", *command))],
            env={**self.environment, "PYTHONPATH": str(PROJECT), **environment},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
        )
        return Answer(command, done.returncode, done.stdout, done.stderr)

    def file(self, text: str, name: str = "tasks.yaml") -> str:
        """A file with that text in the working folder; its name."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    def apply(self, text: str) -> Answer:
        return self("apply", self.file(text)).ok()
