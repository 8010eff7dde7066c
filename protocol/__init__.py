"""What the processes say to each other. No torch here; zmq in `channel` only."""

VERSION = 1
"""The wire protocol's own version, checked at Hello: both ends of a channel must speak the same."""
