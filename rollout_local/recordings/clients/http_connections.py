"""http.client, and so `urllib.request`: `HTTPConnection.request` and `HTTPConnection.getresponse`.

Invariant: one request and its response are one interaction; urllib follows redirects above it. What writes a
request piece by piece (`putrequest`), as urllib3 does, is not seen here.
"""

from __future__ import annotations

import builtins
import http.client
import io
import socket
from collections.abc import Callable, Iterator
from typing import Any

from rollout_local.recordings import current
from rollout_local.recordings.body import Tap
from rollout_local.recordings.clients.hooks import Patch
from rollout_local.recordings.exchange import Answer, Failure, FailureKind
from rollout_local.recordings.session import Call

NAME = "http.client"
_CALL = "_rollout_call"
"""Where a connection keeps the call that its next response answers."""
_FIRST_ERROR = 400
_FRAMING = frozenset({"content-length", "transfer-encoding", "connection"})


def patches(module: Any) -> Iterator[Patch]:
    """What to replace in `http.client`."""
    yield Patch(module.HTTPConnection, "request", _requesting)
    yield Patch(module.HTTPConnection, "getresponse", _responding)


def _requesting(original: Callable[..., Any]) -> Callable[..., Any]:
    def request(
        connection: Any, method: str, url: str, body: Any = None, headers: Any = None, *, encode_chunked: bool = False
    ) -> None:
        headers = {} if headers is None else headers
        recording = current.recording()
        if recording is None:
            original(connection, method, url, body, headers, encode_chunked=encode_chunked)
            return
        data = _bytes(body)
        pairs = [(str(name), _text(value)) for name, value in headers.items()]
        call = recording.begin(NAME, classify, method, _address(connection, url), pairs, data)
        _forget(connection)
        if call.answer is not None:
            if call.answer.status is None and call.answer.failure and not _comes_late(call.answer.failure):
                raise _error(call.answer.failure)
            vars(connection)[_CALL] = call
            return
        try:
            with current.unrecorded():
                original(connection, method, url, data, headers, encode_chunked=encode_chunked)
        except BaseException as error:
            call.failed(error)
            raise
        vars(connection)[_CALL] = call

    return request


def _responding(original: Callable[..., Any]) -> Callable[..., Any]:
    def getresponse(connection: Any) -> Any:
        call: Call | None = vars(connection).pop(_CALL, None)
        if call is None:
            return original(connection)
        if call.answer is not None:
            return _played(connection, call)
        try:
            with current.unrecorded():
                response = original(connection)
        except BaseException as error:
            call.failed(error)
            raise
        headers = tuple(response.getheaders())
        tap = Tap(call, response.status, response.reason or "", headers, empty=call.asked.method == "HEAD")
        response.__class__ = _kind(type(response))
        response.tap = tap
        return response if response.status < _FIRST_ERROR else _at_once(connection, call, response)

    return getresponse


def _at_once(connection: Any, call: Call, response: Any) -> object:
    """The same response, read: urllib raises an error's, and who reads that, if anyone, comes too late to be told."""
    status, reason, headers = response.status, response.reason or "", tuple(response.getheaders())
    return _response(connection, call, Answer(status, reason, headers, response.read()))


def classify(error: BaseException) -> FailureKind | None:
    """Failures of the connection, and of what came over it."""
    if not isinstance(error, (OSError, http.client.HTTPException)):
        return None
    return "timeout" if isinstance(error, TimeoutError) else "connection"


