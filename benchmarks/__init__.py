"""Measurements against a named peer: each module prints a ratio (`python -m benchmarks.NAME`)."""
