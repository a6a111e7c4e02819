"""One table of who may do what by which entrance: complete, at one with itself, and as the document says."""

from tests.acceptance.dashboard.test_privileges import PLACES
from tests.integration.usecases.test_privileges import ACTS
from tests.security.test_entrances import COMMANDS
from tests.support.privilege_table import DOCUMENT, enough_for, of_commands, of_pages, table, use_cases

CHANGING = {name for name, act in ACTS.items() if act.changes} | {"reset", "purge", "end_sessions"}


def test_every_use_case_that_takes_an_actor_is_in_the_table() -> None:
    """A new one in scheduler/usecases has to say in test_usecase_privileges what it takes."""
    assert use_cases() == set(enough_for())


def test_the_document_is_the_table() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == table(), "write it anew: python -m tests.support.privilege_table"


def test_no_command_is_let_in_by_a_privilege_with_which_its_use_case_refuses() -> None:
    for name, reached in of_commands().items():
        for use_case in reached & CHANGING:
            for command in COMMANDS[name]:
                assert command.enough <= enough_for()[use_case] and not command.even_without, (name, use_case)


def test_whoever_may_use_a_page_s_use_cases_sees_it_and_nobody_else_does() -> None:
    seen_by = {place.path.partition("?")[0]: place.seen_by for place in PLACES}
    for page, reached in of_pages().items():
        if page.startswith("/") and page != "/download":
            for use_case in reached & CHANGING:
                assert enough_for()[use_case] <= seen_by[page], (page, use_case)
            assert seen_by[page] <= frozenset().union(*(enough_for()[one] for one in reached)), page


def test_every_use_case_that_changes_something_has_an_entrance() -> None:
    ways = frozenset().union(*of_commands().values(), *of_pages().values())
    assert CHANGING - ways <= {"configure", "apply"}, CHANGING - ways
