"""All SQL of the scheduler. Functions take a session; models.db begins and ends its transaction."""

from scheduler.store.process_side import open_run_ledger

__all__ = ["open_run_ledger"]
