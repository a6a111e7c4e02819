"""What people may do: each action's privilege, and what a privilege implies."""

from models.domain import Actor, Privilege
from scheduler.errors import NotAllowed

_IMPLIED = {Privilege.MANAGE: frozenset({Privilege.VIEW}), Privilege.PURGE: frozenset({Privilege.VIEW})}

OPERATOR = Actor("operator of this machine", frozenset(Privilege))
"""Who acts on the command line without --as: whoever can read HEADWAY_HOME can do everything anyway."""


def may(actor: Actor, privilege: Privilege) -> bool:
    """Whether the actor has the privilege, granted or implied."""
    return any(privilege is granted or privilege in _IMPLIED.get(granted, frozenset()) for granted in actor.privileges)


def require(actor: Actor, privilege: Privilege) -> None:
    """NotAllowed unless the actor has the privilege."""
    if not may(actor, privilege):
        raise NotAllowed(actor.name, privilege.value)
