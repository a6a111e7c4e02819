"""A block for the tests of the API."""

from prefect.blocks.core import Block
from pydantic import Field, SecretStr


class SampleDoor(Block):
    """Where something is behind."""

    _block_type_slug = "sample-door"

    host: str = Field(description="Where it is")
    password: SecretStr = Field(description="What opens it")
