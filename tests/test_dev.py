"""The command of the developers' programs: what it lists is there, and what is not there is
refused."""

import importlib.util
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
DEV = ROOT / "scripts" / "dev"


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*words], capture_output=True, text=True, timeout=60)


def listed() -> list[str]:
    return [line.split()[0] for line in run(str(DEV)).stdout.splitlines()[1:]]


def benches() -> list[str]:
    """As they are refused by name where another is asked for."""
    return re.findall(
        r"\b[a-z]+\b", run(str(DEV), "bench").stderr.partition("one of")[2].partition("not")[0]
    )


def test_every_verb_that_is_listed_is_taken_and_no_other() -> None:
    taken = re.findall(r"^([a-z][a-z |-]*)\) ", DEV.read_text(), re.MULTILINE)
    assert sorted(listed()) == sorted(verb for line in taken for verb in line.split(" | "))


def test_every_program_that_it_starts_is_a_module() -> None:
    text = DEV.read_text()
    modules = {
        f"stress.{verb}"
        for verb in (
            "chaos",
            "hostile",
            "soak",
            "starve",
            "detection",
            "bodies",
            "profile",
        )
    }
    modules |= {"models_table", "fresh_shapes", "check_processors", "check_published"}
    modules |= {
        "agreement",
        "rooms",
        "stress.ray_service",
        "stress.ray_scaling",
        "stress.ray_batch",
    }
    modules |= {f"bench.{name}" for name in benches()}
    modules |= set(re.findall(r"program ([a-z_]+) [-\"]", text))
    assert {"spec_table", "real_weights"} <= modules
    for module in sorted(modules):
        assert importlib.util.find_spec(f"thespis.scripts.{module}") is not None, module


def test_every_bench_is_listed() -> None:
    files = {path.stem for path in (DEV.parent / "bench").glob("*.py")} - {"__init__", "model"}
    assert set(benches()) == files
    (line,) = [line for line in run(str(DEV)).stdout.splitlines() if line.startswith("bench ")]
    assert files <= set(re.findall(r"[a-z]+", line))


def test_the_benches_have_help_of_their_own() -> None:
    told = run(str(DEV), "bench", "--help")
    assert (told.returncode, told.stderr) == (0, "")
    assert "scheduler" in told.stdout
    assert run(str(DEV), "bench").returncode == 2
    refused = run(str(DEV), "bench", "dance")
    assert refused.returncode == 2
    assert "not `dance`" in refused.stderr


def test_an_unknown_verb_is_refused_with_the_list() -> None:
    refused = run(str(DEV), "dance")
    assert refused.returncode == 2
    assert "there is no `dance`" in refused.stderr
    assert "chaos" in refused.stderr


def test_two_verbs_have_a_link_of_their_name() -> None:
    assert {
        path.name: str(path.readlink()) for path in DEV.parent.iterdir() if path.is_symlink()
    } == {
        "chaos": "dev",
        "hostile": "dev",
    }
