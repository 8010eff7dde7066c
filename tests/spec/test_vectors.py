"""Vectors through every face, against transformers' own hidden states: texts, pictures, clips,
conversations, and mixed."""

import asyncio
import base64
import os
import re
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import ollama
import pytest
import torch
from openai import BadRequestError, OpenAI
from openai.types import CreateEmbeddingResponse
from torch.nn.functional import normalize

from thespis import LLM, AsyncLLM, PoolingParams, RequestError

from ..helpers.media import clip, clip_frames, data_url, picture, png
from ..helpers.reference import NO_MEDIA, Media
from ..helpers.serving import Server, served
from ..zoo.catalog import Zoo, animal
from ..zoo.reference import Reference
from ..zoo.vectors import ANIMALS, INSTRUCTION
from ..zoo.writing import write

pytestmark = pytest.mark.process

TEXTS = [
    "A cat.",
    "The quick brown fox jumps over the lazy dog, again and again, until it is dark.",
    "x",
]
PICTURE = "<|vision_start|><|image_pad|><|vision_end|>"
CLIP = "<|vision_start|><|video_pad|><|vision_end|>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(
        ANIMALS["qwen3_vl_embedding"](), tmp_path_factory.mktemp("embedding") / "vl-embedding"
    )


@pytest.fixture(scope="module")
def reference(folder: Path) -> Reference:
    return Reference(ANIMALS["qwen3_vl_embedding"](), folder)


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    """Its files say nothing of vectors: that it stores no head does. Chunks are shorter than most
    prompts."""
    with served(folder, max_num_batched_tokens=24, max_model_len=2048, kv_cache_gb=0.05) as running:
        yield running


@pytest.fixture(scope="module")
def llm(server: Server) -> Iterator[LLM]:
    with LLM(run_dir=server.run_dir) as joined:
        yield joined


@pytest.fixture(scope="module")
def openai(server: Server) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
        yield client


def states(reference: Reference, text: str, media: Media = NO_MEDIA) -> torch.Tensor:
    """[tokens, hidden], of transformers' model alone."""
    with torch.inference_mode():
        hidden: torch.Tensor = reference.model(**reference.inputs(text, media)).last_hidden_state[0]
    return hidden


def wanted(reference: Reference, text: str, media: Media = NO_MEDIA) -> torch.Tensor:
    return normalize(states(reference, text, media)[-1], dim=-1)


def assert_is(found: Any, right: torch.Tensor) -> None:
    vector = torch.tensor(found)
    assert vector.shape == right.shape
    assert float(torch.nn.functional.cosine_similarity(vector, right, dim=0)) >= 1 - 1e-5
    assert float(vector.norm()) == pytest.approx(1.0, abs=1e-5)


