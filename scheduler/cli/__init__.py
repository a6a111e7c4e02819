"""The command line `headway`."""

from scheduler.cli.app import main

__all__ = ["main"]
