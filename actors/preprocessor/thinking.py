"""Whether an answer begins within the model's thinking, as its prompt says. Pure."""

from ...protocol.chat_templates.reasoning import Marks
from ...protocol.errors import refuse
from ...protocol.requests.request import ChatMessage, ChatPrompt, Prompt, Text, TextPrompt
from ...protocol.requests.sampling import SamplingParams
from ...protocol.requests.thinking import Begins, Thinking
from ..prompting.prompt import Rendered
from ..prompting.tokens import TextTokenizer, unmark


class ThinkingFinder:
    """Of one model. `marks`: of its thinking; None: it does not think."""

    def __init__(self, marks: Marks | None, tokenizer: TextTokenizer, vocab: int) -> None:
        self._marks = marks
        self._ids = (-1, -1)
        """Of the two marks, each where it is one token."""
        if marks is not None:
            opened, closed = (tokenizer.token_of(mark, vocab) for mark in marks[:2])
            self._ids = opened, closed

    def of(self, sampling: SamplingParams, prompt: Prompt, rendered: Rendered) -> SamplingParams:
        """With how its answer begins. Raises RequestError for a budget that cannot be kept."""
        budget, marks = sampling.thinking_token_budget, self._marks
        if sampling.thinking is not None:
            sampling = sampling.replace(thinking=None)
        if budget is not None and (marks is None or min(self._ids) < 0):
            text = (
                "Thinking of this model cannot be bounded: "
                + ("its chat template" if marks is None else "its tokenizer")
                + " has no marks for it; leave the budget out."
            )
            raise refuse("unsupported", text, "thinking_token_budget", "unsupported")
        if marks is None or not isinstance(prompt, ChatPrompt | TextPrompt):
            return sampling
        if budget is None and not isinstance(prompt, ChatPrompt):
            return sampling  # a raw prompt is as its caller says
        begins = _begins(marks, prompt, rendered.text)
        if sampling.guide is not None and min(self._ids) < 0:
            begins = "answer"  # a guide that cannot tell where thinking ends binds all of it
        return sampling.replace(thinking=Thinking(*self._ids, begins, budget))


def _begins(marks: Marks, prompt: ChatPrompt | TextPrompt, text: str) -> Begins:
    """`text`: as rendered; what callers wrote in place of control tokens is marked in it."""
    if isinstance(prompt, ChatPrompt) and prompt.continue_final_message:
        said = _said(prompt.messages[-1])
        opened, closed = said.rfind(marks.open), said.rfind(marks.close)
        return "thinking" if opened > closed else "answer"
    end = text.rstrip()
    if end.endswith((marks.open, marks.open + marks.title.rstrip())):
        return "thinking"
    if end.endswith(marks.close):
        return "answer"
    return "thinking" if marks.assumed else "perhaps"


def _said(message: ChatMessage) -> str:
    return unmark("".join(part.text for part in message.content if isinstance(part, Text)))
