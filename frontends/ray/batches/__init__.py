"""Batches over many engines, by Ray Data: rows in, answers out, each once, whoever is killed."""
