"""Overload: offers an engine ten times what it can carry, and measures what those get who are let
in."""
