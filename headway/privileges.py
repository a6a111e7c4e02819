"""What people may do: each action's privilege, and what a privilege implies."""

from collections.abc import Iterable

from headway.errors import InvalidInput, NotAllowed
from headway.models.values.actor import Actor, Privilege

PRIVILEGE_TAG = "privilege:"
"""A deployment's tag: making, changing, enabling or running a task of that type takes this privilege, too."""

_IMPLIED = {Privilege.MANAGE: frozenset({Privilege.VIEW}), Privilege.PURGE: frozenset({Privilege.VIEW})}

OPERATOR = Actor("operator of this machine", frozenset(Privilege))
"""Who acts on the command line without --as. A user of the machine who can read HEADWAY_HOME can do everything."""


def may(actor: Actor, privilege: Privilege) -> bool:
    """Whether the actor has the privilege, granted or implied."""
    return any(privilege is granted or privilege in _IMPLIED.get(granted, frozenset()) for granted in actor.privileges)


def require(actor: Actor, privilege: Privilege) -> None:
    """Raises NotAllowed unless the actor has the privilege."""
    if not may(actor, privilege):
        raise NotAllowed(actor.name, privilege.value)


def needed_for(tags: Iterable[str]) -> frozenset[Privilege]:
    """The privileges that a task type's tags ask for. Raises InvalidInput for a tag that names no privilege."""
    names = [tag.removeprefix(PRIVILEGE_TAG) for tag in tags if tag.startswith(PRIVILEGE_TAG)]
    if unknown := [name for name in names if name not in list(Privilege)]:
        raise InvalidInput(
            f"the tag '{PRIVILEGE_TAG}{unknown[0]}' names no privilege; use one of {', '.join(Privilege)}"
        )
    return frozenset(Privilege(name) for name in names)


def require_for_type(actor: Actor, tags: Iterable[str]) -> None:
    """Raises NotAllowed unless the actor has the privileges that the tags of a task's type ask for."""
    for privilege in sorted(needed_for(tags)):
        require(actor, privilege)
