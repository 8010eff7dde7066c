"""Calls as spans of opentelemetry's library, which sends them. Imported where spans are wanted, in
the thread that makes them."""

from collections.abc import Iterator, Mapping

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Span, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.re import parse_env_headers
from opentelemetry.util.types import AttributeValue

from ....protocol.version import version
from ...client.timeline import ItemTimeline, StageTime
from .call import EndedCall

PATH = "/v1/traces"
QUEUE = 8192
"""Spans that wait to be sent; what comes beyond is dropped."""


class _SameResource(Resource):
    """One object for all spans. The encoder groups them by it, and for a hash the library writes
    JSON: each time a fifth of what a span's encoding takes."""

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


class Spans:
    """A span of each call, as a part of its caller's trace where it names one; of each stage; and
    of each item, with its own stages.

    The span of the call comes of the library's tracer, which draws its ids and lets the sampler
    decide. Those below it have ended before they are known: they are made as the records that the
    library would make of them, at an eighth of what its living spans take."""

    def __init__(
        self, endpoint: str, headers: str = "", exporter: SpanExporter | None = None
    ) -> None:
        """`headers`: as OpenTelemetry's variables write them. `exporter`: another than the one that
        sends to `endpoint`."""
        if exporter is None:
            base = endpoint.rstrip("/")
            exporter = OTLPSpanExporter(
                base if base.endswith(PATH) else base + PATH,
                headers=dict(parse_env_headers(headers, liberal=True)),
            )
        about = Resource.create({"service.name": "thespis", "service.version": version()})
        self._resource = _SameResource(about.attributes, about.schema_url)
        self._provider = TracerProvider(resource=self._resource, shutdown_on_exit=False)
        self._batches = BatchSpanProcessor(exporter, max_queue_size=QUEUE)
        self._provider.add_span_processor(self._batches)
        self._tracer = self._provider.get_tracer("thespis", version())
        self._scope = InstrumentationScope("thespis", version())

    def tell(self, call: EndedCall) -> None:
        root = self._tracer.start_span(
            f"POST {call.path}",
            _caller(call),
            SpanKind.SERVER,
            {
                "gen_ai.request.model": call.model,
                "gen_ai.usage.input_tokens": call.prompt_tokens,
                "gen_ai.usage.output_tokens": call.completion_tokens,
                "thespis.request.id": call.id,
            },
            start_time=_nanoseconds(call, 0.0),
        )
        if not root.is_recording():
            return
        if call.error is not None:
            root.set_attribute("error.type", call.error)
            root.set_status(Status(StatusCode.ERROR))
        for span in self._below(call, root):
            self._batches.on_end(span)
        root.end(_nanoseconds(call, call.ended - call.began))

    def _below(self, call: EndedCall, root: Span) -> Iterator[ReadableSpan]:
        within, timeline = root.get_span_context(), call.timeline
        for stage in timeline.stages:
            yield self._stage(call, stage, within)
        for item in timeline.items:
            yield from self._item(call, item, within)

    def _stage(self, call: EndedCall, stage: StageTime, within: SpanContext) -> ReadableSpan:
        return self._made(call, stage.name, self._drawn(within), within, stage.start, stage.seconds)

    def _item(
        self, call: EndedCall, item: ItemTimeline, within: SpanContext
    ) -> Iterator[ReadableSpan]:
        """One of which nothing had to be made has no stages, and takes no time."""
        about = {
            "thespis.item.message": item.message,
            "thespis.item.part": item.part,
            "thespis.item.bytes": item.bytes,
            "thespis.item.hit": item.hit,
        }
        known = {name: value for name, value in about.items() if value is not None}
        start = min((stage.start for stage in item.stages), default=0.0)
        end = max((stage.start + stage.seconds for stage in item.stages), default=start)
        own = self._drawn(within)
        for stage in item.stages:
            yield self._stage(call, stage, own)
        yield self._made(call, item.kind, own, within, start, end - start, known)

    def _drawn(self, within: SpanContext) -> SpanContext:
        """Of a span below `within`."""
        return SpanContext(
            within.trace_id,
            self._provider.id_generator.generate_span_id(),
            is_remote=False,
            trace_flags=within.trace_flags,
            trace_state=within.trace_state,
        )

    def _made(
        self,
        call: EndedCall,
        name: str,
        own: SpanContext,
        within: SpanContext,
        start: float,
        seconds: float,
        about: Mapping[str, AttributeValue] | None = None,
    ) -> ReadableSpan:
        return ReadableSpan(
            name,
            own,
            within,
            self._resource,
            about or {},
            start_time=_nanoseconds(call, start),
            end_time=_nanoseconds(call, start + seconds),
            instrumentation_scope=self._scope,
        )

    def close(self) -> None:
        """With what waits to be sent, as far as its receiver takes it."""
        self._provider.shutdown()


def _caller(call: EndedCall) -> Context:
    named = {"traceparent": call.traceparent, "tracestate": call.tracestate}
    head = {name: value for name, value in named.items() if value is not None}
    return TraceContextTextMapPropagator().extract(head, Context()) if head else Context()


def _nanoseconds(call: EndedCall, seconds: float) -> int:
    """Of unix time; `seconds` after the call's beginning."""
    return round((call.began + call.unix + seconds) * 1e9)
