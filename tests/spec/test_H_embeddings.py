"""S36 to S40: ready-made embeddings in every shape, over every face, and what is wrong with
some."""

import base64
import io
import pickle
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save

from thespis import LLM, SamplingParams
from thespis.frontends.inputs.embeds import encode_embeds

from ..helpers.checkpoints import Checkpoints
from ..helpers.engines import Spectator
from ..helpers.media import clip, clip_frames, data_url, picture, sound, wav
from ..helpers.reference import Media, Reference, reference_for
from ..helpers.serving import Server
from .faces import Face, ask, refusal

pytestmark = pytest.mark.process
HIDDEN = 64
MARKS = {
    "image": "<|vision_bos|><|IMAGE|><|vision_eos|>",
    "video": "<|vision_bos|><|VIDEO|><|vision_eos|>",
    "audio": "<|audio_bos|><|AUDIO|><|audio_eos|>",
}


def prompt_of(*kinds: str) -> str:
    marks = "".join(MARKS[kind] for kind in kinds)
    return f"<|im_start|>user\n{marks}What?<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture(scope="module")
def reference(checkpoints: Checkpoints) -> Reference:
    return reference_for(checkpoints("qwen_omni"))


class Made:
    """What the model's own towers make of one item, and what the model says to the item itself."""

    def __init__(self, reference: Reference, kind: str, seed: int) -> None:
        self.kind = kind
        frames = clip_frames(clip(seed)) if kind == "video" else None
        media = {
            "image": lambda: Media(images=(picture(seed, 84, 56),)),
            "video": lambda: Media(videos=(frames,)),  # type: ignore[arg-type]
            "audio": lambda: Media(audio=(sound(seed, 0.7),)),
        }[kind]()
        inputs = reference._inputs(prompt_of(kind), media)
        with torch.inference_mode():
            if kind == "audio":
                out = reference.model.get_audio_features(
                    inputs["input_features"], inputs["feature_attention_mask"]
                )
                self.grid = None
            elif kind == "image":
                self.grid = inputs["image_grid_thw"]
                out = reference.model.get_image_features(inputs["pixel_values"], self.grid)
            else:
                self.grid = inputs["video_grid_thw"]
                out = reference.model.get_video_features(inputs["pixel_values_videos"], self.grid)
        rows = out.pooler_output
        self.embeds = torch.cat(tuple(rows)) if isinstance(rows, tuple | list) else rows
        self.embeds = self.embeds.reshape(-1, HIDDEN).clone()
        answer = reference.answer(prompt_of(kind), media, 8)
        sure = next((place for place, gap in enumerate(answer.gaps) if gap < 1e-3), 8)
        assert sure >= 3, "draw another"
        self.answer, self.prompt_token_ids = answer.token_ids[:sure], answer.prompt_token_ids

    @property
    def grids(self) -> dict[str, Any]:
        return {} if self.grid is None else {f"{self.kind}_grid_thw": self.grid}

    def part(self, text: str, **more: Any) -> list[dict[str, Any]]:
        name = f"{self.kind}_embeds"
        return [{"type": name, name: text, **more}, {"type": "text", "text": "What?"}]


@pytest.fixture(scope="module", params=["image", "video", "audio"])
def made(request: pytest.FixtureRequest, reference: Reference) -> Made:
    return Made(reference, request.param, 31)


@pytest.fixture(scope="module")
def image(reference: Reference) -> Made:
    return Made(reference, "image", 32)


def generated(llm: LLM, given: Any, *kinds: str, kind: str = "image") -> list[int]:
    asked = {"prompt": prompt_of(*(kinds or (kind,))), "multi_modal_data": {kind: given}}
    (output,) = llm.generate(asked, SamplingParams(temperature=0, max_tokens=8), use_tqdm=False)
    return output.outputs[0].token_ids


def saved(tensor: Any) -> str:
    file = io.BytesIO()
    torch.save(tensor, file)
    return base64.b64encode(file.getvalue()).decode()


def npy(array: Any, **options: Any) -> str:
    file = io.BytesIO()
    np.save(file, array, **options)
    return base64.b64encode(file.getvalue()).decode()


