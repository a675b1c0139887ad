"""aiohttp: `ClientSession._request`; litellm's asynchronous calls come through here.

Invariant: one request of a session is one interaction: redirects are followed inside it and the last answer is
kept. A replayed response is vcrpy's (vcr/stubs/aiohttp_stubs.py), which knows the signatures of aiohttp's versions.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from rollout_local.recordings import current
from rollout_local.recordings.body import Tap
from rollout_local.recordings.clients.hooks import Patch
from rollout_local.recordings.exchange import Answer, Failure, FailureKind

NAME = "aiohttp"


def patches(module: Any) -> Iterator[Patch]:
    """What to replace in `aiohttp.client`."""
    yield Patch(module.ClientSession, "_request", _requesting)


def _requesting(original: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    async def _request(session: Any, method: str, str_or_url: Any, **kwargs: Any) -> Any:
        recording = current.recording()
        if recording is None:
            return await original(session, method, str_or_url, **kwargs)
        url = _url(session, str_or_url, kwargs.get("params"))
        body, kwargs = await _body(session, kwargs)
        headers = _headers(session, kwargs)
        call = recording.begin(NAME, classify, method, url, headers, body)
        strict = kwargs.pop("raise_for_status", None)
        if call.answer is not None:
            response = _replayed(method, url, call.answer)
        else:
            try:
                with current.unrecorded():
                    response = await original(session, method, str_or_url, **kwargs, raise_for_status=_accept)
            except BaseException as error:
                call.failed(error)
                raise
            _attach(response, Tap(call, response.status, response.reason or "", _pairs(response), encoded=False))
        await _raise_for_status(session, strict, response)
        return response

    return _request


def _attach(response: Any, tap: Tap) -> None:
    """Put the tap before the reader of a response, and where it is closed."""
    content = response.content
    if content.at_eof():
        tap.end()
        return
    response.content = _Tapped(content, tap)
    for name in ("close", "release"):
        setattr(response, name, _leaving(getattr(response, name), tap))


def _leaving(original: Callable[[], Any], tap: Tap) -> Callable[[], object]:
    def leave() -> object:
        tap.left()
        return original()

    return leave


async def _accept(_: Any) -> None:
    """In place of `raise_for_status`: an error's body is recorded before it is raised."""


async def _raise_for_status(session: Any, strict: Any, response: Any) -> None:
    if strict is None:
        strict = session.raise_for_status
    if not strict:
        return
    if response.status >= 400:
        await response.read()
    if callable(strict):
        await strict(response)
    else:
        response.raise_for_status()


def classify(error: BaseException) -> FailureKind | None:
    """Aiohttp's failures of transport; a status that was raised is an answer."""
    aiohttp = sys.modules["aiohttp"]
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError)):
        return "connection"
    return None


def _url(session: Any, url: Any, params: Any) -> str:
    built = session._build_url(url)  # noqa: SLF001  the base URL has no public reader
    return str(built.extend_query(params) if params else built)


async def _body(session: Any, kwargs: dict[str, Any]) -> tuple[bytes | None, dict[str, Any]]:
    """The body's bytes, and the arguments with which aiohttp will still send it."""
    if kwargs.get("json") is not None and kwargs.get("data") is None:
        text = session.json_serialize(kwargs["json"])
        return (text if isinstance(text, bytes) else text.encode()), kwargs
    data = kwargs.get("data")
    if data is None or isinstance(data, (bytes, str)):
        return (data.encode() if isinstance(data, str) else data), kwargs
    if hasattr(data, "__aiter__"):
        whole = b"".join([chunk async for chunk in data])
        return whole, {**kwargs, "data": whole}
    if isinstance(data, (bytearray, memoryview)):
        return bytes(data), kwargs
    if hasattr(data, "read"):
        read: Any = data.read()
        whole = read.encode() if isinstance(read, str) else bytes(read)
        return whole, {**kwargs, "data": whole}
    payload = _payload(data)
    return bytes(await payload.as_bytes()), {**kwargs, "data": payload}


def _payload(data: Any) -> Any:
    aiohttp = sys.modules["aiohttp"]
    if isinstance(data, aiohttp.payload.Payload):
        return data
    return data() if isinstance(data, aiohttp.FormData) else aiohttp.FormData(data)()


def _headers(session: Any, kwargs: Mapping[str, Any]) -> list[tuple[str, str]]:
    given = kwargs.get("headers") or {}
    pairs = [*session.headers.items(), *(given.items() if hasattr(given, "items") else given)]
    auth = kwargs.get("auth") or session.auth
    if auth is not None:
        pairs.append(("authorization", auth.encode()))
    data: Any = kwargs.get("data")
    if hasattr(data, "content_type"):
        pairs.append(("content-type", data.content_type))
    elif kwargs.get("json") is not None:
        pairs.append(("content-type", "application/json"))
    return [(str(name), str(value)) for name, value in pairs]


