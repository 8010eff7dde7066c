"""Chaos: kill every process of an engine under load, and check that no request is lost. `scripts/chaos` runs it."""
