"""The scripts' environment: what a torch with CUDA costs is said before it is paid, where there is
no GPU; and what it takes, where it cannot be made."""

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "scripts/_venv.sh"
CUDA = (
    '{"install": [{"metadata": {"requires_dist": ["filelock", "nvidia-cublas==13.1; '
    'platform_system == \\"Linux\\""]}}]}'
)
BINDINGS = '{"install": [{"metadata": {"requires_dist": ["cuda-bindings<14", "filelock"]}}]}'
CPU = (
    '{"install": [{"metadata": {"version": "2.13.0+cpu", "requires_dist": ["filelock", "sympy"]}}]}'
)


def said(root: Path, report: str, devices: str) -> str:
    """What is said where pip would report this."""
    python = root / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\ncat <<'EOF'\n{report}\nEOF\n")
    python.chmod(0o755)
    command = (
        f"set -euo pipefail; ROOT='{root}'; . '{SCRIPT}'; GPU_DEVICES='{devices}'; warn_of_cuda"
    )
    return subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
    ).stderr


@pytest.mark.parametrize("report", [CUDA, BINDINGS])
def test_a_torch_with_cuda_is_announced_where_there_is_no_gpu(tmp_path: Path, report: str) -> None:
    text = said(tmp_path, report, "/no/such/nvidia*")
    assert "3 GB to download" in text
    assert "PIP_EXTRA_INDEX_URL=INDEX" in text


@pytest.mark.parametrize("report", [CPU, "", "no such package"])
def test_anything_else_is_nothing_to_tell(tmp_path: Path, report: str) -> None:
    assert said(tmp_path, report, "/no/such/nvidia*") == ""


def test_where_there_is_a_gpu_a_torch_with_cuda_is_what_is_wanted(tmp_path: Path) -> None:
    assert said(tmp_path, CUDA, "/dev/null*") == ""


def test_where_no_index_is_reached_it_is_said_what_it_takes(tmp_path: Path) -> None:
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(
        '#!/bin/sh\n[ "$1 $2" != "-m pip" ] || { echo "pip: no index" >&2; exit 1; }\n'
    )
    python.chmod(0o755)
    (tmp_path / "scripts").mkdir()
    for name in ("pyproject.toml", "constraints.txt", "scripts/_venv.sh"):
        (tmp_path / name).touch()
    command = f"set -euo pipefail; ROOT='{tmp_path}'; . '{SCRIPT}'; ensure_venv; echo never"
    ended = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "pip: no index" in ended.stderr
    assert "PIP_INDEX_URL=INDEX" in ended.stderr
    assert not (tmp_path / ".venv/thespis-stamp").exists(), "the next start tries again"
