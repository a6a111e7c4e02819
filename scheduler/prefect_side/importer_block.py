"""The importer's SFTP block, kept equal to the setting: exporters deliver where it says, and nowhere else."""

from sqlalchemy import Engine

from headway.models.ledger.database import reading
from headway.scheduler.planning.definitions.task_types import IMPORTER_BLOCK, SFTP_SLUG
from headway.scheduler.prefect_side.api import PrefectApi
from headway.scheduler.store.settings import load_settings


def keep_importer_path(engine: Engine, prefect: PrefectApi) -> bool:
    """Give the importer's block the configured path; False where there is no such block. Raises PrefectError.

    The setting is the truth: what a person wrote into the block itself does not last.
    """
    with reading(engine) as session:
        path = load_settings(session).customer_importer_file_path
    fields = prefect.block(SFTP_SLUG, IMPORTER_BLOCK)
    if fields is None or fields.get("importer_path") == path:
        return fields is not None
    fields = prefect.block(SFTP_SLUG, IMPORTER_BLOCK, secrets=True) or {}
    prefect.save_block(SFTP_SLUG, IMPORTER_BLOCK, {**fields, "importer_path": path})
    return True
