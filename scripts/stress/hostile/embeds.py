"""Precomputed embeddings that are none: wrong shapes and numbers, headers that lie, pickles,
archives."""

import base64
import json
import struct
import zipfile
from io import BytesIO
from random import Random
from typing import Any

import numpy as np

from .shot import CHAT, Shot, chat, post

HIDDEN = 128
"""Of the bundled model."""
CANARY = "THESPIS_HOSTILE_CANARY"
"""The variable with the folder in which a pickle that is loaded makes another."""
_TYPES = ("F32", "F16", "BF16", "F64", "I64", "U8", "BOOL", "F8_E4M3", "none")
_WIDTH = {
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "F64": 8,
    "I64": 8,
    "U8": 1,
    "BOOL": 1,
    "F8_E4M3": 1,
    "none": 4,
}


def draw_embeds(draw: Random, biggest: int) -> Shot:
    modality = draw.choice(("image", "image", "video", "audio"))
    what, data = draw.choice((_shaped, _shaped, _shaped, _lying, _lying, _odd_header, _no_tensors))(
        draw
    )
    name = f"{modality}_embeds"
    part: dict[str, Any] = {"type": name, name: base64.b64encode(data).decode()}
    if draw.random() < 0.1:
        part[name] = draw.choice(
            (
                None,
                "",
                7,
                [],
                [[0.5] * HIDDEN] * 4,
                {},
                {"data": "AAAA"},
                "*",
                "AAA",
                {name: part[name]},
            )
        )
    if draw.random() < 0.6:
        part["image_grid_thw" if draw.random() < 0.7 else f"{modality}_grid_thw"] = draw.choice(
            _GRIDS
        )
    return post(
        f"{name}: {what}, {len(data):,} bytes",
        CHAT,
        chat([part, {"type": "text", "text": "What?"}]),
    )


_GRIDS: tuple[Any, ...] = (
    [1, 4, 4], [[1, 4, 4]], [1, 16, 1], [0, 0, 0], [-1, -4, 4], [1 << 31, 1 << 31, 4], [1, 4],
    [1, 4, 4, 4], [[1, 4,
    4]] * 3000, "AAAA", "",
    [1.5, 4, 4], [None, 4, 4], {"t": 1}, [1, 1 << 70, 1], [[[1, 4, 4]]], [True, 4, 4], [4, 4, 1], 7,
    ["1", "4", "4"],
)  # fmt: skip


