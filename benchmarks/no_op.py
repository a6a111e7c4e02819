"""A flow that does nothing: what is left is the cost of starting it."""

from prefect import flow


@flow
def no_op() -> None:
    """Does nothing."""
