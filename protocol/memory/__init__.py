"""Shared memory between processes, and what is said where the machine has no more of something."""
