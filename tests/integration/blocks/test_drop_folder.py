"""The drop folder block: the same calls as an SFTP session, confined to one folder."""

import hashlib

import pytest
from prefect.testing.standard_test_suites import BlockStandardTestSuite

from headway.blocks.drop_folder import DropFolder
from headway.blocks.transfer import TransferError


class TestBlockShape(BlockStandardTestSuite):
    """Prefect's own checks of a block's form."""

    test_has_a_valid_image = None  # it would ask the network for the logo

    @pytest.fixture
    def block(self):
        return DropFolder


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    return root


@pytest.fixture
def session(root):
    with DropFolder(root=str(root)).connect() as session:
        yield session


def test_a_delivered_file_is_whole_and_has_a_receipt(session, root, tmp_path):
    (tmp_path / "local").write_bytes(b"data")
    receipt = session.deliver(tmp_path / "local", "sub", "a.csv")
    assert (root / "sub" / "a.csv").read_bytes() == b"data"
    assert (receipt.bytes, receipt.sha256) == (4, hashlib.sha256(b"data").hexdigest())
    assert [path.name for path in (root / "sub").iterdir()] == ["a.csv"]  # no temporary file is left


def test_only_finished_plain_files_are_listed(session, root):
    (root / "b.csv").write_text("bb")
    (root / "a.csv").write_text("a")
    (root / ".c.csv.part").write_text("half")
    (root / "link.csv").symlink_to(root / "a.csv")
    assert [(file.name, file.bytes) for file in session.list("")] == [("a.csv", 1), ("b.csv", 2)]
    assert [file.name for file in session.list("", "b*")] == ["b.csv"]
    assert session.stat("", "a.csv").bytes == 1
    assert session.stat("", "nothing.csv") is None


def test_an_archive_never_overwrites(session, root):
    paths = []
    for text in ("1", "2", "3"):
        (root / "a.csv").write_text(text)
        paths.append(session.archive("", "a.csv", "old"))
    assert [path.rpartition("/")[2] for path in paths] == ["a.csv", "a-1.csv", "a-2.csv"]
    assert (root / "old" / "a-1.csv").read_text() == "2"


@pytest.mark.parametrize("folder", ["..", "sub/../..", "/etc"])
def test_nothing_outside_of_the_root_is_touched(session, root, folder):
    (root / "a.csv").write_text("x")
    for action in (
        lambda: session.list(folder),
        lambda: session.remove(folder, "a.csv"),
        lambda: session.deliver(root / "a.csv", folder, "b.csv"),
        lambda: session.archive("", "a.csv", folder),
    ):
        with pytest.raises(TransferError, match="lies outside the drop folder") as refused:
            action()
        assert refused.value.permanent


def test_a_linked_folder_that_leads_outside_is_refused(session, root):
    (root / "out").symlink_to(root.parent)
    with pytest.raises(TransferError, match="lies outside"):
        session.list("out")


def test_what_is_not_there_is_named(session):
    with pytest.raises(TransferError, match="The folder 'none' is not there"):
        session.list("none")
    with pytest.raises(TransferError, match=r"There is no file 'a\.csv'"):
        session.remove("", "a.csv")


@pytest.mark.parametrize("root", ["relative/folder", "/no/such/folder"])
def test_a_root_that_is_no_folder_is_refused(root):
    with pytest.raises(TransferError, match="is no absolute path of a folder"), DropFolder(root=root).connect():
        pass
