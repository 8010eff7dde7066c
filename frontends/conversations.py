"""Conversations in the OpenAI form, as the Python faces take them: the server's own reader, on plain dicts."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ..protocol.errors import refuse
from ..protocol.request import ChatMessage, MediaItem
from .client import Client
from .openai.media import place
from .openai.parts import read_messages
from .openai.schema import Message


def read_conversation(
    conversation: Sequence[Mapping[str, Any]], client: Client
) -> tuple[tuple[ChatMessage, ...], tuple[MediaItem, ...]]:
    """Messages and media of one conversation; raises RequestError that names the part."""
    try:
        messages = msgspec.convert(list(conversation), list[Message])
    except msgspec.ValidationError as error:
        raise refuse("invalid_request", f"A message is not as it should be: {error}.", part="messages") from None
    chat, pending = read_messages(messages)
    return chat, place(pending, client)