def conversation(*parts: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


def rendered(body: str) -> str:
    """As the checkpoint's own template writes it."""
    return f"<|im_start|>system\n{INSTRUCTION}<|im_end|>\n<|im_start|>user\n{body}<|im_end|>\n"


def test_S60_texts_token_ids_and_media_in_one_list(llm: LLM, reference: Reference) -> None:
    shown, film = picture(1, 84, 56), clip(2)
    ids = reference.tokenizer(TEXTS[1])["input_ids"]
    prompts = [
        TEXTS[0],
        ids,
        {"prompt": f"{PICTURE}What is it?", "multi_modal_data": {"image": shown}},
        {"prompt": TEXTS[2]},
        [
            {
                "role": "user",
                "content": [
                    {"type": "video_url", "video_url": {"url": data_url("video/mp4", film)}}
                ],
            }
        ],
        conversation({"type": "image_pil", "image_pil": shown}, {"type": "text", "text": "Look."}),
    ]
    found = llm.embed(prompts, use_tqdm=False)
    right = [
        wanted(reference, TEXTS[0]),
        wanted(reference, TEXTS[1]),
        wanted(reference, f"{PICTURE}What is it?", Media(images=(shown,))),
        wanted(reference, TEXTS[2]),
        wanted(reference, rendered(CLIP), Media(videos=(clip_frames(film),))),
        wanted(reference, rendered(f"{PICTURE}Look."), Media(images=(shown,))),
    ]
    for output, vector in zip(found, right, strict=True):
        assert_is(output.outputs.embedding, vector)
        assert output.finished
    alone = [llm.embed([prompt], use_tqdm=False)[0].outputs.embedding for prompt in prompts]
    np.testing.assert_allclose(alone, [output.outputs.embedding for output in found], atol=1e-5)
    assert found[1].prompt_token_ids == ids
    assert found[0].outputs.hidden_size == 64


def test_each_token_has_a_vector(llm: LLM, reference: Reference) -> None:
    (output,) = llm.encode(
        TEXTS[1], PoolingParams(use_activation=False), pooling_task="token_embed", use_tqdm=False
    )
    torch.testing.assert_close(
        output.outputs.data, states(reference, TEXTS[1]), atol=1e-3, rtol=1e-3
    )
    (one,) = llm.encode(TEXTS[1], pooling_task="embed", use_tqdm=False)
    assert_is(one.outputs.data.tolist(), wanted(reference, TEXTS[1]))
    with pytest.raises(ValueError, match="encode needs a pooling_task"):
        llm.encode(TEXTS[1])
    with pytest.raises(ValueError, match="task must be one of embed, token_embed, got 'classify'"):
        llm.encode(TEXTS[1], pooling_task="classify")


def test_the_asyncio_face(server: Server, reference: Reference) -> None:
    async def ask() -> tuple[Any, Any]:
        async with AsyncLLM(run_dir=server.run_dir) as face:
            both = (
                face.embed(TEXTS[0]),
                face.embed(
                    conversation({"type": "text", "text": "Hi."}), add_generation_prompt=True
                ),
            )
            one, other = await asyncio.gather(*both)
            return one, other

    one, other = asyncio.run(ask())
    assert_is(one.outputs.embedding, wanted(reference, TEXTS[0]))
    assert_is(
        other.outputs.embedding, wanted(reference, rendered("Hi.") + "<|im_start|>assistant\n")
    )


def test_S60_openais_client_reads_base64_and_floats_alike(
    openai: OpenAI, reference: Reference
) -> None:
    ids = [reference.tokenizer(text)["input_ids"] for text in TEXTS]
    right = [wanted(reference, text) for text in TEXTS]
    for given, vectors in (
        (TEXTS[0], right[:1]),
        (TEXTS, right),
        (ids[0], right[:1]),
        (ids, right),
    ):
        answers = [
            openai.embeddings.create(model="vl-embedding", input=given, encoding_format=form)
            for form in FORMS
        ]
        answers.append(
            openai.embeddings.create(model="vl-embedding", input=given, user="me")
        )  # base64 on the way
        for answer in answers:
            assert [entry.index for entry in answer.data] == list(range(len(vectors)))
            assert (
                answer.usage.prompt_tokens
                == answer.usage.total_tokens
                == sum(map(len, ids[: len(vectors)]))
            )
            assert answer.model == "vl-embedding"
            for entry, vector in zip(answer.data, vectors, strict=True):
                read = entry.embedding
                assert_is(
                    np.frombuffer(base64.b64decode(read), "<f4") if isinstance(read, str) else read,
                    vector,
                )
        float_data, unsaid_data = answers[0].data, answers[2].data
        floats, unsaid = (
            np.array([entry.embedding for entry in data], np.float32)
            for data in (float_data, unsaid_data)
        )
        np.testing.assert_allclose(
            floats, unsaid, atol=1e-6
        )  # two calls: what ran beside each was not the same


FORMS: list[Any] = ["float", "base64"]


def test_S60_a_conversation_with_a_picture_over_http(
    server: Server, openai: OpenAI, reference: Reference
) -> None:
    shown = picture(3, 56, 84)
    parts = (
        {"type": "image_url", "image_url": {"url": data_url("image/png", png(shown))}},
        {"type": "text", "text": "Look."},
    )
    reply = server.ask("/v1/embeddings", {"messages": conversation(*parts), "request_id": "mine"})
    assert reply.status == 200
    assert reply.body["id"] == "embd-mine"
    assert reply.body["usage"]["prompt_tokens_details"]["image_tokens"] > 0
    right = wanted(reference, rendered(f"{PICTURE}Look."), Media(images=(shown,)))
    assert_is(reply.body["data"][0]["embedding"], right)
    given = {"messages": conversation(*parts), "encoding_format": "float"}
    answer = openai.post(
        "/embeddings", body=given, cast_to=CreateEmbeddingResponse
    )  # its `create` knows no messages
    assert_is(answer.data[0].embedding, right)


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({}, "input", "Give either `input` or `messages`"),
        ({"input": "a", "messages": []}, "input", "Give either `input` or `messages`"),
        ({"input": []}, "input", "empty"),
        ({"input": [[]]}, "input[0]", "is empty; give it"),
        ({"input": ["a", 1]}, "input", "mixes"),
        ({"input": [1 << 40]}, "input", "not in the vocabulary"),
        ({"input": [100_000]}, "input", "not in the vocabulary"),
        ({"input": ["a"] * 2049}, "input", "At most 2048 inputs"),
        ({"input": [5] * 2049}, "input", "context is 2048"),
        ({"input": ["a", "b " * 3000]}, "input[1]", "context is 2048"),
        ({"input": "a", "dimensions": 8}, "dimensions", "was made for fewer"),
        ({"input": "a", "dimensions": 0}, "dimensions", "above 0"),
        ({"input": "a", "encoding_format": "bytes"}, "encoding_format", ""),
        ({"input": "a", "embed_dtype": "float16"}, "embed_dtype", "not supported yet"),
        ({"input": "a", "chat_template": "{{ messages }}"}, "chat_template", "refused"),
        (
            {"input": "a", "add_generation_prompt": True},
            "add_generation_prompt",
            "belongs to `messages`",
        ),
        ({"input": "a", "truncate_prompt_tokens": -2}, "truncate_prompt_tokens", "above 0, or -1"),
        (
            {"input": "a", "truncate_prompt_tokens": 2049},
            "truncate_prompt_tokens",
            "more than the model's context",
        ),
        (
            {"input": "a", "prompt_name": "query"},
            "prompt_name",
            "has no prompt of this name; there are: none",
        ),
        ({"input": "a", "model": "other"}, "model", "served model"),
    ],
)
def test_what_is_wrong_is_said_in_openais_form(
    server: Server, body: dict[str, Any], param: str | None, words: str
) -> None:
    reply = server.ask("/v1/embeddings", body)
    assert reply.status == (404 if "model" in body else 400)
    assert reply.body["error"]["param"] == param
    assert words in reply.body["error"]["message"]


