"""What of a plan cannot be computed, said to the caller whose sequence it is."""


class Unrunnable(ValueError):
    """The rest of a sentence that begins "The sequence cannot be run: ". It may reach a client:
    never a library's words."""
