"""Local work folders, file names, and what formats have in common."""

import codecs
import fcntl
import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from headway.blocks.remote_names import check_name
from headway.blocks.transfer import TransferError
from headway.flows.shared.result import InputRefused

WORK_PREFIX = "headway-work-"
NAMED_SEPARATORS = {"comma": ",", "tab": "\t", "semicolon": ";", "pipe": "|", "\\t": "\t"}
LINE_ENDS = {"crlf": "\r\n", "lf": "\n"}

LineEnd = Literal["crlf", "lf"]


def _separator(value: object) -> object:
    return NAMED_SEPARATORS.get(value, value) if isinstance(value, str) else value


def _one_character(value: str) -> str:
    if len(value) != 1 or value in '\r\n\0"':
        raise ValueError("must be comma, tab, semicolon, pipe, or one other character")
    return value


def _quote_mark(value: str) -> str:
    if len(value) != 1 or value in "\r\n\0":
        raise ValueError("must be one character")
    return value


def _text_encoding(value: str) -> str:
    """Any encoding of text that Python knows; `hex` and its like are none."""
    try:
        "x".encode(value)
        return codecs.lookup(value).name
    except (LookupError, UnicodeError):
        raise ValueError(f"unknown text encoding '{value}'; try utf-8, utf-8-sig or cp1252") from None


def _text(wanted: str, **more: str) -> WithJsonSchema:
    """What the schema says of a text, so that a wrong one is refused when the task is saved."""
    return WithJsonSchema({"type": "string", "wanted": wanted, **more})


Separator = Annotated[
    str,
    BeforeValidator(_separator),
    AfterValidator(_one_character),
    _text(
        "comma, tab, semicolon, pipe, or one other character",
        pattern=r'^(comma|tab|semicolon|pipe|\\t|[^\r\n\x00"])$',
    ),
]
QuoteMark = Annotated[str, AfterValidator(_quote_mark), _text("one character", pattern=r"^[^\r\n\x00]$")]
Encoding = Annotated[
    str,
    AfterValidator(_text_encoding),
    _text("a text encoding; try utf-8, utf-8-sig or cp1252", format="text-encoding"),
]


def resolved_file_name(name: str) -> str:
    """The name, if it is a plain file name without an unresolved token. Raises InputRefused.

    Tokens such as {date} are resolved by the scheduler when it claims the run, so that every attempt
    writes the same file; one that is left here is unknown, and must not land on the server literally.
    """
    unbraced(name)
    try:
        return check_name(name)
    except TransferError as error:
        raise InputRefused(f"file_name: {error}") from None


def unbraced(name: str) -> None:
    """Raises InputRefused where a token (or half of one) is left in the name."""
    found = re.search(r"\{[^{}]*\}|[{}]", name)
    if found:
        raise InputRefused(
            f"Unknown token {found.group()} in file_name '{name}'. "
            "Known are {date}, {time}, {task} and {sequence}."
        )


@contextmanager
def work_folder() -> Iterator[Path]:
    """A folder of this run's own for temporary files, gone afterwards.

    A killed process leaves its folder behind. Each folder holds a lock file, locked as long as its
    process lives, so the next run can tell an abandoned folder from a busy one, and removes it.
    """
    _sweep_abandoned(Path(tempfile.gettempdir()))
    lock, folder = _locked_folder()
    with lock:
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _locked_folder() -> tuple[IO[str], Path]:
    """A new folder and its lock. A sweep that comes between the two takes the folder: then it is another one."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=WORK_PREFIX))
        lock = (folder / ".lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / ".lock").exists():
            return lock, folder
        lock.close()


def _sweep_abandoned(parent: Path) -> None:
    for lock_path in parent.glob(f"{WORK_PREFIX}*/.lock"):
        try:
            with lock_path.open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock_path.parent, ignore_errors=True)
        except OSError:  # busy, gone meanwhile, or another user's
            continue


def sha256_of(path: Path) -> str:
    """The file's SHA-256, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
