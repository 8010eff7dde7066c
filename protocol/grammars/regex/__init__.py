"""Callers' regular expressions, read as what they are: a language of whole texts, written without
look-around.

`nodes` is what an expression becomes, `parse` reads one, `automaton` removes what looks around,
`text` writes it again.
"""
