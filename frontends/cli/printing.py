"""What others wrote, as a terminal may show it, and what a terminal gave, as others may read it.
Pure."""

_SHOWN = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"}
_SHOWN |= {ord("\r"): "", 0x7F: "\u2421"} | dict.fromkeys(range(0x80, 0xA0), "\ufffd")


def printable(text: str) -> str:
    """Control characters as pictures of themselves: none moves the cursor, colours the screen,
    renames the window or types an answer. Ends of lines and tabs stay."""
    return text.translate(_SHOWN)


def well_formed(text: str) -> str:
    """What a terminal or a command line gave: bytes that are no UTF-8 come as halves of
    surrogates, which nobody else takes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
