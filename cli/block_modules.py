"""The modules whose block types `headway up` and `headway deploy` make known to Prefect."""

import prefect_email

from headway.blocks import drop_folder
from headway.blocks.database import block as database
from headway.blocks.sftp import block as sftp

BLOCK_MODULES = (sftp, database, drop_folder, prefect_email)
