"""Flags that there are not: the usage of the command, the nearest flag, and a word on what is not
built."""

import pytest

from thespis import LLM
from thespis.frontends.cli.bench import KINDS
from thespis.frontends.cli.elsewhere import HERE
from thespis.frontends.cli.main import COMMANDS, main, parse
from thespis.frontends.unbuilt import CALLED_HERE, UNBUILT
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.config.server import ServerConfig


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--pipeline-parallel-size", "2"],
            "there is no flag --pipeline-parallel-size. One engine serves one model on one machine",
        ),
        (["folder", "--pipeline-parallel-size=2"], "no flag --pipeline-parallel-size. One engine"),
        (["--pipeline_parallel_size", "2"], "tensor_parallel_size divides a model"),
        (["-pp", "2"], "One engine serves one model"),
        (["-tp", "2"], "there is no flag -tp. Did you mean --tensor-parallel-size?"),
        (
            ["--quantization", "awq", "folder"],
            "argument --quantization: invalid choice: 'awq' (choose from 'int8'). A",
        ),
        (["-q", "int8"], "there is no flag -q. Did you mean --quantization?"),
        (["--compilation-config", "3"], "enforce_eager does without"),
        (["--kv-cache-dtype", "fp8"], "Quantised caches"),
        (["--enable-lora"], "LoRA adapters are not built"),
        (["--speculative-model", "x"], "no second model is run"),
        (["--model", "folder"], "given without a flag"),
        (["--max-modl-len", "5"], "Did you mean --max-model-len?"),
        (["--gpu-mem-utilization", "0.5"], "Did you mean --gpu-memory-utilization?"),
        (["--tensor-paralel-size", "2"], "Did you mean --tensor-parallel-size?"),
        (["--apikey", "k"], "Did you mean --api-key?"),
        (["--zzz"], "`thespis serve --help` lists the flags"),
        (["one", "two"], "unexpected argument 'two'"),
    ],
)
def test_an_unknown_flag_of_serve(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = refused(["serve", *arguments], capsys)
    assert text.startswith("usage: thespis serve [MODEL] [flags]\n")
    assert words in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["chat", "--temprature", "1"],
            'usage: thespis chat [MODEL] ["QUESTION"] [flags]\nthespis chat: error: there is no '
            "flag --temprature. Did",
        ),
        (
            ["bench", "serve", "--strems", "2"],
            "usage: thespis bench serve [flags]\nthespis bench serve: error: there is no flag "
            "--strems. Did you mean --streams?",
        ),
        (
            ["bench", "srve"],
            "thespis bench: error: there is no bench 'srve'. Did you mean 'serve'?",
        ),
        (["bench", "zzz"], "there is no bench 'zzz'. There are serve, stall, cache,"),
        (["server"], "there is no command 'server'. Did you mean 'serve'?"),
        (["--port", "9", "serve"], "flags follow it"),
        (["chat", "a", "b", "c"], "'c': MODEL and QUESTION stand side by side"),
        (
            ["./folder"],
            "there is no command './folder'. A model stands behind a command: thespis s",
        ),
        (["list"], "there is no command 'list'. `thespis models` lists"),
        (["help"], "`thespis --help` lists"),
        (["RM", "ORG/NAME"], "`hf cache rm"),
        (["zzz"], "there is no command 'zzz'. There are serve, demo,"),
        (["bench", "throughput"], "there is no bench 'throughput'. `thespis bench offline`"),
        (["run", "llama3"], "'llama3': it asks the bundled model alone; `thespis chat MODEL`"),
        (["run", "--port", "abc"], "argument --port: expected a whole number, got 'abc'"),
        (["run-batch", "x", "--replicas", "two"], "expected a whole number, got 'two'"),
        (["models", "one"], "unexpected argument 'one': this command takes flags alone"),
        (["bench", "serve", "x"], "'x': this command takes flags alone"),
        (["bench", "serve", "http://x"], "'http://x': an address is given by --base-url"),
        (["bench", "offline", "one", "two"], "'two': there is one MODEL, and every other word"),
    ],
)
def test_other_commands(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in refused(arguments, capsys)


@pytest.mark.parametrize("flag", ["--version", "-v", "-V"])
def test_the_version_is_asked_for_as_elsewhere(
    flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main([flag])
    assert capsys.readouterr().out.startswith("thespis ")


def test_no_command_that_there_is_is_said_not_to_be() -> None:
    kinds = {f"bench-{kind}" for kind in KINDS}
    assert not HERE.keys() & {*COMMANDS, *kinds}
    assert all(word == word.lower() for word in HERE)


def test_flags_may_have_underscores() -> None:
    _, given = parse(
        [
            "serve",
            "--max_model_len",
            "64",
            "--kv_cache_gb=0.5",
            "--no-enable_prefix_caching",
            "folder_with_lines",
        ]
    )
    assert (given.max_model_len, given.kv_cache_gb, given.model) == (64, 0.5, "folder_with_lines")
    assert given.enable_prefix_caching is False
    _, given = parse(["serve", "--chat-template", "a_b_c"])
    assert given.chat_template == "a_b_c"


def test_nothing_that_is_built_is_said_not_to_be() -> None:
    built = {*EngineConfig.__struct_fields__, *ServerConfig.__struct_fields__} - {"model"}
    assert not built & UNBUILT.keys()
    assert set(CALLED_HERE.values()) <= built
    assert all(text.endswith(".") and text[0].isupper() for text in UNBUILT.values())


def test_python_says_the_same() -> None:
    with pytest.raises(
        TypeError,
        match=r"no option 'pipeline_parallel_size'; the options are: "
        r".* One engine serves one model",
    ):
        LLM(pipeline_parallel_size=2)
    with pytest.raises(
        TypeError, match=r"no option 'batch_invariant'; .* The option here is deterministic\."
    ):
        LLM(batch_invariant=True)
    with pytest.raises(TypeError, match="did you mean 'max_model_len'"):
        LLM(max_modl_len=2)
    with pytest.raises(TypeError, match=r"'zzz'; the options are: model, .*\.$"):
        LLM(zzz=2)
