"""A file's rows to staged records: by the block exactly what comes of them one by one."""

import csv
import io
import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headway.flows.calling_list_import import columnar_reader
from headway.flows.calling_list_import.columnar_reader import Block, open_blocks
from headway.flows.calling_list_import.layout import Layout, ListShape, Mapping, layout_of
from headway.flows.calling_list_import.phones import PhoneNumbers
from headway.flows.calling_list_import.rows import ListRows, staged_columns
from headway.flows.calling_list_import.staging import ListStaging
from headway.flows.shared.file_readers import FileFormat, Position, open_rows

US = PhoneNumbers("US")


def in_blocks(text: str, format: FileFormat) -> list[tuple[int, list[str] | str]]:
    """Line and values (or problem) of each row, as blocks give them."""
    found: list[tuple[int, list[str] | str]] = []
    for block in open_blocks(io.StringIO(text, newline=""), format).blocks:
        if isinstance(block, Block):
            strip = str.strip if format.trim else str
            columns = [[str(value) for value in column] for column in block.columns]
            records = enumerate(zip(*columns, strict=True), block.first)
            found += [(line, [strip(value) for value in row]) for line, row in records]
            if block.trimmed:
                assert [[value.strip() for value in column] for column in columns] == columns
            assert not (block.clean and set('"\\\x01\x1f') & {*"".join(map("".join, columns))})
        else:
            found += [(row.line, row.problem or row.values) for row in block]
    return found


def singly(text: str, format: FileFormat) -> list[tuple[int, list[str] | str]]:
    rows = open_rows(io.StringIO(text, newline=""), format).rows
    return [(row.line, row.problem or row.values) for row in rows]


LINES = st.lists(
    st.sampled_from(
        [
            "A,1",
            " B , 2 ",
            '"C","3"',
            '"D, E",4',
            '"two\nlines",5',
            '"open,6',
            'x"y,7',
            "",
            "   ",
            "\t",
            ",",
            "a,b,c",
            "one",
            "\0,8",
            "\udcff,9",
            "\x01,10",
            "back\\slash,11",
            "ü,12",
            "\u2028,13",
        ]
    ),
    max_size=30,
)


@settings(max_examples=300, deadline=None)
@example(["", "A,1"], "\n", False, 2, ",")  # a block of nothing but a blank line
@example(["A,1", "", "B,2"], "\n", True, 60, ",")
@given(
    LINES, st.sampled_from(["\n", "\r\n", "\r"]), st.booleans(), st.integers(1, 60), st.sampled_from([",", "\t", " "])
)
def test_blocks_give_the_rows_that_are_read_singly(lines, line_end, ends, size, separator):
    text = line_end.join(["h,i", *lines]).replace(",", separator) + (line_end if ends else "")
    before, columnar_reader.BLOCK_CHARACTERS = columnar_reader.BLOCK_CHARACTERS, size
    try:
        format = FileFormat(separator=separator)
        assert in_blocks(text, format) == singly(text, format)
    finally:
        columnar_reader.BLOCK_CHARACTERS = before


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(alphabet="ab \t", max_size=8), max_size=20), st.integers(1, 40), st.booleans())
def test_fixed_width_blocks_give_the_rows_that_are_read_singly(lines, size, trim):
    text = "\n".join(lines)
    positions = [Position(name="a", start=1, width=2), Position(name="b", start=4, width=3)]
    format = FileFormat(kind="fixed_width", positions=positions, trim=trim)
    before, columnar_reader.BLOCK_CHARACTERS = columnar_reader.BLOCK_CHARACTERS, size
    try:
        assert in_blocks(text, format) == singly(text, format)
    finally:
        columnar_reader.BLOCK_CHARACTERS = before


def test_a_line_without_end_does_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(columnar_reader, "BLOCK_CHARACTERS", 1_000)
    text = "a,b\n1,2\n" + "x" * 1_000_000 + "\n3,4\n"
    found = in_blocks(text, FileFormat())
    assert [line for line, _ in found] == [2, 3, 4]
    assert found[1][1] == "the line is longer than 65,536 characters"
    assert found[2][1] == ["3", "4"]


# --- records ------------------------------------------------------------------------------------------------

