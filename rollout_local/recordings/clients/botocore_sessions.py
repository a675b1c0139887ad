"""botocore, which boto3 sends through: `URLLib3Session.send`.

Invariant: one call of the session is one interaction; botocore retries and signs above it. Event streams (Bedrock)
are handed on as they come; other bodies are whole when `send` returns.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

from rollout_local.recordings import current
from rollout_local.recordings.body import Tap
from rollout_local.recordings.clients.hooks import Patch
from rollout_local.recordings.clients.urllib3_bodies import Tapped, is_timeout, played
from rollout_local.recordings.exchange import Failure, FailureKind
from rollout_local.recordings.session import Call

NAME = "botocore"


def patches(module: Any) -> Iterator[Patch]:
    """What to replace in `botocore.httpsession`."""
    yield Patch(module.URLLib3Session, "send", _sending)


def _sending(original: Callable[..., Any]) -> Callable[..., Any]:
    def send(session: Any, request: Any) -> Any:
        recording = current.recording()
        if recording is None:
            return original(session, request)
        call = recording.begin(NAME, classify, request.method, request.url, _headers(request.headers), _body(request))
        if call.answer is not None:
            return _replayed(call, request)
        try:
            with current.unrecorded():
                response = original(session, request)
        except BaseException as error:
            call.failed(error)
            raise
        tap = Tap(call, response.status_code, "", tuple(_headers(response.headers)), empty=request.method == "HEAD")
        if request.stream_output:
            response.raw = Tapped(response.raw, tap)
        else:
            tap.feed(response.content)
            tap.end()
        return response

    return send


def _replayed(call: Call, request: Any) -> Any:
    answer = call.answer
    assert answer is not None
    if answer.status is None and answer.failure is not None:
        raise _error(answer.failure, request.url)
    raw = played(answer)
    response = sys.modules["botocore.awsrequest"].AWSResponse(request.url, answer.status, raw.headers, raw)
    if not request.stream_output:
        _ = response.content
    return response


def classify(error: BaseException) -> FailureKind | None:
    """Botocore's own failures of transport, and urllib3's in a streamed body."""
    errors, urllib3 = sys.modules["botocore.exceptions"], sys.modules["urllib3"]
    if not isinstance(error, (errors.HTTPClientError, errors.ConnectionError, urllib3.exceptions.HTTPError)):
        return None
    return "timeout" if is_timeout(error) else "connection"


def _error(failure: Failure, url: str) -> Exception:
    errors: Any = sys.modules["botocore.exceptions"]
    known = getattr(errors, failure.name, None)
    if not (isinstance(known, type) and issubclass(known, (errors.HTTPClientError, errors.ConnectionError))):
        known = errors.ReadTimeoutError if failure.kind == "timeout" else errors.EndpointConnectionError
    error: Exception = known(endpoint_url=url, proxy_url=url, error=failure.message)
    return error


def _headers(headers: Any) -> list[tuple[str, str]]:
    return [(_text(name), _text(value)) for name, value in headers.items()]


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _body(request: Any) -> bytes | None:
    body = request.body
    if body is None or isinstance(body, bytes):
        return body
    if isinstance(body, (str, bytearray)):
        return body.encode() if isinstance(body, str) else bytes(body)
    start = body.tell()
    data: bytes = body.read()
    body.seek(start)
    return data
