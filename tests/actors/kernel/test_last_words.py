"""What processes say before they die, as the director finds it."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from thespis.actors.kernel import last_words
from thespis.actors.kernel.launch import Launch

DEATHS = {
    "an exception": ("raise OSError('the disk is gone')", "OSError: the disk is gone"),
    "an import": (
        "import no_such_library",
        "ModuleNotFoundError: No module named 'no_such_library'",
    ),
    "an exit with a text": ("sys.exit('Give a model.')", "Give a model."),
    "an exit without one": ("sys.exit(3)", ""),
    "a native message": ("os.write(2, b'lost: device\\n'); os.abort()", "lost: device"),
    "a native message without an end": (
        "os.write(2, b'a\\nlost'); os.kill(os.getpid(), 11)",
        "lost",
    ),
    "blank lines after it": ("os.write(2, b'lost\\n\\n \\n'); os.abort()", "lost"),
    "bytes that are no text": (
        "os.write(2, b'\\xff\\x1b[31mlost\\x00'); os.abort()",
        "\ufffd[31mlost",
    ),
    "a very long line": ("os.write(2, b'x' * 100_000); os.abort()", "x" * 400),
}


@pytest.mark.parametrize("death", DEATHS)
def test_the_last_line_of_a_process_that_does_not_get_ready_is_kept(
    death: str, tmp_path: Path
) -> None:
    code, line = DEATHS[death]
    (tmp_path / "dying.py").write_text(f"import os, sys\ndef main(launch):\n    {code}\n")
    launch = Launch("detokenizer", 1, str(tmp_path), "dying", os.getpid())
    command = [
        sys.executable,
        "-P",
        "-m",
        "thespis.actors.kernel.entry",
        msgspec.json.encode(launch).decode(),
    ]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    path = last_words.path_of(tmp_path, "detokenizer", 1)
    assert done.stderr == ""
    assert last_words.last_line(last_words.take(path)) == line
    assert last_words.take(path) == b"", "it is not said twice"


def test_who_gets_ready_has_its_stderr_back_and_what_was_kept(tmp_path: Path) -> None:
    code = (
        "import sys, os\nfrom pathlib import Path\nfrom thespis.actors.kernel import last_words\n"
        "log = last_words.keep(Path(sys.argv[1]))\n"
        "print('said', file=sys.stderr)\nprint('logged', file=log)\n"
        "last_words.give_back()\nlast_words.give_back()\n"
        "print('after', file=sys.stderr)\nprint('logged after', file=log)"
    )
    path = tmp_path / "kept"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr.split("\n") == ["logged", "said", "after", "logged after", ""]
    assert not path.exists()


def test_where_no_file_can_be_made_nothing_is_kept_and_nothing_lost(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom thespis.actors.kernel import last_words\n"
        "log = last_words.keep(Path(sys.argv[1]))\nprint('said', "
        "file=sys.stderr)\nprint('logged', file=log)\n"
        "last_words.give_back()"
    )
    command = [sys.executable, "-P", "-c", code, str(tmp_path / "nowhere" / "kept")]
    assert (
        subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stderr
        == "said\nlogged\n"
    )
