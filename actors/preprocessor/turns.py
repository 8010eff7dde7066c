"""A queue in which names take turns at every level: tenants, a tenant's clients, a client's
requests. Pure."""

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """Items under paths of names. Whoever comes waits for one item at most of each name that was
    there before, and not for a second one of the name whose turn it was last."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        """Of the path that ends here."""
        self._branches: OrderedDict[str, Turns[T]] = OrderedDict()
        """By name, in the order of their turns."""
        self._last: str | None = None
        """Whose turn it was; it stays last until it is another's."""

    def __len__(self) -> int:
        return len(self._items) + sum(len(branch) for branch in self._branches.values())

    def push(self, path: tuple[str, ...], item: T, first: bool = False) -> None:
        """`first`: before all else of the first name in the path, whose own turn stays what it
        is."""
        node = self
        for depth, name in enumerate(path):
            if name not in node._branches:
                node._branches[name] = Turns()
                if node._last is not None and node._last in node._branches:
                    node._branches.move_to_end(node._last)
            if first and depth:
                node._branches.move_to_end(name, last=False)
            node = node._branches[name]
        if first:
            node._items.appendleft(item)
        else:
            node._items.append(item)

    def pop(self, fits: Callable[[T], bool]) -> T | None:
        """The next that fits; who has none keeps its turn."""
        for index, item in enumerate(self._items):
            if fits(item):
                del self._items[index]
                return item
        for name, branch in self._branches.items():
            found = branch.pop(fits)
            if found is not None:
                self._last = name
                self._branches.move_to_end(name)
                self._prune(name)
                return found
        return None

    def remove(self, path: tuple[str, ...], item: T) -> bool:
        """Whether it was there."""
        if not path:
            present = item in self._items
            if present:
                self._items.remove(item)
            return present
        branch = self._branches.get(path[0])
        present = branch is not None and branch.remove(path[1:], item)
        self._prune(path[0])
        return present

    def _prune(self, name: str) -> None:
        branch = self._branches.get(name)
        if branch is not None and not branch._items and not branch._branches:
            del self._branches[name]