class _Tapped(http.client.HTTPResponse):
    """A response past a tap. A method of a response may call another one: the outermost feeds the tap."""

    tap: Tap
    busy = False

    def read(self, amt: int | None = None) -> bytes:
        return self.passed(lambda: super(_Tapped, self).read(amt))

    def read1(self, n: int = -1) -> bytes:
        return self.passed(lambda: super(_Tapped, self).read1(n))

    def readline(self, limit: int = -1) -> bytes:  # type: ignore[override]
        return self.passed(lambda: super(_Tapped, self).readline(limit))

    def readinto(self, buffer: Any) -> int:
        if self.busy:
            return int(super().readinto(buffer))
        place = memoryview(buffer).cast("B")
        data = self.read(len(place))
        place[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self.tap.left()
        super().close()

    def passed(self, read: Callable[[], bytes]) -> bytes:
        if self.busy:
            return read()
        self.busy = True
        try:
            data = read()
        except BaseException as error:
            self.tap.feed(getattr(error, "partial", b""))
            self.tap.broke(error)
            raise
        finally:
            self.busy = False
        if data:
            self.tap.feed(data)
        if self.isclosed():
            self.tap.end()
        return data


def _kind(given: type[http.client.HTTPResponse]) -> type[http.client.HTTPResponse]:
    """`_Tapped` over a connection's own class of responses."""
    return _Tapped if given is http.client.HTTPResponse else type(given.__name__, (_Tapped, given), {})


def _played(connection: object, call: Call) -> object:
    """A response with a recorded answer, unread; it never was on a wire. Raises the recorded failure."""
    answer = call.answer
    assert answer is not None
    if answer.status is None:
        raise _error(answer.failure)
    return _response(connection, call, answer)


def _response(connection: Any, call: Call, answer: Answer) -> object:
    response = connection.response_class(_Wire(answer), method=call.asked.method)
    response.begin()
    return response


class _Wire:
    """What a response reads from in place of a socket. One that broke promises a byte more than it has."""

    def __init__(self, answer: Answer) -> None:
        length = len(answer.body) + (answer.failure is not None)
        kept = [f"{name}: {value}" for name, value in answer.headers if name.lower() not in _FRAMING]
        head = [f"HTTP/1.1 {answer.status} {answer.reason}", *kept]
        text = "\r\n".join([*head, f"content-length: {length}", "", ""])
        self._data = text.encode("latin-1", "replace") + answer.body
        self._error = _error(answer.failure) if answer.failure and answer.failure.kind == "timeout" else None

    def makefile(self, *_: object) -> io.BufferedReader:
        """As a socket's."""
        return io.BufferedReader(_Raw(self._data, self._error))


class _Raw(io.RawIOBase):
    """Bytes, and the error at their end."""

    def __init__(self, data: bytes, error: Exception | None) -> None:
        self._rest = memoryview(data)
        self._error = error

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = min(len(buffer), len(self._rest))
        if not size and self._error is not None:
            raise self._error
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


def _comes_late(failure: Failure) -> bool:
    """Whether a failure was one of waiting for the response, not of sending the request."""
    return failure.kind == "timeout" or hasattr(http.client, failure.name)


def _error(failure: Failure | None) -> Exception:
    """What http.client, or the socket below it, raised."""
    if failure is not None and failure.kind == "timeout":
        return TimeoutError(failure.message)
    name, message = (failure.name, failure.message) if failure else ("", "")
    for home in (http.client, builtins, socket):
        kind = getattr(home, name, None)
        if isinstance(kind, type) and issubclass(kind, (OSError, http.client.HTTPException)):
            return kind(message)
    return ConnectionResetError(message)


def _address(connection: Any, url: str) -> str:
    """The whole URL; through a plain proxy it is given whole, through a tunnel it is of the host behind it."""
    if "://" in url[:8]:
        return url
    tunneled = getattr(connection, "_tunnel_host", None)
    host = tunneled or connection.host
    port = connection._tunnel_port if tunneled else connection.port  # noqa: SLF001  there is no public name
    secure = isinstance(connection, http.client.HTTPSConnection)
    place = f"[{host}]" if ":" in host else host
    return f"http{'s' * secure}://{place}{'' if port == connection.default_port else f':{port}'}{url}"


def _forget(connection: object) -> None:
    """A request whose response nobody waited for."""
    before: Call | None = vars(connection).pop(_CALL, None)
    if before is not None:
        before.drop()


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _bytes(body: Any) -> bytes | None:
    """The body's bytes; a file or an iterator is read."""
    if body is None or isinstance(body, bytes):
        return body
    if isinstance(body, str):
        return body.encode("latin-1")
    if hasattr(body, "read"):
        data = body.read()
        return data.encode("latin-1") if isinstance(data, str) else bytes(data)
    try:
        return bytes(memoryview(body))
    except TypeError:
        return b"".join(body)