def test_a_prompt_may_fill_the_context(server: Server) -> None:
    assert server.ask("/v1/embeddings", {"input": [5] * 2048}).status == 200


def test_only_the_beginning_of_a_long_text_is_read(server: Server, reference: Reference) -> None:
    text = "and on " * 400_000  # far more than a text may have that is not cut
    ids = reference.tokenizer(text[:20_000])["input_ids"]
    for given, most, read in ((text, 30, 30), (text, -1, 2048), (ids, 30, 30)):
        reply = server.ask("/v1/embeddings", {"input": given, "truncate_prompt_tokens": most})
        assert reply.body["usage"]["prompt_tokens"] == read
        if read == 30:
            with torch.inference_mode():
                state = reference.model(input_ids=torch.tensor([ids[:30]])).last_hidden_state[0, -1]
            assert_is(reply.body["data"][0]["embedding"], normalize(state, dim=-1))


def test_more_inputs_than_the_engine_takes_at_once(openai: OpenAI, llm: LLM) -> None:
    texts = [f"text {n}" for n in range(300)]
    answer = openai.embeddings.create(model="vl-embedding", input=texts)
    alone = llm.embed(texts[::50], use_tqdm=False)
    found = np.array([answer.data[n].embedding for n in range(0, 300, 50)])
    np.testing.assert_allclose(found, [output.outputs.embedding for output in alone], atol=1e-5)


