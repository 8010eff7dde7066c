"""Every setting of `thespis serve` by flag, by variable and by file: the same configuration; which
goes before which; and what a wrong one says."""

import json
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import yaml

from thespis.frontends.cli import main as cli
from thespis.frontends.cli.main import main, parse
from thespis.frontends.cli.settling import Settled, settle
from thespis.protocol.config.server_keys import with_keys
from thespis.protocol.config.settings import SETTINGS, Setting, without_none
from thespis.protocol.errors import EngineError

made_once = cache(cli.build_parser)


@pytest.fixture(autouse=True)
def one_parser_reads_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred flags take longer to make than to read, and are made five times in each test."""
    monkeypatch.setattr(cli, "build_parser", made_once)


OF_A_FORM: dict[str, Any] = {
    "allowed_hosts": ["one.example", "two.example"],
    "allowed_origins": ["https://one.example", "http://two.example:3000"],
    "allowed_media_domains": ["one.example", "two.example"],
    "api_key": ["a key, of any characters"],
    "gpu_memory_utilization": 0.5,
    "kv_cache_gb": 2.5,
    "limit_mm_per_prompt": {"image": 2, "video": {"count": 1, "num_frames": 4}},
    "media_io_kwargs": {"video": {"num_frames": 8}},
    "model": "ORG/NAME",
    "mm_processor_kwargs": {"max_pixels": 100_000},
    "pooler_config": {"pooling_type": "MEAN"},
    "revision": "main",
    "root_path": "/llm",
    "otlp_endpoint": "http://127.0.0.1:4318",
    "speculative_config": {"method": "ngram", "num_speculative_tokens": 4},
}
"""Where a value of the kind is not enough."""
NEEDS = {"revision": {"model": "ORG/NAME"}}


def value_of(setting: Setting) -> Any:
    """Not the default."""
    if setting.name in OF_A_FORM:
        return OF_A_FORM[setting.name]
    kind = without_none(setting.kind)
    default = getattr(setting.schema(), setting.name)
    if kind is bool:
        return not default
    if get_origin(kind) is Literal:
        return next(word for word in get_args(kind) if word != default)
    return {int: 48, float: 7.5, str: "some words: here"}[kind]


def as_flags(setting: Setting, value: Any) -> list[str]:
    if setting.name == "model":
        return [str(value)]
    if isinstance(value, bool):
        return [setting.flag if value else setting.flag.replace("--", "--no-")]
    if isinstance(value, list):
        return [word for one in value for word in (setting.flag, one)]
    return [setting.flag, json.dumps(value) if isinstance(value, dict) else str(value)]


def as_variable(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(value) if len(value) > 1 else str(value[0])
    return json.dumps(value) if isinstance(value, dict | bool) else str(value)


def by_flags(words: list[str], environ: dict[str, str] | None = None) -> Settled:
    return settle(vars(parse(["serve", *words])[1]), environ or {})


def in_file(folder: Path, values: dict[str, Any]) -> list[str]:
    file = folder / "settings.yaml"
    file.write_text(yaml.safe_dump({k.replace("_", "-"): v for k, v in values.items()}))
    file.chmod(0o600)
    return ["--config", str(file)]


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=lambda setting: setting.name)
def test_by_flag_variable_and_file_it_is_the_same(setting: Setting, tmp_path: Path) -> None:
    value, more = value_of(setting), NEEDS.get(setting.name, {})
    needed = [word for name, one in more.items() for word in as_flags(SETTINGS[name], one)]
    flag = by_flags([*as_flags(setting, value), *needed])
    variable = by_flags(needed, {setting.variables[0]: as_variable(value)})
    file = by_flags([*in_file(tmp_path, {setting.name: value}), *needed])
    assert flag == variable == file
    assert flag[:3] != by_flags(needed)[:3]
    path = {"THESPIS_CONFIG": in_file(tmp_path, {setting.name: value})[1]}
    assert by_flags(needed, path) == flag


def test_every_flag_of_serve_is_a_setting(capsys: pytest.CaptureFixture[str]) -> None:
    """What the help lists, but for the help and the file itself."""
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    lines = capsys.readouterr().out.splitlines()
    listed = {line.split()[0].rstrip(",") for line in lines if line.startswith("  --")}
    assert listed - {"--config"} == {
        setting.flag for setting in SETTINGS.values() if setting.name != "model"
    }


def test_a_flag_goes_before_its_variable_and_that_before_the_file(tmp_path: Path) -> None:
    file = in_file(tmp_path, {"port": 1, "host": "::1", "max_num_seqs": 5})
    environ = {"THESPIS_PORT": "2", "THESPIS_HOST": "127.0.0.2"}
    engine, server, *_ = by_flags([*file, "--port", "3"], environ)
    assert (server.port, server.host, engine.max_num_seqs) == (3, "127.0.0.2", 5)
    assert by_flags(file, environ).server.port == 2
    assert by_flags(file).server.port == 1


def test_keys_are_one_thing(tmp_path: Path) -> None:
    """A key of a file never lets somebody in beside those whom a flag has named."""
    file = in_file(tmp_path, {"api_key": ["filed"], "api_key_file": "other"})
    environ = {"VLLM_API_KEY": "theirs"}
    assert by_flags([*file, "--api-key-file", "keys"], environ).server.api_key == ()
    told = by_flags(file, environ).server
    assert (told.api_key, told.api_key_file) == (("theirs",), None)
    told = by_flags(file).server
    assert (told.api_key, told.api_key_file) == (("filed",), "other")


def test_a_twin_of_vllm_counts_before_the_file(tmp_path: Path) -> None:
    file = in_file(tmp_path, {"media_cache": "/filed"})
    assert by_flags(file, {"VLLM_MEDIA_CACHE": "/theirs"}).engine.media_cache == "/theirs"


def test_an_empty_variable_and_an_address_of_kubernetes_are_not_set() -> None:
    environ = {
        "THESPIS_PORT": "tcp://10.0.0.7:8000",
        "THESPIS_HOST": " ",
        "THESPIS_SERVICE_HOST": "10.0.0.7",
        "THESPIS_PORT_8000_TCP_ADDR": "10.0.0.7",
        "THESPIS_TEST_DEVICE": "cuda",
    }
    told = by_flags([], environ)
    assert told[:3] == by_flags([])[:3]
    assert told.remarks == ["variables that mean nothing here: THESPIS_TEST_DEVICE"]


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"THESPIS_MAX_MODL_LEN": "5"}, r"no variable .* Did you mean THESPIS_MAX_MODEL_LEN\?"),
        ({"THESPIS_APIKEY": "x"}, r"Did you mean THESPIS_API_KEY\?"),
        ({"THESPIS_PORT": "many"}, r"THESPIS_PORT is 'many': expected a whole number\."),
        ({"THESPIS_KV_CACHE_GB": "x"}, r"expected a number\."),
        ({"THESPIS_PORT": "99999"}, r"port must be at most 65535, .* stands in THESPIS_PORT\."),
        ({"THESPIS_ENFORCE_EAGER": "maybe"}, r"expected one of 1, true, yes, on, 0, false"),
        ({"THESPIS_DTYPE": "bfloat"}, r"did you mean 'bfloat16'\?"),
        ({"THESPIS_LIMIT_MM_PER_PROMPT": "2"}, "expected a JSON object"),
        ({"THESPIS_Port": "5"}, r"no variable THESPIS_Port. Did you mean THESPIS_PORT\?"),
        ({"THESPIS_CONFIG": "~nobody-here/x.yaml"}, "x.yaml' cannot be read: No such file"),
        ({"THESPIS_CONFIG": "/nowhere.yaml"}, "'/nowhere.yaml' cannot be read: No such file"),
    ],
)
def test_a_wrong_variable_says_so(environ: dict[str, str], words: str) -> None:
    with pytest.raises((EngineError, ValueError), match=words):
        by_flags([], environ)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("max-modl-len: 5", r"'max_modl_len', and there is no such setting\. Did you mean max_mod"),
        ("pipeline-parallel-size: 2", "One engine serves one model"),
        ("zzz: 1", "`thespis serve --help` lists them"),
        ("config: other.yaml", "no such setting"),
        ("listen_fd: 3", "no such setting"),
        ("tls: {}", "no such setting"),
        ("port: 0777", r"a number in eights .* write it in tens, or in quotes \(line 1\)"),
        ("\nport: 22:30", r"in eights or sixties.*\(line 2\)"),
        ("host: !!timestamp soon", "no YAML that can be read"),
        ("port: !!int ''", "no YAML that can be read"),
        ("port: !!bool perhaps", "no YAML that can be read"),
        ("limit-mm-per-prompt: !!map [a]", "no YAML that can be read"),
        ("api-key:", "has an empty api_key: fill it, or take it out"),
        ("api-key: ''", "has an empty api_key"),
        ("api-key: []", "has an empty api_key"),
        ("api-key: [sesame, ' ']", "has an empty api_key"),
        ("api-key: [sesame, ~]", "has an empty api_key"),
        ("api-key-file: ''", "has an empty api_key_file"),
        ("port: many", r"port: Expected `int`, got `str`\. It stands in the file of settings"),
        ("port: 99999", "at most 65535, got 99999. It stands in the file"),
        (
            "api-key: 12345",
            r"api_key is a text, and YAML takes .* a number, .*: write it in quotes\.$",
        ),
        ("api-key: [1]", "write it in quotes"),
        ("api-key: 2026-11-30", "write it in quotes"),
        ("served-model-name: 7", "write it in quotes"),
        ("allowed-hosts: [yes]", "write it in quotes"),
        ("port: 1\nport: 2", r"port stands there twice \(line 2\)"),
        ("max-model-len: 1\nmax_model_len: 2", "stands there twice"),
        ("[1, 2]", "is to have a line `name: value`"),
        ("port", "is to have a line `name: value`"),
        ("a: &a [x]\nb: *a", r"aliases \(\*name\) are not read \(line 2\)"),
        ("? [1]\n: 2", "a name is one word"),
        ("host: !!python/object/apply:os.system ['true']", "no YAML"),
        ("host: !!python/name:os.system", "no YAML"),
        ("host: 'open", "no YAML"),
        ("host: \x00", "no YAML"),
        ("a: " + "[" * 5000, "no YAML"),
        ("# " + "x" * (1 << 20), "has more than 1 MiB"),
    ],
)
def test_a_wrong_file_says_so(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    with pytest.raises((EngineError, ValueError), match=words):
        by_flags(["--config", str(file)])


@pytest.mark.parametrize(
    "key",
    ["!se5ame", "!se5!ame", "!!se5ame", "!'se5ame", "05550123", "*se5ame", "@se5ame", "%se5ame"],
)
def test_a_key_that_yaml_takes_for_something_else_is_not_shown(key: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(f"api-key: {key}\n")
    with pytest.raises(EngineError, match=r"is no YAML: .* \(line 1\)\.") as refused:
        by_flags(["--config", str(file)])
    said = str(refused.value).replace(str(file), "")
    assert "se5" not in said
    assert "5550123" not in said


def test_an_empty_file_sets_nothing(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("# nothing yet\nport:\n")
    assert by_flags(["--config", str(file)]) == by_flags([])


@pytest.mark.parametrize("name", ["/dev/zero", "/"])
def test_what_is_no_file_is_not_read(name: str) -> None:
    with pytest.raises(EngineError, match="is no file"):
        by_flags(["--config", name])


def test_a_file_with_keys_that_everybody_may_write_is_refused(tmp_path: Path) -> None:
    words = in_file(tmp_path, {"api_key": "sesame"})
    assert by_flags(words).server.api_key == ("sesame",)
    Path(words[1]).chmod(0o666)
    with pytest.raises(EngineError, match="may be written by everybody"):
        by_flags(words)


def test_an_empty_flag_is_not_one_that_was_left_out(tmp_path: Path) -> None:
    """Else `--api-key-file "$KEYS"` serves everybody where the shell has no such variable."""
    empty = by_flags(["--api-key-file", ""]).server
    assert empty.api_key_file == ""
    with pytest.raises(EngineError, match="api_key_file '' cannot be read"):
        with_keys(empty, {"THESPIS_API_KEY": "ours"})
    with pytest.raises(EngineError, match="settings '' cannot be read"):
        by_flags(["--config", ""], {"THESPIS_CONFIG": in_file(tmp_path, {"port": 1})[1]})
    with pytest.raises(ValueError, match="otlp_endpoint"):
        by_flags(["--otlp-endpoint", ""])


def test_what_does_not_count_may_be_empty(tmp_path: Path) -> None:
    """Of a file's keys, where a flag has named others."""
    file = tmp_path / "settings.yaml"
    file.write_text("api-key:\n")
    told = by_flags(["--config", str(file), "--api-key", "sesame"])
    assert told.server.api_key == ("sesame",)


def test_there_is_one_file_of_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = in_file(tmp_path, {"port": 1})
    with pytest.raises(SystemExit):
        by_flags([*words, *words])
    assert "--config: it is one file, and is given once" in capsys.readouterr().err


def test_a_wrong_start_ends_with_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THESPIS_MAX_MODL_LEN", "5")
    with pytest.raises(SystemExit) as end:
        main(["serve"])
    assert end.value.code == 1
    assert capsys.readouterr().err.count("\n") == 1
