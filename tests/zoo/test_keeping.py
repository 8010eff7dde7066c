"""What is kept on disk of an item of any family is what was made of it: the rows to the last bit,
further ones for later layers too, and all that stands for it in a prompt."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from thespis.actors.encoder_cache.disk.tier import Tier
from thespis.actors.jobs.identity import part_keys
from thespis.gpu_runtime.models.encoding import bytes_of
from thespis.protocol.config.roles import DiskTier
from thespis.protocol.edges.decode_worker_to_preprocessor import Decoded

from ..actors.preprocessor.parts import decoded
from .catalog import Zoo, animal
from .composing import MODALITIES, SHOWN, _medium, _parts

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)
FAMILIES = ("qwen3_vl", "qwen2_5_omni", "qwen3_5", "ovis2", "minicpmv4_6", "voxtral")
"""With rows for further layers; with a clip's own sound; with recurrent states; with marks that are
rows; in tiles; sounds alone."""


@pytest.mark.parametrize("name", FAMILIES)
def test_a_later_engine_reads_what_was_made(name: str, zoo: Zoo, tmp_path: Path) -> None:
    facts, processor, encoder = _parts(zoo(name))

    def tier() -> Tier:
        made = Tier(DiskTier(folder=str(tmp_path), max_bytes=1 << 26), facts, "float32", "1" * 64)
        made.open()
        return made

    first = tier()
    told_of: dict[str, Decoded] = {}
    made: dict[str, bytes] = {}
    for kind in MODALITIES:
        if kind not in animal(name).takes:
            continue
        shown: Any = SHOWN[kind][MODALITIES.index(kind)][0]
        item = processor.item(kind, _medium(kind, shown), {})
        key = kind.encode().hex().ljust(64, "0")
        told = decoded(item, key)
        for place, (part, own) in enumerate(zip(item.parts, part_keys(key, 99), strict=False)):
            tensors = {name: torch.from_numpy(value) for name, value in part.tensors.items()}
            [rows] = encoder.encode(part.kind, [tensors], [part.rows])
            shape = (part.rows, facts.embed_width)
            assert tuple(rows.shape) == shape
            made[own] = bytes(bytes_of(rows.contiguous()))
            first.keep(own, own, bytes_of(rows.contiguous()), shape, None if place else told)
        told_of[kind] = msgspec.structs.replace(told, job=0)
    first.close()
    later = tier()
    for kind in MODALITIES:
        if kind in told_of:
            key = kind.encode().hex().ljust(64, "0")
            found = later.find_item(key, key)
            assert found is not None, kind
            assert found[0] == told_of[kind]
            for stored in found[1]:
                into = memoryview(bytearray(stored.head.nbytes))
                assert later.read(stored, into)
                assert into == made[stored.name]
    later.close()
