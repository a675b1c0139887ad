"""The requests of observability: traces, logs and errors on their way to a collector, in one table.

Invariant: what is exported is no part of what a target does. Its bodies carry new ids and times each time, and it is
sent by threads of its own, when it pleases them: it is neither recorded nor replayed. In a live run it is sent; in a
replay, and where an offline run does not reach its host, it is answered as if it had been. Only what sends is meant:
a target that reads its own traces is recorded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from rollout_local.recordings.identity import Asked

_SENDING = frozenset({"POST", "PUT", "PATCH"})
_OTLP = re.compile(rb'"resource_?(?:Spans|Logs|Metrics|spans|logs|metrics)"')


@dataclass(frozen=True)
class Exporter:
    """Who sends, to a path that ends so, on such a host; and what the sender reads in the answer."""

    name: str
    path: str
    host: str = ".*"
    answer: bytes = b"{}"


EXPORTERS: tuple[Exporter, ...] = (
    Exporter("Rollout", r"/v1/events:batch", answer=b'{"accepted":0,"rejected":0,"retryable":false,"errors":[]}'),
    Exporter("OpenTelemetry", r"/v1/(?:traces|logs|metrics)"),
    Exporter("Langfuse", r"/api/public/ingestion", answer=b'{"successes":[],"errors":[]}'),
    Exporter("LangSmith", r"/runs/(?:batch|multipart)"),
    Exporter("LangSmith", r"/runs(?:/[0-9a-f-]{36})?", host=r".*\.smith\.langchain\.com"),
    Exporter("MLflow", r"/api/\d\.0/mlflow/traces(?:/.*)?"),
    Exporter("Opik", r"/v1/private/(?:traces|spans)(?:/batch)?"),
    Exporter("Weave", r"/call/(?:start|end|upsert_batch)"),
    Exporter("Braintrust", r"/logs3(?:/overflow)?"),
    Exporter("Datadog", r"/v0\.\d/traces|/api/v2/(?:llmobs|apmtelemetry)"),
    Exporter("Sentry", r"/api/\d+/(?:envelope|store)/"),
    Exporter("PostHog", r"/(?:batch|capture|i/v0/e)/?", host=r".*\.posthog\.com"),
)


def exporter_of(asked: Asked) -> Exporter | None:
    """The row of the table that a request belongs to, or None."""
    if asked.method not in _SENDING:
        return None
    host = urlsplit(asked.url).hostname or ""
    for exporter in EXPORTERS:
        if re.fullmatch(".*(?:" + exporter.path + ")", asked.path) and re.fullmatch(exporter.host, host):
            return exporter if exporter.name != "OpenTelemetry" or _is_otlp(asked) else None
    return None


def _is_otlp(asked: Asked) -> bool:
    """Its paths are ordinary words, its bodies are not."""
    kind = next((value for name, value in asked.headers if name == "content-type"), "")
    return "protobuf" in kind or _OTLP.search(asked.body or b"") is not None
