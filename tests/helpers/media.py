"""Pictures, clips and sounds drawn from a seed, and the containers they travel in. The same seed
gives the same bytes."""

import base64
import io
import wave
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]  # [frames, height, width, 3]
Sound = NDArray[np.float32]  # [samples], each a whole number of 1/32768

RATE = 16_000  # samples per second
CLIP_FPS = 2
"""What the Qwen families sample at: a clip of this rate keeps all of its frames under every
policy."""


def picture(seed: int, width: int = 56, height: int = 56) -> Image.Image:
    """A mosaic of 6x6 colours: no two seeds look alike, at any size."""
    mosaic = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(mosaic).resize((width, height), Image.Resampling.NEAREST)


def png(image: Image.Image) -> bytes:
    """Lossless, so what is decoded is what was drawn."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def clip(seed: int, frames: int = 4, width: int = 56, height: int = 56) -> bytes:
    """An H.264 mp4 of mosaics. Lossy: what it shows is `clip_frames` of it."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream: Any = container.add_stream(
            "libx264", rate=CLIP_FPS, options={"crf": "12", "bf": "0", "threads": "1"}
        )
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = Fraction(1, CLIP_FPS)
        for index in range(frames):
            image = picture(1000 * seed + index, width, height)
            frame: Any = av.VideoFrame
            container.mux(stream.encode(frame.from_image(image)))
        container.mux(stream.encode(None))
    return file.getvalue()


def clip_frames(encoded: bytes) -> Pixels:
    """Every frame of a clip, as PyAV decodes it."""
    import av

    container: Any
    with av.open(io.BytesIO(encoded)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def sound(seed: int, seconds: float = 0.5) -> Sound:
    """Two gliding tones and some noise."""
    draw = np.random.default_rng(seed)
    time = np.arange(int(seconds * RATE)) / RATE
    low, high, glide = draw.uniform(200, 900), draw.uniform(1000, 4000), draw.uniform(-800, 800)
    tones = 0.4 * np.sin(2 * np.pi * (low + glide * time) * time) + 0.3 * np.sin(
        2 * np.pi * high * time
    )
    noisy = tones + 0.05 * draw.standard_normal(len(time))
    return (np.clip(np.round(noisy * 32768), -32768, 32767) / 32768).astype(np.float32)


def wav(samples: Sound, rate: int = RATE) -> bytes:
    """16-bit PCM: lossless for what `sound` draws."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes((samples * 32768).astype("<i2").tobytes())
    return file.getvalue()


def data_url(kind: str, content: bytes) -> str:
    """`kind` is a media type: image/png, video/mp4, audio/wav."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
