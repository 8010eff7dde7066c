"""Chat answers: `chat.completion` and its chunks. What is the same in all chunks is encoded once."""

from collections.abc import Sequence
from typing import Any

from ...client.answer import Answer
from ...client.stream import ChoiceUpdate, Update
from ..answers.logprobs import chat_logprobs, prompt_logprobs
from ..answers.writer import DONE, Counter, Options, encode_json, trailer
from ..tools.tool_calls import Calls


class ChatShape:
    def __init__(self, id: str, options: Options) -> None:
        self._id, self._options = f"chatcmpl-{id}", options
        fixed = {"id": self._id, "object": "chat.completion.chunk", "created": options.created, "model": options.model}
        self._head = b"data: " + encode_json(fixed)[:-1]
        tail = b',"usage":null}\n\n' if options.include_usage else b"}\n\n"
        self._tail = b"]" + tail
        self._before = [self._head + b',"choices":[{"index":%d,"delta":{"content":' % i for i in range(options.n)]
        self._calls = [] if options.tools is None else [Calls(options.tools) for _ in range(options.n)]
        """Per choice, if there are tools: finds the calls in its text."""
        self._plain_after = b'},"logprobs":null,"finish_reason":null}' + self._tail
        self._counter = Counter() if options.continuous_usage else None

    def _count(self, prompt: int = 0, completion: int = 0) -> None:
        """Let the chunks from here on tell it, where every chunk does."""
        if self._counter is not None:
            self._tail = b'],"usage":' + self._counter.add(prompt, completion) + b"}\n\n"
            self._plain_after = b'},"logprobs":null,"finish_reason":null}' + self._tail

    def first(self, source: int, prompt_token_ids: Sequence[int], prompt_tokens: int) -> bytes:
        self._count(prompt=prompt_tokens)
        head = self._head
        if self._options.return_token_ids:
            head += b',"prompt_token_ids":' + encode_json(list(prompt_token_ids))
        role = b'"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}'
        return b"".join(head + b',"choices":[{"index":%d,' % i + role + self._tail for i in range(self._options.n))

    def events(self, source: int, update: Update) -> bytes:
        out = b""
        for choice in update.choices:
            calls: list[dict[str, Any]] = []
            self._count(completion=len(choice.token_ids))
            if self._calls:
                choice, calls = self._calls[choice.index].split(choice)
            if self._options.logprobs is None and not self._options.return_token_ids:
                if choice.text:
                    out += self._before[choice.index] + encode_json(choice.text) + self._plain_after
            elif choice.text or choice.token_ids:
                out += self._rich(choice)
            for call in calls:
                entry = {"index": choice.index, "delta": {"tool_calls": [call]}, "logprobs": None, "finish_reason": None}
                out += self._head + b',"choices":[' + encode_json(entry) + self._tail
            if choice.finish_reason is not None:
                out += self._finish(choice)
        return out

    def _rich(self, choice: ChoiceUpdate) -> bytes:
        body = self._before[choice.index] + encode_json(choice.text) + b'},"logprobs":'
        top = self._options.logprobs
        body += b"null" if top is None else encode_json(chat_logprobs(choice.logprobs, top, self._options.tokens_as_ids))
        body += b',"finish_reason":null'
        if self._options.return_token_ids:
            body += b',"token_ids":' + encode_json(choice.token_ids)
        return body + b"}" + self._tail

    def _finish(self, choice: ChoiceUpdate) -> bytes:
        reason = self._calls[choice.index].reason(choice.finish_reason) if self._calls else choice.finish_reason
        end = {"index": choice.index, "delta": {}, "logprobs": None, "finish_reason": reason}
        if choice.stop_reason is not None:
            end["stop_reason"] = choice.stop_reason
        return self._head + b',"choices":[' + encode_json(end) + self._tail

    def last(self, answers: Sequence[Answer]) -> bytes:
        end = trailer(answers, self._options, self._options.include_usage)
        if not end:
            return DONE
        return self._head + b',"choices":[],' + encode_json(end)[1:] + b"\n\n" + DONE

    def whole(self, answers: Sequence[Answer]) -> bytes:
        (answer,) = answers
        options = self._options
        body: dict[str, Any] = {
            "id": self._id,
            "object": "chat.completion",
            "created": options.created,
            "model": options.model,
            "choices": [],
        }
        for index, choice in enumerate(answer.choices):
            message: dict[str, Any] = {"role": "assistant", "content": choice.text, "refusal": None}
            reason: str | None = choice.finish_reason
            if options.tools is not None:
                calls = Calls(options.tools)
                message |= calls.whole(choice.text)
                reason = calls.reason(reason)
            entry: dict[str, Any] = {
                "index": index,
                "message": message,
                "logprobs": None
                if options.logprobs is None
                else chat_logprobs(choice.logprobs, options.logprobs, options.tokens_as_ids),
                "finish_reason": reason,
                "stop_reason": choice.stop_reason,
            }
            if options.return_token_ids:
                entry["token_ids"] = choice.token_ids
            body["choices"].append(entry)
        body |= trailer(answers, options, True)
        if options.return_token_ids:
            body["prompt_token_ids"] = list(answer.prompt_token_ids)
        if options.prompt_logprobs:
            body["prompt_logprobs"] = prompt_logprobs(answer.prompt_logprobs or ())
        return encode_json(body)
