"""The decode worker: an item in, features in shared memory out, and a bad item harms nothing
else."""

import io
import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from transformers.video_utils import VideoMetadata

from thespis.actors.decode_worker.actor import DecodeWorker
from thespis.actors.jobs.identity import content_digest, item_key
from thespis.actors.kernel.launch import Launch
from thespis.actors.prompting import template as templates
from thespis.gpu_runtime.processing.stand_in import find_class
from thespis.protocol.config.roles import MediaLimits, encode_config
from thespis.protocol.edges.decode_worker_to_preprocessor import ChatRendered, Decoded, DecodeFailed
from thespis.protocol.edges.preprocessor_to_decode_worker import Decode, FreeFeatures, RenderChat
from thespis.protocol.errors import Failure
from thespis.protocol.memory.blobs import Arena, BlobReader, BlobRef
from thespis.protocol.requests.request import (
    Embeds,
    Encoded,
    Frames,
    MediaItem,
    Modality,
    Pixels,
    Samples,
    Source,
)
from thespis.protocol.wire import Message

from ...helpers.checkpoints import Checkpoints
from ...helpers.media import RATE, clip, clip_frames, picture, png, sound, wav
from ...spec.containers import film, shown
from ..preprocessor.parts import chat, config_of


class Bench:
    """A worker without a director, and a client's arena beside it."""

    def __init__(self, folder: Path, run_dir: Path, **engine: Any) -> None:
        self.config = config_of(folder, enable_mm_embeds=True, **engine)
        self.worker = DecodeWorker(Launch("decode-worker-0", 3, str(run_dir), "x"))
        self.answers: list[Any] = []
        self.worker.send = self._send  # type: ignore[method-assign]
        self.worker.on_start(encode_config(self.config))
        self.arena = Arena(run_dir, "client-a.1", 1 << 30)
        self.reader = BlobReader(run_dir)
        self._jobs = 0

    def _send(self, name: str, message: Message, after: int = -1) -> bool:
        self.answers.append(message)
        return True

    def blob(self, data: Any) -> BlobRef:
        array = (
            np.frombuffer(data, np.uint8) if isinstance(data, bytes) else np.ascontiguousarray(data)
        )
        return self.arena.put(array.tobytes(), array.dtype.name, array.shape)

    def ask(self, modality: Modality, source: Source, processor: Any = None, io: Any = None) -> Any:
        self._jobs += 1
        item = MediaItem(modality, source, "messages[0].content[1]")
        self.worker.on_message(
            "preprocessor", Decode(self._jobs, item, processor or {}, io or {}, "salt")
        )
        return self.answers[-1]

    def decoded(self, modality: Modality, source: Source, **options: Any) -> Decoded:
        answer = self.ask(modality, source, **options)
        assert isinstance(answer, Decoded), answer
        return answer

    def failure(self, modality: Modality, source: Source, **options: Any) -> Failure:
        answer = self.ask(modality, source, **options)
        assert isinstance(answer, DecodeFailed), answer
        return answer.failure

    def read(self, ref: BlobRef) -> Any:
        return np.frombuffer(bytes(self.reader.view(ref)), ref.dtype).reshape(ref.shape)

    def tensor(self, made: Decoded, name: str) -> Any:
        """Of the only part."""
        (part,) = made.parts
        return self.read(part.tensors[name])

    def close(self) -> None:
        self.worker.on_stop()
        self.worker.link.close()
        self.worker.context.term()
        self.reader.close()
        self.arena.close()


