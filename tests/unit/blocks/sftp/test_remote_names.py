"""Which names and folders a session accepts; no input leads out of the root."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from headway.blocks.remote_names import (
    check_name,
    check_root,
    is_owners_part,
    is_part_of,
    is_temp_name,
    join,
    part_name,
    remote_folder,
    temp_name,
)
from headway.blocks.transfer import DeliveryKey, TransferError

RUN_1, RUN_2 = DeliveryKey("task 1", "run 1"), DeliveryKey("task 1", "run 2")

# What attackers and accidents are made of, more often than chance would have it.
tricky = st.text(alphabet=st.sampled_from(list("ab./\\ ~\x00\n\r\x7f\x85\u2028é")) | st.characters(), max_size=30)
paths = st.lists(tricky | st.sampled_from(["..", ".", "a", "b", ""]), max_size=6).map("/".join)


@pytest.mark.parametrize(
    "name",
    [
        "citations.csv",
        "Größe 12 % – final.csv",
        ".hidden",
        "..two-dots-in-front",
        "trailing.part",
        ".part",  # no name in between: no delivery's temporary file
        "a" * 249,
    ],
)
def test_ordinary_names_pass(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "is empty"),
        (".", "would lead to another folder"),
        ("..", "would lead to another folder"),
        ("a/b", "holds a path separator"),
        ("..\\b", "holds a path separator"),
        ("a\x00b", "control character"),
        ("a\nb", "control character"),
        ("a\x85b", "control character"),  # a control character of Latin-1
        ("a\u2028b", "control character"),  # a line break to some programs
        ("a\udcffb", "no UTF-8"),  # a byte of a foreign encoding
        (".citations.csv.part", "unfinished transfers"),
        ("a" * 250, "at most 249"),
        ("é" * 125, "at most 249"),  # bytes count, not characters
    ],
)
def test_names_that_could_do_harm_are_refused(name: str, words: str) -> None:
    with pytest.raises(TransferError, match=words) as refused:
        check_name(name)
    assert refused.value.permanent
    str(refused.value).encode()  # can be logged and stored
    assert "\n" not in str(refused.value)


@given(tricky)
def test_an_accepted_name_is_one_step_and_its_own(name: str) -> None:
    try:
        check_name(name)
    except TransferError:
        return
    assert name not in ("", ".", "..")
    assert not set(name) & set("/\\\0\n\r")
    assert len(temp_name(name).encode()) <= 255
    assert not is_temp_name(name)
    assert is_temp_name(temp_name(name))
    assert temp_name(name) != name
    part = part_name(name, RUN_1)
    assert len(part.encode()) <= 255 and is_temp_name(part) and is_part_of(part, name)
    assert part == part_name(name, RUN_1) != part_name(name, RUN_2)
    assert part_name(name, None) != part_name(name, None)
    assert is_owners_part(part, name, RUN_2) and not is_owners_part(part, name, DeliveryKey("task 2", "run 1"))


def test_long_names_that_differ_at_their_end_only_have_parts_of_their_own() -> None:
    long = "é" * 120
    assert part_name(long + "1", RUN_1) != part_name(long + "2", RUN_1)


@pytest.mark.parametrize(
    ("part", "ours"),
    [
        (".a.csv.0123456789ab.part", True),
        (".a.csv.part", True),  # of an earlier release
        (".a.0123456789ab.part", False),  # of a delivery of "a"
        (".a.csv.old.0123456789ab.part", False),
        (".a.csv.0123456789AB.part", False),
        ("a.csv.0123456789ab", False),
        ("a.csv", False),
    ],
)
def test_what_a_delivery_of_that_name_may_have_left(part: str, ours: bool) -> None:
    assert is_part_of(part, "a.csv") is ours


@given(tricky, tricky)
def test_two_names_never_share_a_temporary_file(one: str, other: str) -> None:
    assume(one != other)
    assert temp_name(one) != temp_name(other)


@given(st.sampled_from(["/", "/data", "/data/in box/"]), paths)
def test_no_folder_leads_out_of_the_root(root: str, folder: str) -> None:
    try:
        path = remote_folder(root, folder)
    except TransferError as refused:
        assert refused.permanent
        return
    base = check_root(root)
    assert path == base or path.startswith(base.rstrip("/") + "/")
    assert not {".", ".."} & set(path.split("/"))
    assert "//" not in path
    assert remote_folder(root, path) == path  # absolute below the root stays what it is


@pytest.mark.parametrize(
    ("root", "folder", "path"),
    [
        ("/", "acme/import", "/acme/import"),
        ("/", "/acme/import/", "/acme/import"),
        ("/", "", "/"),
        ("/data", "acme//import", "/data/acme/import"),
        ("/data/", "/data/acme", "/data/acme"),
        ("/data", "/data", "/data"),
    ],
)
def test_folders_are_absolute_or_relative_to_the_root(root: str, folder: str, path: str) -> None:
    assert remote_folder(root, folder) == path


@pytest.mark.parametrize("folder", ["/database", "/", "/acme", "../data", "a/../../b", "a\\..\\b", "a\nb"])
def test_folders_elsewhere_are_refused(folder: str) -> None:
    with pytest.raises(TransferError) as refused:
        remote_folder("/data", folder)
    assert refused.value.permanent


def test_a_root_is_absolute() -> None:
    with pytest.raises(TransferError, match="must be absolute"):
        check_root("data")


def test_joining_to_the_top_gives_one_slash() -> None:
    assert join("/", "a") == "/a"
    assert join("/") == "/"
