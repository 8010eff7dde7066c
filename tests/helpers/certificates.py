"""Certificates made for one test."""

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

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