@pytest.fixture
def bench(checkpoints: Checkpoints, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(checkpoints("qwen_omni"), tmp_path)
    yield made
    made.close()


def test_a_picture(bench: Bench) -> None:
    data = png(picture(1))
    made = bench.decoded("image", Encoded(bench.blob(data)))
    (part,) = made.parts
    assert (part.kind, part.rows, part.key) == ("image", 4, made.key)
    assert (made.text, made.counts, made.number) == ("<|IMAGE|>", (4,), "")
    assert made.planes is not None
    assert len(made.planes) == 3 * 4 * 4
    digest = content_digest("blake3", Encoded(bench.blob(data)), data)
    assert (made.digest, made.key) == (digest, item_key(digest, "image", {}, {}, "salt"))
    assert bench.read(part.tensors["image_grid_thw"]).tolist() == [[1, 4, 4]]
    assert (part.tensors["pixel_values"].shape, part.tensors["pixel_values"].dtype) == (
        (16, 1176 // 2),
        "uint8",
    )
    assert [(t.stage, t.detail) for t in made.timings] == [("decode", "image")]


def test_the_same_picture_as_file_and_as_pixels(bench: Bench) -> None:
    image = picture(1, 60, 80)
    file = bench.decoded("image", Encoded(bench.blob(png(image))))
    pixels = bench.decoded("image", Pixels(bench.blob(np.asarray(image)), "RGB"))
    assert np.array_equal(*(bench.tensor(made, "pixel_values") for made in (file, pixels)))
    assert file.key != pixels.key


def test_the_same_clip_as_file_and_as_frames(bench: Bench) -> None:
    data = clip(2, 5)
    file = bench.decoded("video", Encoded(bench.blob(data)))
    frames = bench.decoded("video", Frames(bench.blob(clip_frames(data)), fps=2.0))
    assert bench.tensor(file, "video_grid_thw").tolist() == [[3, 4, 4]]
    assert file.planes == frames.planes
    assert np.array_equal(*(bench.tensor(made, "pixel_values_videos") for made in (file, frames)))


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # in transformers' own code
def test_a_clip_and_its_sound_are_one_item_of_two_parts(bench: Bench) -> None:
    silent, with_sound = film("mkv", 4, seed=1), film("mkv", 4, seed=1, sound=sound(1, 1.0))
    heard = bench.decoded("video", Encoded(bench.blob(with_sound)), io={"sound_track": True})
    seen = bench.decoded("video", Encoded(bench.blob(with_sound)))
    assert [(part.kind, part.rows) for part in heard.parts] == [("video", seen.rows), ("audio", 25)]
    assert [set(part.tensors) for part in heard.parts] == [
        {"pixel_values_videos", "video_grid_thw"},
        {"input_features", "feature_attention_mask"},
    ]
    assert heard.parts[0].key == heard.key
    assert len({heard.key, seen.key, heard.parts[1].key}) == 3
    assert sum(heard.counts) == seen.rows + 25
    plain = bench.decoded("video", Encoded(bench.blob(silent)), io={"sound_track": True})
    assert [part.kind for part in plain.parts] == ["video"]
    too_short = film("mkv", 4, seed=1, sound=sound(1, 0.02))
    assert (
        len(bench.decoded("video", Encoded(bench.blob(too_short)), io={"sound_track": True}).parts)
        == 1
    )


def test_frames_are_sampled_only_when_that_is_asked_for(bench: Bench) -> None:
    frames = bench.blob(clip_frames(clip(2, 8)))
    for source, options, patches in (
        (Frames(frames), {}, 4),
        (Frames(frames), {"num_frames": 4}, 2),
        (Frames(frames, do_sample_frames=False), {"num_frames": 4}, 4),
    ):
        made = bench.decoded("video", source, processor=options)
        assert bench.tensor(made, "video_grid_thw").tolist() == [[patches, 4, 4]]


def test_S30_a_model_that_samples_by_rate_looks_twice_a_second(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    """At the frames that transformers would choose, unless the request says otherwise: of 4 s at 4
    a second, 8."""
    folder = shutil.copytree(checkpoints("qwen_omni"), tmp_path / "by-rate")
    for name in ("processor_config.json", "video_preprocessor_config.json"):
        if (file := folder / name).exists():
            known = json.loads(file.read_text())
            known.get("video_processor", known)["do_sample_frames"] = True
            file.write_text(json.dumps(known))
    content = film("mp4", 16, seed=7, rate=4)
    chooser = find_class("Qwen2VLVideoProcessor")
    assert chooser is not None
    own = (
        chooser.from_pretrained(folder)
        .sample_frames(VideoMetadata(total_num_frames=16, fps=4.0), fps=2)
        .tolist()
    )
    assert len(own) == 8
    bench = Bench(folder, tmp_path)
    for options, chosen in (({}, own), ({"num_frames": 3}, [0, 7, 15])):
        made = bench.decoded("video", Encoded(bench.blob(content)), io=options)
        frames = Frames(bench.blob(shown(content)[chosen]), do_sample_frames=False)
        truth = bench.decoded("video", frames)
        assert made.counts == truth.counts
        assert np.array_equal(*(bench.tensor(one, "pixel_values_videos") for one in (made, truth)))
    bench.close()


def test_the_same_sound_as_file_and_as_samples(bench: Bench) -> None:
    file = bench.decoded("audio", Encoded(bench.blob(wav(sound(1, 1.0)))))
    samples = bench.decoded("audio", Samples(bench.blob(sound(1, 1.0)), RATE))
    assert file.rows == samples.rows == 25
    assert np.array_equal(*(bench.tensor(made, "input_features") for made in (file, samples)))


def test_embeddings_pass_through(bench: Bench) -> None:
    hidden = bench.config.model.hidden
    rows = np.random.default_rng(0).standard_normal((4, hidden)).astype(np.float32)
    made = bench.decoded("image", Embeds(bench.blob(rows), (1, 4, 4)))
    assert np.array_equal(bench.tensor(made, "embeds"), rows)
    bits = bench.arena.put(
        np.full((3, hidden), 0x3F80, np.uint16).tobytes(), "bfloat16", (3, hidden)
    )
    assert bench.decoded("audio", Embeds(bits)).parts[0].tensors["embeds"].dtype == "bfloat16"
    assert (
        "must have 8 rows, got 4"
        in bench.failure("image", Embeds(bench.blob(rows), (2, 4, 4))).text
    )
    assert "need their grid" in bench.failure("image", Embeds(bench.blob(rows))).text


def test_a_bad_item_is_refused_and_the_next_one_works(bench: Bench) -> None:
    failure = bench.failure("image", Encoded(bench.blob(b"no picture")))
    assert (failure.kind, failure.part) == ("unprocessable_media", "messages[0].content[1]")
    assert (
        bench.failure("audio", Samples(bench.blob(np.zeros(40, np.float32)), RATE)).kind
        == "unprocessable_media"
    )
    assert bench.decoded("image", Encoded(bench.blob(png(picture(1))))).rows == 4
    assert bench.worker.counters()["failed"] == 2


LONG = "'x' * 1000000"
HOSTILE = [
    "{{ '%1000000000d'|format(1) }}",
    "{{ '%.1000000000f' % 1.5 }}",
    "{{ '%*d' % (1000000000, 1) }}",
    "{{ '%*d'|format(1000000000, 1) }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ '{:{}}'.format(1, 1000000000) }}",
    "{{ '{a:>{b}}'.format_map({'a': 1, 'b': 1000000000}) }}",
    "{{ 'x'|center(1000000000) }}",
    "{{ 'x'.ljust(1000000000) }}",
    "{{ 'x'.zfill(1000000000) }}",
    "{{ '\t'.expandtabs(1000000000) }}",
    "{{ 'x\ny'|indent(1000000000) }}",
    "{{ {'a': 1}|tojson(indent=1000000000) }}",
    f"{{{{ ({LONG}).replace('x', {LONG}) }}}}",
    f"{{{{ ({LONG})|replace('x', {LONG}) }}}}",
    f"{{{{ ({LONG})|list|join({LONG}) }}}}",
    f"{{{{ ({LONG}).join({LONG}) }}}}",
    "{{ 'x' * 10 ** 10 }}",
    "{{ lipsum(n=1000000) }}",
    "{% set n = namespace(x='x' * 999999) %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% "
    "endfor %}{{ n.x }}",
    "{% for a in range(99999) %}{% for b in range(99999) %}{{ b }}{% endfor %}{% endfor %}",
    "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
    "{{ ('x ' * 400000)|wordwrap(1)|urlize|wordwrap(2) }}{% for a in range(99999) %}{{ ('x' * "
    "99999)|upper }}{% endfor %}",
    "{{ range(99999)|batch(1)|list|tojson(indent=99999) }}",
    "{{ " + "(" * 300 + "1" + ")" * 300 + " }}{{ ''.__class__ }}",
]


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # time that ends in a finalizer is told again
@pytest.mark.parametrize("source", HOSTILE)
def test_a_callers_template_harms_nobody_whatever_it_does(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.setattr(templates, "CPU_SECONDS", 0.3)
    bench.worker.on_message("preprocessor", RenderChat(7, chat("hello", template=source), ()))
    refused = bench.answers[-1]
    assert isinstance(refused, DecodeFailed)
    assert (refused.job, refused.failure.kind) == (7, "invalid_request")
    assert "template" in refused.failure.text or refused.failure.code == "context_length_exceeded"
    bench.worker.on_message(
        "preprocessor", RenderChat(8, chat("hello", template="{{ messages[0].content }}!"), ())
    )
    rendered = bench.answers[-1]
    assert isinstance(rendered, ChatRendered)
    assert (rendered.job, rendered.text) == (8, "hello!")


def test_a_callers_template_names_the_items_as_the_shell_would(bench: Bench) -> None:
    source = (
        "{% for part in messages[0].content %}{{ part.text or "
        "'<|vision_bos|><|IMAGE|><|vision_eos|>' }}{% endfor %}"
    )
    bench.worker.on_message(
        "preprocessor", RenderChat(1, chat("a", 0, "b", 1, template=source), ("image", "image"))
    )
    rendered = bench.answers[-1]
    assert isinstance(rendered, ChatRendered), rendered
    assert rendered.order == {"image": [0, 1]}


def test_bytes_that_went_with_their_process(bench: Bench) -> None:
    gone = BlobRef(bench.blob(b"x").segment.replace("client-a.1", "client-z.9"), 0, "uint8", (4,))
    assert bench.failure("image", Encoded(gone)).kind == "restarted"


def test_an_item_that_takes_too_much_memory(
    checkpoints: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(checkpoints("qwen_omni"), tmp_path)
    try:

        def greedy(*_: Any) -> Any:
            return np.zeros(
                2 * bench.config.media.memory, np.uint8
            )  # what the tests before have freed is no match for it

        monkeypatch.setattr(bench.worker._decoder, "features", greedy)
        failure = bench.failure("image", Encoded(bench.blob(b"x")))
        assert failure.kind == "too_large"
        io.BytesIO(bytes(1 << 20))  # the limit is lifted again
    finally:
        bench.close()


def test_A3_an_item_that_takes_too_much_cpu_time_ends_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    media = msgspec.structs.replace(bench.config.media, image_seconds=0.05, decode_seconds=0.1)
    bench.worker.config = msgspec.structs.replace(bench.config, media=media)

    def endless(*_: Any) -> Any:
        while True:
            try:
                sum(range(1000))
            except Exception:  # as decoders do: the limit is none of these
                continue

    with monkeypatch.context() as patch:
        patch.setattr(bench.worker._decoder, "features", endless)
        picture_failure = bench.failure("image", Encoded(bench.blob(b"x")))
        sound_failure = bench.failure("audio", Encoded(bench.blob(b"x")))
    assert (picture_failure.kind, picture_failure.code) == ("unprocessable_media", "decode_timeout")
    assert picture_failure.text.startswith("The picture takes longer than 0.05 s")
    assert sound_failure.text.startswith("The sound takes longer than 0.1 s")
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)
    assert (
        bench.decoded(
            "image",
            Embeds(bench.blob(np.zeros((4, bench.config.model.hidden), np.float32)), (1, 4, 4)),
        ).rows
        == 4
    )


def test_A3_a_pictures_limit_is_seconds_and_no_more_than_that_of_any_item() -> None:
    assert (MediaLimits().cpu_seconds("image"), MediaLimits().cpu_seconds("video")) == (10.0, 60.0)
    assert MediaLimits(decode_seconds=2.0).cpu_seconds("image") == 2.0


def test_features_stay_until_nobody_reads_them(bench: Bench) -> None:
    first = bench.decoded("image", Encoded(bench.blob(png(picture(1)))))
    used = bench.worker.counters()["arena_bytes_used"]
    bench.decoded("image", Encoded(bench.blob(png(picture(2)))))
    bench.worker.on_message("preprocessor", FreeFeatures((2, 99)))
    assert bench.worker.counters()["arena_bytes_used"] == used
    bench.worker.on_message("preprocessor", FreeFeatures((first.job,)))
    assert bench.worker.counters()["arena_bytes_used"] == 0


def test_a_full_arena_is_told_apart(checkpoints: Checkpoints, tmp_path: Path) -> None:
    bench = Bench(checkpoints("qwen_omni"), tmp_path)
    try:
        assert bench.worker._arena is not None
        bench.worker._arena._limit = 0
        failure = bench.failure("image", Encoded(bench.blob(png(picture(1)))))
        assert (failure.kind, failure.code) == ("unavailable", "no_shared_memory")
        assert bench.worker.counters()["arena_bytes_used"] == 0
    finally:
        bench.close()
