"""Configuration in the browser, with a real Prefect server and a real SFTP server behind it."""

import json
from collections.abc import Iterator

import prefect_email
import pytest
from playwright.sync_api import Page, expect
from sqlmodel import select

from headway.blocks.sftp import block as sftp
from headway.models.ledger.database import reading
from headway.models.ledger.tables import AuditRow
from headway.scheduler.store.settings import load_settings
from tests.support.dashboard_browser import Open
from tests.support.dashboard_stack import Dashboard, dashboard
from tests.support.prefect_server import ServerForTests
from tests.support.sftp_faults import PASSWORD, USER, FaultServer

pytest_plugins = ["tests.support.dashboard_browser"]
PATH = r"\\flexftp\acme\import"


@pytest.fixture(scope="module")
def served(prefect_server: ServerForTests) -> Iterator[Dashboard]:
    prefect_server.api.register_block_types([sftp, prefect_email])
    prefect_server.forget_block("sftp-server", "importer")
    prefect_server.forget_block("email-server-credentials", "headway-mail")
    environment = prefect_server.environment
    wanted = {name: environment[name] for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING")}
    with dashboard(**wanted) as made:
        yield made


def fill(page: Page, label: str, text: str) -> None:
    page.get_by_role("textbox", name=label, exact=True).fill(text)


def actions(served: Dashboard) -> list[str]:
    with reading(served.world.engine) as session:
        return [row.action for row in session.exec(select(AuditRow).where(AuditRow.actor == "bob")).all()]


def test_the_importer_path_is_checked_while_one_types(served: Dashboard, visit: Open) -> None:
    page = visit("bob", "/configuration")
    page.get_by_role("tab", name="Importer").click()
    save = page.get_by_role("button", name="Save", exact=True)
    expect(save).to_be_disabled()
    fill(page, "Customer Importer File Path", r"\flexftp\acme")  # and the field is not even left
    expect(page.get_by_role("alert")).to_contain_text(
        r"Importer path '\flexftp\acme' has 1 leading backslashes, not two"
    )
    expect(save).to_be_disabled()
    fill(page, "Customer Importer File Path", PATH)
    expect(page.get_by_role("alert").get_by_text("two leading backslashes")).to_have_count(0)
    save.click()
    expect(page.get_by_test_id("stToast")).to_contain_text("Saved")
    with reading(served.world.engine) as session:
        assert load_settings(session).customer_importer_file_path == PATH
    assert "edit settings" in actions(served)


def test_the_connection_is_tried_after_its_host_key_was_confirmed(
    served: Dashboard, visit: Open, fault_server: FaultServer, prefect_server: ServerForTests
) -> None:
    page = visit("bob", "/configuration")
    page.get_by_role("tab", name="Importer").click()
    fill(page, "Host", "127.0.0.1")
    fill(page, "User", USER)
    fill(page, "Password", PASSWORD)
    port = page.get_by_role("spinbutton", name="Port")
    port.fill(str(fault_server.port))
    port.press("Tab")
    fill(page, "Name in paths", "flexftp")
    page.get_by_role("button", name="Save connection").click()
    expect(page.get_by_test_id("stToast")).to_contain_text("Saved")

    page.get_by_role("button", name="Test connection").click()
    expect(page.get_by_text("Is this the server's host key?")).to_be_visible()
    expect(page.get_by_text(fault_server.host_key)).to_be_visible()
    assert fault_server.behaviour.credentials == []  # nothing secret was sent before somebody said yes
    block = prefect_server.api.block("sftp-server", "importer", secrets=True)
    assert block is not None and "known_host_key" not in block
    page.get_by_role("button", name="Yes, store it and go on").click()
    expect(page.get_by_text("The connection works: every step went well")).to_be_visible()
    for step in ("Importer folder", "Write", "Read back", "Rename", "Remove"):
        expect(page.get_by_text(step, exact=True)).to_be_visible()
    assert list(fault_server.folder.iterdir()) == [] and len(fault_server.behaviour.renames_to) == 1
    block = prefect_server.api.block("sftp-server", "importer", secrets=True)
    assert block is not None and (block["known_host_key"], block["importer_path"]) == (fault_server.host_key, PATH)

    expect(page.get_by_role("textbox", name="Password", exact=True)).to_have_value("")  # it goes in and never comes out
    assert PASSWORD not in page.content()
    assert actions(served)[-3:] == ["edit connection", "trust host key", "test connection"]
    with reading(served.world.engine) as session:
        rows = session.exec(select(AuditRow)).all()
        assert PASSWORD not in json.dumps([(row.before, row.after) for row in rows])


def test_a_connection_that_fails_says_where_and_what_to_do(
    served: Dashboard, visit: Open, fault_server: FaultServer
) -> None:
    page = visit("bob", "/configuration")
    page.get_by_role("tab", name="Importer").click()
    fill(page, "Password", "wrong")
    page.get_by_role("button", name="Save connection").click()
    expect(page.get_by_test_id("stToast")).to_contain_text("Saved")
    page.get_by_role("button", name="Test connection").click()
    expect(page.get_by_text("The connection does not work: Host key and sign-in")).to_be_visible()
    expect(page.get_by_text("Check user name, password and key in the block")).to_be_visible()
    assert "Traceback" not in page.content()


def test_who_may_only_view_sees_no_button_and_no_secret(visit: Open) -> None:
    page = visit("ann", "/configuration")
    expect(page.get_by_text("Changing these takes the privilege Task management")).to_be_visible()
    for tab in ("Importer", "Mail"):
        page.get_by_role("tab", name=tab).click()
        expect(page.get_by_role("button", name="Save")).to_have_count(0)
        for name in ("Save connection", "Test connection", "Send test mail"):
            assert page.get_by_role("button", name=name).count() == 0


def test_the_mail_connection_says_what_is_wrong(visit: Open) -> None:
    page = visit("bob", "/configuration")
    page.get_by_role("tab", name="Mail").click()
    fill(page, "Mail server", "127.0.0.1")
    port = page.get_by_role("spinbutton", name="Port")
    port.fill("1")
    port.press("Tab")
    page.get_by_role("button", name="Save connection").click()
    expect(page.get_by_test_id("stToast")).to_contain_text("Saved")
    fill(page, "Test mail to", "nobody")
    page.get_by_role("textbox", name="Test mail to").press("Enter")
    page.get_by_role("button", name="Send test mail").click()
    expect(page.get_by_role("alert").get_by_text("write a mail address")).to_be_visible()
    fill(page, "Test mail to", "ops@example.com")
    page.get_by_role("textbox", name="Test mail to").press("Enter")
    page.get_by_role("button", name="Send test mail").click()
    expect(page.get_by_text("cannot be reached (Connection refused)")).to_be_visible()
