"""Configuration of the HTTP server: what an operator may set of it."""

import ipaddress
import re
from typing import Annotated, Literal

import msgspec

from ..chat_templates.tool_styles import ToolParser
from .engine import HostName
from .logs import LogFormat, LogLevel
from .ranges import check_ranges

OriginName = Annotated[str, "scheme://host or scheme://host:port, as browsers send it; *: all"]

_ENDPOINT = re.compile(r"https?://[^/\s?#@]+(/[^\s?#]*)?")
"""Without a password, which would be shown wherever the address is."""
_ROOT_PATH = re.compile(r"/((?!\.+(?:/|$))[A-Za-z0-9._~-]+)(?:/(?!\.+(?:/|$))[A-Za-z0-9._~-]+)*")
OWN_SEGMENTS = frozenset({
    "v1", "tokenize", "detokenize", "health", "live", "ping", "load", "version", "server_info",
    "metrics", "api", "playground", "live-view", "rerank", "score", "v2",
})  # fmt: skip
"""How the paths of this server begin, by its table of routes. Below such a path some would be taken
for others: `/v1` and `/live` for a probe."""
_ORIGIN = re.compile(r"\*|null|[A-Za-z][A-Za-z0-9+.-]*://[^/\\\s,*@?#]+")


class TlsFiles(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a server shows and proves of itself."""

    certificate: bytes
    key: bytes
    password: str = ""


class ServerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The HTTP frontend's own settings, each with its line in --help. Raises ValueError naming the
    field."""

    host: str = "127.0.0.1"
    """address to listen on"""
    port: int = 8000
    """port to listen on; 0: any free one"""
    api_key: tuple[str, ...] = ()
    """key that callers must send as a bearer token; repeat the flag for several (default: none)"""
    api_key_file: str | None = None
    """file with such keys, one a line (default: the one in THESPIS_API_KEY, if any)"""
    ssl_certfile: str | None = None
    """file of the certificate, PEM with the chain to its authority: serve https (default: http)"""
    ssl_keyfile: str | None = None
    """file of its private key, PEM (default: the certificate's file); a password for it comes by
    THESPIS_SSL_KEYFILE_PASSWORD"""
    root_path: str = ""
    """path below which a proxy shows this server, such as /llm; requests may come with it or
    without (default: none)"""
    allowed_origins: tuple[OriginName, ...] = ()
    """origins whose web pages may call, such as https://app.example; * for all (default: none)"""
    allowed_hosts: tuple[HostName, ...] = ()
    """host names that callers may use beside addresses and localhost (default: any, but on loopback
    without a key none)"""
    guard_metrics: bool = False
    """ask for a key at /metrics, /load and /version, too"""
    metrics_aliases: Literal["none", "vllm"] = "none"
    """vllm: /metrics also has the series that dashboards for vLLM ask for, under its names"""
    log_level: LogLevel = "info"
    """the least that is logged"""
    log_format: LogFormat = "text"
    """json: a line of the log is a JSON object"""
    access_log: bool = True
    """one line of the log for each request"""
    max_connections_per_address: int = 1024
    """connections that one address (of IPv6: one /64) may hold, beyond: 429; 0: no limit"""
    header_timeout: float = 10.0
    """seconds for the head of a request, from its first byte, beyond: 408"""
    drain_timeout: float = 30.0
    """seconds that accepted requests may take after SIGTERM"""
    tool_call_parser: ToolParser = "auto"
    """how the model writes tool calls; auto: as its chat template says"""
    max_body_mb: float = 256.0
    """MiB of one request's body, beyond: 413; all that are being read take twice that, beyond:
    429"""
    data_folder: str | None = None
    """folder of what is stored for callers: uploaded files, answers, batches (default:
    XDG_DATA_HOME/thespis, else ~/.local/share/thespis); several servers may have one"""
    max_stored_gb: float = 10.0
    """GiB of files, of answers and of batches each, with keys half of it for one key; 0: nothing is
    stored"""
    playground: bool = True
    """the page at / to try the model in a browser"""
    live_view: bool = True
    """the page at /live-view that shows processes and requests, and /v1/live, which feeds it"""
    otlp_endpoint: str | None = None
    """where spans of each request go by OTLP over HTTP, such as http://127.0.0.1:4318; needs
    thespis[otel] (default: nowhere)"""
    trace_out: str | None = None
    """file of each request's stages, for Chrome's tracing page and Perfetto (default: none)"""
    otlp_headers: str = ""
    # No flag: OpenTelemetry's own variables have them, and nobody else is to.
    tls: TlsFiles | None = None
    # No flag: what stands in the files above, which are read once, at the start.
    listen_fd: int | None = None
    # No flag: an already bound socket handed down by the command, so that the port is known before
    # any process starts.

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.otlp_endpoint is not None and not _ENDPOINT.fullmatch(self.otlp_endpoint):
            raise ValueError(
                "otlp_endpoint is no address such as http://127.0.0.1:4318; what proves who sends "
                "is for OTEL_EXPORTER_OTLP_HEADERS."
            )
        self._check_root_path()
        for origin in self.allowed_origins:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"allowed_origins: {origin!r} is no origin, such as https://app.example or "
                    "http://localhost:3000."
                )

    def _check_root_path(self) -> None:
        found = _ROOT_PATH.fullmatch(self.root_path)
        if self.root_path and found is None:
            raise ValueError(f"root_path: {self.root_path!r} is no path, such as /llm.")
        if found is not None and found[1] in OWN_SEGMENTS:
            raise ValueError(
                f"root_path: this server has paths of its own below /{found[1]}; take another one, "
                "such as /llm."
            )

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def url(self) -> str:
        """Of the address that it listens on, once its port is known."""
        scheme = "http" if self.ssl_certfile is None else "https"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"
