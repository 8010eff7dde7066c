"""Certificate and key as an operator names them: read once, and what is wrong is said at the
start."""

from pathlib import Path

import pytest

from thespis.protocol.config.server import ServerConfig
from thespis.protocol.config.server_tls import context_of, with_tls
from thespis.protocol.errors import EngineError

from ...helpers.certificates import make_certificate, needs_openssl

pytestmark = needs_openssl


def test_without_files_there_is_no_tls() -> None:
    server = ServerConfig()
    assert with_tls(server) is server


def test_what_was_read_is_kept(tmp_path: Path) -> None:
    """A server that is started again shows what the first has shown."""
    certificate, key = make_certificate(tmp_path)
    server = with_tls(ServerConfig(ssl_certfile=str(certificate), ssl_keyfile=str(key)))
    certificate.unlink()
    key.unlink()
    assert with_tls(server) is server
    assert server.tls is not None
    context_of(server.tls)


def test_both_may_stand_in_one_file(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    both = tmp_path / "both.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    assert with_tls(ServerConfig(ssl_certfile=str(both))).tls is not None
    both.chmod(0o666)
    with pytest.raises(EngineError, match="may be written by everybody"):
        with_tls(ServerConfig(ssl_certfile=str(both)))


def test_a_key_with_a_password(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, password="open sesame")
    server = ServerConfig(ssl_certfile=str(certificate), ssl_keyfile=str(key))
    assert with_tls(server, {"THESPIS_SSL_KEYFILE_PASSWORD": "open sesame"}).tls is not None
    with pytest.raises(EngineError, match="its password is to be in THESPIS_SSL_KEYFILE_PASSWORD"):
        with_tls(server, {})
    with pytest.raises(EngineError, match="the password is not that in THESPIS_SSL_"):
        with_tls(server, {"THESPIS_SSL_KEYFILE_PASSWORD": "wrong"})


def test_what_makes_no_tls_is_said(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    _, other = make_certificate(tmp_path, "other")
    words = tmp_path / "words"
    words.write_text("no certificate")
    none = tmp_path / "none"
    for given, said in {
        (None, key): "give ssl_certfile, too",
        (none, key): "ssl_certfile .* cannot be read: No such file",
        (certificate, none): "ssl_keyfile .* cannot be read: No such file",
        (words, key): "ssl_certfile .* holds no certificate in PEM",
        (certificate, words): "ssl_keyfile .* holds no private key in PEM",
        (certificate, None): "holds no private key in PEM",
        (certificate, other): "is not that of the certificate in",
    }.items():
        files = [None if file is None else str(file) for file in given]
        with pytest.raises(EngineError, match=said):
            with_tls(ServerConfig(ssl_certfile=files[0], ssl_keyfile=files[1]))


def test_a_certificate_cut_short_is_said(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    certificate.write_bytes(certificate.read_bytes()[:200])
    with pytest.raises(EngineError, match="cannot be served with the key in"):
        with_tls(ServerConfig(ssl_certfile=str(certificate), ssl_keyfile=str(key)))
