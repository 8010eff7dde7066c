"""How far a text that comes in pieces may be the beginning of a JSON object. Pure."""

SPACES, HEX, ESCAPES = frozenset(" \t\r\n"), frozenset("0123456789abcdefABCDEF"), '"\\/bfnrt'
WORDS = {"t": "rue", "f": "alse", "n": "ull"}
DEEPEST = 128
NUMBERS: dict[str, dict[str, str]] = {
    "minus": {"0": "zero", "1": "int"},
    "zero": {".": "dot", "e": "e"},
    "int": {"0": "int", "1": "int", ".": "dot", "e": "e"},
    "dot": {"0": "frac", "1": "frac"},
    "frac": {"0": "frac", "1": "frac", "e": "e"},
    "e": {"0": "exp", "1": "exp", "-": "sign", "+": "sign"},
    "sign": {"0": "exp", "1": "exp"},
    "exp": {"0": "exp", "1": "exp"},
}
"""What may follow in a number: 1 stands for every digit but 0."""
COMPLETE = ("zero", "int", "frac", "exp")
ALIKE = {**dict.fromkeys("23456789", "1"), "E": "e"}


class JsonPrefix:
    """Work is linear in the text."""

    def __init__(self) -> None:
        self._state = "start"
        self._inside: list[str] = []
        """The brackets that are open."""
        self._rest = ""
        """Of a word what must follow; of an escaped number the digits so far."""
        self._key = False
        """The string is a name."""
        self._half = False
        """Its other half must follow."""

    def feed(self, text: str) -> int:
        """How many characters go on with it; from the next on it is none, whatever follows."""
        for place, char in enumerate(text):
            if not self._take(char):
                self._state = "broken"
                return place
        return len(text)

    def _take(self, char: str) -> bool:
        match self._state:
            case "string" | "escape" | "hex":
                return self._string(char)
            case "word":
                known, self._rest = self._rest[:1] == char, self._rest[1:]
                if not self._rest:
                    self._state = "after"
                return known
            case state if state in NUMBERS:
                following = NUMBERS[state].get(ALIKE.get(char, char))
                if following is None and state in COMPLETE:
                    self._state = "after"
                    return self._between(char)
                self._state = following or "broken"
                return following is not None
        return self._between(char)

    def _between(self, char: str) -> bool:
        """Outside of strings, numbers and words."""
        state, inside = self._state, self._inside[-1:]
        if char in SPACES:
            return state != "broken"
        if state == "after" and char == ",":
            self._state = "name" if inside == ["{"] else "value"
            return bool(inside)
        if char in "}]":
            opened = "{" if char == "}" else "["
            if inside != [opened] or state not in ("after", opened):
                return False
            self._inside.pop()
            self._state = "after"
            return True
        if state in ("{", "name"):
            self._state, self._key = "string", True
            return char == '"'
        if state == "colon":
            self._state = "value"
            return char == ":"
        return self._value(char, state)

    def _value(self, char: str, state: str) -> bool:
        """The beginning of one."""
        allowed = char == "{" if state == "start" else state in ("value", "[")
        if char in "{[":
            self._inside.append(char)
            self._state = char
            return allowed and len(self._inside) <= DEEPEST
        if char == '"':
            self._state, self._key = "string", False
        elif char in WORDS:
            self._state, self._rest = "word", WORDS[char]
        elif char == "-":
            self._state = "minus"
        elif "0" <= char <= "9":
            self._state = "zero" if char == "0" else "int"
        else:
            return False
        return allowed

    def _string(self, char: str) -> bool:
        if self._state == "hex":
            self._rest += char
            return char in HEX and (len(self._rest) < 4 or self._escaped(int(self._rest, 16)))
        if self._state == "escape":
            self._state, self._rest = ("hex", "") if char == "u" else ("string", "")
            return char == "u" or (char in ESCAPES and not self._half)
        if char == "\\":
            self._state = "escape"
            return True
        if char == '"':
            self._state = "colon" if self._key else "after"
        return char >= " " and not self._half and not "\ud800" <= char <= "\udfff"

    def _escaped(self, code: int) -> bool:
        """A character, or half of one."""
        self._state = "string"
        second = 0xDC00 <= code <= 0xDFFF
        fits = second == self._half
        self._half = 0xD800 <= code <= 0xDBFF
        return fits
