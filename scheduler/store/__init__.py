"""All SQL of the scheduler. Functions take a session; `models.ledger.database` begins and ends its transaction."""

from headway.scheduler.store.run_writer import open_run_ledger

__all__ = ["open_run_ledger"]
