"""Qwen2.5-Omni's thinker: pictures, clips and sounds in one prompt."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....protocol.request import Modality
from ..checkpoint import Checkpoint
from ..tokens import TextTokenizer
from . import mrope, pixels
from .base import Family, Grid, MediaFeatures, Piece, PlacedItem, Sized, placeholder, without_grid

MODEL_TYPES = ("qwen2_5_omni_thinker", "qwen2_5_omni")


@dataclass(frozen=True)
class QwenOmni(Family):
    merge: int = 2
    positions_per_second: float = 25
    vision_start: int = -1
    audio_marks: tuple[int, int] = (-1, -1)
    """Beginning and end of a sound."""
    seconds_per_chunk: float = 2
    """Picture and sound of a clip take turns so long."""

    @property
    def hears_clips(self) -> bool:
        return True

    def interleaved(self, clip: Sized, sound: int) -> tuple[Piece, ...]:
        """Sound mark, then picture and sound of each stretch of time, then the sound's end mark."""
        assert clip.grid is not None
        rows = np.repeat(self._times(clip.grid[0], clip.seconds_per_grid), clip.rows // clip.grid[0])
        order = _chunks(rows.tolist(), self._chunk), _chunks(range(sound), self._chunk)
        modalities: tuple[Modality, ...] = ("video", "audio")
        pieces = [Piece(self.audio_marks[0], None)]
        for turn in range(max(map(len, order))):
            for modality, chunks in zip(modalities, order, strict=True):
                if turn < len(chunks):
                    start, end = chunks[turn]
                    pieces.append(Piece(self.placeholders[modality].token_id, modality, end - start, start))
        return (*pieces, Piece(self.audio_marks[1], None))

    @property
    def _chunk(self) -> int:
        return int(self.positions_per_second * self.seconds_per_chunk)

    def _times(self, frames: int, seconds: float) -> NDArray[np.int64]:
        """Position on the time plane of each temporal patch."""
        steps = np.arange(frames, dtype=np.float32) * np.float32(seconds) * np.float32(self.positions_per_second)
        return steps.astype(np.int64)

    def positions(self, length: int, token_ids: Sequence[int], placed: Sequence[PlacedItem]) -> tuple[bytes | None, int]:
        """Time runs in real seconds; after a block the text goes on behind the largest position in it."""
        blocks = []
        for item in placed:
            # Sound counts on like text, and so does a picture that no vision start announces.
            if item.grid is None or item.start == 0 or token_ids[item.start - 1] != self.vision_start:
                continue
            seconds = item.seconds_per_grid if item.modality == "video" else 1.0
            frames, height, width = item.grid[0], item.grid[1] // self.merge, item.grid[2] // self.merge
            planes = mrope.planes(self._times(frames, seconds), height, width)
            if item.sound:
                planes = self._with_sound(item, planes)
            blocks.append(mrope.Block(item.start, planes, int(planes[:, -1].max() if item.sound else planes.max() + 1)))
        return mrope.positions(length, blocks) if blocks else (None, 0)

    def _with_sound(self, item: PlacedItem, seen: NDArray[np.int64]) -> NDArray[np.int64]:
        """Both begin at one time. Each of the marks shares the place of the vision mark beside it, and the text goes on
        behind the last piece, though the other kind may reach further: so the model was trained."""
        heard = np.tile(np.arange(item.sound), (3, 1))
        parts = [np.full((3, 1), -1)]
        for piece in self.interleaved(Sized(item.rows, item.grid, item.seconds_per_grid), item.sound)[1:-1]:
            source = seen if piece.modality == "video" else heard
            parts.append(source[:, piece.offset : piece.offset + piece.length])
        return np.concatenate([*parts, np.full((3, 1), parts[-1].max() + 1)], axis=1)

    def rows_of(self, modality: Modality, grid: Grid | None) -> int | None:
        if modality == "audio":
            without_grid(modality, grid)
            return None
        return pixels.embedding_rows(modality, grid, self.merge)

    def pixel_range(self, modality: Modality) -> tuple[int, int] | None:
        return pixels.pixel_range(modality, self.checkpoint.image, self.checkpoint.video)

    def features(self, modality: Modality, media: Any, options: dict[str, Any], max_rows: int) -> MediaFeatures:
        from . import sound

        if modality == "image":
            return pixels.image_features(self.checkpoint.image, media, options, max_rows)
        if modality == "video":
            return pixels.video_features(self.checkpoint.video, media, options, max_rows)
        return sound.audio_features(self.checkpoint.audio, media)


def load(checkpoint: Checkpoint, tokenizer: TextTokenizer) -> QwenOmni:
    vision = (checkpoint.token_id("vision_start_token_id"), checkpoint.token_id("vision_end_token_id"))
    audio = (checkpoint.token_id("audio_start_token_id"), checkpoint.token_id("audio_end_token_id"))
    return QwenOmni(
        checkpoint=checkpoint,
        placeholders={
            "image": placeholder(tokenizer, checkpoint.token_id("image_token_id", "image_token_index"), *vision),
            "video": placeholder(tokenizer, checkpoint.token_id("video_token_id", "video_token_index"), *vision),
            "audio": placeholder(tokenizer, checkpoint.token_id("audio_token_id", "audio_token_index"), *audio),
        },
        options={"image": pixels.IMAGE_OPTIONS, "video": pixels.VIDEO_OPTIONS, "audio": frozenset()},
        merge=int(checkpoint.config.get("vision_config", {}).get("spatial_merge_size", 2)),
        positions_per_second=checkpoint.config.get("position_id_per_seconds", 25),
        vision_start=vision[0] if vision[0] is not None else -1,
        audio_marks=(audio[0] if audio[0] is not None else -1, audio[1] if audio[1] is not None else -1),
        seconds_per_chunk=checkpoint.config.get("seconds_per_chunk", 2),
    )


def _chunks(times: Sequence[int], length: int) -> list[tuple[int, int]]:
    """Pieces [start, end) of rows at rising `times`: a new one begins with the first row at or after each multiple of
    `length`. Where a single step jumps several multiples, the rows behind it follow one by one: as transformers does."""
    bounds, wanted = [0], length
    for index, time in enumerate(times):
        if time >= wanted:
            bounds.append(index)
            wanted += length
    return list(zip(bounds, [*bounds[1:], len(times)], strict=True))
