"""Big data between processes: shared memory, and what is said where the machine has no more of
something."""
