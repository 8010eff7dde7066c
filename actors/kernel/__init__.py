"""What every role stands on: how a process is launched and ends, its sockets, its loop, its limits."""
