"""What others wrote, as a terminal may show it. Pure."""

_SHOWN = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"}
_SHOWN |= {ord("\r"): "", 0x7F: "\u2421"} | dict.fromkeys(range(0x80, 0xA0), "\ufffd")


def printable(text: str) -> str:
    """Control characters as pictures of themselves: none moves the cursor, colours the screen,
    renames the window or types an answer. Ends of lines and tabs stay."""
    return text.translate(_SHOWN)
