"""`thespis serve` as a user starts it, in a process of its own."""

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping

from .torchless import PRELUDE

TORCHLESS_THESPIS = f"{PRELUDE}\nfrom thespis.frontends.cli.main import main\nmain()"


def command(*arguments: str, torchless: bool = False) -> list[str]:
    """`torchless`: with fakes in place of what needs torch, for tests of what has no use for it."""
    program = ["-c", TORCHLESS_THESPIS] if torchless else ["-m", "thespis"]
    return [sys.executable, "-P", *program, *arguments]


def refused_start(*arguments: str) -> str:
    """What `serve` says when it ends at once, because something is wrong that it can know before it
    starts anything."""
    ended = subprocess.run(command("serve", *arguments), capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1, ended
    assert "Traceback" not in ended.stderr
    return ended.stderr


class ServeCommand:
    """A running `thespis serve` on a free port. Its log grows while it runs."""

    def __init__(
        self, *arguments: str, environment: Mapping[str, str] | None = None, torchless: bool = False
    ) -> None:
        started = command("serve", "--port", "0", *arguments, torchless=torchless)
        self.process = subprocess.Popen(
            started, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        assert self.process.stdout is not None
        self.log = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.announcement = self.process.stdout.readline()
        found = re.search(r"(https?://\S+)/v1", self.announcement)
        assert found is not None, (self.announcement, self.log)
        self.url = found[1]

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log += line

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(30)
        self._reader.join()
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()
        return code
