"""S11 to S15: the offline `LLM` and its `generate`."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from thespis import LLM, AsyncLLM, SamplingParams, TextPrompt, TokensPrompt
from thespis.frontends.python import progress
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.edges.preprocessor_to_client import PreparedCopy
from thespis.protocol.errors import RequestError

from ..helpers.media import RATE, clip_frames, data_url, picture, png, sound
from ..helpers.media import clip as drawn_clip
from ..helpers.serving import Server
from .counting import Watch
from .faces import AsyncFace, Face, ask, refusal

pytestmark = pytest.mark.process

SHOWN = "<|vision_bos|><|IMAGE|><|vision_eos|>"
GREEDY = SamplingParams(temperature=0, max_tokens=8)


def generate(llm: LLM, prompt: Any, params: SamplingParams = GREEDY) -> list[int]:
    (output,) = llm.generate(prompt, params, use_tqdm=False)
    return output.outputs[0].token_ids


def seen(llm: LLM, image: Any) -> list[int]:
    """What the model says to `multi_modal_data={"image": image}`."""
    return generate(llm, {"prompt": f"Look: {SHOWN}", "multi_modal_data": {"image": image}})


def test_S11_every_option_of_the_reference_is_taken(spare: LLM) -> None:
    assert len(generate(spare, "Hello")) == 8


def test_S11_the_defaults() -> None:
    config = EngineConfig()
    assert (config.mm_processor_cache_gb, config.enable_prefix_caching, config.dtype) == (
        4,
        True,
        "auto",
    )
    assert (config.device, config.seed, config.enable_mm_embeds, config.trust_remote_code) == (
        "auto",
        0,
        False,
        False,
    )


def test_S11_an_option_that_there_is_not_is_answered_with_those_there_are() -> None:
    with pytest.raises(
        TypeError, match=r"no option 'pipeline_parallel_size'; the options are: .*max_model_len"
    ):
        LLM("anything", pipeline_parallel_size=2)


def test_S11_a_value_that_is_none_is_refused_before_any_process_starts() -> None:
    with pytest.raises(ValueError, match="dtype"):
        LLM(dtype="int3")


def test_S12_the_forms_of_a_prompt(llm: LLM) -> None:
    (plain,) = llm.generate("Hello there", GREEDY, use_tqdm=False)
    ids = plain.prompt_token_ids
    forms: list[Any] = [{"prompt": "Hello there"}, {"prompt_token_ids": ids}, ids]
    outputs = llm.generate(["Hello there", *forms], GREEDY, use_tqdm=False)
    assert [o.outputs[0].token_ids for o in outputs] == [plain.outputs[0].token_ids] * 4
    assert [o.prompt_token_ids for o in outputs] == [ids] * 4


def test_S12_token_ids_with_media(llm: LLM) -> None:
    prompt = f"What? {SHOWN}"
    with_text = {"prompt": prompt, "multi_modal_data": {"image": picture(3)}}
    whole, bare = (
        llm.generate(p, GREEDY, use_tqdm=False)[0] for p in (with_text, prompt.replace(SHOWN, ""))
    )
    unexpanded = [
        *bare.prompt_token_ids,
        *_without_repeats(whole.prompt_token_ids[len(bare.prompt_token_ids) :]),
    ]
    with_ids = {"prompt_token_ids": unexpanded, "multi_modal_data": {"image": picture(3)}}
    assert generate(llm, with_ids) == whole.outputs[0].token_ids


def _without_repeats(ids: list[int]) -> list[int]:
    return [token for index, token in enumerate(ids) if index == 0 or token != ids[index - 1]]


def test_S12_what_is_no_sampling(llm: LLM) -> None:
    for given in ({"max_tokens": 1}, [{"max_tokens": 1}]):
        with pytest.raises(TypeError, match="SamplingParams"):
            llm.generate(["x"], given, use_tqdm=False)  # type: ignore[arg-type]


def test_S12_answers_come_in_the_order_of_the_prompts(llm: LLM) -> None:
    prompts: list[Any] = [f"Prompt number {n}" for n in range(10)]
    lengths = [40 - 4 * n for n in range(10)]  # the first are the last to end
    params = [SamplingParams(temperature=0, max_tokens=n, ignore_eos=True) for n in lengths]
    outputs = llm.generate(prompts, params, use_tqdm=False)
    assert [o.prompt for o in outputs] == prompts
    assert [len(o.outputs[0].token_ids) for o in outputs] == lengths


def test_S12_what_an_output_tells(llm: LLM) -> None:
    (output,) = llm.generate("Hello", GREEDY.replace(logprobs=2, ignore_eos=True), use_tqdm=False)
    (choice,) = output.outputs
    assert (choice.index, choice.finish_reason, len(choice.token_ids)) == (0, "length", 8)
    assert isinstance(choice.text, str)
    assert choice.logprobs is not None
    for token, places in zip(choice.token_ids, choice.logprobs, strict=True):
        assert places[token].rank == 1
        assert len(places) == 2
        assert all(place.logprob <= 0 for place in places.values())
    assert choice.cumulative_logprob == pytest.approx(
        sum(p[t].logprob for t, p in zip(choice.token_ids, choice.logprobs, strict=True))
    )
    assert output.finished
    assert output.metrics.finished is not None
    assert 0 < (output.metrics.ttft or 0) <= output.metrics.finished - output.metrics.arrival


def test_S12_the_prompts_ids_are_there_however_late_they_come(
    async_face: AsyncFace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come from another process than the text, which may be quicker."""
    client = async_face.llm._client
    assert client is not None
    hear, loop = client.on_message, async_face.run(_loop())

    def later(message: Any) -> None:
        if isinstance(message, PreparedCopy):
            loop.call_later(0.5, hear, message)
        else:
            hear(message)

    monkeypatch.setattr(client, "on_message", later)
    output = async_face.run(async_face.llm.generate("Hello", GREEDY))
    assert len(output.prompt_token_ids) == len("Hello")
    assert len(output.outputs[0].token_ids) == 8
    assert {timing.stage for timing in output.metrics.timings} >= {"preprocess", "decode"}


