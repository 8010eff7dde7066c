"""Callers' JSON schemas, made into what the grammar engine enforces: every value that fits the
result fits the original.

Annotations go, objects are closed unless a schema opens them, and what cannot be enforced is
refused by its keyword and place.
"""
