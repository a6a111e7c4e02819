"""Makes block types known to Prefect. Apart from prefect_api because this needs Prefect itself."""

import inspect
from collections.abc import Mapping, Sequence
from types import ModuleType

from prefect.blocks.core import Block
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_KEY,
    PREFECT_API_URL,
    temporary_settings,
)

_SETTINGS = {
    "PREFECT_API_URL": PREFECT_API_URL,
    "PREFECT_API_AUTH_STRING": PREFECT_API_AUTH_STRING,
    "PREFECT_API_KEY": PREFECT_API_KEY,
}


def register(modules: Sequence[ModuleType], environ: Mapping[str, str]) -> list[str]:
    """Registers each block class that these modules offer; returns the slugs.

    The entry points hand the modules in: the scheduler does not know the blocks.
    """
    # Prefect read its settings when it was imported, maybe before the server's address was known.
    with temporary_settings({_SETTINGS[name]: value for name, value in environ.items()}):
        return [_register(block) for module in modules for block in _blocks_of(module)]


def _blocks_of(module: ModuleType) -> list[type[Block]]:
    """The concrete block classes that are the module's own, or of its package: not Prefect's base classes."""
    package = module.__name__.partition(".")[0]
    classes = (found for _, found in inspect.getmembers(module, inspect.isclass))
    return [
        found
        for found in classes
        if issubclass(found, Block) and found.__module__.partition(".")[0] == package and not inspect.isabstract(found)
    ]


def _register(block: type[Block]) -> str:
    block.register_type_and_schema(_sync=True)  # type: ignore[call-arg]
    return block.get_block_type_slug()
