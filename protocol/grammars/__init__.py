"""From what a caller demands of an answer to a grammar that the engine enforces as a whole.
Pure."""
