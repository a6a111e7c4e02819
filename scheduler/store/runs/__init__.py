"""Runs as they come into the ledger, are claimed, and end. Whatever writes about a run carries its claim."""
