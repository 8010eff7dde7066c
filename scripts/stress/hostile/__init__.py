"""Hostile callers: cases drawn from a seed, beside calm streams that must not notice them.
`scripts/dev hostile` runs it."""
