"""A soak: steady mixed load on one engine for a long time, and the growth of each process.
`scripts/dev soak` runs it."""
