"""The client of an engine: what is let in, the ledger of what is under way, and the replies."""