def _pairs(response: Any) -> tuple[tuple[str, str], ...]:
    return tuple((str(name), value) for name, value in response.headers.items())


def _replayed(method: str, url: str, answer: Answer) -> object:
    """A response that was never on a wire. Raises the recorded failure."""
    if answer.status is None and answer.failure is not None:
        raise _error(answer.failure, url)
    from vcr.request import Request
    from vcr.stubs.aiohttp_stubs import build_response

    headers: dict[str, list[str]] = {}
    for name, value in answer.headers:
        headers.setdefault(name, []).append(value)
    told = {
        "status": {"code": answer.status, "message": answer.reason},
        "headers": headers,
        "body": {"string": answer.body},
    }
    response = build_response(Request(method, url, None, {}), told, ())
    if answer.failure is not None:
        _break(response, answer.failure, url)
    return response


def _break(response: Any, failure: Failure, url: str) -> None:
    """Let a replayed body fail after what had come."""
    error = _error(failure, url)
    content = response.content
    left: list[bytes] = [piece for piece in (content.read_nowait(),) if piece]

    async def read(*_: Any) -> bytes:
        if left:
            return left.pop()
        raise error

    async def whole() -> bytes:
        raise error

    async def readchunk() -> tuple[bytes, bool]:
        return await read(), False

    for name in ("read", "readany", "readline", "readuntil", "readexactly"):
        setattr(content, name, read)
    content.readchunk = readchunk
    for name in ("read", "text", "json"):
        setattr(response, name, whole)


def _error(failure: Failure, url: str) -> Exception:
    aiohttp: Any = sys.modules["aiohttp"]
    if failure.name == "ClientConnectorError":
        parts = sys.modules["yarl"].URL(url)
        key = aiohttp.client_reqrep.ConnectionKey(
            parts.host, parts.port, parts.scheme == "https", True, None, None, None
        )
        refused: Exception = aiohttp.ClientConnectorError(key, ConnectionRefusedError(111, failure.message))
        return refused
    known = getattr(aiohttp, failure.name, None)
    if not (isinstance(known, type) and issubclass(known, aiohttp.ClientError)):
        known = TimeoutError if failure.kind == "timeout" and failure.client == NAME else None
    if known is None:
        known = aiohttp.ServerTimeoutError if failure.kind == "timeout" else aiohttp.ClientConnectionError
    try:
        error: Exception = known(failure.message)
    except TypeError:  # a class that wants a connection's details
        error = aiohttp.ClientConnectionError(failure.message)
    return error


def _streams() -> Any:
    return sys.modules["aiohttp.streams"]


class _Tapped:
    """A response's reader, past a tap: every byte is noted before it is handed on. It reads as aiohttp's does."""

    def __init__(self, inner: Any, tap: Tap) -> None:
        self._inner = inner
        self._tap = tap

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def __aiter__(self) -> Any:
        return _streams().AsyncStreamIterator(self.readline)

    def iter_chunked(self, n: int) -> Any:
        return _streams().AsyncStreamIterator(lambda: self.read(n))

    def iter_any(self) -> Any:
        return _streams().AsyncStreamIterator(self.readany)

    def iter_chunks(self) -> Any:
        return _streams().ChunkTupleAsyncStreamIterator(self)

    async def _pass(self, reading: Awaitable[Any]) -> Any:
        try:
            data = await reading
        except BaseException as error:
            self._tap.broke(error)
            raise
        self._note(data)
        return data

    def _note(self, data: bytes) -> None:
        if data:
            self._tap.feed(data)
        if self._inner.at_eof():
            self._tap.end()

    async def read(self, n: int = -1) -> Any:
        return await self._pass(self._inner.read(n))

    async def readany(self) -> Any:
        return await self._pass(self._inner.readany())

    async def readexactly(self, n: int) -> object:
        return await self._pass(self._inner.readexactly(n))

    async def readline(self, **limits: Any) -> Any:
        return await self._pass(self._inner.readline(**limits))

    async def readuntil(self, separator: bytes = b"\n", **limits: Any) -> object:
        return await self._pass(self._inner.readuntil(separator, **limits))

    async def readchunk(self) -> object:
        try:
            data, end = await self._inner.readchunk()
        except BaseException as error:
            self._tap.broke(error)
            raise
        self._note(data)
        return data, end

    def read_nowait(self, n: int = -1) -> object:
        data = self._inner.read_nowait(n)
        self._note(data)
        return data
