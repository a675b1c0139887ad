"""What observability sends is neither recorded nor replayed; a library's own thread does not die of a replay."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from rollout_local.errors import RecordingMiss
from rollout_local.recordings import open_recording, scope, show
from rollout_local.recordings.exporters import exporter_of
from rollout_local.recordings.identity import Reader
from rollout_local.redaction import Redactor

SPANS = {"resourceSpans": [{"scopeSpans": []}]}


def named(method: str, url: str, body: bytes = b"{}", kind: str = "application/json") -> str | None:
    found = exporter_of(Reader(Redactor({})).read(method, url, [("content-type", kind)], body))
    return found and found.name


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://app.rollout.work/v1/events:batch", "Rollout"),
        ("http://h/api/public/ingestion", "Langfuse"),
        ("https://api.smith.langchain.com/runs/multipart", "LangSmith"),
        ("https://eu.api.smith.langchain.com/runs", "LangSmith"),
        ("http://h/api/3.0/mlflow/traces", "MLflow"),
        ("http://h/v1/private/spans/batch", "Opik"),
        ("https://trace.wandb.ai/call/upsert_batch", "Weave"),
        ("https://api.braintrust.dev/logs3", "Braintrust"),
        ("http://localhost:8126/v0.5/traces", "Datadog"),
        ("https://o1.ingest.sentry.io/api/42/envelope/", "Sentry"),
        ("https://us.i.posthog.com/batch/", "PostHog"),
        ("http://h/v1/chat/completions", None),
        ("https://api.openai.com/v1/threads/t/runs", None),
        ("http://h/batch/", None),
        ("http://h/v1/events:batch/x", None),
        ("http://h/v1/traces", None),
    ],
)
def test_an_exporter_is_known_by_where_it_sends(url: str, name: str | None) -> None:
    assert named("POST", url) == name
    assert named("GET", url) is None


def test_opentelemetrys_paths_are_its_own_only_with_its_bodies() -> None:
    assert named("POST", "http://h/v1/traces", b"\x0a\x01", "application/x-protobuf") == "OpenTelemetry"
    assert named("POST", "http://h/otel/v1/logs", b'{"resourceLogs":[]}') == "OpenTelemetry"
    assert named("POST", "http://h/v1/logs", b'{"query":"errors"}') is None


def test_an_exporters_request_is_sent_and_not_recorded_and_in_a_replay_it_is_not_sent(
    ask: Any, path: Any, provider: Any
) -> None:
    def both() -> tuple[Any, Any]:
        with scope("trial"):
            return ask({"a": 1}), ask({**SPANS, "id": str(threading.get_native_id())}, "/v1/traces")

    told: list[Any] = []
    with open_recording(path, sink=told.append) as recording:
        answer, sent = both()
        assert recording.bypasses.noted() == {}
    assert (sent["n"], provider.count, len(told)) == (2, 2, 1)
    assert len(show(path).interactions) == 1
    with open_recording(path, "none", strict=True):
        assert both() == (answer, {})
    assert provider.count == 2


def test_an_offline_run_swallows_what_would_go_to_a_hosted_collector(path: Any) -> None:
    with open_recording(path, allow_hosts=[]) as recording:
        done = httpx.post("https://app.rollout.work/v1/events:batch", json={"events": []})
        assert (done.status_code, done.json()["retryable"], recording.blocked) == (200, False, [])


def test_a_recording_that_holds_exporters_requests_is_played_without_them(make: Any, path: Any, ask: Any) -> None:
    make.write(path, make.item({"a": 1}), make.item({"events": []}, url="http://h/v1/events:batch"))
    with open_recording(path, "none", strict=True) as recording:
        ask({"a": 1})
        assert recording.stats().unplayed == 0


def _in_a_thread(work: Callable[[], Any]) -> BaseException | None:
    met: list[BaseException | None] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  which it is, is the question
            met.append(error)
        else:
            met.append(None)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return met[0]


def test_a_miss_in_a_thread_of_a_librarys_own_is_a_failed_connection_and_counted(
    make: Any, path: Any, ask: Any
) -> None:
    make.write(path, make.item({"a": 1}))

    def in_scope() -> None:
        with scope(""):
            ask({"a": 2})

    with open_recording(path, "none") as recording:
        error = _in_a_thread(lambda: ask({"a": 2}))
        assert isinstance(error, httpx.ConnectError)
        assert "Not recorded: POST" in str(error)
        assert recording.strays == [f"POST {ask.url}/v1/chat"]
        assert isinstance(_in_a_thread(in_scope), RecordingMiss)
        with pytest.raises(RecordingMiss):
            ask({"a": 2})
        assert recording.stats().missed == 3
        assert len(recording.strays) == 1