def deflated(tensor: torch.Tensor) -> str:
    """A torch.save file whose members have been packed: what it holds is known when it has been
    inflated."""
    whole, packed = io.BytesIO(), io.BytesIO()
    torch.save(tensor, whole)
    with (
        zipfile.ZipFile(whole) as source,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            target.writestr(name, source.read(name))
    return base64.b64encode(packed.getvalue()).decode()


# shapes


def test_S37_S40_dicts_give_what_the_item_gives(llm: LLM, made: Made) -> None:
    name = f"{made.kind}_embeds"
    forms: dict[str, Any] = {
        "(F, H)": {name: made.embeds, **made.grids},
        "(1, F, H)": {name: made.embeds[None], **made.grids},
        "a list": {name: [made.embeds], **made.grids},
        "numpy": {
            name: made.embeds.numpy(),
            **{key: grid.numpy() for key, grid in made.grids.items()},
        },
    }
    if made.grid is not None:
        forms["grid (3,)"] = {name: made.embeds, f"{made.kind}_grid_thw": made.grid[0]}
        forms["grid as a list"] = {
            name: made.embeds,
            f"{made.kind}_grid_thw": made.grid[0].tolist(),
        }
    for form, given in forms.items():
        assert generated(llm, given, kind=made.kind)[: len(made.answer)] == made.answer, form


def test_S37_several_pictures(llm: LLM, reference: Reference, image: Made) -> None:
    other = Made(reference, "image", 33)
    both = Media(images=(picture(32, 84, 56), picture(33, 84, 56)))
    answer = reference.answer(prompt_of("image", "image"), both, 8)
    sure = next((place for place, gap in enumerate(answer.gaps) if gap < 1e-3), 8)
    assert image.grid is not None
    assert other.grid is not None
    grids = torch.cat([image.grid, other.grid])
    whole = torch.cat([image.embeds, other.embeds])
    for embeds in (whole, torch.stack([image.embeds, other.embeds]), [image.embeds, other.embeds]):
        said = generated(llm, {"image_embeds": embeds, "image_grid_thw": grids}, "image", "image")
        assert said[:sure] == answer.token_ids[:sure]
    mixed = [picture(32, 84, 56), {"image_embeds": other.embeds, "image_grid_thw": other.grid}]
    assert generated(llm, mixed, "image", "image")[:sure] == answer.token_ids[:sure]


def test_S37_a_sound_as_a_bare_tensor(llm: LLM, reference: Reference) -> None:
    made = Made(reference, "audio", 34)
    assert generated(llm, made.embeds[None], kind="audio")[: len(made.answer)] == made.answer


@pytest.fixture(scope="module")
def llava(checkpoints: Checkpoints) -> Iterator[LLM]:
    """B12: pictures come as embeddings alone, and no tower is loaded for them."""
    with LLM(checkpoints("llava"), enable_mm_embeds=True, limit_mm_per_prompt={"image": 0}) as llm:
        yield llm


def test_S37_S40_llava_takes_bare_tensors(llava: LLM, checkpoints: Checkpoints) -> None:
    reference = reference_for(checkpoints("llava"))
    prompt = "<image>\nWhat?"
    inputs = reference._inputs(prompt, Media(images=(picture(41),)))
    with torch.inference_mode():
        (embeds,) = reference.model.get_image_features(inputs["pixel_values"]).pooler_output
    answer = reference.answer(prompt, Media(images=(picture(41),)), 8)
    sure = next((place for place, gap in enumerate(answer.gaps) if gap < 1e-3), 8)
    assert sure >= 3
    for given in (
        embeds[None],
        [embeds],
        {"image_embeds": embeds},
        embeds.to(torch.float32).numpy()[None],
    ):
        asked = {"prompt": prompt, "multi_modal_data": {"image": given}}
        (output,) = llava.generate(
            asked, SamplingParams(temperature=0, max_tokens=8), use_tqdm=False
        )
        assert output.outputs[0].token_ids[:sure] == answer.token_ids[:sure]
    pair = torch.stack([embeds, embeds.flip(0)])
    said = [
        llava.generate(
            {"prompt": "<image>\n<image>\nWhat?", "multi_modal_data": {"image": given}},
            SamplingParams(temperature=0, max_tokens=8),
            use_tqdm=False,
        )[0].outputs[0]
        for given in (pair, list(pair), {"image_embeds": pair}, pair.flip(0))
    ]
    assert said[0].token_ids == said[1].token_ids == said[2].token_ids != said[3].token_ids
    with pytest.raises(ValueError, match="Embeddings must have 16 rows, got 15"):
        llava.generate(
            {"prompt": prompt, "multi_modal_data": {"image": embeds[None, :15]}}, use_tqdm=False
        )
    with pytest.raises(ValueError, match=r"At most 0 image\(s\) may be provided"):
        llava.generate(
            {"prompt": prompt, "multi_modal_data": {"image": picture(41)}}, use_tqdm=False
        )


# over every face


def test_S39_S40_files_of_tensors(face: Face, made: Made) -> None:
    """torch.save, .npy and safetensors; the grid beside them, within them, or as a file of its
    own."""
    numbers = {} if made.grid is None else {f"{made.kind}_grid_thw": made.grid.tolist()}
    files = {} if made.grid is None else {f"{made.kind}_grid_thw": saved(made.grid)}
    name = f"{made.kind}_embeds"
    both = base64.b64encode(
        save({name: made.embeds, **({} if made.grid is None else {"image_grid_thw": made.grid})})
    ).decode()
    spelled: list[dict[str, Any]] = [
        {"type": name, name: {name: saved(made.embeds), **files}},
        {"type": "text", "text": "What?"},
    ]
    for content in (
        made.part(saved(made.embeds), **numbers),
        made.part(saved(made.embeds[None]), **files),
        made.part(npy(made.embeds.numpy()), **numbers),
        made.part(encode_embeds(made.embeds, made.grid)),
        made.part(both),
        spelled,
    ):
        answer = ask(face, content)
        assert answer.prompt_token_ids == made.prompt_token_ids
        assert answer.token_ids[: len(made.answer)] == made.answer


def test_S37_lower_precision(face: Face, image: Made) -> None:
    for dtype in (torch.float16, torch.bfloat16):
        assert image.grid is not None
        assert (
            len(
                ask(
                    face,
                    image.part(saved(image.embeds.to(dtype)), image_grid_thw=image.grid.tolist()),
                ).token_ids
            )
            > 0
        )


def test_S22_embeddings_and_raw_media_in_one_message(
    face: Face, image: Made, reference: Reference
) -> None:
    assert image.grid is not None
    heard = {"type": "audio_url", "audio_url": {"url": data_url("audio/wav", wav(sound(31, 0.7)))}}
    made = ask(
        face,
        [
            *image.part(encode_embeds(image.embeds, image.grid))[:1],
            heard,
            {"type": "text", "text": "What?"},
        ],
    )
    media = Media(images=(picture(32, 84, 56),), audio=(sound(31, 0.7),))
    answer = reference.answer(prompt_of("image", "audio"), media, 8)
    sure = next((place for place, gap in enumerate(answer.gaps) if gap < 1e-3), 8)
    assert made.token_ids[:sure] == answer.token_ids[:sure]


# what is wrong


class Evil:
    def __reduce__(self) -> Any:
        return print, ("this must never be printed",)


ONES = torch.ones(6, HIDDEN)


def spoilt() -> torch.Tensor:
    bad = ONES.clone()
    bad[2, 3] = float("nan")
    return bad


WRONG: dict[str, tuple[Callable[[], str], str]] = {
    "rank": (
        lambda: saved(torch.ones(2, 6, HIDDEN)),
        "Embeddings must be [rows, 64], got shape [2, 6, 64].",
    ),
    "hidden": (
        lambda: saved(torch.ones(6, 65)),
        "Embeddings must have the model's hidden size 64, got 65.",
    ),
    "rows": (lambda: saved(torch.ones(7, HIDDEN)), "Embeddings must have 6 rows, got 7."),
    "type": (
        lambda: saved(ONES.to(torch.int64)),
        "must be float32, float16 or bfloat16, got int64.",
    ),
    "double": (lambda: saved(ONES.double()), "must be float32, float16 or bfloat16, got float64."),
    "nan": (lambda: saved(spoilt()), "no finite numbers"),
    "infinite": (lambda: saved(ONES.bfloat16() * float("inf")), "no finite numbers"),
    "sparse": (lambda: saved(ONES.to_sparse()), "sparse, quantised and nested ones are refused"),
    "quantised": (lambda: saved(torch.quantize_per_tensor(ONES, 0.1, 0, torch.qint8)), "mbeddings"),
    "strided": (lambda: saved(torch.ones(HIDDEN, 6).T), "contiguous"),
    "huge view": (lambda: saved(torch.ones(1, 1).expand(1 << 20, 1 << 20)), "bytes; at most"),
    "to be inflated": (
        lambda: deflated(torch.ones(1 << 18, HIDDEN)),
        "The embeddings cannot be read",
    ),
    "a dict": (lambda: saved({"a": ONES}), "The file must hold one tensor."),
    "evil": (lambda: saved(Evil()), "The embeddings cannot be read"),
    "pickle": (
        lambda: base64.b64encode(pickle.dumps(ONES.numpy())).decode(),
        "The embeddings cannot be read",
    ),
    "objects": (
        lambda: npy(np.array([Evil()], dtype=object), allow_pickle=True),
        "The embeddings cannot be read",
    ),
    "cut npy": (lambda: npy(ONES.numpy())[:400], "The embeddings cannot be read"),
    "cut torch": (lambda: saved(ONES)[:800], "The embeddings cannot be read"),
    "cut safetensors": (lambda: encode_embeds(ONES)[:400], "The embeddings cannot be read"),
    "text": (lambda: base64.b64encode(b"nothing at all").decode(), "The embeddings cannot be read"),
    "no base64": (lambda: "@@@", "not valid base64"),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("name", WRONG)
def test_S38_S39_a_wrong_embedding_is_the_callers_fault(
    any_face: Face, server: Server, image: Made, name: str
) -> None:
    """400 (413 for what is too large) with got and expected; every process lives, decode workers
    included."""
    make, says = WRONG[name]
    before = pids(server)
    assert image.grid is not None
    refused = refusal(any_face, image.part(make(), image_grid_thw=image.grid.tolist()))
    assert refused.status == (413 if name == "huge view" else 400)
    assert refused.part == "messages[0].content[0]"
    assert says in refused.text
    assert pids(server) == before


def pids(server: Server) -> dict[str, int]:
    with Spectator(server.run_dir) as looker:
        return {
            role: pid for role, pid in looker.status().pids.items() if not role.startswith("client")
        }


@pytest.mark.parametrize(
    "grid",
    [
        None,
        [1, 2],
        [[1, 4, 6], [1, 4, 6]],
        [0, 4, 6],
        [1, 4, 60],
        "x",
        [1.5, 4, 6],
        [-1, -4, 6],
        [1, 24, 1],
        [1, 3, 8],
        24,
    ],
)
def test_S38_grids_that_do_not_fit(any_face: Face, image: Made, grid: Any) -> None:
    refused = refusal(
        any_face,
        image.part(saved(image.embeds), **({} if grid is None else {"image_grid_thw": grid})),
    )
    assert (refused.status, refused.part) == (400, "messages[0].content[0]")


def test_S38_a_count_of_placeholders_that_does_not_fit(llm: LLM, image: Made) -> None:
    with pytest.raises(ValueError, match="placeholders"):
        generated(llm, {"image_embeds": image.embeds, **image.grids}, "image", "image")


def test_S37_grids_and_items_are_as_many(llm: LLM, image: Made) -> None:
    with pytest.raises(ValueError, match="There are 2 items in image_embeds, but 1 grids"):
        generated(llm, {"image_embeds": [image.embeds] * 2, **image.grids}, "image", "image")
