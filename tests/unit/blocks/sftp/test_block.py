"""The block's fields, and the importer path with its exactly two leading backslashes."""

import json
import pickle

import asyncssh
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect.testing.standard_test_suites import BlockStandardTestSuite
from pydantic import ValidationError

from headway.blocks.sftp.block import HostKey, SftpServer, TransferError
from headway.blocks.transfer import ConnectionLost
from headway.models.values.importer_path import UncPath, parse_unc

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFRgfqZM1nqHZ3qTsjCzWGqXLSlWnIyy5+9N9m7rEmyN"

parts = st.text(
    alphabet=st.characters(exclude_characters='\\/<>:"|?*', exclude_categories=("Cc", "Cs", "Zl", "Zp")),
    min_size=1,
    max_size=20,
).filter(lambda part: part == part.strip() and not part.endswith("."))
servers = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,20}[A-Za-z0-9])?", fullmatch=True)


def block(**fields: object) -> SftpServer:
    return SftpServer(**{"host": "flexftp", "username": "ops", **fields})


class TestStandardShape(BlockStandardTestSuite):
    @pytest.fixture
    def block(self) -> type[SftpServer]:
        return SftpServer

    # A logo would be fetched over the network; this block has none.
    test_has_a_valid_image = None  # type: ignore[assignment]


def test_the_slug_and_name_are_what_others_refer_to() -> None:
    assert SftpServer.get_block_type_slug() == "sftp-server"
    assert SftpServer._block_type_name == "SFTP server"


# The importer path


