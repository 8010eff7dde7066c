"""Whether spans can be made and sent: by opentelemetry's own library, which is an extra."""

from importlib.util import find_spec
from typing import TYPE_CHECKING

from ....protocol.errors import EngineError

if TYPE_CHECKING:
    from .spans import Spans

NOT_INSTALLED = "--otlp-endpoint needs OpenTelemetry's library: pip install 'thespis[otel]'."


def check_installed() -> None:
    """Without an import. Raises EngineError."""
    for name in ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"):
        try:
            found = find_spec(name)
        except ModuleNotFoundError:
            found = None
        if found is None:
            raise EngineError(NOT_INSTALLED)


def spans(endpoint: str, headers: str) -> "Spans":
    """Called in the thread that makes them: the import takes a moment."""
    from .spans import Spans

    return Spans(endpoint, headers)
