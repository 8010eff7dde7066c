"""Chat templates: the one renderer. A sandboxed Jinja environment with exactly what transformers
gives its templates."""

import json
import re
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal, TypeVar

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError, TemplateError, TemplateRuntimeError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from ..kernel.budget import CpuSpent, within_cpu

T = TypeVar("T")
ContentFormat = Literal["string", "openai"]
"""Whether a template takes a message's content as a string, or loops over its parts."""


class TemplateRefusal(TemplateError):
    """The template's own `raise_exception(text)`: the text is written for the caller."""


class TemplateTooSlow(TemplateError):
    """It was cut off."""


CPU_SECONDS = 2.0
"""That compiling or rendering one template may take, or looking through what it made."""
MAX_REPEATED = 1 << 20
"""Length that `*` may give a text or a list in a template."""


def limited(work: Callable[[], T]) -> T:
    """What `work` makes. Raises TemplateTooSlow when its time is over; CPU time, so that a loaded
    machine changes nothing. Whatever the template's expressions and the functions that they call
    raise is a TemplateError, or a MemoryError."""
    try:
        return within_cpu(CPU_SECONDS, work)
    except CpuSpent:
        raise TemplateTooSlow("the template took too long") from None
    except (TemplateError, MemoryError):
        raise
    except Exception as error:
        raise TemplateRuntimeError(type(error).__name__) from error


_WIDE = re.compile(r"%[^A-Za-z%]*(\d{4}|\*)")
"""A format whose result may be thousands of characters long."""


class _Sandbox(ImmutableSandboxedEnvironment):
    """Also refuses single operations that would be endless, or fill the memory, where no time limit
    can reach them."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        sizes = [len(value) for value in (left, right) if isinstance(value, str | list | tuple)]
        counts = [value for value in (left, right) if isinstance(value, int)]
        match operator, len(counts):
            case "*", 1 if sizes and sizes[0] * counts[0] > MAX_REPEATED:
                raise SecurityError("a chat template may not make a text or list that long")
            case "*", 2 if sum(count.bit_length() for count in counts) > 1024:
                raise SecurityError("a chat template may not make a number that large")
            case "**", 2 if counts[0].bit_length() * counts[1] > 4096:
                raise SecurityError("a chat template may not raise to that power")
            case "%", _ if isinstance(left, str) and _WIDE.search(left):
                raise SecurityError("a chat template may not format that wide")
        return super().call_binop(context, operator, left, right)


class _Generation(Extension):
    """`{% generation %}`: marks the assistant's words for training; here it prints its body."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller: Any) -> Any:
        return caller()


class _Dict:
    """`dict(...)` without the class's own attributes."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)


class _Namespace(Namespace):
    """Refuses underscore names, so that no template reaches Python's internals through one."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        self, given = args[0], dict(*args[1:], **kwargs)
        for name in given:
            _Namespace._check(name)
        Namespace.__init__(self, given)

    def __setitem__(self, name: str, value: Any) -> None:
        _Namespace._check(name)
        super().__setitem__(name, value)

    @staticmethod
    def _check(name: str) -> None:
        if name.startswith("_"):
            raise SecurityError("a chat template may not set underscore names")


def _raise_exception(message: str) -> None:
    raise TemplateRefusal(str(message))


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: Any = None,
    separators: Any = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _environment() -> ImmutableSandboxedEnvironment:
    environment = _Sandbox(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    environment.globals["dict"] = _Dict()
    environment.globals["namespace"] = _Namespace
    return environment


class ChatTemplate:
    """One compiled template. Raises jinja2's TemplateError for one that is no template."""

    def __init__(self, source: str) -> None:
        limited(lambda: self._compile(source))

    def _compile(self, source: str) -> None:
        environment = _environment()
        self.source = source
        self._template = environment.from_string(source)
        tree = environment.parse(source)
        self.format: ContentFormat = "openai" if _loops_over_content(tree) else "string"
        strings = frozenset(
            node.value for node in tree.find_all(nodes.Const) if isinstance(node.value, str)
        )
        self.words = strings | {node.key for node in tree.find_all(nodes.Keyword)}
        """Strings that it names in its expressions, and keys of `dict(...)`: roles that it asks for
        are among them."""
        self.literals = "\0".join(
            [*(node.data for node in tree.find_all(nodes.TemplateData)), *strings]
        )
        """The template's own words; a token spelled in them is one that it may write."""

    def render(self, **variables: Any) -> str:
        return limited(lambda: self._template.render(**variables))


@lru_cache(maxsize=16)
def compile_template(source: str) -> ChatTemplate:
    return ChatTemplate(source)


RENDERING_ERRORS = (
    jinja2.TemplateError,
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    MemoryError,
)
"""What rendering may raise: Jinja's own errors, and those of expressions in a template on data it
did not expect."""


def _loops_over_content(tree: nodes.Template) -> bool:
    """Whether some loop runs over a message's content, directly, through a variable, or in a macro
    that gets it."""
    names: set[str] = set()
    macros = {macro.name: macro for macro in tree.find_all(nodes.Macro)}
    while True:
        before = len(names)
        for assign in tree.find_all(nodes.Assign):
            if isinstance(assign.target, nodes.Name) and _is_content(assign.node, names):
                names.add(assign.target.name)
        for call in tree.find_all(nodes.Call):
            if isinstance(call.node, nodes.Name) and call.node.name in macros:
                given = zip(macros[call.node.name].args, call.args, strict=False)
                names |= {place.name for place, arg in given if _is_content(arg, names)}
        if len(names) == before:
            break
    return any(_is_content(loop.iter, names) for loop in tree.find_all(nodes.For))


def _is_content(node: nodes.Node | None, names: set[str]) -> bool:
    """`message['content']`, `message.content`, a name bound to it, a filter of it, or a choice that
    may be it."""
    match node:
        case nodes.Filter():
            return _is_content(node.node, names)
        case nodes.CondExpr():
            return _is_content(node.expr1, names) or _is_content(node.expr2, names)
        case nodes.Getitem():
            if isinstance(node.arg, nodes.Slice):
                return _is_content(node.node, names)
            return isinstance(node.arg, nodes.Const) and node.arg.value == "content"
        case nodes.Getattr():
            return node.attr == "content"
        case nodes.Name():
            return node.name in names
        case _:
            return False
