"""Callers' JSON schemas, made into what the grammar engine enforces: every value that fits the
result fits the original.

Annotations go, objects are closed unless a schema opens them, and what cannot be enforced is
refused by its keyword and place.
"""

from .document import SchemaError
from .enforce import enforceable

__all__ = ["SchemaError", "enforceable"]