def _safetensors(header: dict[str, Any] | bytes, data: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def _shaped(draw: Random) -> tuple[str, bytes]:
    """Whole files, whose tensors may be of the wrong shape, type or number."""
    shape = draw.choice((
        (4, HIDDEN), (4, HIDDEN), (1, HIDDEN), (4, HIDDEN + 1), (0, HIDDEN), (4, 0), (HIDDEN,), (),
        (1, 4, HIDDEN),
        (2, 4, HIDDEN), (4, 4, 4, HIDDEN),
        (5000, HIDDEN), (HIDDEN, 4),
    ))  # fmt: skip
    dtype = draw.choice(("F32", "F32", "F32", "F16", "BF16", "F64", "I64", "U8", "BOOL"))
    values = np.resize(
        np.array(
            draw.choice(
                ((0.1, -0.2), (np.nan,), (np.inf,), (0.0, -np.inf), (3e38,), (1e-40,), (65_504.0,))
            )
        ),
        shape,
    )
    kinds = {
        "F32": np.float32,
        "F16": np.float16,
        "F64": np.float64,
        "I64": np.int64,
        "U8": np.uint8,
        "BOOL": np.bool_,
    }
    with np.errstate(all="ignore"):
        data = (
            values.astype(np.float32).tobytes()[: values.size * 2]
            if dtype == "BF16"
            else values.astype(kinds[dtype]).tobytes()
        )
    name = draw.choice(("embeds", "embeds", "embeds", "a", "", "image_embeds", "../a"))
    header: dict[str, Any] = {
        name: {"dtype": dtype, "shape": list(shape), "data_offsets": [0, len(data)]}
    }
    if draw.random() < 0.3:
        grid = np.array(
            draw.choice(((1, 4, 4), (0, 0, 0), (-1, 4, 4), (1 << 40, 4, 4), (1, 4))), np.int64
        ).tobytes()
        header["grid_thw"] = {
            "dtype": "I64",
            "shape": [len(grid) // 8],
            "data_offsets": [len(data), len(data) + len(grid)],
        }
        data += grid
    return f"{dtype} of {shape}, {values.flat[0] if values.size else 'none'}", _safetensors(
        header, data
    )


def _lying(draw: Random) -> tuple[str, bytes]:
    """Shapes and offsets that are not those of the data."""
    dtype = draw.choice(_TYPES)
    shape: list[Any] = draw.choice(
        (
            [4, HIDDEN],
            [1 << 62, 4],
            [-4, HIDDEN],
            [1 << 70],
            [4] * 5000,
            ["4", HIDDEN],
            [4.5],
            [1 << 33, 1 << 33],
        )
    )
    size = 4 * HIDDEN * _WIDTH[dtype]
    offsets = draw.choice(
        (
            [0, size],
            [0, 1 << 62],
            [size, 0],
            [-8, size],
            [0, size - 1],
            [8, size + 8],
            [0],
            "x",
            [0, size, size],
            [0.5, 7],
        )
    )
    entry = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
    header = (
        {"embeds": entry}
        if draw.random() < 0.7
        else {"embeds": entry, "b": entry, "grid_thw": entry}
    )
    return f"lying {dtype} {str(shape)[:30]} {offsets}", _safetensors(header, bytes(size))


def _odd_header(draw: Random) -> tuple[str, bytes]:
    entry = {"dtype": "F32", "shape": [4, HIDDEN], "data_offsets": [0, 4 * HIDDEN * 4]}
    match draw.randrange(7):
        case 0:
            length = draw.choice((0, 1, 1 << 20, 100 << 20, 1 << 40, (1 << 64) - 1))
            return f"header of {length} bytes", struct.pack("<Q", length) + b'{"embeds":' + bytes(
                2000
            )
        case 1:
            depth = draw.choice((100, 5000, 500_000))
            return f"header {depth} deep", _safetensors(
                b'{"embeds":' + b"[" * depth + b"]" * depth + b"}", b""
            )
        case 2:
            count = draw.choice((100, 20_000))
            return f"{count} tensors", _safetensors(
                {f"t{at}": entry for at in range(count)}, bytes(4 * HIDDEN * 4)
            )
        case 3:
            return "header with text", _safetensors(
                {"__metadata__": {"a": "b" * draw.choice((10, 3_000_000))}, "embeds": entry},
                bytes(2048),
            )
        case 4:
            return "header that is no JSON", _safetensors(
                draw.choice((b"{", b"[]", b"7", b"\xff\xfe", b"", b"{}", b'{"embeds":NaN}')),
                bytes(2048),
            )
        case 5:
            twice = b'{"embeds":%b,"embeds":%b}' % ((json.dumps(entry).encode(),) * 2)
            return "header with equal keys", _safetensors(twice, bytes(2048))
    return "header of spaces", _safetensors(
        b" " * draw.choice((10, 5_000_000)) + json.dumps({"embeds": entry}).encode(), bytes(2048)
    )


_PICKLE = (
    f"cbuiltins\neval\n(V__import__('os').mkdir(__import__('os').environ['{CANARY}'])\ntR.".encode()
)
"""Unpickled, it makes a folder that the campaign looks for. Written by hand, as an attacker
would."""


def _no_tensors(draw: Random) -> tuple[str, bytes]:
    evil = draw.choice((b"", b"\x80\2", b"\x80\4", b"\x80\5")) + _PICKLE
    match draw.randrange(6):
        case 0:
            return "a pickle", evil
        case 1 | 2:
            archive = BytesIO()
            with zipfile.ZipFile(archive, "w") as file:
                file.writestr(draw.choice(("archive/data.pkl", "data.pkl", "../../a")), evil)
                file.writestr("archive/data/0", bytes(2048))
                file.writestr("archive/version", "3\n")
            return "an archive with a pickle", archive.getvalue()
        case 3:
            archive = BytesIO()
            with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
                file.writestr("archive/data.pkl", bytes(draw.choice((1000, 100_000_000))))
            return "an archive that inflates", archive.getvalue()
        case 4:
            array = BytesIO()
            np.save(array, np.zeros((4, HIDDEN), np.float32))
            return "an npy file", array.getvalue()
    return "noise", draw.randbytes(draw.choice((0, 7, 8, 9, 5000)))
