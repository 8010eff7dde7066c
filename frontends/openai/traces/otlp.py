"""Calls as spans, which opentelemetry's own library sends. It is an extra, imported where spans are
wanted, in the thread that makes them."""

from importlib.util import find_spec
from typing import Any

from ....protocol.errors import EngineError
from ....protocol.version import version
from ...client.timeline import ItemTimeline, StageTime
from .call import EndedCall

PATH = "/v1/traces"
NOT_INSTALLED = "--otlp-endpoint needs OpenTelemetry's library: pip install 'thespis[otel]'."
QUEUE = 8192
"""Spans that wait to be sent; what comes beyond is dropped."""


def check_installed() -> None:
    """Without an import. Raises EngineError."""
    for name in ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"):
        try:
            found = find_spec(name)
        except ModuleNotFoundError:
            found = None
        if found is None:
            raise EngineError(NOT_INSTALLED)


class Spans:
    """A span of each call, as a part of its caller's trace where it names one; of each stage; and
    of each item, with its own stages."""

    def __init__(self, endpoint: str, headers: str = "", exporter: Any = None) -> None:
        """`headers`: as OpenTelemetry's variables write them. `exporter`: another than the one that
        sends to `endpoint`, of opentelemetry's kind."""
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        if exporter is None:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.util.re import parse_env_headers

            base = endpoint.rstrip("/")
            exporter = OTLPSpanExporter(
                base if base.endswith(PATH) else base + PATH,
                headers=dict(parse_env_headers(headers, liberal=True)),
            )
        resource = Resource.create({"service.name": "thespis", "service.version": version()})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=QUEUE))
        self._tracer = self._provider.get_tracer("thespis", version())

    def tell(self, call: EndedCall) -> None:
        from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        named = {"traceparent": call.traceparent, "tracestate": call.tracestate}
        head = {name: value for name, value in named.items() if value is not None}
        parent = TraceContextTextMapPropagator().extract(head)
        root = self._tracer.start_span(
            f"POST {call.path}",
            parent,
            SpanKind.SERVER,
            {
                "gen_ai.request.model": call.model,
                "gen_ai.usage.input_tokens": call.prompt_tokens,
                "gen_ai.usage.output_tokens": call.completion_tokens,
                "thespis.request.id": call.id,
            },
            start_time=_nanoseconds(call, 0.0),
        )
        if call.error is not None:
            root.set_attribute("error.type", call.error)
            root.set_status(Status(StatusCode.ERROR))
        within, timeline = set_span_in_context(root, parent), call.timeline
        for stage in timeline.stages:
            self._stage(call, stage, within)
        for item in timeline.items:
            self._item(call, item, within)
        root.end(_nanoseconds(call, call.ended - call.began))

    def _stage(self, call: EndedCall, stage: StageTime, within: Any) -> None:
        start = _nanoseconds(call, stage.start)
        span = self._tracer.start_span(stage.name, within, start_time=start)
        span.end(_nanoseconds(call, stage.start + stage.seconds))

    def _item(self, call: EndedCall, item: ItemTimeline, within: Any) -> None:
        """One of which nothing had to be made has no stages, and takes no time."""
        from opentelemetry.trace import set_span_in_context

        about = {
            "thespis.item.message": item.message,
            "thespis.item.part": item.part,
            "thespis.item.bytes": item.bytes,
            "thespis.item.hit": item.hit,
        }
        known = {name: value for name, value in about.items() if value is not None}
        begins = min((stage.start for stage in item.stages), default=0.0)
        ends = max((stage.start + stage.seconds for stage in item.stages), default=begins)
        start = _nanoseconds(call, begins)
        span = self._tracer.start_span(item.kind, within, attributes=known, start_time=start)
        for stage in item.stages:
            self._stage(call, stage, set_span_in_context(span, within))
        span.end(_nanoseconds(call, ends))

    def close(self) -> None:
        """With what waits to be sent, as far as its receiver takes it."""
        self._provider.shutdown()


def _nanoseconds(call: EndedCall, seconds: float) -> int:
    """Of unix time; `seconds` after the call's beginning."""
    return round((call.began + call.unix + seconds) * 1e9)
