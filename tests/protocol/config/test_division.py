from typing import Any

import msgspec
import pytest

from thespis.protocol.config.division import actors_of, divide
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.config.roles import HttpConfig, RunnerConfig, SchedulerConfig, encode_config
from thespis.protocol.config.room import Room
from thespis.protocol.config.server import ServerConfig
from thespis.protocol.errors import EngineError
from thespis.protocol.facts import KvGroup, ModelFacts, PlaceholderFacts, RecurrentGroup
from thespis.protocol.requests.pooling import Pooler

MODEL = ModelFacts(
    path="/models/tiny",
    model_type="llava",
    layers=2,
    kv_groups=(KvGroup(layers=(0, 1), kv_heads=2, key_dim=16, value_dim=16),),
    hidden=64,
    vocab=300,
    context=512,
    eos_token_ids=(1,),
    dtype="bfloat16",
    fingerprint="f" * 64,
)

SEEING = msgspec.structs.replace(
    MODEL,
    placeholders={
        "image": PlaceholderFacts(token="<i>", text="<i>", embed_token="<i>", embed_token_id=7)
    },
)


def part(role: str, cuda: bool = False, **settings: Any) -> Any:
    return divide(EngineConfig(**settings), MODEL, cuda).roles[role]


def test_a_cpu_computes_in_float32_and_a_gpu_as_the_weights_are() -> None:
    cpu, gpu = part("gpu-runner"), part("gpu-runner", cuda=True)
    assert (cpu.device, cpu.dtype) == ("cpu", "float32")
    assert (gpu.device, gpu.dtype) == ("cuda", "bfloat16")
    assert part("gpu-runner", cuda=True, device="cpu").device == "cpu"
    assert part("encoder-cache", dtype="float16").dtype == "float16"


