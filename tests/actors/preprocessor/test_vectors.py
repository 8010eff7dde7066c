"""What stands before a text of which vectors are wanted, and how much of it is read: as
transformers' tokenizer cuts it."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from thespis.actors.preprocessor.vectors import cut, worded
from thespis.actors.prompting.prompt import Rendered
from thespis.actors.prompting.tokens import TextTokenizer
from thespis.protocol.errors import RequestError
from thespis.protocol.requests.pooling import Pooler, PoolingParams
from thespis.protocol.requests.request import MediaItem, Prompt, Request, TextPrompt, TokenPrompt
from thespis.protocol.requests.sampling import SamplingParams

from ...zoo.forms import CHATML
from ...zoo.tokens import Tokens

CONTEXT = 40
POOLER = Pooler(prompts={"query": "find: ", "document": ""}, default_prompt="query")
TEXT = "The quick brown fox jumps over the lazy dog."


@pytest.fixture(
    scope="module",
    params=[(None, "<|endoftext|>"), ("<|im_start|>", "<|endoftext|>"), (None, None)],
)
def files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tokenizers that write an end behind every text, a beginning before it, or nothing."""
    folder = tmp_path_factory.mktemp("tokenizer")
    bos, eos = request.param
    Tokens([*CHATML, "<|endoftext|>"], bos=bos, eos=eos).write(folder, {})
    return folder / "tokenizer.json"


def asked(prompt: Prompt, media: tuple[MediaItem, ...] = (), **params: object) -> Request:
    return Request(
        id="r",
        attempt=0,
        client="client-1",
        tenant="",
        arrival=0.0,
        prompt=prompt,
        media=media,
        sampling=SamplingParams(),
        pooling=PoolingParams(**params),  # type: ignore[arg-type]
    )


def text_of(request: Request, most_text: int = 1 << 20) -> str:
    prompt = worded(request, POOLER, most_text).prompt
    assert isinstance(prompt, TextPrompt)
    return prompt.text


@pytest.mark.parametrize("most", [4, 9, 10, 11, CONTEXT, -1])
def test_a_text_is_cut_as_transformers_cuts_it(files: Path, most: int) -> None:
    tokenizer = TextTokenizer(Tokenizer.from_file(str(files)), {})
    theirs = PreTrainedTokenizerFast(tokenizer_file=str(files), truncation_side="right")
    for text in (TEXT, "a", "b" * 200):
        rendered = Rendered(tokenizer.encode(text, True), text, {})
        found = cut(
            rendered, asked(TextPrompt(text), truncate_prompt_tokens=most), tokenizer, CONTEXT
        )
        limit = CONTEXT if most == -1 else most
        assert found.token_ids == theirs(text, truncation=True, max_length=limit)["input_ids"]


def test_a_list_of_ids_and_an_unframed_text_have_no_end_of_their_own(files: Path) -> None:
    tokenizer = TextTokenizer(Tokenizer.from_file(str(files)), {})
    ids = list(range(5, 30))
    request = asked(TokenPrompt(tuple(ids)), truncate_prompt_tokens=7)
    assert cut(Rendered(ids, "", {}), request, tokenizer, CONTEXT).token_ids == ids[:7]
    bare = tokenizer.encode(TEXT, False)
    assert (
        cut(Rendered(bare, TEXT, {}, framed=False), request, tokenizer, CONTEXT).token_ids
        == bare[:7]
    )
    assert (
        cut(Rendered(ids, "", {}), asked(TokenPrompt(tuple(ids))), tokenizer, CONTEXT).token_ids
        == ids
    )


def test_what_cannot_be_cut_is_refused(files: Path) -> None:
    tokenizer = TextTokenizer(Tokenizer.from_file(str(files)), {})
    rendered = Rendered(tokenizer.encode(TEXT, True), TEXT, {})
    with pytest.raises(RequestError, match="more than the model's context of 40 tokens"):
        cut(rendered, asked(TextPrompt(TEXT), truncate_prompt_tokens=41), tokenizer, CONTEXT)
    picture = MediaItem("image", None, "here", "known")
    with pytest.raises(RequestError, match="with media is read as a whole"):
        cut(
            rendered,
            asked(TextPrompt(TEXT), (picture,), truncate_prompt_tokens=4),
            tokenizer,
            CONTEXT,
        )
    if (frame := len(tokenizer.prefix) + len(tokenizer.suffix) - 1) > 0:
        with pytest.raises(RequestError, match="around every text"):
            cut(rendered, asked(TextPrompt(TEXT), truncate_prompt_tokens=frame), tokenizer, CONTEXT)


def test_a_prompt_of_the_models_files_stands_before_a_text() -> None:
    assert text_of(asked(TextPrompt("a cat"))) == "find: a cat"
    assert text_of(asked(TextPrompt("a cat"), prompt_name="document")) == "a cat"
    assert text_of(asked(TextPrompt("a cat"), prompt_name="")) == "a cat"
    ids = asked(TokenPrompt((1, 2)))
    assert worded(ids, POOLER, 10) is ids
    with pytest.raises(RequestError, match="stands before a text"):
        worded(asked(TokenPrompt((1, 2)), prompt_name="query"), POOLER, 10)


def test_only_what_can_be_read_of_a_text_that_is_cut_is_tokenised() -> None:
    assert (
        text_of(asked(TextPrompt("b" * 100), truncate_prompt_tokens=4), 30) == "find: " + "b" * 24
    )
    assert len(text_of(asked(TextPrompt("b" * 100)), 30)) == 106, (
        "one that is not cut is refused for its length later"
    )