def test_text_is_refused_by_a_model_of_vectors(openai: OpenAI, llm: LLM) -> None:
    with pytest.raises(BadRequestError, match="makes vectors and no text"):
        openai.chat.completions.create(
            model="vl-embedding", messages=[{"role": "user", "content": "Hi."}]
        )
    with pytest.raises(BadRequestError, match="makes vectors and no text"):
        openai.completions.create(model="vl-embedding", prompt="Hi.")
    with pytest.raises(RequestError, match="makes vectors and no text"):
        llm.generate("Hi.", use_tqdm=False)


@pytest.mark.parametrize("role", ["gpu-runner", "scheduler", "detokenizer", "preprocessor"])
def test_a_death_loses_no_vector(llm: LLM, role: str) -> None:
    texts = [f"{role} {n} " + "and on " * (n % 40) for n in range(60)]
    before = llm.status().restarts.get(role, 0)
    found: list[Any] = []
    batch = threading.Thread(target=lambda: found.extend(llm.embed(texts, use_tqdm=False)))
    batch.start()
    time.sleep(0.15)
    os.kill(llm.status().pids[role], signal.SIGKILL)
    batch.join()
    again = llm.embed(texts, use_tqdm=False)
    assert llm.status().restarts[role] > before
    np.testing.assert_allclose(
        [output.outputs.embedding for output in found],
        [output.outputs.embedding for output in again],
        atol=1e-5,
    )


def test_vlm2vec_by_the_name_of_its_template(zoo: Zoo) -> None:
    """On Phi-3.5-vision: it could answer, and makes vectors because it is told to; the parts of its
    one message are joined."""
    shown = picture(1, 84, 56), picture(2, 60, 90)
    said = (
        {"type": "image_pil", "image_pil": shown[0]},
        {"type": "text", "text": "Represent it."},
        {"image_pil": shown[1]},
    )
    reference = Reference(
        animal("phi3_v"), zoo("phi3_v")
    )  # of its own: one call beyond the rope's bound changes the next
    text = "<|image_1|> Represent it. <|image_2|>"
    with torch.inference_mode():
        out = reference.model(
            **reference.inputs(text, Media(images=shown)), output_hidden_states=True
        )
    with LLM(
        str(zoo("phi3_v")), runner="pooling", chat_template="vlm2vec_phi3v", kv_cache_gb=0.05
    ) as embedder:
        (found,) = embedder.embed(conversation(*said), use_tqdm=False)
        assert_is(found.outputs.embedding, normalize(out.hidden_states[-1][0, -1], dim=-1))
        assert found.prompt == text
        with pytest.raises(RequestError, match="A vector is made of one message"):
            embedder.embed([conversation(*said) * 2], use_tqdm=False)


def test_ollamas_client_gets_the_same_vectors(server: Server, openai: OpenAI) -> None:
    """S72, of a model that makes them."""
    made = openai.embeddings.create(model="vl-embedding", input=TEXTS, encoding_format="float")
    api = ollama.Client(host=server.url)
    try:
        found = api.embed("vl-embedding:latest", TEXTS)
        one = api.embeddings("vl-embedding", TEXTS[0])
        assert api.show("vl-embedding").capabilities == ["embedding"]
        with pytest.raises(ollama.ResponseError, match="vectors"):
            api.generate("vl-embedding", "hi")
    finally:
        api._client.close()
    known = np.array([item.embedding for item in made.data])
    assert np.allclose(np.array(found.embeddings), known, atol=1e-5)
    assert np.allclose(np.array(one.embedding), known[0], atol=1e-5)
    assert found.prompt_eval_count == made.usage.prompt_tokens


def counted(server: Server, stage: str) -> float:
    found = re.search(
        rf'thespis_stage_seconds_count{{.*stage="{stage}".*}} (\S+)', server.ask("/metrics").body
    )
    return float(found[1]) if found else 0.0


