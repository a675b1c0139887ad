"""httpx, and its fork httpx2: `HTTPTransport.handle_request` and `AsyncHTTPTransport.handle_async_request`.

Invariant: one call of a transport is one interaction; redirects, retries and authentication happen above it and are
interactions of their own. What rides on other transports (`MockTransport`, ASGI, WSGI) crosses no wire.

A response that its reader drops half read is closed by the next request, never by the garbage collector: that may run
while the very thread holds the lock of the connection pool, and closing takes this lock (httpcore 1.0.9, `ThreadLock`).
"""

from __future__ import annotations

import contextlib
import sys
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from functools import cached_property
from typing import Any

from rollout_local.recordings import current
from rollout_local.recordings.body import Tap
from rollout_local.recordings.clients.hooks import Patch
from rollout_local.recordings.exchange import Answer, Failure, FailureKind
from rollout_local.recordings.session import Call


def patches(module: Any) -> Iterator[Patch]:
    """What to replace in `httpx._transports.default` or `httpx2._transports.default`."""
    kit = _Kit(sys.modules[module.__name__.partition(".")[0]])
    yield Patch(module.HTTPTransport, "handle_request", kit.sync)
    yield Patch(module.AsyncHTTPTransport, "handle_async_request", kit.asynchronous)


class _Kit:
    """The two replacements and the response streams, over one library's classes."""

    def __init__(self, library: Any) -> None:
        self.library = library
        self.name = library.__name__

    # built when they are needed: while the library is being imported it has no stream classes yet

    @cached_property
    def tapped(self) -> Any:
        return _sync_stream(self.library)

    @cached_property
    def async_tapped(self) -> Any:
        return _async_stream(self.library)

    @cached_property
    def broken(self) -> Any:
        return _broken_stream(self.library)

    def classify(self, error: BaseException) -> FailureKind | None:
        if not isinstance(error, self.library.TransportError):
            return None
        return "timeout" if isinstance(error, self.library.TimeoutException) else "connection"

    def begin(self, recording: Any, request: Any, body: bytes) -> Call:
        call: Call = recording.begin(
            self.name, self.classify, request.method, str(request.url), request.headers.multi_items(), body
        )
        return call

    def tap(self, call: Call, request: Any, response: Any) -> Tap:
        headers = tuple(response.headers.multi_items())
        return Tap(call, response.status_code, response.reason_phrase, headers, empty=request.method == "HEAD")

    def sync(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def handle_request(transport: Any, request: Any) -> Any:
            _close_dropped()
            recording = current.recording()
            if recording is None:
                return original(transport, request)
            call = self.begin(recording, request, request.read())
            if call.answer is not None:
                return self.response(call.answer)
            try:
                with current.unrecorded():
                    response = original(transport, request)
            except BaseException as error:
                call.failed(error)
                raise
            response.stream = self.tapped(response.stream, self.tap(call, request, response))
            return response

        return handle_request

    def asynchronous(self, original: Callable[..., Any]) -> Callable[..., Any]:
        async def handle_async_request(transport: Any, request: Any) -> Any:
            recording = current.recording()
            if recording is None:
                return await original(transport, request)
            call = self.begin(recording, request, await request.aread())
            if call.answer is not None:
                return self.response(call.answer)
            try:
                with current.unrecorded():
                    response = await original(transport, request)
            except BaseException as error:
                call.failed(error)
                raise
            response.stream = self.async_tapped(response.stream, self.tap(call, request, response))
            return response

        return handle_async_request

    def response(self, answer: Answer) -> Any:
        """A response as the transport would have given it. Raises the recorded failure."""
        if answer.status is None:
            raise self.error(answer.failure)
        if answer.failure is None:
            stream = self.library.ByteStream(answer.body)
        else:
            stream = self.broken(answer.body, self.error(answer.failure))
        return self.library.Response(
            answer.status,
            headers=list(answer.headers),
            stream=stream,
            extensions={"reason_phrase": answer.reason.encode("ascii", "replace"), "http_version": b"HTTP/1.1"},
        )

    def error(self, failure: Failure | None) -> Exception:
        kind = failure.kind if failure else "connection"
        known = getattr(self.library, failure.name, None) if failure else None
        if not (isinstance(known, type) and issubclass(known, self.library.TransportError)):
            known = self.library.ReadTimeout if kind == "timeout" else self.library.ConnectError
        error: Exception = known(failure.message if failure else "")
        return error


_dropped: deque[Iterator[bytes]] = deque()


def _close_dropped() -> None:
    """Close what was dropped half read since the last request."""
    while _dropped:
        with contextlib.suppress(IndexError):  # another thread was faster
            chunks = _dropped.popleft()
            with contextlib.suppress(Exception):  # a connection that nobody reads: whatever it says is nobody's
                getattr(chunks, "close", lambda: None)()


class _Chunks(Iterator[bytes]):
    """A response's chunks, past a tap; no generator, whose collection would close what it reads."""

    def __init__(self, chunks: Iterator[bytes], tap: Tap) -> None:
        self._chunks = chunks
        self._tap = tap
        self._unless_read = weakref.finalize(self, _dropped.append, chunks)
        self._unless_read.atexit = False

    def __next__(self) -> bytes:
        try:
            chunk = next(self._chunks)
            self._tap.feed(chunk)
        except StopIteration:
            self._unless_read.detach()
            self._tap.end()
            raise
        except BaseException as error:
            self._unless_read.detach()
            self._tap.broke(error)
            raise
        return chunk


def _sync_stream(library: Any) -> object:
    class Tapped(library.SyncByteStream):  # type: ignore[misc]
        """A response's stream, past a tap."""

        def __init__(self, stream: Any, tap: Tap) -> None:
            self._stream = stream
            self._tap = tap

        def __iter__(self) -> Iterator[bytes]:
            return _Chunks(iter(self._stream), self._tap)

        def close(self) -> None:
            self._tap.left()
            self._stream.close()

    return Tapped


def _async_stream(library: Any) -> object:
    class AsyncTapped(library.AsyncByteStream):  # type: ignore[misc]
        """A response's stream, past a tap."""

        def __init__(self, stream: Any, tap: Tap) -> None:
            self._stream = stream
            self._tap = tap

        async def __aiter__(self) -> AsyncIterator[bytes]:
            try:
                async for chunk in self._stream:
                    self._tap.feed(chunk)
                    yield chunk
            except GeneratorExit:
                raise
            except BaseException as error:
                self._tap.broke(error)
                raise
            self._tap.end()

        async def aclose(self) -> None:
            self._tap.left()
            await self._stream.aclose()

    return AsyncTapped


def _broken_stream(library: Any) -> object:
    class Broken(library.SyncByteStream, library.AsyncByteStream):  # type: ignore[misc]
        """What had come before a response broke, and then its error."""

        def __init__(self, body: bytes, error: Exception) -> None:
            self._body = body
            self._error = error

        def __iter__(self) -> Iterator[bytes]:
            yield self._body
            raise self._error

        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield self._body
            raise self._error

    return Broken
