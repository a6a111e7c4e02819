"""Everything that Headway refuses or cannot do, in an operator's words. The exit codes are the contract's."""

import shlex
from collections.abc import Sequence


class SchedulerError(Exception):
    """Something in Headway itself went wrong."""

    exit_code = 1

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class InvalidInput(SchedulerError):
    """The input is not valid."""

    exit_code = 2

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class NotAllowed(SchedulerError):
    """You are not allowed to do that."""

    exit_code = 3

    def __init__(self, actor: str, privilege: str) -> None:
        self.actor, self.privilege = actor, privilege
        super().__init__(
            f"'{actor}' is not allowed to do that: it takes the privilege '{privilege}'. Ask a user manager to run: "
            f"headway user grant {shlex.quote(actor)} {privilege}"
        )


class NobodyThere(NotAllowed):
    """There is no such user, or none who is not locked."""

    def __init__(self, actor: str, locked: bool) -> None:
        self.actor, self.privilege = actor, "view"
        remedy = "unlock it under User management" if locked else f"make it with: headway user add {shlex.quote(actor)}"
        SchedulerError.__init__(
            self, f"the user '{actor}' {'is locked' if locked else 'does not exist'}: a user manager can {remedy}"
        )


class MachineOnly(SchedulerError):
    """That is for the operator of the machine."""

    exit_code = 3

    def __init__(self, actor: str) -> None:
        super().__init__(f"'{actor}' is not allowed to do that: it is for the operator of the machine, without --as")


class Refused(SchedulerError):
    """The state of things does not allow it now."""

    exit_code = 4


class Unreachable(SchedulerError):
    """Prefect or the database cannot be reached."""

    exit_code = 5


class PrefectError(SchedulerError):
    """Prefect did not do what it was asked."""


class PrefectUnreachable(PrefectError, Unreachable):
    """Prefect does not answer, or not with an answer that counts (5xx, a refused login)."""

    def __init__(self, message: str | None = None, *, nothing_done: bool = False) -> None:
        super().__init__(message)
        self.nothing_done = nothing_done
        """Surely nothing of what was asked has been or will be done; else perhaps only the answer was lost."""


class PrefectRefused(PrefectError, Refused):
    """Prefect answered no."""

    def __init__(self, message: str | None = None, status_code: int = 0) -> None:
        super().__init__(message)
        self.status_code = status_code
        """HTTP status; 0 where there was none."""
