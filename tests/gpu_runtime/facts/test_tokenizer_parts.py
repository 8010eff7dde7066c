"""A tokenizer that transformers' class builds otherwise than its file says is the class's
everywhere: cut, joined, guided."""

import json
from pathlib import Path

import msgspec
from transformers import AutoTokenizer

from thespis.actors.detokenizer.vocabulary import load
from thespis.actors.prompting.tokens import read_tokenizer
from thespis.frontends.openai.app_state import terms_of
from thespis.frontends.openai.bodies.reading import detokenize
from thespis.gpu_runtime.facts.tokenizer_parts import tokenizer_parts
from thespis.protocol.checkpoint.tokenizer_file import tokenizer_text
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.config.roles import ClientConfig, HttpConfig
from thespis.protocol.config.server import ServerConfig

from ...helpers.facts import DEMO
from ...zoo.catalog import Zoo

TEXT = "the cat  sees a picture"


def test_an_answer_is_joined_as_by_the_class_and_not_as_the_file_says(
    zoo: Zoo, tmp_path: Path
) -> None:
    """Qwen2's class knows by itself how pieces become text: a file without a decoder serves it."""
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "config.json"):
        (folder / name).write_bytes((zoo("qwen2") / name).read_bytes())
    stored = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps({**stored, "decoder": None}))
    truth = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    parts = tokenizer_parts(folder, truth)
    assert "decoder" in json.loads(parts)
    ids = truth.encode(TEXT, add_special_tokens=False)
    assert load(str(folder), parts).decode(ids, True) == truth.decode(ids) == TEXT
    facts = msgspec.structs.replace(DEMO, path=str(folder), tokenizer_parts=parts, placeholders={})
    assert read_tokenizer(facts).encode(TEXT, False) == ids
    config = HttpConfig(
        client=ClientConfig(model=facts, name="m", max_model_len=64, seed=0),
        dtype="float32",
        server=ServerConfig(),
        engine=EngineConfig(),
    )
    assert detokenize(ids, terms_of(config)) == TEXT
    assert json.loads(tokenizer_text(str(folder), parts))["decoder"] == json.loads(parts)["decoder"]


def test_a_file_that_says_the_same_is_taken_as_it_is(zoo: Zoo) -> None:
    folder = zoo("llava")
    truth = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    assert tokenizer_parts(folder, truth) == ""
    assert tokenizer_text(str(folder), "") == (folder / "tokenizer.json").read_text(
        encoding="utf-8"
    )