async def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def test_S12_a_bar_with_both_rates(
    llm: LLM, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    llm.generate("nobody watches", GREEDY)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(progress, "watched", lambda: True)
    llm.generate(["one", "two"], GREEDY)
    shown = capsys.readouterr().err
    assert "2/2" in shown
    assert "requests/s" in shown
    assert "tokens/s" in shown
    llm.generate("three", GREEDY, use_tqdm=False)
    assert capsys.readouterr().err == ""


def test_S12_a_batch_that_is_larger_than_what_the_engine_holds_at_once(spare: LLM) -> None:
    """`spare` takes 1 MiB of media at once; this is 1.5: prompts are fed as room comes free, and
    none is refused."""
    prompts = [
        {"prompt": SHOWN, "multi_modal_data": {"image": picture(seed)}} for seed in range(160)
    ]
    outputs = spare.generate(prompts, SamplingParams(temperature=0, max_tokens=1), use_tqdm=False)
    assert all(output.finished for output in outputs)


def test_S13_pictures_arrays_and_tensors(llm: LLM) -> None:
    image = picture(11, 84, 56)
    array = np.asarray(image)
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)
    forms: list[Any] = [
        [image],
        array,
        tensor,
        array.astype(np.float32) / 255,
        array[None],
        tensor[None],
        png(image),
    ]
    assert [seen(llm, form) for form in forms] == [seen(llm, image)] * len(forms)


def test_S13_several_in_one_prompt(llm: LLM) -> None:
    one, two = picture(12), picture(13)
    prompt = f"{SHOWN} and {SHOWN}"
    array = np.stack([np.asarray(one), np.asarray(two)])
    answers = [
        generate(llm, {"prompt": prompt, "multi_modal_data": {"image": images}})
        for images in (
            [one, two],
            array,
            torch.from_numpy(array),
            [np.asarray(one), two],
            [two, one],
        )
    ]
    assert answers[:4] == [answers[0]] * 4
    assert answers[4] != answers[0]


def test_S13_exif_orientation_is_applied(llm: LLM, face: Face) -> None:
    upright = picture(14, 84, 56)
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    turned.getexif()[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    stripped = Image.fromarray(np.asarray(turned))
    assert seen(llm, turned) == seen(llm, upright) != seen(llm, stripped)
    by_url = [
        {"type": "image_url", "image_url": {"url": data_url("image/png", _with_exif(turned))}}
    ]
    plain = [{"type": "image_url", "image_url": {"url": data_url("image/png", png(upright))}}]
    assert ask(face, by_url).token_ids == ask(face, plain).token_ids


def _with_exif(image: Image.Image) -> bytes:
    import io

    file = io.BytesIO()
    image.save(file, "PNG", exif=image.getexif())
    return file.getvalue()


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "1", "YCbCr"])
def test_S13_then_rgb(llm: LLM, mode: str) -> None:
    image = picture(15).convert(mode)
    assert seen(llm, image) == seen(llm, image.convert("RGB"))


