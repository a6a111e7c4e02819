"""Where a report goes: over SFTP to a folder, and by mail as an attachment, as a table in the body, or both."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from prefect import get_run_logger, task
from pydantic import BaseModel, ConfigDict, Field

from headway.blocks.sftp.block import SftpServer
from headway.flows.report_execution.output import Heading
from headway.flows.shared.delivery import TRANSFER, load_importer, still_ours
from headway.flows.shared.mail import Attachment, MailDelivery
from headway.flows.shared.result import InputRefused, announce_receipt, delivery_key

Format = Literal["pdf", "xlsx", "csv", "html"]
Body = Literal["attachment", "table", "both"]
MIME_TYPES: dict[Format, str] = {
    "pdf": "application/pdf",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "csv": "text/csv; charset=utf-8",
    "html": "text/html; charset=utf-8",
}


class SftpDelivery(BaseModel):
    """A folder on an SFTP server that the report's file is put into."""

    model_config = ConfigDict(extra="forbid")

    block: str = Field(default="importer", min_length=1, description="Name of the SFTP block to deliver through.")
    folder: str = Field(
        default="reports", max_length=500, description="Folder below the block's root; it has to be there."
    )


@dataclass(frozen=True)
class Made:
    """A report as written to local files. `page` is the table for a mail's body; either may be missing."""

    rows: int
    heading: Heading
    file: Path | None
    page: Path | None


def load_server(name: str) -> SftpServer:
    """The SFTP block of that name. Raises InputRefused where there is none."""
    try:
        return load_importer(name)
    except InputRefused:
        raise InputRefused(f"There is no SFTP block '{name}'. Make it, or correct sftp.block.") from None


@task(name="deliver report", **TRANSFER)
def put(server: SftpServer, folder: str, local: Path, name: str) -> dict[str, Any]:
    """Put the file into the folder under its final name; returns the receipt, announced already."""
    with server.connect() as session:
        receipt = session.deliver(local, folder, name, key=delivery_key(), before_rename=still_ours).as_dict()
    announce_receipt(get_run_logger(), receipt)
    return receipt


def mail_parts(made: Made, name: str, format: Format, body: Body) -> tuple[str, str, list[Attachment]]:
    """Text, HTML and attachments of the mail."""
    html = made.page.read_text(encoding="utf-8") if made.page else ""
    attachments = []
    if made.file and body != "table":
        attachments.append(Attachment(name, made.file, MIME_TYPES[format]))
    return mail_text(made, [one.name for one in attachments]), html, attachments


def mail_text(made: Made, attached: list[str]) -> str:
    """The mail's plain text: what it is, for which time, how many rows."""
    lines = [made.heading.title, ""]
    if made.heading.description:
        lines += [made.heading.description, ""]
    lines += [f"{name}: {text}" for name, text in made.heading.facts]
    lines += [f"Rows: {made.rows:,}"]
    if attached:
        lines += ["", f"Attached: {', '.join(attached)}"]
    return "\n".join(lines) + "\n"


def refuse_nowhere(mail: MailDelivery | None, sftp: SftpDelivery | None) -> None:
    """Raises InputRefused where the report would go nowhere."""
    if mail is None and sftp is None:
        raise InputRefused(
            "The report has no destination: set mail (with its recipients in `to`), sftp (block and folder), or both."
        )
