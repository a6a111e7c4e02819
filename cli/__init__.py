"""The command line `headway`."""

from headway.cli.app import main

__all__ = ["main"]
