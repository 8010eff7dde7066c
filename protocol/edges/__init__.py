"""One file per edge: the messages that travel on it and their union."""
