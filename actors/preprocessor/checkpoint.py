"""The preprocessor's view of a checkpoint folder: model configuration, processors' configurations.

Plain JSON, read without transformers. Both layouts are known: `processor_config.json` with every sub-processor inside, and
the hub's older `preprocessor_config.json` (image and sound merged) with `video_preprocessor_config.json` beside it.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...protocol.errors import EngineError
from ...protocol.facts import ModelFacts

Json = dict[str, Any]

_AUDIO_KEYS = ("feature_extractor_type", "feature_size", "hop_length", "n_fft")


@dataclass(frozen=True)
class Checkpoint:
    """What the files say; an absent part is an empty dict."""

    info: ModelFacts
    config: Json
    """config.json; of a model with a thinker, the thinker's part."""
    image: Json
    video: Json
    audio: Json
    tokenizer: Json
    """tokenizer_config.json."""

    @property
    def tokenizer_file(self) -> str:
        return str(Path(self.info.path) / "tokenizer.json")

    def token_id(self, *names: str) -> int | None:
        """The first of these fields that config.json has: checkpoints of different ages name them differently."""
        for name in names:
            value = self.config.get(name)
            if isinstance(value, int):
                return value
        return None


def read_checkpoint(info: ModelFacts) -> Checkpoint:
    """Raises EngineError naming a file that cannot be read."""
    folder = Path(info.path)
    config = _json(folder, "config.json")
    processor = _json(folder, "processor_config.json")
    flat = _json(folder, "preprocessor_config.json")
    tokenizer = _json(folder, "tokenizer_config.json")
    image = processor.get("image_processor") or flat
    audio = processor.get("feature_extractor") or (flat if any(key in flat for key in _AUDIO_KEYS) else {})
    video = processor.get("video_processor") or _json(folder, "video_preprocessor_config.json")
    return Checkpoint(
        info=info,
        config=config.get("thinker_config") or config,
        image=image,
        video=video,
        audio=audio,
        tokenizer=tokenizer,
    )


def _json(folder: Path, name: str) -> Json:
    path = folder / name
    if not path.exists():
        return {}
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise EngineError(f"{name} of the model cannot be read as JSON.") from error
    return value if isinstance(value, dict) else {}