def test_a_call_for_vectors_tells_where_its_time_went(server: Server) -> None:
    before = counted(server, "prefill")
    content = [
        {"type": "image_url", "image_url": {"url": data_url("image/png", png(picture(77, 64)))}},
        {"type": "text", "text": "A timeline."},
    ]
    one = {"messages": [{"role": "user", "content": content}]}
    several = {"input": [f"{text} At what time?" for text in TEXTS]}
    for name, asked in (("of-one", one), ("of-several", several)):
        answer = server.ask("/v1/embeddings", {**asked, "timeline": True, "request_id": name}).body
        kept = server.ask(f"/v1/requests/{name}/timeline").body
        assert {part: kept[part] for part in ("stages", "items")} == answer["timeline"]
        assert kept["prompt_tokens"] == answer["usage"]["prompt_tokens"]
        assert (kept["completion_tokens"], kept["error"]) == (0, None)
        assert {stage["name"] for stage in kept["stages"]} >= {"preprocess", "queue", "prefill"}
    assert counted(server, "prefill") - before == 1 + len(TEXTS)
    (item,) = server.ask("/v1/requests/of-one/timeline").body["items"]
    assert (item["kind"], item["message"], item["part"]) == ("image", 0, 0)
    assert {stage["name"] for stage in item["stages"]} == {"decode", "encode"}
    refused = server.ask("/v1/embeddings", {"input": "x " * 9000, "request_id": "of-none"})
    assert refused.status == 400
    assert "timeline" not in server.ask("/v1/embeddings", {"input": "x"}).body


def near(one: torch.Tensor, others: list[torch.Tensor]) -> list[float]:
    """The oracle: cosines by torch of transformers' own states."""
    cosine = torch.nn.functional.cosine_similarity
    return [float(cosine(one, other, dim=0)) for other in others]


SHOWN = picture(5, 56, 84)
DOCUMENTS: list[Any] = [
    TEXTS[0],
    {"text": TEXTS[1]},
    {"image": data_url("image/png", png(SHOWN)), "text": "Look."},
    {"content": [{"type": "image_url", "image_url": {"url": data_url("image/png", png(SHOWN))}}]},
    TEXTS[2],
]
"""In the words of Cohere, Jina and vLLM."""


@pytest.fixture(scope="module")
def known(reference: Reference) -> list[torch.Tensor]:
    """Of DOCUMENTS."""
    seen = Media(images=(SHOWN,))
    return [
        wanted(reference, TEXTS[0]),
        wanted(reference, TEXTS[1]),
        wanted(reference, rendered(f"{PICTURE}Look."), seen),
        wanted(reference, rendered(PICTURE), seen),
        wanted(reference, TEXTS[2]),
    ]


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
def test_S60_documents_are_ranked_by_their_nearness(
    server: Server, reference: Reference, known: list[torch.Tensor], path: str
) -> None:
    right = near(wanted(reference, "A dog."), known)
    asked = {"model": "vl-embedding", "query": "A dog.", "documents": DOCUMENTS}
    reply = server.ask(path, {**asked, "request_id": "mine"})
    assert reply.status == 200
    rows = reply.body["results"]
    found = {row["index"]: row["relevance_score"] for row in rows}
    assert [found[at] for at in range(5)] == pytest.approx(right, abs=1e-4)
    assert [row["relevance_score"] for row in rows] == sorted(found.values(), reverse=True)
    texts = {row["index"]: row["document"]["text"] for row in rows}
    assert texts == {0: TEXTS[0], 1: TEXTS[1], 2: "Look.", 3: None, 4: TEXTS[2]}
    told = reply.body["usage"]
    assert (
        told["prompt_tokens"]
        == told["total_tokens"]
        == reply.body["meta"]["tokens"]["input_tokens"]
    )
    assert told["prompt_tokens_details"]["image_tokens"] > 0
    assert (reply.body["id"], reply.body["model"]) == ("rerank-mine", "vl-embedding")
    large = {**asked, "user": "x" * (1 << 20)}  # which a reader has
    reply = server.ask(path, {**large, "top_n": 2, "return_documents": False})
    assert reply.status == 200, reply.body
    best = reply.body["results"]
    assert [row["index"] for row in best] == [row["index"] for row in rows[:2]]
    assert not any("document" in row for row in best)


