"""Certificates made for one test, and those of the world, which every client reads."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import pytest

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes them")


class Made(NamedTuple):
    certificate: Path
    key: Path


def make_certificate(folder: Path, name: str = "server", password: str | None = None) -> Made:
    """Of 127.0.0.1 and localhost, signed by itself; its key with a password, if one is given."""
    made = Made(folder / f"{name}.pem", folder / f"{name}.key")
    secret = ["-nodes"] if password is None else ["-passout", f"pass:{password}"]
    names = "subjectAltName=IP:127.0.0.1,DNS:localhost"
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2"]
    words = ["openssl", "req", "-x509", *kind, *secret, "-subj", f"/CN={name}", "-addext", names]
    out = ["-keyout", str(made.key), "-out", str(made.certificate)]
    subprocess.run([*words, *out], check=True, capture_output=True, timeout=20)
    made.key.chmod(0o600)
    return made


@contextmanager
def authorities_read_once() -> Iterator[None]:
    """httpx, and the SDKs upon it, would take 40 ms of each client for the world's certificates,
    which no test meets."""
    with ExitStack() as stack:
        for name in ("httpx", "httpx2"):
            module = import_module(f"{name}._transports.default")
            kept = _kept(module.create_ssl_context)
            stack.enter_context(mock.patch.object(module, "create_ssl_context", kept))
        yield


def _kept(make: Callable[..., Any]) -> Callable[..., Any]:
    """The same context for whoever asks for nothing special."""
    usual = cache(lambda trust_env: make(trust_env=trust_env))

    def create_ssl_context(verify: Any = True, cert: Any = None, trust_env: bool = True) -> Any:
        if verify is True and cert is None:
            return usual(trust_env)
        return make(verify=verify, cert=cert, trust_env=trust_env)

    return create_ssl_context
