"""Any checkpoint's own processor, one item at a time: what decode workers make features with. No
sockets, no device.

`load(folder)` answers a `Processor`; its `item` answers a `ProcessedItem`: what the encoders take,
the text that stands for the item in a prompt, and the rotary positions of its tokens, all
independent of what else the prompt holds.
"""

from .options import SAMPLING
from .processor import Processor, load
from .types import Clip, Kind, Part, ProcessedItem

__all__ = ["SAMPLING", "Clip", "Kind", "Part", "ProcessedItem", "Processor", "load"]
