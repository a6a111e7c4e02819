"""Every exporter goes to the configured importer path and nowhere else; without a good one it is refused in time."""

from typing import Any

import pytest
from prefect import Flow, get_client
from prefect.utilities.callables import parameter_schema_from_entrypoint
from prefect.utilities.importtools import import_object

from headway.blocks.database.block import Database
from headway.models.values.finding import Level
from headway.privileges import OPERATOR
from headway.scheduler.planning.definitions.document import load_text
from headway.scheduler.planning.definitions.resolved_definitions import build
from headway.scheduler.planning.definitions.task_types import OWN_PREFECT_YAML, types_in
from headway.scheduler.planning.lint import lint
from headway.scheduler.prefect_side.importer_block import keep_importer_path
from headway.scheduler.usecases.tasks.apply import apply
from tests.support.clock import utc
from tests.support.flow_world import labelled, run
from tests.support.installation import Desk
from tests.support.sftp_faults import FaultServer

pytest_plugins = ["tests.support.flow_world"]

TYPES = types_in(OWN_PREFECT_YAML)
EXPORTERS = sorted(name for name, one in TYPES.items() if one.exporter)
PLACES = {"path", "folder", "host", "server", "importer", "destination", "directory", "sftp", "share", "block"}
# What each of them needs besides its name, so that it would deliver if it could.
PARAMETERS: dict[str, dict[str, Any]] = {
    "data_export": {"table": "citation"},
    "campaign_results_export": {"campaign": "Overdue citations"},
}


@pytest.fixture
def ready(importer: FaultServer, own_world: Database, no_pauses: None) -> FaultServer:
    own_world.save("operations", overwrite=True)
    return importer


def test_every_exporter_takes_part() -> None:
    assert set(PARAMETERS) == set(EXPORTERS)


@pytest.mark.parametrize("name", EXPORTERS)
def test_none_has_a_parameter_that_says_where(name: str) -> None:
    schema = parameter_schema_from_entrypoint(TYPES[name].entrypoint).model_dump_for_openapi()
    assert not PLACES & set(schema["properties"]), "a destination of its own"


@pytest.mark.parametrize("name", EXPORTERS)
def test_without_a_path_none_can_be_saved(name: str) -> None:
    definitions = load_text(f"tasks:\n  - {{name: out, type: {name}}}\n", "test")
    found = [one for one in lint(build(definitions, TYPES), utc("2026-11-23T12:00")) if one.id == "L7"]
    assert [(one.level, one.tasks) for one in found] == [(Level.ERROR, ("out",))]
    for words in ("settings.customer_importer_file_path", "two leading backslashes", r"'\\flexftp\acme\import'"):
        assert words in found[0].message


def test_the_path_cannot_be_taken_away_from_exporters(desk: Desk) -> None:
    from headway.models.ledger.database import writing

    desk.tasks("name: out, type: data_export")
    with writing(desk.engine) as session:
        applied = apply(
            session, desk.clock, OPERATOR, load_text("settings: {customer_importer_file_path: null}", "test")
        )
    assert [one.id for one in applied.errors] == ["L7"]
    desk.tasks("name: out, type: data_export, historical: true")
    desk.define("settings: {customer_importer_file_path: null}")


@pytest.mark.parametrize("name", EXPORTERS)
@pytest.mark.parametrize(
    ("path", "words"),
    [
        (None, "has no importer path"),
        ("", "has no importer path"),
        (r"\flexftp\acme\import", "has 1 leading backslashes, not two"),
        (r"\\flexftp", "names no share"),
        (r"\\oldserver\acme\import", "names server 'oldserver', but this block is 'flexftp'"),
    ],
)
def test_a_block_with_a_stale_or_broken_path_is_refused_before_anything_is_read(
    ready: FaultServer, name: str, path: str | None, words: str
) -> None:
    change_block(importer_path=path)
    flow = import_object(TYPES[name].entrypoint)
    assert isinstance(flow, Flow)
    ran = run(flow, **PARAMETERS[name], file_name="out.csv")
    assert ran.ended == "FAILED" and words in ran.message, ran.message
    assert "settings.customer_importer_file_path" in ran.message, "it does not say where the path is set"
    assert list(ready.folder.iterdir()) == [] and ready.behaviour.connections == 0
    assert not any("Wrote" in line for line in ran.lines())


@pytest.mark.parametrize("name", EXPORTERS)
def test_a_block_edited_after_the_start_leads_no_export_astray(ready: FaultServer, name: str) -> None:
    (ready.root / "acme" / "elsewhere").mkdir(exist_ok=True)
    change_block(importer_path=r"\\flexftp\acme\elsewhere")
    flow = import_object(TYPES[name].entrypoint)
    labels = {"headway.importer_path": r"\\flexftp\acme\import"}
    ran = run(flow, labelled(flow, labels), **PARAMETERS[name], file_name="out.csv")
    assert ran.ended == "COMPLETED", ran.message
    assert [path.name for path in ready.folder.iterdir()] == ["out.csv"]
    assert list((ready.root / "acme" / "elsewhere").iterdir()) == []


def change_block(**fields: Any) -> None:
    """Behind the block's own checks, as somebody may have written it."""
    from prefect.client.schemas.actions import BlockDocumentUpdate

    with get_client(sync_client=True) as client:
        known = client._client.get(
            "/block_types/slug/sftp-server/block_documents/name/importer", params={"include_secrets": True}
        ).json()
        update = BlockDocumentUpdate(data={**known["data"], **fields}, merge_existing_data=False)
        answer = client._client.patch(
            f"/block_documents/{known['id']}", json=update.model_dump(mode="json", exclude_unset=True)
        )
        answer.raise_for_status()


class Shelf:
    """Prefect's blocks, as far as the importer's is asked about."""

    def __init__(self, fields: dict[str, Any] | None) -> None:
        self.fields = fields
        self.saved = 0

    def block(self, slug: str, name: str, *, secrets: bool = False) -> dict[str, Any] | None:
        assert (slug, name) == ("sftp-server", "importer")
        return self.fields and {**self.fields, "password": self.fields["password"] if secrets else "********"}

    def save_block(self, slug: str, name: str, fields: dict[str, Any]) -> str:
        assert (slug, name) == ("sftp-server", "importer")
        self.fields, self.saved = dict(fields), self.saved + 1
        return "id"


def test_the_block_is_led_to_the_configured_path_with_its_secrets_kept(quick_desk: Desk) -> None:
    quick_desk.tasks("name: out, type: data_export")
    shelf = Shelf({"host": "h", "password": "secret", "importer_path": r"\\flexftp\acme\elsewhere"})
    for _ in range(2):
        assert keep_importer_path(quick_desk.engine, shelf)  # type: ignore[arg-type]
    assert shelf.fields == {"host": "h", "password": "secret", "importer_path": r"\\flexftp\acme\import"}
    assert shelf.saved == 1, "it is written although it is right"
    assert not keep_importer_path(quick_desk.engine, Shelf(None))  # type: ignore[arg-type]