@pytest.mark.parametrize("path", ["/score", "/v1/score"])
def test_S60_one_and_many_are_compared(
    server: Server, reference: Reference, known: list[torch.Tensor], path: str
) -> None:
    one = wanted(reference, "A dog.")
    for body, right in (
        ({"text_1": "A dog.", "text_2": TEXTS[0]}, near(one, known[:1])),
        ({"queries": "A dog.", "documents": DOCUMENTS}, near(one, known)),
        ({"data_1": [{"text": "A dog."}], "data_2": DOCUMENTS}, near(one, known)),
        (
            {"queries": DOCUMENTS[:2], "items": DOCUMENTS[2:4]},
            [near(known[0], [known[2]])[0], near(known[1], [known[3]])[0]],
        ),
    ):
        reply = server.ask(path, body)
        assert reply.status == 200
        assert reply.body["object"] == "list"
        assert [row["index"] for row in reply.body["data"]] == list(range(len(right)))
        assert {row["object"] for row in reply.body["data"]} == {"score"}
        scores = [row["score"] for row in reply.body["data"]]
        assert scores == pytest.approx(right, abs=1e-4)
        assert reply.body["usage"]["total_tokens"] > 0


def test_S60_python_ranks_and_scores_alike(
    server: Server, llm: LLM, reference: Reference, known: list[torch.Tensor]
) -> None:
    right = near(wanted(reference, "A dog."), known)
    given = [*DOCUMENTS[:2], {"image": SHOWN, "text": "Look."}, *DOCUMENTS[3:]]
    scored = llm.score("A dog.", given, use_tqdm=False)
    assert [one.outputs.score for one in scored] == pytest.approx(right, abs=1e-4)
    ranking = llm.rerank("A dog.", given, top_n=3, use_tqdm=False)
    order = sorted(range(5), key=lambda at: -scored[at].outputs.score)[:3]
    assert [one.index for one in ranking] == order
    assert all(one.document is given[one.index] for one in ranking)
    prompt = {"prompt": f"{PICTURE}What?", "multi_modal_data": {"image": SHOWN}}
    (pair,) = llm.score(prompt, {"prompt_token_ids": [5, 6]}, use_tqdm=False)
    assert pair.prompt_token_ids[-2:] == [5, 6]

    async def ask() -> tuple[Any, Any]:
        async with AsyncLLM(run_dir=server.run_dir) as face:
            both = face.score("A dog.", given), face.rerank("A dog.", given, top_n=3)
            one, other = await asyncio.gather(*both)
            return one, other

    same, ranked = asyncio.run(ask())
    assert [one.outputs.score for one in same] == pytest.approx(right, abs=1e-4)
    assert [one.index for one in ranked] == order
    with pytest.raises(RequestError, match="as many with as many"):
        llm.score(["a", "b"], ["c"], use_tqdm=False)
    with pytest.raises(RequestError, match=r"documents\[1\]"):
        llm.rerank("a", ["b", {"txt": "c"}], use_tqdm=False)
    with pytest.raises(TypeError, match="There is no option"):
        llm.score("a", {"image": SHOWN}, use_tqdm=False, dimension=8)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("x " * 9000, "context is 2048"),
        ({"text": "a", "image": "data:image/png;base64,cGl4ZWxz"}, ""),
        ("", "empty"),
    ],
)
def test_the_document_that_is_wrong_is_named(server: Server, document: Any, words: str) -> None:
    reply = server.ask("/v1/rerank", {"query": "a", "documents": ["b", document, "c"]})
    assert reply.status in (400, 422)
    assert reply.body["error"]["param"].startswith("documents[1]")
    assert words in reply.body["error"]["message"]
    again = server.ask("/v1/rerank", {"query": "a", "documents": ["b"], "max_tokens_per_doc": 30})
    assert again.status == 200
