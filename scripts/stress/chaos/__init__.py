"""Chaos: kill every process of an engine under load, and check that no request is lost.
`scripts/dev chaos` runs it."""
