"""An item, the model that it is of, and a tier to keep it in."""

from pathlib import Path
from typing import Any

import msgspec

from thespis.actors.encoder_cache.disk.tier import Tier
from thespis.actors.jobs.identity import part_keys
from thespis.protocol.config.roles import DiskTier
from thespis.protocol.edges.decode_worker_to_preprocessor import Decoded, Part
from thespis.protocol.facts import KvGroup, ModelFacts, PlaceholderFacts
from thespis.protocol.requests.preview import ItemLook

WIDTH = 8
MODEL = ModelFacts(
    path="", model_type="fake", layers=1, hidden=WIDTH, vocab=16, context=64,
    kv_groups=(KvGroup(layers=(0,), kv_heads=1, key_dim=8, value_dim=8),),
    eos_token_ids=(), dtype="float32", fingerprint="", position_planes=3,
    placeholders={"image": PlaceholderFacts(
            token="<image>", text="<image>", embed_token="<image>", embed_token_id=5
        )},
)  # fmt: skip
NAME, OTHER = "ab" * 32, "cd" * 32
FINGERPRINT, FOREIGN = "1" * 64, "2" * 64


def item(rows: int = 2, key: str = NAME, parts: int = 1, **changes: Any) -> Decoded:
    tokens = parts * rows + 1
    made = Decoded(
        job=7,
        digest="digest",
        key=key,
        parts=tuple(Part(own, "image", rows, {}, 5) for own in part_keys(key, parts)),
        text="<image>",
        counts=(rows,) * parts,
        number="",
        planes=bytes(max(0, 4 * 3 * tokens)),
        anchors=None,
        advance=tokens,
        tokens=tokens,
        look=ItemLook(width=3, height=4),
        timings=(),
    )
    return msgspec.structs.replace(made, **changes)


def data(rows: int = 2, seed: int = 1) -> bytes:
    """float32 [rows, WIDTH]."""
    return bytes((seed + 7 * place) % 251 for place in range(4 * rows * WIDTH))


def tier(folder: Path, fingerprint: str = FINGERPRINT, max_bytes: int = 1 << 20) -> Tier:
    """An open one."""
    made = Tier(DiskTier(folder=str(folder), max_bytes=max_bytes), MODEL, "float32", fingerprint)
    made.open()
    return made


def keep(made: Tier, name: str = NAME, rows: int = 2, seed: int = 1, **changes: Any) -> None:
    made.keep(name, name, memoryview(data(rows, seed)), (rows, WIDTH), item(rows, name, **changes))


def kept(folder: Path, name: str = NAME, **options: Any) -> Path:
    """One file, written and closed."""
    fingerprint = options.pop("fingerprint", FINGERPRINT)
    made = tier(folder, fingerprint)
    keep(made, name, **options)
    made.close()
    [path] = [one for one in files(folder) if one.name == f"{fingerprint[:16]}-{name}"]
    return path


def files(folder: Path) -> list[Path]:
    room = folder / "thespis-encoder-cache"
    return sorted(path for path in room.iterdir() if path.name != "lock")


def answer(made: Tier, name: str = NAME) -> bytes | None:
    """The rows of an item of one part, as its reader gets them; None: a miss."""
    found = made.find_item("key", name)
    if found is None:
        return None
    _, [stored] = found
    into = bytearray(stored.head.nbytes)
    with memoryview(into) as view:
        return bytes(into) if made.read(stored, view) else None