@pytest.mark.parametrize(
    "bad",
    [np.zeros((5, 5, 7), np.uint8), np.full((8, 8, 3), np.nan), [np.zeros((1, 2, 8, 8, 3))], 7],
)
def test_S13_what_is_no_picture_is_refused_by_its_place(llm: LLM, bad: Any) -> None:
    with pytest.raises(RequestError, match=r"multi_modal_data\['image'\]"):
        seen(llm, bad)


def test_S14_more_pictures_than_the_limit(spare: LLM) -> None:
    prompt = {"prompt": SHOWN * 5, "multi_modal_data": {"image": [picture(n) for n in range(5)]}}
    with pytest.raises(RequestError) as refused:
        generate(spare, prompt)
    assert "At most 4 image(s) may be provided in one prompt." in str(refused.value)
    assert "--limit-mm-per-prompt" in str(refused.value)
    assert refused.value.failure.part == "multi_modal_data['image'][4]"


def test_S14_a_limit_with_sizes_counts_too(face: Face) -> None:
    part = {"type": "video_url", "video_url": {"url": data_url("video/mp4", drawn_clip(1))}}
    refused = refusal(face, [part] * 3)
    assert (refused.status, refused.part) == (400, "messages[0].content[2]")
    assert "At most 2 video(s) may be provided in one prompt." in refused.text
    assert ask(face, [part] * 2, max_tokens=1).media_tokens["video"] > 0


def test_S14_what_is_not_limited_may_be_many(llm: LLM) -> None:
    heard = "<|audio_bos|><|AUDIO|><|audio_eos|>"
    sounds = [(sound(n, 0.1), RATE) for n in range(20)]
    assert generate(llm, {"prompt": heard * 20, "multi_modal_data": {"audio": sounds}})


def test_what_is_no_prompt_is_refused_as_one(llm: LLM) -> None:
    strange: list[Any] = [5, None]
    for given in strange:
        with pytest.raises(RequestError, match="A prompt is a string, token ids, or a dict"):
            llm.generate(given)


def test_S14_a_modality_that_there_is_not(llm: LLM) -> None:
    with pytest.raises(RequestError, match="Unsupported modality: smell"):
        generate(llm, {"prompt": "x", "multi_modal_data": {"smell": 1}})
    with pytest.raises(ValueError, match="limit_mm_per_prompt: Unsupported modality: smell; known"):
        LLM(limit_mm_per_prompt={"smell": 1})
    with pytest.raises(ValueError, match="limit_mm_per_prompt: image must be a count"):
        LLM(limit_mm_per_prompt={"image": "two"})


@pytest.mark.parametrize(("places", "items"), [(1, 2), (3, 2), (0, 1), (2, 0)])
def test_S15_places_and_items_must_be_as_many(
    llm: LLM, async_face: AsyncFace, places: int, items: int
) -> None:
    images = [picture(100 * places + n) for n in range(items)]
    prompt = {"prompt": f"Look: {SHOWN * places}", "multi_modal_data": {"image": images}}
    wanted = (
        "Found more '<|IMAGE|>' placeholders"
        if places > items
        else f"Found {places} '<|IMAGE|>' placeholders"
    )
    watch = Watch(llm)
    with pytest.raises(RequestError, match=r"placeholders in input prompt") as refused:
        generate(llm, prompt)
    assert wanted in str(refused.value)
    with pytest.raises(RequestError, match=r"placeholders in input prompt"):
        async_face.run(async_face.llm.generate(prompt, GREEDY))
    assert watch.done().encoded == 0


def test_S15_a_raw_prompt_over_http_has_no_items(server: Any) -> None:
    reply = server.ask("/v1/completions", {"prompt": f"Look: {SHOWN}", "max_tokens": 1})
    assert reply.status == 400
    assert (
        "Found more '<|IMAGE|>' placeholders in input prompt than actual multimodal data items."
        in (reply.body["error"]["message"])
    )


def test_S15_clips_and_sounds_are_counted_apart(llm: LLM) -> None:
    data = {"video": clip_frames(drawn_clip(2)), "audio": (sound(2), RATE)}
    only_video = {"prompt": "<|vision_bos|><|VIDEO|><|vision_eos|>", "multi_modal_data": data}
    with pytest.raises(
        RequestError, match=r"Found 0 '<\|AUDIO\|>' placeholders in input prompt for 1 audio item"
    ):
        generate(llm, only_video)


