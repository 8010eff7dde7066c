"""What `thespis serve` says when it cannot start.

How it serves: `tests/spec/test_I_serving.py`; how it ends: `tests/reliability/`.
"""

import socket
from pathlib import Path

from ...helpers.commands import refused_start


def test_an_unknown_model_path_is_said_at_once(tmp_path: Path) -> None:
    assert f"No model at '{tmp_path / 'none'}'" in refused_start(
        str(tmp_path / "none"), "--port", "0"
    )


def test_a_folder_that_is_no_checkpoint_is_said_at_once(tmp_path: Path) -> None:
    assert "no config.json" in refused_start(str(tmp_path), "--port", "0")


def test_a_taken_port_is_said_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        text = refused_start("--port", str(taken.getsockname()[1]))
    assert "choose another with --port" in text
