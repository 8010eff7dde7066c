"""/v1/completions."""

import asyncio
import time
from collections.abc import Sequence
from functools import partial

from aiohttp import web

from ....protocol.requests.request import TextPrompt, TokenPrompt
from ..answering import answer, options_of
from ..app_state import APP_STATE, AppState
from ..bodies.reading import COMPLETION, detokenize
from ..requests.common import Generation
from ..requests.completions import prompt_only
from .writer import CompletionWriter


async def completions(request: web.Request) -> web.StreamResponse:
    state, arrival = request.app[APP_STATE], time.monotonic()
    with state.working():
        body, generations, headers = await state.read(request, COMPLETION, generates=True)
        echo = await _prompt_texts(state, generations) if body.echo else None
        options = options_of(
            request, body, arrival, generations[0], echo=echo, prompt_only=prompt_only(body)
        )
        return await answer(
            request,
            body,
            generations,
            arrival,
            lambda id: CompletionWriter(id, options, partial(detokenize, terms=state.terms)),
            headers,
        )


async def _prompt_texts(state: AppState, generations: Sequence[Generation]) -> tuple[str, ...]:
    """Thousands of token ids take a while to be read: others have their turns between prompts."""
    texts = []
    for prompt in (generation.prompt for generation in generations):
        if isinstance(prompt, TextPrompt):
            texts.append(prompt.text)
        else:
            assert isinstance(prompt, TokenPrompt), "nothing else has an echo"
            texts.append(detokenize(prompt.token_ids, state.terms))
        await asyncio.sleep(0)
    return tuple(texts)