def test_S13_a_file_is_read_by_its_bytes(llm: LLM, tmp_path: Path) -> None:
    file = tmp_path / "picture.txt"
    file.write_bytes(png(picture(16)))
    assert seen(llm, Image.open(file)) == seen(llm, file.read_bytes()) == seen(llm, picture(16))


def test_B14_a_tokenizer_and_typed_prompts(llm: LLM) -> None:
    tokenizer = llm.get_tokenizer()
    ids = tokenizer.encode("Hello there", add_special_tokens=False)
    prompts: list[Any] = [TextPrompt(prompt="Hello there"), TokensPrompt(prompt_token_ids=ids)]
    said = llm.generate(prompts, GREEDY, use_tqdm=False)
    assert [output.prompt_token_ids for output in said] == [ids, ids]
    assert (
        tokenizer.decode(said[0].outputs[0].token_ids, skip_special_tokens=True)
        == said[0].outputs[0].text
    )


def test_B14_a_chat_says_what_was_rendered_and_what_was_known(llm: LLM) -> None:
    conversation = [
        {
            "role": "user",
            "content": "Which of these words have been asked before, and which have not?",
        }
    ]
    first, again = (llm.chat(conversation, GREEDY, use_tqdm=False)[0] for _ in range(2))
    rendered = llm.get_tokenizer().apply_chat_template(
        conversation, tokenize=False, add_generation_prompt=True
    )
    assert first.prompt == again.prompt == rendered
    assert again.num_cached_tokens == again.metrics.cached_tokens > 0


def test_B14_options_of_a_whole_call(llm: LLM) -> None:
    prompt = {"prompt": SHOWN, "multi_modal_data": {"image": picture(3)}}
    own = {**prompt, "mm_processor_kwargs": {"max_pixels": 1 << 20}}
    few = {"max_pixels": 28 * 28, "min_pixels": 28 * 28}
    counts = [
        output.metrics.media_tokens["image"]
        for output in (
            *llm.generate([prompt], GREEDY, use_tqdm=False),
            *llm.generate(
                [prompt, own], GREEDY, use_tqdm=False, mm_processor_kwargs=few, priority=[1, 0]
            ),
        )
    ]
    assert counts[1] < min(counts[0], counts[2])
    with pytest.raises(ValueError, match="1 prompts and 2 priorities"):
        llm.generate("x", GREEDY, priority=[1, 2])


def test_B14_a_clone_is_equal() -> None:
    params = SamplingParams(stop=("x",), logit_bias={1: 2.0}, seed=3)
    assert params.clone() == params
    assert params.clone() is not params


def test_B14_after_a_reset_media_and_beginnings_are_computed_anew(llm: LLM) -> None:
    prompt = {
        "prompt": f"What became of what has been seen and of what has been read before? {SHOWN}"
    }

    def ask(**more: Any) -> tuple[int, int, int, list[int]]:
        """Items decoded, items encoded, tokens known, and the answer."""
        watch = Watch(llm)
        (output,) = llm.generate({**prompt, **more}, GREEDY, use_tqdm=False)
        done = watch.done()
        return done.decoded, done.encoded, output.num_cached_tokens, output.outputs[0].token_ids

    shown = {"multi_modal_data": {"image": picture(77)}, "multi_modal_uuids": {"image": "reset"}}
    *first, answer = ask(**shown)
    assert first[:2] == [1, 1]
    decoded, encoded, known, again = ask(**shown)
    assert (decoded, encoded, known > 0, again) == (0, 0, True, answer)
    assert llm.reset_mm_cache() is None  # type: ignore[func-returns-value]
    with pytest.raises(RequestError, match="Cache miss"):
        ask(multi_modal_data={"image": None}, multi_modal_uuids={"image": "reset"})
    decoded, encoded, _, again = ask(**shown)
    assert (decoded, encoded, again) == (1, 1, answer)
    assert llm.reset_prefix_cache() is True
    decoded, encoded, known, again = ask(**shown)
    assert (decoded, encoded, known, again) == (0, 0, 0, answer)


async def test_B14_resets_in_an_asyncio_program(server: Server) -> None:
    async with AsyncLLM(run_dir=server.run_dir) as llm:
        running = asyncio.create_task(
            llm.generate("Go on", SamplingParams(max_tokens=40, ignore_eos=True))
        )
        results = await asyncio.gather(
            *(llm.reset_prefix_cache() for _ in range(3)), llm.reset_mm_cache()
        )
        assert results == [True, True, True, None]
        assert len((await running).outputs[0].token_ids) == 40
