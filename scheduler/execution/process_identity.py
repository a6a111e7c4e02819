"""Who a process is, whether it still lives, and how its whole group is ended. Standard library only.

A bare PID may belong to a stranger by the time it is looked at: the kernel hands numbers out again.
A process is therefore named by PID, start time and boot, and every question here compares all three.
"""

import calendar
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_GONE_STATES = frozenset("ZXx")
_STOPPED_STATES = frozenset("Tt")
_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class ProcessIdentity:
    """One process, told apart from any later one with the same number."""

    pid: int
    started_ticks: int
    """Clock ticks from boot to its start (Linux); where /proc is missing, its start in epoch seconds."""
    boot_id: str
    """Changes with every boot; empty where the system does not tell."""
    host: str


@dataclass(frozen=True)
class _Stat:
    pid: int
    state: str
    group: int
    started_ticks: int


def identify(pid: int) -> ProcessIdentity | None:
    """The identity of the process that has this PID now; None if there is none."""
    stat = _read_stat(pid)
    if stat is None:
        return None
    return ProcessIdentity(pid, stat.started_ticks, _boot_id(), socket.gethostname())


def identify_self() -> ProcessIdentity:
    """The identity of the calling process."""
    identity = identify(os.getpid())
    if identity is None:
        raise RuntimeError("This process cannot read its own start time: neither /proc nor 'ps' answers.")
    return identity


def is_alive(identity: ProcessIdentity) -> bool:
    """False only if the process is proven gone; a zombie is gone.

    True for a process of another host: nothing can be proven about it from here.
    """
    return identity.host != socket.gethostname() or _living(identity) is not None


def is_stopped(identity: ProcessIdentity) -> bool:
    """Whether it lives and stands still, by SIGSTOP or under a debugger. False for a process of another host."""
    stat = _living(identity) if identity.host == socket.gethostname() else None
    return stat is not None and stat.state in _STOPPED_STATES


def _living(identity: ProcessIdentity) -> _Stat | None:
    """What this host says of the process; None if it is gone."""
    if identity.boot_id and identity.boot_id != _boot_id():
        return None
    stat = _read_stat(identity.pid)
    return stat if stat is not None and _is_same(stat, identity) and stat.state not in _GONE_STATES else None


def end_group(identity: ProcessIdentity, grace_seconds: float = 10) -> bool:
    """Ends a process and everything in its group: TERM, and KILL after the grace.

    True once all of them are proven gone (also when they were gone already); False for a process of
    another host, or one that this user may not signal.
    """
    if identity.host != socket.gethostname():
        return False
    if identity.boot_id and identity.boot_id != _boot_id():
        return True
    for sent, patience in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, 5.0)):
        if not _signal_group(identity, sent):
            return False
        if _wait_until_gone(identity, patience):
            return True
    return False


def _signal_group(identity: ProcessIdentity, number: signal.Signals) -> bool:
    """Whether this user may signal the group; a group that is gone counts as signalled."""
    for target in _members(identity):
        try:
            # Each member by itself, not killpg: between fork and setsid the run's process is still
            # in the group of the server that forked it, and that group must not be hit.
            os.kill(target, number)
        except ProcessLookupError:
            continue
        except PermissionError:
            return False
    return True


def _wait_until_gone(identity: ProcessIdentity, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while _members(identity):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _members(identity: ProcessIdentity) -> list[int]:
    """PIDs of the living process itself and of its group; empty if a stranger bears the number now.

    The kernel never gives a number to a new process while a group of that number exists. So if the
    PID is a stranger's, the old group is empty; if it belongs to no process, the group's members are ours.
    """
    leader = _read_stat(identity.pid)
    if leader is not None and not _is_same(leader, identity):
        return []
    living = [stat for stat in _all_stats() if stat.state not in _GONE_STATES]
    return [stat.pid for stat in living if stat.pid == identity.pid or stat.group == identity.pid]


def _is_same(stat: _Stat, identity: ProcessIdentity) -> bool:
    return stat.started_ticks == identity.started_ticks


def _boot_id() -> str:
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _all_stats() -> list[_Stat]:
    if not _has_proc():
        return _stats_by_ps("-A")
    found = (_read_stat(int(entry)) for entry in os.listdir(_PROC) if entry.isdigit())
    return [stat for stat in found if stat is not None]


def _read_stat(pid: int) -> _Stat | None:
    if not _has_proc():
        return next(iter(_stats_by_ps("-p", str(pid))), None)
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # The second field is the command in parentheses and may itself hold blanks and parentheses.
    fields = text.rpartition(")")[2].split()
    return _Stat(pid=pid, state=fields[0], group=int(fields[2]), started_ticks=int(fields[19]))


def _has_proc() -> bool:
    return (_PROC / "self/stat").exists()


def _stats_by_ps(*selection: str) -> list[_Stat]:
    """The same facts where there is no /proc (macOS, BSD), from POSIX `ps`; start times to the second."""
    command = ["ps", *selection, "-o", "pid=,pgid=,stat=,lstart="]
    environ = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}
    answer = subprocess.run(command, capture_output=True, text=True, env=environ, check=False)
    return [_parse_ps(line) for line in answer.stdout.splitlines() if line.strip()]


def _parse_ps(line: str) -> _Stat:
    pid, group, state, *started = line.split()
    moment = time.strptime(" ".join([*started, "UTC"]), "%a %b %d %H:%M:%S %Y %Z")
    return _Stat(pid=int(pid), state=state[0], group=int(group), started_ticks=calendar.timegm(moment))
