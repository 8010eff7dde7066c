"""Callers' regular expressions, read as what they are: a language of whole texts, written without
look-around.

`nodes` is what an expression becomes, `parse` reads one, `automaton` removes what looks around,
`text` writes it again.
"""

from .text import PatternError, as_search, as_whole

__all__ = ["PatternError", "as_search", "as_whole"]
