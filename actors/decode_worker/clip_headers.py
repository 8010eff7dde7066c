"""Clips by their headers: which frames will be looked at, and how large they are. No frame is
decoded."""

import numpy as np

from ...gpu_runtime.processing import Clip
from ...protocol.config.roles import MediaLimits
from ...protocol.errors import RequestError, undecodable
from .animation import animation_of
from .container import ends_within, turned
from .sampling import Sampling
from .sniff import sniff
from .video import plan_animation, plan_of

TOLD = frozenset({"h264", "hevc", "av1", "vp8", "vp9", "mpeg4", "mjpeg", "gif"})
"""Codecs whose packets are their frames, seen on files of many kinds (`tests`)."""


def cost_unknown(what: str, why: str) -> RequestError:
    return undecodable(
        f"What the {what} costs cannot be told from its headers alone: {why}. Send it in a request "
        f"and read `usage`.",
        code="cost_unknown",
    )


def look_video(data: bytes, limits: MediaLimits, sampling: Sampling, recover: bool = False) -> Clip:
    """As `decode_video` makes it, of frames without content that take no memory. Raises
    RequestError as that does, and where the headers do not tell it."""
    if (animation := animation_of(data)) is not None:
        plan, lies = plan_animation(animation, limits, sampling), False
    else:
        plan = plan_of(data, limits, sampling, recover)
        if plan.codec not in TOLD:
            raise cost_unknown("video", "packets of this codec may be no frames")
        if ends_within(data):
            raise cost_unknown("video", "its end is missing")
        if not plan.whole_frames:
            raise cost_unknown("video", "it begins in the middle, or its frames are fields")
        try:
            lies = sniff(data) == "mp4" and turned(data, plan.track)
        except LookupError:
            raise cost_unknown("video", "it is turned as a whole") from None
    size = (plan.width, plan.height) if lies else (plan.height, plan.width)
    frames = np.broadcast_to(np.zeros((), np.uint8), (len(plan.chosen), *size, 3))
    return Clip(frames, plan.rate, tuple(plan.chosen), plan.total)
