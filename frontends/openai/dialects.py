"""Which API a request speaks, where it matters before a handler has it: how its caller presents a
key, and in which form it is refused. Pure."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from aiohttp import hdrs
from multidict import MultiMapping

from .anthropic.errors import anthropic_form
from .errors import ErrorForm, openai_form
from .ollama.errors import ollama_form

ANTHROPIC_VERSION = "anthropic-version"
"""A header that Anthropic's clients send with every request, and nobody else."""
ANTHROPIC_KEY = "x-api-key"


class Dialect(NamedTuple):
    form: ErrorForm
    anthropic: bool = False
    """A key may come as `x-api-key`, and every answer has a `request-id`."""

    def credentials(self, headers: MultiMapping[str]) -> Sequence[str]:
        """The values of Authorization, or what stands for one."""
        given = headers.getall(hdrs.AUTHORIZATION, ())
        if self.anthropic and not given:
            return [f"Bearer {key}" for key in headers.getall(ANTHROPIC_KEY, ())]
        return given


OPENAI = Dialect(openai_form)
ANTHROPIC = Dialect(anthropic_form, anthropic=True)
OLLAMA = Dialect(ollama_form)


def dialect_of(path: str, headers: Mapping[str, str]) -> Dialect:
    """`path`: as if there were no proxy. Models have one path for two APIs."""
    if path.startswith("/api/"):
        return OLLAMA
    if path == "/v1/messages" or path.startswith("/v1/messages/"):
        return ANTHROPIC
    if (path == "/v1/models" or path.startswith("/v1/models/")) and ANTHROPIC_VERSION in headers:
        return ANTHROPIC
    return OPENAI
