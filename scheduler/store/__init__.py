"""All SQL of the scheduler. Functions take a session; `models.ledger.database` begins and ends its transaction."""
