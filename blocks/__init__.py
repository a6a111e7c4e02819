"""How other machines are reached: one Prefect block each. Import them from their own module."""