@pytest.mark.parametrize(
    ("path", "root", "folder"),
    [
        (r"\\flexftp\acme\import", "/", "/acme/import"),
        (r"\\FlexFTP\acme\import", "/", "/acme/import"),  # machines' names have no case
        (r"\\flexftp\acme\import", "/srv/ftp/", "/srv/ftp/acme/import"),
        (r"\\flexftp\acme\import\daily", "/", "/acme/import/daily"),
        (r"\\flexftp\acme" + "\\", "/", "/acme"),  # one trailing backslash is forgiven
        (r"\\flexftp\acme$\Größe 1", "/", "/acme$/Größe 1"),
    ],
)
def test_an_importer_path_becomes_a_remote_folder(path: str, root: str, folder: str) -> None:
    assert block(importer_path=path, root=root).importer_folder() == folder


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (r"\flexftp\acme\import", "has 1 leading backslashes, not two"),
        (r"\\\flexftp\acme\import", "has 3 leading backslashes, not two"),
        (r"\\\\flexftp\\acme\\import", "has 4 leading backslashes, not two"),
        (r"flexftp\acme\import", "has 0 leading backslashes, not two"),
        ("//flexftp/acme/import", "has 0 leading backslashes, not two"),
        (r" \\flexftp\acme\import", "has 0 leading backslashes, not two"),
        (r"\\flexftp", "names no share"),
        ("\\\\flexftp\\", "names no share"),
        (r"\\flexftp\\acme\import", "is empty"),
        (r"\\flex ftp\acme\import", "is no name of a server"),
        (r"\\flexftp\acme\..\secret", "ends with a dot"),
        (r"\\flexftp\acme\.\import", "ends with a dot"),
        (r"\\flexftp\acme\import ", "starts or ends with a space"),
        (r"\\flexftp\acme\im/../port", "holds one of"),
        (r"\\flexftp\acme\im:port", "holds one of"),
        ("\\\\flexftp\\acme\\im\nport", "holds a control character"),
        ("\\\\flexftp\\acme\\" + "x" * 256, "longer than 255 bytes"),
    ],
)
def test_a_malformed_importer_path_is_refused_in_words(path: str, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        block(importer_path=path)
    unchecked = SftpServer.model_construct(host="flexftp", username="ops", importer_path=path, root="/")
    with pytest.raises(TransferError, match=words) as refused:
        unchecked.importer_folder()
    assert refused.value.permanent


def test_without_an_importer_path_nothing_may_be_exported() -> None:
    with pytest.raises(TransferError, match="has no importer path") as refused:
        block().importer_folder()
    assert refused.value.permanent


def test_another_servers_path_is_refused_with_the_remedy() -> None:
    with pytest.raises(ValidationError, match=r"names server 'flexftp', but this block is 'sftp\.example\.net'"):
        block(host="sftp.example.net", importer_path=r"\\flexftp\acme\import")
    named = block(host="sftp.example.net", path_server="FLEXFTP", importer_path=r"\\flexftp\acme\import")
    assert named.importer_folder() == "/acme/import"


@given(servers, parts, st.lists(parts, max_size=4))
def test_every_well_formed_path_reads_back_and_stays_below_the_root(
    server: str, share: str, folders: list[str]
) -> None:
    path = UncPath(server, share, tuple(folders))
    assert parse_unc(str(path)) == path
    assert parse_unc(str(path) + "\\") == path
    folder = block(host=server, importer_path=str(path), root="/srv").importer_folder()
    assert folder == "/".join(["/srv", share, *folders])


@given(st.text(alphabet=st.sampled_from(list("\\/ab. :\n")), max_size=14))
def test_no_text_slips_through_that_is_not_that_shape(text: str) -> None:
    try:
        unc = parse_unc(text)
    except ValueError as refused:
        assert "write it as \\\\server\\share\\folder" in str(refused)
        return
    assert text.startswith("\\\\")
    assert not text.startswith("\\\\\\")
    assert str(unc) == text.removesuffix("\\")
    assert not {"", ".", ".."} & {unc.server, unc.share, *unc.folders}


# Other fields


@pytest.mark.parametrize("key_type", ["ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp384"])
def test_a_host_key_is_kept_without_its_comment(key_type: str) -> None:
    public = asyncssh.generate_private_key(key_type, comment="flexftp since May").export_public_key().decode()
    kept = block(known_host_key=public).known_host_key
    assert kept == " ".join(public.split()[:2])


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("AAAAC3NzaC1lZDI1NTE5", "has no known type in front"),
        ("ssh-dss AAAAB3NzaC1kc3MAAACB", "has no known type in front"),
        ("ssh-ed25519 not-base64!", "is no base64"),
        ("ssh-rsa " + KEY.split()[1], "does not hold a key of its type"),
        ("ssh-ed25519 AAAA", "does not hold a key of its type"),
        ("flexftp " + KEY, "has no known type in front"),  # a line of known_hosts, with the machine's name
    ],
)
def test_an_unreadable_host_key_is_refused_when_stored(key: str, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        block(known_host_key=key)


def test_an_empty_host_key_means_none() -> None:
    assert block(known_host_key="").known_host_key is None


def test_a_fingerprint_is_what_openssh_shows() -> None:
    # as `ssh-keygen -lf` showed it for this key
    assert HostKey.parse(KEY).fingerprint == "SHA256:QB3+51mdFSYzAgbdvsD9jZYwGk4DSshtn3grEA+4XNE"


@pytest.mark.parametrize(
    "fields",
    [{"port": 0}, {"port": 65536}, {"attempts": 0}, {"idle_timeout_seconds": 0}, {"verify": "hash"}, {"root": "data"},
     {"root": "/a/../b"}, {"host": ""}, {"username": ""}],
)  # fmt: skip
def test_values_that_cannot_work_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        block(**fields)


def test_a_stored_block_is_the_same_when_loaded() -> None:
    made = block(password="secret", known_host_key=KEY, importer_path=r"\\flexftp\acme\import")
    stored = json.dumps(made.model_dump(mode="json", context={"include_secrets": True}))
    loaded = SftpServer.model_validate(json.loads(stored))
    assert loaded._login() == made._login()
    assert loaded.importer_folder() == made.importer_folder()
    assert "secret" not in made.model_dump_json()


@pytest.mark.parametrize("kind", [TransferError, ConnectionLost])
@pytest.mark.parametrize("permanent", [True, False])
def test_an_error_survives_the_way_between_processes(kind: type[TransferError], permanent: bool) -> None:
    error = pickle.loads(pickle.dumps(kind("the sentence", permanent=permanent)))
    assert (type(error), str(error), error.permanent) == (kind, "the sentence", permanent)
