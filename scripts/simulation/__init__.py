"""Engines by the thousand, on a clock that jumps: the real scheduler, admission and embedding
store, between step times that were measured."""
