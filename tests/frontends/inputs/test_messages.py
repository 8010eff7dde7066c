"""Messages as Python callers give them."""

from typing import Any

import pytest

from thespis.frontends.inputs.conversations import read_chat
from thespis.protocol.errors import RequestError


@pytest.mark.parametrize("value", ["\ud800", object(), {"a": object()}, {object(): 1}])
def test_a_tool_call_with_what_no_message_holds_is_refused_by_name(value: Any) -> None:
    """It was an error of the encoder's."""
    call = {"type": "function", "id": "1", "function": {"name": "f", "arguments": value}}
    with pytest.raises(RequestError, match=r"cannot be sent|not valid JSON") as refused:
        read_chat([{"role": "assistant", "content": "x", "tool_calls": [call]}])
    assert str(refused.value.failure.part).startswith("messages[0].tool_calls")
