"""Help texts: every verb, every setting, and quickly."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Annotated, get_args, get_origin, get_type_hints

import msgspec
import pytest

from thespis.frontends.cli.flags import add_flags, build
from thespis.frontends.cli.main import COMMANDS, build_parser, main
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.config.server import ServerConfig


def help_of(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    return capsys.readouterr().out


def test_the_first_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    text = capsys.readouterr().out
    for name in COMMANDS:
        assert f"\n    {name} " in text
    assert "examples:" in text


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_a_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = COMMANDS[command].line
    assert f"{line[0].upper()}{line[1:]}." in " ".join(help_of(command, capsys).split())


@pytest.mark.parametrize("schema", [EngineConfig, ServerConfig])
def test_every_described_field_is_a_flag_of_serve(
    schema: type[msgspec.Struct], capsys: pytest.CaptureFixture[str]
) -> None:
    text = " ".join(help_of("serve", capsys).split())
    for name, hint in get_type_hints(schema, include_extras=True).items():
        if get_origin(hint) is Annotated and name != "model":
            assert f"--{name.replace('_', '-')}" in text
            assert squeezed(get_args(hint)[1].description) in squeezed(text)


def squeezed(text: str) -> str:
    """Lines are broken at blanks and at hyphens."""
    return "".join(text.split())


UNITS = re.compile(
    r"\b(connections|seconds|hours|MiB|GiB|tokens|requests|sequences|processes|threads|share|port)\b"
)


@pytest.mark.parametrize("schema", [EngineConfig, ServerConfig])
def test_every_number_has_a_unit(schema: type[msgspec.Struct]) -> None:
    for name, hint in get_type_hints(schema, include_extras=True).items():
        if get_origin(hint) is Annotated and name != "seed":
            kind, meta = get_args(hint)
            if {int, float} & {kind, *get_args(kind)}:
                assert UNITS.search(meta.description), f"{name}: {meta.description}"


def test_S41_the_doors_bounds_stand_in_the_help_with_their_defaults(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = " ".join(help_of("serve", capsys).split())
    for flag, words, default in (
        ("--port N", "port to listen on", "8000"),
        (
            "--max-requests N",
            "requests in the engine at once, over all clients;",
            "twice max_num_seqs, at least 128",
        ),
        ("--max-inflight-tokens N", "prompt and output tokens of all accepted requests", "4000000"),
        ("--max-media-gb X", "GiB of media of all accepted requests", "1.0"),
        ("--max-body-mb X", "MiB of one request's body", "256.0"),
    ):
        assert re.search(rf"{flag} {words}[^)]*default: {default}\b", text), flag


def test_flags_fill_the_structs_and_what_is_not_given_keeps_its_default() -> None:
    given = build_parser("serve").parse_args(
        [
            "serve", "folder", "--max-num-seqs", "3", "--no-enable-prefix-caching",
            "--limit-mm-per-prompt", '{"image": 2}',
            "--allowed-media-domains", "a.org", "b.org", "--port", "0", "--api-key", "k1",
            "--api-key", "k2",
            "--kv-cache-gb", "0.5", "--dtype", "bfloat16",
        ]
    )  # fmt: skip
    engine, server = build(EngineConfig, given), build(ServerConfig, given)
    assert engine == EngineConfig(
        model="folder",
        max_num_seqs=3,
        enable_prefix_caching=False,
        limit_mm_per_prompt={"image": 2},
        allowed_media_domains=("a.org", "b.org"),
        kv_cache_gb=0.5,
        dtype="bfloat16",
    )
    assert server == ServerConfig(port=0, api_key=("k1", "k2"))


def test_the_model_after_a_key_is_the_model() -> None:
    long = "k" * 300  # longer than a file's name may be
    given = build_parser("serve").parse_args(
        ["serve", "--api-key", "k1", "./Qwen2-VL", "--api-key", long]
    )
    assert build(ServerConfig, given).api_key == ("k1", long)
    assert given.model == "./Qwen2-VL"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--allowed-media-domains", "a.org"], "MODEL goes before the flags"),
        (
            ["--api-key"],
            "expected a value, got the model 'Qwen2-VL'",
        ),  # --api-key $KEY Qwen2-VL, and no KEY
    ],
)
def test_a_checkpoint_is_no_value_of_a_list(
    flags: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "Qwen2-VL").mkdir()
    (tmp_path / "Qwen2-VL" / "config.json").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["serve", *flags, "Qwen2-VL"])
    assert end.value.code == 2
    assert words in capsys.readouterr().err


def test_chat_takes_the_engines_flags() -> None:
    given = build_parser("chat").parse_args(
        ["chat", "folder", "--max-model-len", "512", "--dtype", "float32"]
    )
    assert build(EngineConfig, given) == EngineConfig(
        model="folder", max_model_len=512, dtype="float32"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--limit-mm-per-prompt", "image=2"],
            "expected a JSON object such as '{\"image\": 2}', got 'image=2'",
        ),
        (
            ["--speculative-config", "ngram"],
            'such as \'{"method": "ngram", "num_speculative_tokens": 4}\', got \'ngram\'',
        ),
        (
            ["--deterministic=1"],
            "--deterministic takes no value: write --deterministic or --no-deterministic alone",
        ),
        (["--native_kernels=0"], "--native-kernels takes no value"),
        (["--port", "http"], "argument --port: expected a whole number, got 'http'"),
        (["--max-stored-gb", "much"], "expected a number, got 'much'"),
        (["--no-such-flag"], "there is no flag --no-such-flag"),
        (["--api-key", ""], "expected a value, got an empty one"),
        (["--dtype", "int8"], "invalid choice: 'int8'"),
        (["--tool-call-parser", "telepathic"], "invalid choice: 'telepathic'"),
        (["--allowed-media-domains", "a.org", "./Qwen2-VL"], "'./Qwen2-VL' is not a host name: "),
        (["--allowed-media-domains", "a.org", "models/Qwen2-VL"], "MODEL goes before the flags"),
        (["--allowed-media-domains", "https://a.org"], "a host name has no scheme"),
    ],
)
def test_a_wrong_flag_says_what_is_expected(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["serve", *arguments])
    assert end.value.code == 2
    assert words in capsys.readouterr().err


def test_a_value_out_of_range_ends_with_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["serve", "--block-size", "0"])
    assert end.value.code == 1
    assert "block_size must be at least 1" in capsys.readouterr().err


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from thespis.frontends.cli.main import build_parser; "
        "build_parser().format_help();"
        "print([m for m in ('torch', 'transformers', 'aiohttp', 'zmq', 'msgspec') if m in "
        "sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


class Odd(msgspec.Struct):
    share: float = 0.5
    """100 % of it"""


def test_percent_signs_in_a_description_are_harmless() -> None:
    parser = build_parser()
    add_flags(parser, Odd)
    assert "100 % of it (default: 0.5)" in parser.format_help()
