"""The zoo: a tiny checkpoint of every family, in exactly the form in which it is published.

One short file in `families` per family or group; each has a table `ANIMALS` from name to a function
that makes one. They are found by listing: nothing is registered.
"""

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from .kinds import Animal
from .writing import write

_FAMILIES = Path(__file__).parent / "families"
_MAKERS = {
    name: maker
    for module in sorted(found.name for found in iter_modules([str(_FAMILIES)]))
    for name, maker in import_module(f"{__package__}.families.{module}").ANIMALS.items()
}
NAMES: tuple[str, ...] = tuple(_MAKERS)


def animal(name: str) -> Animal:
    """The description of one checkpoint. Raises KeyError for a name that is not in NAMES."""
    made: Animal = _MAKERS[name]()
    return made


def build(name: str, folder: Path) -> Path:
    """Write the checkpoint `name` into `folder` and return that. The same name gives the same
    bytes."""
    return write(animal(name), folder)


class Zoo:
    """A folder per name, written when it is first asked for. In tests: the fixture `zoo`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, name: str) -> Path:
        folder = self._folder / name
        return folder if (folder / "config.json").exists() else build(name, folder)
