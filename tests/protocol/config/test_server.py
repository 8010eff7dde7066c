"""What an operator may set of the server, and what is no such setting."""

import pytest

from thespis.protocol.config.environment import KEYS, OTLP_HEADERS
from thespis.protocol.config.server import ServerConfig
from thespis.protocol.config.server_traces import with_otlp_headers


@pytest.mark.parametrize("path", ["", "/llm", "/a/b-c/d.e", "/v1x", "/llm/v1", "/..a"])
def test_a_path_below_which_the_server_is(path: str) -> None:
    assert ServerConfig(root_path=path).root_path == path


@pytest.mark.parametrize(
    "path", ["llm", "/", "/llm/", "//llm", "/a//b", "/a?b", "/%61", "/.", "/a/../b", "/a/..", "/é"]
)
def test_what_is_no_path(path: str) -> None:
    with pytest.raises(ValueError, match=r"root_path: .* is no path"):
        ServerConfig(root_path=path)


@pytest.mark.parametrize("path", ["/v1", "/v1/models", "/live-view", "/playground/a", "/metrics"])
def test_below_the_servers_own_paths_it_is_not(path: str) -> None:
    """There GET /v1/live, which is guarded, would be /live, which is open."""
    with pytest.raises(ValueError, match=r"root_path: this server has paths of its own below /"):
        ServerConfig(root_path=path)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:4318", "https://collector.example/otlp", "http://[::1]:4318/"]
)
def test_an_address_for_spans(url: str) -> None:
    assert ServerConfig(otlp_endpoint=url).otlp_endpoint == url


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1:4318", "file:///tmp/x", "http://", "http://a b", "http://user:se5ame@host"],
)
def test_what_is_no_address_for_spans(url: str) -> None:
    """A password would be shown by /server_info and in the log."""
    with pytest.raises(ValueError, match="otlp_endpoint is no address") as refused:
        ServerConfig(otlp_endpoint=url)
    assert "se5ame" not in str(refused.value)


def test_headers_for_a_collector_go_to_a_server_that_sends_spans() -> None:
    traces, usual = OTLP_HEADERS
    sends = ServerConfig(otlp_endpoint="http://127.0.0.1:4318")
    both = {traces: "a=1", usual: "b=2"}
    assert with_otlp_headers(sends, both).otlp_headers == "a=1"
    assert with_otlp_headers(sends, {traces: "", usual: "b=2"}).otlp_headers == "b=2"
    assert with_otlp_headers(sends, {}).otlp_headers == ""
    assert with_otlp_headers(ServerConfig(), both).otlp_headers == ""
    assert set(OTLP_HEADERS) < set(KEYS)
