"""What one part of a model is called with while its forward runs: it is heard, and the forward goes
no further."""

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import nn


class Call(NamedTuple):
    """What a module's forward is given."""

    positional: tuple[Any, ...]
    named: dict[str, Any]

    def argument(self, place: int, name: str) -> Any:
        """By its place or by its name; None: it is not given."""
        return self.positional[place] if len(self.positional) > place else self.named.get(name)


class _Heard(Exception):
    """The part has been called: what would come next is of no interest."""


def first_call(part: nn.Module, run: Callable[[], object]) -> Call | None:
    """The first call of `part` while `run` goes through a forward; None where that fails before, as
    parts on meta may."""
    heard: list[Call] = []

    def hear(module: nn.Module, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
        heard.append(Call(positional, named))
        raise _Heard

    hook = part.register_forward_pre_hook(hear, with_kwargs=True)
    try:
        run()
    # ours, or whatever a model's own code does not like of what it is asked: then nothing was heard
    except Exception:
        pass
    finally:
        hook.remove()
    return heard[0] if heard else None
