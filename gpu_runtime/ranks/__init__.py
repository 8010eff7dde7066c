"""Processes that compute one model together, each with its part of every layer."""
