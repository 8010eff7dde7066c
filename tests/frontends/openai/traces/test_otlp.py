"""Spans, as OpenTelemetry's own exporter in memory gets them, and as its own protocol has them on
the wire."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, NamedTuple

import pytest

from thespis.frontends.openai.traces.otlp import check_installed
from thespis.frontends.openai.traces.spans import Spans
from thespis.protocol.errors import EngineError

from .calls import CALL, call

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def in_memory(*calls: Any) -> list[Any]:
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    memory = InMemorySpanExporter()
    spans = Spans("http://127.0.0.1:1", exporter=memory)
    for one in calls:
        spans.tell(one)
    spans.close()
    return list(memory.get_finished_spans())


def test_a_span_for_the_call_each_stage_and_each_item() -> None:
    spans = in_memory(CALL)
    by_id = {span.context.span_id: span for span in spans}
    (root,) = [span for span in spans if span.parent is None]
    assert root.name == "POST /v1/chat/completions"
    assert (root.start_time, root.end_time) == (1_000_100 * 10**9, 1_000_102 * 10**9)
    assert root.attributes["gen_ai.usage.input_tokens"] == 20
    assert root.attributes["thespis.request.id"] == "mine"
    tree = sorted(
        (by_id[span.parent.span_id].name, span.name) for span in spans if span.parent is not None
    )
    assert tree == [
        (root.name, "decode"),
        (root.name, "decode_media"),
        (root.name, "encode"),
        (root.name, "image"),
        (root.name, "prefill"),
        (root.name, "queue"),
        ("image", "decode"),
        ("image", "encode"),
    ]
    (item,) = [span for span in spans if span.name == "image"]
    assert item.attributes == {
        "thespis.item.message": 0,
        "thespis.item.part": 1,
        "thespis.item.bytes": 1234,
    }
    stages = {stage.name: stage for stage in CALL.timeline.stages}
    for span in spans:
        if span.parent is not None and by_id[span.parent.span_id] is root and span is not item:
            told = (
                (span.start_time - root.start_time) / 1e9,
                (span.end_time - span.start_time) / 1e9,
            )
            assert told == pytest.approx(
                (stages[span.name].start, stages[span.name].seconds), abs=1e-6
            )
    assert root.resource.attributes["service.name"] == "thespis"


def test_it_is_a_part_of_its_callers_trace() -> None:
    spans = in_memory(call(traceparent=f"00-{TRACE}-{PARENT}-01", tracestate="a=b"))
    assert {format(span.context.trace_id, "032x") for span in spans} == {TRACE}
    (root,) = [span for span in spans if span.parent.is_remote]
    assert format(root.parent.span_id, "016x") == PARENT
    assert root.context.trace_state.to_header() == "a=b"


def test_what_its_caller_does_not_record_is_not_recorded() -> None:
    assert in_memory(call(traceparent=f"00-{TRACE}-{PARENT}-00")) == []


@pytest.mark.parametrize("head", ["", "00-0-0-01", "nonsense", "ff" * 100])
def test_a_head_that_names_no_trace_begins_one(head: str) -> None:
    spans = in_memory(call(traceparent=head))
    assert len([span for span in spans if span.parent is None]) == 1


def test_on_the_wire_spans_are_as_the_librarys_own_living_spans() -> None:
    """Those below the call's are made as records; the library's tracer is the oracle."""
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import NonRecordingSpan, set_span_in_context

    traced = call(traceparent=f"00-{TRACE}-{PARENT}-03", tracestate="a=b")
    for made in in_memory(traced):
        provider = TracerProvider(resource=made.resource, shutdown_on_exit=False)
        tracer = provider.get_tracer(
            made.instrumentation_scope.name, made.instrumentation_scope.version
        )
        within = set_span_in_context(NonRecordingSpan(made.parent))
        living: Any = tracer.start_span(
            made.name, within, made.kind, dict(made.attributes), start_time=made.start_time
        )
        living.end(made.end_time)
        own, alike = (encode_spans([span]) for span in (made, living))
        for sent in (own, alike):
            span = sent.resource_spans[0].scope_spans[0].spans[0]
            assert len(span.span_id) == 8
            span.span_id = b""
        assert own == alike


def test_a_sampler_that_the_operator_names_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    assert in_memory(CALL) == []
    assert len(in_memory(call(traceparent=f"00-{TRACE}-{PARENT}-01"))) == 9


def test_a_call_that_failed_says_why() -> None:
    (root,) = [span for span in in_memory(call(error="cancelled")) if span.parent is None]
    assert root.attributes["error.type"] == "cancelled"
    assert not root.status.is_ok


class Came(NamedTuple):
    path: str
    body: bytes
    authorization: str | None


@contextmanager
def receiver() -> Iterator[tuple[str, list[Came]]]:
    """A local collector, and what comes to it."""
    came: list[Came] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                import gzip

                body = gzip.decompress(body)
            came.append(Came(self.path, body, self.headers["Authorization"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", came
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_on_the_wire_it_is_opentelemetrys_own_protocol() -> None:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    with receiver() as (url, came):
        spans = Spans(url, "Authorization=Basic%20se5ame,other=x")
        spans.tell(CALL)
        spans.close()
    names: list[str] = []
    for path, body, authorization in came:
        assert (path, authorization) == ("/v1/traces", "Basic se5ame")
        sent = ExportTraceServiceRequest.FromString(body)
        names += [
            span.name
            for resource in sent.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
    assert sorted(names) == sorted(span.name for span in in_memory(CALL))


def test_without_the_library_the_start_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk", None)
    monkeypatch.setattr("thespis.frontends.openai.traces.otlp.find_spec", lambda name: None)
    with pytest.raises(EngineError, match=r"thespis\[otel\]"):
        check_installed()
