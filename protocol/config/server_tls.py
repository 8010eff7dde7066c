"""The certificate and key of a server, as an operator names them: read once, tried at once."""

import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import msgspec

from ..errors import EngineError
from . import environment
from .server import ServerConfig, TlsFiles
from .small_files import read_small

SPOKEN = ["http/1.1"]
"""What is spoken above TLS."""


def with_tls(server: ServerConfig, environ: Mapping[str, str] | None = None) -> ServerConfig:
    """`server` with what its files hold, if it names any: a process that starts later does not
    read them again. Idempotent. Raises EngineError for files that make no TLS."""
    if server.tls is not None or (server.ssl_certfile is None and server.ssl_keyfile is None):
        return server
    if server.ssl_certfile is None:
        raise EngineError("ssl_keyfile is the key of a certificate: give ssl_certfile, too.")
    alone = server.ssl_keyfile is None  # then the key is to stand in it
    certificate = read_small(server.ssl_certfile, "ssl_certfile", secret=alone)
    key = b""
    if server.ssl_keyfile is not None:
        key = read_small(server.ssl_keyfile, "ssl_keyfile", secret=True)
    password = environment.read(environ).ssl_keyfile_password
    files = TlsFiles(certificate, key or certificate, password)
    try:
        context_of(files)
    except (ssl.SSLError, ValueError) as error:
        raise EngineError(_why(error, server, files)) from None
    return msgspec.structs.replace(server, tls=files)


def context_of(files: TlsFiles) -> ssl.SSLContext:
    """Raises SSLError or ValueError where the files do not belong together, or are none."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(SPOKEN)
    with _in_memory(files.certificate) as certificate, _in_memory(files.key) as key:
        # given "", it would ask at the terminal
        context.load_cert_chain(certificate, key, password=lambda: files.password)
    return context


@contextmanager
def _in_memory(data: bytes) -> Iterator[str]:
    """A path for OpenSSL, which takes nothing else; no key is written to a disk."""
    file = os.memfd_create("tls", os.MFD_CLOEXEC)
    with os.fdopen(file, "wb") as stream:
        stream.write(data)
        stream.flush()
        yield f"/proc/self/fd/{file}"


def _why(error: Exception, server: ServerConfig, files: TlsFiles) -> str:
    key, certificate = server.ssl_keyfile or server.ssl_certfile, server.ssl_certfile
    if b"-----BEGIN CERTIFICATE-----" not in files.certificate:
        return f"ssl_certfile {certificate!r} holds no certificate in PEM."
    if b"PRIVATE KEY-----" not in files.key:
        return (
            f"ssl_keyfile {key!r} holds no private key in PEM; ssl_keyfile names the file of one."
        )
    reason = getattr(error, "reason", None) or ""
    if reason == "KEY_VALUES_MISMATCH":
        return f"The key in {key!r} is not that of the certificate in {certificate!r}."
    if b"ENCRYPTED" in files.key:
        variable = environment.names_of("ssl_keyfile_password")[0]
        wrong = "the password is not that in" if files.password else "its password is to be in"
        return f"The key in {key!r} cannot be read: {wrong} {variable}."
    told = reason.lower().replace("_", " ") or "they are no whole PEM"
    return f"The certificate in {certificate!r} cannot be served with the key in {key!r}: {told}."
