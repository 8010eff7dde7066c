"""Weights that are stored in few bits, as they are on disk and as plain numbers: one file per
form."""
