"""What a privilege implies, and how a refusal reads."""

import pytest

from headway.errors import NotAllowed
from headway.models.values.actor import Actor, Privilege
from headway.privileges import OPERATOR, may, require


# granted -> what follows from it, and nothing else
@pytest.mark.parametrize(
    ("granted", "may_do"),
    [
        (Privilege.VIEW, {Privilege.VIEW}),
        (Privilege.MANAGE, {Privilege.VIEW, Privilege.MANAGE}),
        (Privilege.PURGE, {Privilege.VIEW, Privilege.PURGE}),
        (Privilege.USERS, {Privilege.USERS}),  # who manages users sees no task
    ],
)
def test_a_privilege_implies_view_or_nothing(granted: Privilege, may_do: set[Privilege]) -> None:
    actor = Actor("ann", frozenset({granted}))
    assert {asked for asked in Privilege if may(actor, asked)} == may_do


def test_nobody_may_anything_without_a_grant() -> None:
    assert not any(may(Actor("ann"), asked) for asked in Privilege)


def test_the_operator_of_the_machine_may_everything() -> None:
    assert all(may(OPERATOR, asked) for asked in Privilege)


def test_a_refusal_says_who_what_and_how_to_get_it() -> None:
    with pytest.raises(NotAllowed) as refusal:
        require(Actor("ann", frozenset({Privilege.VIEW})), Privilege.MANAGE)
    assert "headway user grant ann manage" in str(refusal.value)
    assert (refusal.value.actor, refusal.value.privilege, refusal.value.exit_code) == ("ann", "manage", 3)
    require(Actor("ann", frozenset({Privilege.MANAGE})), Privilege.VIEW)