VALUES = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(VALUES, VALUES, VALUES), max_size=20),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.integers(1, 200),
)
def test_what_a_file_says_is_what_is_staged(tmp_path_factory, records, separator, quoting, size):
    """Round trip: written by Python's csv, read back through the mapping, every value as it was."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=separator, quoting=quoting)
    writer.writerow(["id", "name", "note"])
    writer.writerows((f"K{n}", *values[1:]) for n, values in enumerate(records))
    before, columnar_reader.BLOCK_CHARACTERS = columnar_reader.BLOCK_CHARACTERS, size
    try:
        good, bad = staged(
            tmp_path_factory.mktemp("staged"), text.getvalue(), FileFormat(separator=separator, trim=False)
        )
    finally:
        columnar_reader.BLOCK_CHARACTERS = before
    expected = [
        (f"K{n}", {"id": f"K{n}", "Full name": name, "note": note}) for n, (_, name, note) in enumerate(records)
    ]
    assert bad == []
    assert [(key, fields) for _, key, fields, *_ in good] == expected


def staged(folder: Any, text: str, format: FileFormat, **options: Any) -> tuple[list[Any], list[Any]]:
    """Good records (line, key, fields, numbers) and bad rows (line, reason)."""
    mapping = Mapping(fields={"id": "id", "name": "Full name", "note": "note"})
    shape = ListShape(
        uid=1, name="People", columns=["id", "Full name", "note"], key_columns=["id"], required_columns=[]
    )
    opened = open_blocks(io.StringIO(text, newline=""), format)
    layout = layout_of(opened.columns, mapping, shape, [])
    warned: list[tuple[int, str]] = []
    rows = ListRows(layout, US, options.get("invalid", "reject"), format.trim, lambda *told: warned.append(told))
    with ListStaging(folder / "staging.db", staged_columns(layout)) as staging:
        for block in opened.blocks:
            rows.take(block, staging)
        staging.settle_duplicates("reject")
        names = ["line", "key", "fields", *(["phones"] if "phones" in staging.columns else [])]
        good = [
            (line, key, json.loads(fields), *rest)
            for batch in staging.rows(names)
            for line, key, fields, *rest in batch
        ]
        return good, [(line, reason) for line, reason, _ in staging.bad_rows(1000)]


def test_bad_rows_do_not_hide_the_good_ones_of_their_block(tmp_path):
    good, bad = staged(tmp_path, "id,name,note\n1,a,b\n,c,d\n3,e,f\n" + "x" * 401 + ",g,h\n1,i,j\n", FileFormat())
    assert [key for _, key, *_ in good] == ["1", "3"]
    assert bad == [
        (3, "column 'id' is empty"),
        (5, "the key is longer than 400 characters"),
        (6, "the key '1' is already on line 2"),
    ]


def test_a_block_of_nothing_but_bad_rows(tmp_path):
    good, bad = staged(tmp_path, "id,name,note\n,a,b\n,c,d\n", FileFormat())
    assert good == []
    assert [line for line, _ in bad] == [2, 3]


@pytest.mark.parametrize(
    ("keys", "in_order"),
    [("a b c d", True), ("a b b c", False), ("b a", False), ("a c b", False), ("", True)],
)
def test_it_is_known_whether_keys_ascend(tmp_path, keys, in_order):
    layout = Layout(columns=["id"], fields=[("id", 0)], key=[0])
    rows = ListRows(layout, US, "reject", True, lambda *_: None)
    with ListStaging(tmp_path / "staging.db", staged_columns(layout)) as staging:
        for number, key in enumerate(keys.split(), 2):
            rows.take(Block(number, [[key]], clean=True), staging)
        assert staging.in_order == in_order


def test_columns_are_found_by_their_names():
    shape = ListShape(
        uid=1, name="People", columns=["account", "name"], key_columns=["account"], required_columns=["name"]
    )
    columns = ["name", "Phone", "account", "state", "phone_2", "postal_code", "other"]
    layout = layout_of(columns, Mapping(), shape, [])
    assert layout.fields == [("name", 0), ("account", 2), ("Phone", 1), ("phone_2", 4)]
    assert (layout.key, layout.required, layout.phones) == ([2], [0], [1, 4])
    assert (layout.account, layout.state, layout.postal_code) == (2, 3, 5)
    assert staged_columns(layout) == ["state", "postal_code", "fields", "phones"]


def test_a_file_without_quotation_marks_is_read_without_pandas(tmp_path):
    """Arrow imports it where it is asked in the wrong way: a second and 70 MB for each run."""
    (tmp_path / "people.csv").write_text("account,phone,name\n" + "C1,(212) 555-0101,Ada\nC2,,Ben\n")
    program = """
import sys
from pathlib import Path
from headway.flows.calling_list_import.columnar_reader import Block, open_blocks
from headway.flows.shared.file_readers import FileFormat, open_text
from headway.flows.calling_list_import.layout import Layout
from headway.flows.calling_list_import.rows import ListRows, staged_columns
from headway.flows.calling_list_import.staging import ListStaging
from headway.flows.calling_list_import.streaming_load import _as_copy_reads_it
from headway.flows.calling_list_import.phones import PhoneNumbers

class Copies:
    def add(self, good):
        assert good.in_arrays
        rows = _as_copy_reads_it(good, staged_columns(layout), {"fields": "fields", "phones": "phones"}, 7)
        print(bytes(rows).decode())

folder = Path(sys.argv[1])
layout = Layout(columns=["account", "phone", "name"], fields=[("name", 2)], key=[0], phones=[1], account=0)
rows = ListRows(layout, PhoneNumbers("US"), "reject", True, print)
with open_text(folder / "people.csv", "utf-8") as text, ListStaging(folder / "s.db", staged_columns(layout)) as staging:
    for block in open_blocks(text, FileFormat()).blocks:
        rows.take(block, staging, Copies())
assert "pandas" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == 'C1\t{"name":"Ada"}\t["+12125550101"]\t7\nC2\t{"name":"Ben"}\t[]\t7\n\n'
