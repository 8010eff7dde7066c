"""Modules put in the places of others, one at a time: one weight in memory twice, not all."""

from collections.abc import Callable

from torch import nn


def replace_modules(root: nn.Module, by: Callable[[nn.Module], nn.Module | None]) -> None:
    """Put what `by` makes of each module within `root` in its place; None: it stays."""
    for parent in list(root.modules()):
        for name, child in list(parent.named_children()):
            if (made := by(child)) is not None:
                setattr(parent, name, made)


def put(root: nn.Module, path: str, module: nn.Module) -> None:
    """`module` in the place of what lies at `path` in `root`."""
    owner, _, name = path.rpartition(".")
    setattr(root.get_submodule(owner), name, module)
