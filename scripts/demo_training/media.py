"""The bundled media: one picture, one clip and one sound, with what to ask about each and the right
answers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .clips import draw_motion, mp4_bytes
from .pictures import Thing, draw_things
from .sounds import draw_beeps, wav_bytes
from .words import BEEP_QUESTIONS, COUNT_QUESTIONS, MOTION_QUESTIONS

WHITE = (250, 250, 250)
SEED = 20_261_123


def write_media(folder: Path) -> list[dict[str, Any]]:
    """Draws the files into `folder` and returns (and writes) the list of examples."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(SEED)
    circle = Thing("red", "circle", 72, 84, 44)
    square = Thing("blue", "square", 250, 96, 48, 0.1)
    picture = draw_things(WHITE, 336, 252, [circle, square])
    Image.fromarray(picture).save(folder / "picture.png", optimize=True)
    clip, scenes, direction = draw_motion(rng, 84, 84, 8)
    (folder / "clip.mp4").write_bytes(mp4_bytes(clip))
    sound, _ = draw_beeps(rng, 3, True, 24_000)
    (folder / "sound.wav").write_bytes(wav_bytes(sound))
    examples = [
        {"kind": "image", "file": "picture.png", "question": "Where is the red circle?",
         "answer": "left of the blue square"},
        {"kind": "image", "file": "picture.png", "question": COUNT_QUESTIONS[0], "answer": "two"},
        {"kind": "video", "file": "clip.mp4", "question": MOTION_QUESTIONS[0],
         "answer": f"the {scenes[0][0].name} moves {direction}"},
        {"kind": "audio", "file": "sound.wav", "question": BEEP_QUESTIONS[0],
            "answer": "three beeps, rising"},
    ]  # fmt: skip
    (folder / "examples.json").write_text(json.dumps(examples, indent=2) + "\n")
    return examples
