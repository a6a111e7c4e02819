"""What people do with Headway, one file an action; every entrance calls these.

Each requires its privilege, loads, decides, writes with its audit row, and returns. The caller's session is one
transaction of headway.models.ledger.database.
"""
