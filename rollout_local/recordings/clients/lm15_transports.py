"""DSPy's own engine: `StdlibTransport.stream` and `StdlibAsyncTransport._do_stream` of its vendored lm15.

Invariant: this is the one place through which `dspy.LM` sends when it does not use litellm (raw sockets, which
vcrpy does not see). The names are private to dspy 3.4; `clients.check` finds them gone.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from rollout_local.recordings import current
from rollout_local.recordings.body import Tap
from rollout_local.recordings.clients.hooks import Patch
from rollout_local.recordings.exchange import Answer, Failure, FailureKind
from rollout_local.recordings.session import Call, Recording

NAME = "lm15"


def sync_patches(module: Any) -> Iterator[Patch]:
    """What to replace in `…transports._sync`."""
    kit = _Kit(module.__name__.rpartition(".")[0])
    yield Patch(module.StdlibTransport, "stream", kit.sync)


def async_patches(module: Any) -> Iterator[Patch]:
    """What to replace in `…transports._async`."""
    kit = _Kit(module.__name__.rpartition(".")[0])
    yield Patch(module.StdlibAsyncTransport, "_do_stream", kit.asynchronous)


class _Kit:
    """The two replacements, over the vendored package's types and exceptions."""

    def __init__(self, package: str) -> None:
        self.types: Any = sys.modules[f"{package}._types"]
        self.errors: Any = sys.modules[f"{package}._exceptions"]

    def classify(self, error: BaseException) -> FailureKind | None:
        if not isinstance(error, self.errors.TransportError):
            return None
        return "timeout" if "Timeout" in type(error).__name__ else "connection"

    def begin(self, recording: Recording, request: Any) -> Call:
        return recording.begin(NAME, self.classify, request.method, request.url, request.headers, request.body or None)

    def error(self, failure: Failure) -> Exception:
        known = getattr(self.errors, failure.name, None)
        if not (isinstance(known, type) and issubclass(known, self.errors.TransportError)):
            known = self.errors.ReadTimeout if failure.kind == "timeout" else self.errors.ConnectError
        error: Exception = known(failure.message)
        return error

    def replayed(self, make: Any, answer: Answer, chunks: Any, release: Any) -> object:
        if answer.status is None and answer.failure is not None:
            raise self.error(answer.failure)
        return make(
            status=answer.status,
            reason=answer.reason,
            headers=list(answer.headers),
            http_version="HTTP/1.1",
            chunks=chunks,
            release=release,
        )

    def sync(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def stream(transport: Any, request: Any) -> Any:
            recording = current.recording()
            if recording is None:
                return original(transport, request)
            call = self.begin(recording, request)
            if call.answer is not None:
                answer = call.answer
                return self.replayed(self.types.TransportResponse, answer, self.played(answer), lambda _: None)
            try:
                with current.unrecorded():
                    inner = original(transport, request)
            except BaseException as error:
                call.failed(error)
                raise
            tap = _tap(call, request, inner)

            def release(_: bool) -> None:
                tap.left()
                inner.close()

            return _like(self.types.TransportResponse, inner, _passed(inner, tap), release)

        return stream

    def asynchronous(self, original: Callable[..., Any]) -> Callable[..., Any]:
        async def _do_stream(transport: Any, request: Any) -> Any:
            recording = current.recording()
            if recording is None:
                return await original(transport, request)
            call = self.begin(recording, request)
            if call.answer is not None:
                answer = call.answer
                return self.replayed(self.types.AsyncTransportResponse, answer, self.played_async(answer), _nothing)
            try:
                with current.unrecorded():
                    inner = await original(transport, request)
            except BaseException as error:
                call.failed(error)
                raise
            tap = _tap(call, request, inner)

            async def release(_: bool) -> None:
                tap.left()
                await inner.aclose()

            return _like(self.types.AsyncTransportResponse, inner, _passed_async(inner, tap), release)

        return _do_stream

    def played(self, answer: Answer) -> Iterator[bytes]:
        yield answer.body
        if answer.failure is not None:
            raise self.error(answer.failure)

    async def played_async(self, answer: Answer) -> AsyncIterator[bytes]:
        for chunk in self.played(answer):
            yield chunk


async def _nothing(_: bool) -> None:
    """There is no connection to give back."""


def _tap(call: Call, request: Any, inner: Any) -> Tap:
    return Tap(call, inner.status, inner.reason, tuple(inner.headers), empty=request.method.upper() == "HEAD")


def _like(make: Any, inner: Any, chunks: Any, release: Any) -> object:
    return make(
        status=inner.status,
        reason=inner.reason,
        headers=inner.headers,
        http_version=inner.http_version,
        chunks=chunks,
        release=release,
    )


def _passed(inner: Any, tap: Tap) -> Iterator[bytes]:
    try:
        for chunk in inner:
            tap.feed(chunk)
            yield chunk
    except GeneratorExit:
        raise
    except BaseException as error:
        tap.broke(error)
        raise
    tap.end()


async def _passed_async(inner: Any, tap: Tap) -> AsyncIterator[bytes]:
    try:
        async for chunk in inner:
            tap.feed(chunk)
            yield chunk
    except GeneratorExit:
        raise
    except BaseException as error:
        tap.broke(error)
        raise
    tap.end()
