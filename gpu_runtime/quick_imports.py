"""transformers' import without what no engine uses, which is nearly half of the time that it takes.

It reads its 1,600 files of models twice to learn the names in them, and imports torch's compiler
for a decorator, what spreads a model over machines for the name of a class, and scipy for the
losses of detectors. torch's kernels for tensors without numbers ask its algebra of shapes about
plain numbers, and whether anything is sympy's. Compiler, scipy, algebra and sympy are imported as
soon as they are wanted; of spreading it hears that torch was built without. Who imports
transformers before this package gets it unchanged.
"""

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from threading import RLock
from types import ModuleType
from typing import Any

_lock = RLock()


def install() -> None:
    """For imports from now on. Idempotent."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds what Python finds, with another loader."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        wrap: Callable[[Loader], Loader] | None = _LOADERS.get(name)
        package = sys.modules.get(name.rpartition(".")[0])
        if wrap is None and name != _ALONE and isinstance(package, _PutOff):
            wrap = _Inside
        spec = None if wrap is None else PathFinder.find_spec(name, path, target)
        if wrap is not None and spec is not None and spec.loader is not None:
            spec.loader = wrap(spec.loader)
        return spec


class _Names(Loader):
    """Of `transformers.utils.import_utils`, which learns the names in files, and says what is
    installed."""

    def __init__(self, real: Loader) -> None:
        self._real = real

    def exec_module(self, module: Any) -> None:
        self._real.exec_module(module)
        module.is_torch_distributed_available = lambda: False
        with suppress(AttributeError):  # a release that reads them otherwise does so
            read = cache(module.create_import_structure_from_path.__wrapped__)
            names = module.fetch__all__
            module.create_import_structure_from_path = lambda path: read(_folder(path))
            module.fetch__all__ = lambda text: names(text[text.rfind("\n__all__") + 1 :])


def _folder(path: str | Path) -> str:
    """One name for all that is asked of the same folder."""
    return str(Path(path).parent if str(path).endswith(".py") else path)


class _Later(Loader):
    """Of a module that is run when it is asked for more than these `names`."""

    def __init__(self, names: dict[str, Any], real: Loader) -> None:
        self._names, self._real = names, real

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _PutOff(spec.name, self._real)

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__.update(self._names, __loader__=self._real)


class _PutOff(ModuleType):
    def __init__(self, name: str, real: Loader) -> None:
        super().__init__(name)
        self._real = real

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # who looks at all modules means none of them
            raise AttributeError(name)
        self.run()
        return getattr(self, name)

    def run(self) -> None:
        with _lock:
            if type(self) is _PutOff:
                object.__setattr__(self, "__class__", ModuleType)
                self._real.exec_module(self)


class _Inside(Loader):
    """Of a module in a package that was put off: the package is run first, and may import the
    module itself."""

    def __init__(self, real: Loader) -> None:
        self._real = real
        self._there: ModuleType | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        package = sys.modules[spec.name.rpartition(".")[0]]
        if isinstance(package, _PutOff):
            package.run()
        self._there = sys.modules.get(spec.name)
        return self._there or self._real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module is not self._there:
            self._real.exec_module(module)


def _unchanged(function: Any = None, *_: object, **__: object) -> Any:
    """A decorator, with or without arguments, that leaves a function as it is."""
    return _unchanged if function is None else function


def _assigned(*given: Any, **named: Any) -> Any:
    """scipy's own `linear_sum_assignment`."""
    scipy = sys.modules["scipy.optimize"]
    if isinstance(scipy, _PutOff):
        scipy.run()
    return scipy.__dict__["linear_sum_assignment"](*given, **named)


_ALGEBRA = "torch.fx.experimental.symbolic_shapes"


def _equal(x: Any, y: Any) -> bool:
    if isinstance(x, tuple | list) and isinstance(y, tuple | list):
        return len(x) == len(y) and all(map(_equal, x, y))
    return bool(x == y)


def _of_numbers(name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
    """What the algebra's function does with plain numbers: there are no others before the algebra
    has its own."""

    def function(*given: Any) -> Any:
        own = sys.modules[_ALGEBRA].__dict__[name]
        # Itself also while the algebra is being read.
        return plain(*given) if own is function else own(*given)

    return function


def _itself(x: Any) -> Any:
    return x


_SAYS = (
    "expect_true", "guard_int", "guard_or_false", "guard_or_true", "guard_size_oblivious",
    "guarding_hint_or_throw",
    "statically_known_true",
)  # fmt: skip
"""What it thinks of a symbol; a plain number is itself."""
_PLAIN: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(_SAYS, _itself),
    "sym_and": lambda *given: all(given),
    "sym_or": lambda *given: any(given),
    "sym_eq": _equal,
    "is_nested_int": lambda _: False,
    "has_guarding_hint": lambda _: True,
}
_ALONE = "torch._dynamo._trace_wrapped_higher_order_op"
"""Needs nothing of its package, and makes masks."""
_DECORATORS = ("allow_in_graph", "assume_constant_result", "disable")
_LOADERS: dict[str, Callable[[Loader], Loader]] = {
    "transformers.utils.import_utils": _Names,
    "torch._dynamo": lambda real: _Later(dict.fromkeys(_DECORATORS, _unchanged), real),
    "sympy": lambda real: _Later({"Basic": ()}, real),  # of which nothing is an instance
    _ALGEBRA: lambda real: _Later(
        {name: _of_numbers(name, plain) for name, plain in _PLAIN.items()}, real
    ),
    "scipy.optimize": lambda real: _Later({"linear_sum_assignment": _assigned}, real),
}
