"""On the whole stack: whatever somebody writes into the importer's block, exports go to the configured path."""

from headway.models.values.run import RunStatus
from tests.support.running_stack import RunningStack, export_yaml

pytest_plugins = ["tests.support.stack"]


def test_a_block_that_somebody_edited_leads_no_export_astray(stack: RunningStack) -> None:
    elsewhere = stack.sftp.root / "acme" / "elsewhere"
    elsewhere.mkdir()
    api = stack.server.api()
    fields = api.block("sftp-server", "importer", secrets=True) or {}
    api.save_block("sftp-server", "importer", {**fields, "importer_path": r"\\flexftp\acme\elsewhere"})
    stack.apply(export_yaml("Led", file_name="led.csv"))
    stack.headway("run", "Led", "--wait").ok()
    assert "led.csv" in stack.delivered and list(elsewhere.iterdir()) == []
    assert (api.block("sftp-server", "importer") or {})["importer_path"] == r"\\flexftp\acme\import"

    stack.headway("apply", stack.headway.file("settings: {customer_importer_file_path: null}\n")).refused(
        2, "L7", "Led"
    )
    run = stack.last("Led")
    assert run is not None and run.status is RunStatus.COMPLETED
