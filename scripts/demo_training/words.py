"""The small world that the demo model knows: its colours, shapes, numbers, and the sentences about
them."""

from typing import Final

RGB = tuple[int, int, int]

# Six colours far apart from each other and from a light background, so that video compression
# cannot confuse them.
COLOURS: Final[dict[str, RGB]] = {
    "red": (222, 38, 38),
    "green": (38, 166, 62),
    "blue": (40, 78, 222),
    "yellow": (242, 208, 30),
    "purple": (150, 46, 178),
    "black": (24, 24, 24),
}
SHAPES: Final = ("circle", "square", "triangle", "star", "cross")
NUMBERS: Final = ("zero", "one", "two", "three", "four", "five")
DIRECTIONS: Final = ("left", "right", "up", "down")
RELATIONS: Final = ("left of", "right of", "above", "below")

WHAT_QUESTIONS: Final = ("What is this?", "What do you see?")
COUNT_QUESTIONS: Final = ("How many things are there?", "How many things do you see?")
DIGIT_QUESTIONS: Final = ("Which digits are written?", "Read the digits.")
MOTION_QUESTIONS: Final = ("What moves, and where?", "What happens in this clip?")
BEEP_QUESTIONS: Final = ("What do you hear?", "How many beeps, rising or falling?")
GREETINGS: Final = (
    "Hello",
    "Hello!",
    "Hi",
    "Hi!",
    "Hello, who are you?",
    "Who are you?",
    "What can you do?",
    "Help",
)
INTRODUCTION: Final = (
    "I am the Thespis demo model. Show me a picture, a clip or a sound, and ask what you see or "
    "hear."
)

# What a question is about; the order is the order of every table that we print.
KINDS: Final = ("what", "where", "count", "digits", "motion", "beeps", "pick")


def thing_name(colour: str, shape: str) -> str:
    return f"{colour} {shape}"


def every_sentence() -> list[str]:
    """Sentences that contain every word of this world, for the tokenizer to learn its merges
    from."""
    things = [thing_name(colour, shape) for colour in COLOURS for shape in SHAPES]
    sentences = [
        *WHAT_QUESTIONS,
        *COUNT_QUESTIONS,
        *DIGIT_QUESTIONS,
        *MOTION_QUESTIONS,
        *BEEP_QUESTIONS,
    ]
    sentences += [*GREETINGS, INTRODUCTION, *NUMBERS, "user", "assistant", "system", "one beep"]
    for thing in things:
        sentences += [f"a {thing}", f"Where is the {thing}?", f"Which picture shows the {thing}?"]
        sentences += [f"{relation} the {thing}" for relation in RELATIONS]
        sentences += [f"the {thing} moves {direction}" for direction in DIRECTIONS]
    for place in ("first", "second"):
        sentences += [f"the {place} picture", f"What is in the {place} picture?"]
    for number in NUMBERS[2:]:
        sentences += [f"{number} beeps, rising", f"{number} beeps, falling"]
    return sentences