@pytest.mark.parametrize(
    ("stored", "units", "settings", "computed"),
    [
        ("bfloat16", True, {}, "bfloat16"),
        ("bfloat16", False, {}, "float32"),
        ("float32", True, {}, "float32"),
        ("float16", True, {}, "float32"),  # bfloat16 would round it
        ("bfloat16", True, {"dtype": "float32"}, "float32"),
        ("float32", False, {"dtype": "bfloat16"}, "bfloat16"),
    ],
)
def test_a_cpu_with_units_for_bfloat16_computes_in_it_what_is_stored_so(
    stored: str, units: bool, settings: dict[str, Any], computed: str
) -> None:
    model = msgspec.structs.replace(MODEL, dtype=stored)
    roles = divide(EngineConfig(**settings), model, server=ServerConfig(), bfloat16=units).roles
    for role in ("gpu-runner", "encoder-cache", "http"):
        assert roles[role].dtype == computed  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("parameters", "cores", "runner", "encoder"),
    [
        (
            9_000_000,
            2,
            (1, 1, 2),
            (2, 1, 2),
        ),  # each call of a token is over before two threads have met; a picture, a prompt are many
        (9_000_000, 64, (1, 1, 4), (4, 4, 4)),
        (432_000_000, 1, (1, 1, 1), (1, 1, 1)),
        (432_000_000, 2, (2, 1, 2), (2, 1, 2)),
        (432_000_000, 3, (3, 1, 3), (3, 2, 3)),
        (432_000_000, 64, (12, 12, 12), (12, 12, 12)),
        (7_000_000_000, 16, (16, 8, 16), (16, 8, 16)),
    ],
)
def test_threads_are_as_many_as_the_model_keeps_busy_and_shared_while_both_compute(
    parameters: int,
    cores: int,
    runner: tuple[int, int, int],
    encoder: tuple[int, int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(cores))
    model = msgspec.structs.replace(MODEL, parameters=parameters)
    roles: Any = divide(EngineConfig(), model).roles
    assert (roles["gpu-runner"].threads, roles["encoder-cache"].threads) == (runner, encoder)
    told: Any = divide(EngineConfig(runner_threads=3, encoder_threads=5), model).roles
    assert (told["gpu-runner"].threads, told["encoder-cache"].threads) == ((3, 3, 3), (5, 5, 5))


def test_one_encoder_is_the_encoder_cache_itself() -> None:
    assert [role for role in actors_of(EngineConfig()) if "encode" in role] == ["encoder-cache"]
    encoder, runner = part("encoder-cache"), part("gpu-runner")
    assert (encoder.sharing, runner.sharing) == (("gpu-runner",), ("encoder-cache",))


def test_of_several_encoders_each_knows_who_computes_beside_it_and_one_has_the_disk() -> None:
    config = EngineConfig(encoders=3, encoder_cache_dir="/kept", tensor_parallel_size=2)
    roles: Any = divide(config, SEEING).roles
    names = ("encoder-cache", "encode-worker-1", "encode-worker-2")
    assert roles["gpu-runner"].sharing == names
    for name in names:
        assert roles[name].sharing == ("gpu-runner", *(other for other in names if other != name))
        assert roles[name].threads == roles["encoder-cache"].threads
        assert roles[name].ranks == 2
        assert (roles[name].disk is None) == (name != "encoder-cache")


@pytest.mark.parametrize("settings", [{"encoder_threads": 2}, {"deterministic": True}])
def test_encoders_whose_threads_are_fixed_do_not_divide_the_cores(settings: dict[str, Any]) -> None:
    roles: Any = divide(EngineConfig(encoders=2, **settings), SEEING).roles
    one: Any = divide(EngineConfig(**settings), SEEING).roles["encoder-cache"]
    for role in ("encoder-cache", "encode-worker-1"):
        assert (roles[role].sharing, roles[role].threads) == (("gpu-runner",), one.threads)


@pytest.mark.parametrize(
    ("model", "limits"), [(MODEL, {}), (SEEING, {"image": 0, "video": 0, "audio": 0})]
)
def test_several_encoders_with_nothing_to_encode_are_refused(
    model: ModelFacts, limits: dict[str, int]
) -> None:
    divide(EngineConfig(limit_mm_per_prompt=limits), model)
    with pytest.raises(EngineError, match="encoders=2 is for media"):
        divide(EngineConfig(encoders=2, limit_mm_per_prompt=limits), model)


def test_kv_blocks_on_a_cpu_hold_every_sequence_whole() -> None:
    runner: RunnerConfig = part("gpu-runner", max_num_seqs=4, block_size=16)
    assert runner.room == Room((4 * (512 // 16) + 1,))
    scheduler: SchedulerConfig = part("scheduler", max_num_seqs=4, block_size=16)
    assert (scheduler.room, scheduler.windows) == (runner.room, (None,))
    assert part("gpu-runner", cuda=True).room is None, "the runner measures"


def test_kv_blocks_follow_from_the_memory_given() -> None:
    block = 2 * MODEL.layers * 16 * 2 * 16 * 4
    assert part("gpu-runner", kv_cache_gb=10.5 * block / (1 << 30)).room == Room((10,))
    with pytest.raises(EngineError, match="kv_cache_gb"):
        part("gpu-runner", kv_cache_gb=block / (1 << 30))


def test_a_model_that_keeps_nothing_of_its_tokens_is_refused_by_name() -> None:
    with pytest.raises(EngineError, match="'mamba' keep nothing of their tokens"):
        divide(EngineConfig(), msgspec.structs.replace(MODEL, model_type="mamba", kv_groups=()))


def test_a_context_beyond_the_model_is_refused() -> None:
    assert divide(EngineConfig(max_model_len=512), MODEL).max_model_len == 512
    with pytest.raises(EngineError, match="513"):
        divide(EngineConfig(max_model_len=513), MODEL)


@pytest.mark.parametrize(
    ("memory", "settings", "length"),
    [
        (None, {}, 262_144),  # nobody knows
        (1 << 40, {}, 262_144),
        (1 << 30, {}, 262_144),  # 2 layers of 2 heads of 16: 512 bytes a token, 128 MiB in all
        (100 << 20, {}, 102_400),  # half of the memory
        (100 << 20, {"block_size": 60}, 102_360),  # whole blocks
        (100 << 20, {"dtype": "bfloat16"}, 204_800),
        (
            100 << 20,
            {"max_model_len": 200_000},
            200_000,
        ),  # the operator knows better, or is told by what fails
        (100 << 20, {"kv_cache_gb": 0.25}, 262_144),
        (1 << 20, {}, 1024),
        ((1 << 20) - 16 * 1024, {}, 262_144),  # not even the least
    ],
)
def test_Q23_a_long_context_that_nobody_has_asked_for_fits_the_memory(
    memory: int | None, settings: dict[str, Any], length: int
) -> None:
    long = msgspec.structs.replace(MODEL, context=262_144)
    assert divide(EngineConfig(**settings), long, memory=memory).max_model_len == length


def test_a_model_that_states_no_context_may_be_told_one() -> None:
    """As one that has nothing but states, which has no positions."""
    states = RecurrentGroup(layers=(0, 1), conv=(64, 4), state=(64, 16))
    model = msgspec.structs.replace(
        MODEL, kv_groups=(), recurrent=(states,), context=2048, context_stated=False
    )
    assert divide(EngineConfig(), model).max_model_len == 2048
    assert divide(EngineConfig(max_model_len=100_000), model).max_model_len == 100_000
    with pytest.raises(EngineError, match="more than the model's context of 1073741824 tokens"):
        divide(EngineConfig(max_model_len=1 << 31), model)
    with pytest.raises(
        EngineError,
        match=r"kv_cache_gb=1e-06 is too little: a sequence of one token takes \d+ bytes",
    ):
        divide(EngineConfig(kv_cache_gb=1e-6), model)


def test_http_is_a_role_only_where_it_is_served() -> None:
    assert "http" not in divide(EngineConfig(), MODEL).roles
    http = divide(EngineConfig(), MODEL, server=ServerConfig(port=1)).roles["http"]
    assert isinstance(http, HttpConfig)
    assert http.server.port == 1


def test_there_is_a_role_per_decode_worker() -> None:
    roles = divide(EngineConfig(decode_workers=3), MODEL).roles
    assert [role for role in roles if role.startswith("decode-worker")] == [
        f"decode-worker-{n}" for n in range(3)
    ]
    assert part("preprocessor", decode_workers=3).workers == 3


@pytest.mark.parametrize(("cores", "workers"), [(1, 1), (2, 1), (4, 2), (64, 8)])
def test_media_are_decoded_by_more_processes_where_there_are_more_cores(
    cores: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(cores))
    assert sum(role.startswith("decode-worker") for role in actors_of(EngineConfig())) == workers
    assert part("preprocessor").workers == workers


def test_every_part_travels_as_json() -> None:
    for config in divide(EngineConfig(), MODEL, server=ServerConfig()).roles.values():
        assert msgspec.json.decode(encode_config(config), type=type(config)) == config


@pytest.mark.parametrize(
    ("limits", "encoded"),
    [
        ({}, ("image", "video", "audio")),
        ({"image": 0}, ("video", "audio")),
        ({"image": 0, "video": {"count": 0}}, ("audio",)),
        ({"audio": 0}, ("image", "video", "audio")),  # of clips
        ({"audio": 0, "video": 0}, ("image",)),
        ({"image": 0, "video": 0, "audio": 0}, ()),
        ({"image": {"width": 8, "height": 8}}, ("image", "video", "audio")),
    ],
)
def test_B12_what_the_encoder_will_have_to_take(
    limits: dict[str, Any], encoded: tuple[str, ...]
) -> None:
    assert part("encoder-cache", limit_mm_per_prompt=limits).modalities == encoded


def test_what_the_operator_says_of_vectors_goes_before_the_files() -> None:
    maker = msgspec.structs.replace(MODEL, output="vector", pooler=Pooler())
    given = {"pooling_type": "MEAN", "use_activation": False, "matryoshka_dimensions": [16, 32]}
    roles = divide(EngineConfig(pooler_config=given), maker, False).roles
    wanted = Pooler(take="mean", normalize=False, matryoshka=True, dimensions=(16, 32))
    scheduler, runner = roles["scheduler"], roles["gpu-runner"]
    assert isinstance(scheduler, SchedulerConfig)
    assert isinstance(runner, RunnerConfig)
    assert scheduler.pooler == runner.model.pooler == wanted
    with pytest.raises(EngineError, match="this model makes text"):
        divide(EngineConfig(pooler_config=given), MODEL, False)


@pytest.mark.parametrize(
    "given", [{"pooling_type": "MAX"}, {"pooling": "MEAN"}, {"matryoshka_dimensions": [0]}]
)
def test_what_is_no_way_to_make_vectors_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="pooler_config"):
        EngineConfig(pooler_config=given)


def test_a_deterministic_engine_computes_alone_in_fixed_pieces_on_fixed_threads() -> None:
    scheduler, runner, encoder = (
        part(role, deterministic=True, block_size=24)
        for role in ("scheduler", "gpu-runner", "encoder-cache")
    )
    assert scheduler.tile == 72
    assert runner.deterministic
    assert encoder.deterministic
    assert encoder.max_batch_rows == 1
    assert len(set(runner.threads)) == len(set(encoder.threads)) == 1
    assert part("scheduler").tile is None
    assert not part("gpu-runner").deterministic
    long = part("scheduler", deterministic=True, block_size=1024)
    assert long.tile == long.max_batched_tokens == 1024
    with pytest.raises(  # before a model is fetched for it
        ValueError,
        match="deterministic computes 64 tokens of a prompt at once, and max_num_batched_tokens=32",
    ):
        EngineConfig(deterministic=True, max_num_batched_tokens=32)


def test_guesses_are_refused_where_they_cannot_be_taken_back() -> None:
    how = {"method": "ngram", "num_speculative_tokens": 4}
    found = part("scheduler", speculative_config=how).speculation
    assert found is not None
    assert found.num_speculative_tokens == 4
    assert part("scheduler").speculation is None
    states = msgspec.structs.replace(
        MODEL, recurrent=(RecurrentGroup(layers=(0,), conv=(8, 3), state=(4, 4)),)
    )
    with pytest.raises(EngineError, match="Models of type 'llava' keep states of their tokens"):
        divide(EngineConfig(speculative_config=how), states)
    with pytest.raises(
        ValueError, match="choose one of the two"
    ):  # before a model is fetched for it
        EngineConfig(speculative_config=how, deterministic=True)
    with pytest.raises(ValueError, match="speculative_config: "):
        EngineConfig(speculative_config={"method": "eagle"})
