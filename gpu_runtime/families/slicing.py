"""How MiniCPM-V cuts a picture into slices: in the grid whose shape is nearest to the picture's.
Pure."""

import math
from itertools import product
from typing import NamedTuple

from PIL import Image


class Slicing(NamedTuple):
    """One checkpoint's."""

    scale: int
    """Pixels of the side of a square that has a slice's area."""
    patch: int
    """Pixels: the sides of slices are multiples."""

    def cut(self, image: Image.Image, most: int) -> list[Image.Image]:
        """The whole picture, and its slices row by row. Raises ValueError where `most` is none."""
        found = self.grid(image.height, image.width, most)
        size = self._fitting(image.width, image.height, enlarge=found is None)
        whole = image.resize(size, Image.Resampling.BICUBIC)
        if found is None:
            return [whole]
        columns, rows = found
        near = (_multiple(image.width, columns) / columns, _multiple(image.height, rows) / rows)
        width, height = self._fitting(near[0], near[1], enlarge=True)
        large = image.resize((width * columns, height * rows), Image.Resampling.BICUBIC)
        corners = product(range(0, large.height, height), range(0, large.width, width))
        cut = [large.crop((left, top, left + width, top + height)) for top, left in corners]
        return [whole, *cut]

    def grid(self, height: int, width: int, most: int) -> tuple[int, int] | None:
        """(columns, rows) of its slices; None: it is shown whole alone. Raises ValueError where
        `most` is none."""
        if most < 1:
            raise ValueError(f"max_slice_nums={most} leaves nothing of a picture")
        wanted = min(math.ceil(width * height / self.scale**2), most)
        if wanted <= 1:
            return None
        counts = [count for count in (wanted - 1, wanted, wanted + 1) if 1 < count <= most]
        pairs = [(count, columns) for count in counts for columns in range(1, count + 1)]
        grids = [(columns, count // columns) for count, columns in pairs if not count % columns]
        shape = math.log(width / height)
        return min(grids, key=lambda grid: abs(shape - math.log(grid[0] / grid[1])))

    def _fitting(self, width: float, height: float, enlarge: bool) -> tuple[int, int]:
        """Of about one slice's area, whole patches wide and high."""
        if enlarge or width * height > self.scale**2:
            ratio = width / height
            height = int(self.scale / math.sqrt(ratio))
            width = int(height * ratio)
        return _multiple(width, self.patch), _multiple(height, self.patch)


def _multiple(length: float, of: int) -> int:
    return max(round(length / of) * of, of)
