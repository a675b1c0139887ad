"""The shapes in which clients take bodies, headers and URLs, and the ways in which responses are read."""

from __future__ import annotations

import asyncio
import gc
import gzip
import io
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import httpx
import pytest
import requests
import requests.auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError
from botocore.httpsession import URLLib3Session

from rollout_local.recordings import current, open_recording, show
from rollout_local.recordings.body import Tap
from rollout_local.recordings.clients.urllib3_bodies import Tapped
from rollout_local.recordings.exchange import Answer, Failure


def both(path, work: Callable[[], Any]) -> Any:
    """Record, then replay; the results must be the same."""
    with open_recording(path):
        recorded = work()
    with open_recording(path, "none", strict=True):
        assert work() == recorded
    return recorded


def in_session(work: Callable[[aiohttp.ClientSession], Awaitable[Any]], **options: Any) -> Any:
    async def run() -> Any:
        async with aiohttp.ClientSession(**options) as session:
            return await work(session)

    return asyncio.run(run())


async def _pieces():
    yield b"pie"
    yield b"ces"


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (lambda: {"data": b"bytes"}, "bytes"),
        (lambda: {"data": "text"}, "text"),
        (lambda: {"data": {"a": "1", "b": "x y"}}, "a=1&b=x+y"),
        (lambda: {"data": aiohttp.FormData({"a": "1"})}, "a=1"),
        (lambda: {"data": aiohttp.payload.BytesPayload(b"payload")}, "payload"),
        (lambda: {"data": _pieces()}, "pieces"),
        (lambda: {"data": bytearray(b"array")}, "array"),
        (lambda: {"data": io.BytesIO(b"file")}, "file"),
        (lambda: {"data": io.StringIO("file of text")}, "file of text"),
        (lambda: {"json": {"a": [1]}}, '{"a": [1]}'),
        (dict, ""),
    ],
)
@pytest.mark.filterwarnings("ignore:Sending a large body")
def test_aiohttp_bodies_of_every_kind(path, provider, given, sent):
    async def work(session: aiohttp.ClientSession) -> Any:
        async with session.post(provider.url, **given()) as response:
            return await response.json()

    assert both(path, lambda: in_session(work))["echo"] == sent


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_aiohttp_urls_parameters_headers_and_credentials(path, provider):
    async def work(session: aiohttp.ClientSession) -> Any:
        auth = aiohttp.BasicAuth("me", "aio-password-1")
        async with session.get("/v1/chat", params={"x": "1"}, headers=[("Accept", "a/b")], auth=auth) as response:
            return response.status, await response.text()

    both(path, lambda: in_session(work, base_url=provider.url, headers={"x-api-key": "session-key-000"}))
    (item,) = show(path).interactions
    assert item.url == provider.url + "/v1/chat?x=1"
    assert ("accept", "a/b") in item.headers
    assert b"aio-password-1" not in path.read_bytes()


def test_aiohttp_raises_for_status_after_the_body_was_recorded(path, provider):
    provider.script["/bad"] = [(418, {}, b'"teapot"')]

    async def check(response: aiohttp.ClientResponse) -> None:
        if response.status == 418:
            raise LookupError(await response.text())

    async def called(session: aiohttp.ClientSession) -> Any:
        with pytest.raises(LookupError) as raised:
            await session.get(provider.url + "/bad", raise_for_status=check)
        return str(raised.value)

    async def from_session(session: aiohttp.ClientSession) -> Any:
        with pytest.raises(aiohttp.ClientResponseError) as raised:
            await session.get(provider.url + "/bad")
        return raised.value.status

    assert both(path, lambda: in_session(called)) == '"teapot"'
    assert in_session(from_session, raise_for_status=True) == 418
    path.unlink()
    assert both(path, lambda: in_session(from_session, raise_for_status=True)) == 418
    assert show(path).interactions[0].answer.body == b'"teapot"'


@pytest.mark.parametrize(
    "read",
    [
        lambda content: content.read(),
        lambda content: content.readexactly(8),
        lambda content: content.readuntil(b"\n"),
        lambda content: _all(content),
        lambda content: _all(content.iter_chunked(3)),
        lambda content: _all(content.iter_any()),
        lambda content: _all(content.iter_chunks()),
        lambda content: _nowait(content),
    ],
)
def test_aiohttp_bodies_are_read_in_every_way(path, provider, read):
    provider.script["/lines"] = [(200, {"content-type": "text/plain"}, b"one\ntwo\n")]

    async def work(session: aiohttp.ClientSession) -> Any:
        async with session.get(provider.url + "/lines") as response:
            return await read(response.content)

    recorded = both(path, lambda: in_session(work))
    assert recorded[:3] == b"one" if isinstance(recorded, bytes) else recorded
    assert show(path).interactions[0].answer.body in (b"one\ntwo\n", b"one\n")


async def _all(pieces: Any) -> Any:
    found = [piece async for piece in pieces]
    return b"".join(piece[0] if isinstance(piece, tuple) else piece for piece in found)


async def _nowait(content: Any) -> bytes:
    first = await content.read(3)
    rest: bytes = content.read_nowait()
    return first + rest


def test_aiohttp_answers_without_a_body_are_recorded(path, provider):
    provider.script["/none"] = [(204, {}, b"")]

    async def work(session: aiohttp.ClientSession) -> Any:
        async with session.delete(provider.url + "/none") as response:
            return response.status

    # the server of these tests knows GET and POST; HEAD has no body by definition
    async def head(session: aiohttp.ClientSession) -> Any:
        async with session.get(provider.url + "/none") as response:
            return response.status

    assert both(path, lambda: in_session(head)) == 204
    assert show(path).interactions[0].answer.outcome == 204


def test_aiohttp_failures_of_others_and_with_details_are_replayed(make, path):
    url = "http://127.0.0.1:1/v1/chat"
    failures = [
        Failure("connection", "httpx", "ConnectError", "x"),
        Failure("timeout", "httpx", "ReadTimeout", "x"),
        Failure("timeout", "aiohttp", "TimeoutError", ""),
        Failure("connection", "aiohttp", "ClientConnectorDNSError", "x"),
    ]
    make.write(
        path, *(make.item({"n": n}, Answer(None, one.kind, (), b"", one)) for n, one in enumerate(failures))
    )  # fmt: skip
    expected = [aiohttp.ClientConnectionError, aiohttp.ServerTimeoutError, TimeoutError, aiohttp.ClientConnectionError]

    async def work(session: aiohttp.ClientSession) -> None:
        for number, kind in enumerate(expected):
            with pytest.raises(kind):
                await session.post(url, json={"n": number})

    with open_recording(path, "none", strict=True):
        in_session(work)


def test_aiohttp_bodies_that_broke_break_again_in_every_way_of_reading(make, path):
    broken = Answer(200, "OK", (), b"half", Failure("connection", "aiohttp", "ClientPayloadError", "cut"))
    make.write(path, *(make.item({"n": 1}, broken) for _ in range(3)))

    async def work(session: aiohttp.ClientSession) -> list[bytes]:
        got = []
        for pieces in ("iter_any", "iter_chunks"):
            async with session.post("http://h/v1/chat", json={"n": 1}) as response:
                reader = aiter(getattr(response.content, pieces)())
                got.append(await anext(reader))
                with pytest.raises(aiohttp.ClientPayloadError):
                    await anext(reader)
        async with session.post("http://h/v1/chat", json={"n": 1}) as response:
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.json()
        return got

    with open_recording(path, "none", strict=True):
        assert in_session(work) == [b"half", (b"half", False)]


def test_a_cancelled_request_is_not_recorded(path, provider):
    provider.script["/slow"] = [lambda handler: handler.hang()]

    async def by_aiohttp() -> None:
        async with aiohttp.ClientSession() as session, session.post(provider.url + "/slow", json={}) as response:
            await response.read()

    async def by_httpx() -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            await client.post(provider.url + "/slow", json={})

    async def run(work: Callable[[], Awaitable[None]]) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(work(), 0.1)  # cancels it

    with open_recording(path) as recording:
        for work in (by_aiohttp, by_httpx):
            asyncio.run(run(work))
            assert recording.in_flight("") == 0
    assert show(path).interactions == []


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (lambda: {"data": "text"}, "text"),
        (lambda: {"data": b"bytes"}, "bytes"),
        (lambda: {"data": {"a": "1"}}, "a=1"),
        (lambda: {"data": io.BytesIO(b"file")}, "file"),
        (lambda: {"data": (piece for piece in [b"pie", b"ces"])}, "pieces"),
        (lambda: {"json": {"a": 1}}, '{"a": 1}'),
        (dict, ""),
    ],
)
def test_requests_bodies_of_every_kind(path, provider, given, sent):
    assert both(path, lambda: requests.post(provider.url, **given()).json())["echo"] == sent


def test_requests_reads_raw_bodies_in_every_way(path, provider):
    provider.script["/zip"] = [lambda handler: handler.zipped()]

    def raw(how: Callable[[Any], bytes]) -> None:
        path.unlink(missing_ok=True)
        with open_recording(path), requests.get(provider.url + "/zip", stream=True) as response:
            got = how(response.raw)
            assert got in (b'{"zipped":true}', gzip.compress(b'{"zipped":true}')) or gzip.decompress(got)
        assert show(path).interactions[0].answer.body == b'{"zipped":true}'

    def into(raw: Any) -> bytes:
        buffer = bytearray(1000)
        return bytes(buffer[: raw.readinto(buffer)])

    raw(lambda one: one.read())
    raw(lambda one: one.read(decode_content=True))
    raw(lambda one: b"".join(iter(lambda: one.read(7), b"")))
    raw(lambda one: b"".join(one))
    raw(lambda one: b"".join(iter(lambda: one.read1(5), b"")))
    raw(into)


def test_requests_follows_recorded_redirects_and_keeps_cookies_out(path, provider):
    provider.script["/old"] = [(307, {"location": "/v1/chat", "set-cookie": "s=cookie-secret-1"}, b"")]
    assert both(path, lambda: requests.post(provider.url + "/old", json={"a": 1}).json())["echo"] == '{"a": 1}'
    assert len(show(path).interactions) == 2
    assert b"cookie-secret-1" not in path.read_bytes()


def test_requests_failures_of_others_are_replayed_as_its_own(make, path):
    make.write(
        path,
        make.item({"n": 1}, Answer(None, "timeout", (), b"", Failure("timeout", "lm15", "X", "x"))),
        make.item({"n": 2}, Answer(None, "connection", (), b"", Failure("connection", "lm15", "X", "x"))),
        make.item({"n": 3}, Answer(200, "OK", (), b"half", Failure("timeout", "lm15", "ReadTimeout", "x"))),
    )
    with open_recording(path, "none", strict=True):
        with pytest.raises(requests.ReadTimeout):
            requests.post("http://h/v1/chat", json={"n": 1})
        for number in (2, 3):
            with pytest.raises(requests.ConnectionError):
                requests.post("http://h/v1/chat", json={"n": number})


def test_requests_with_bytes_for_method_and_headers(path, provider):
    def work() -> Any:
        request = requests.Request("POST", provider.url, headers={b"accept": b"a/b"}, data=b"x").prepare()
        with requests.Session() as session:
            return session.send(request).json()

    both(path, work)
    assert ("accept", "a/b") in show(path).interactions[0].headers


def aws(url: str, data: Any, *, stream: bool = False) -> Any:
    request = AWSRequest("POST", url, data=data, headers={"x": b"bytes"}).prepare()
    request.stream_output = stream
    return URLLib3Session().send(request)


@pytest.mark.parametrize("kind", [bytes, bytes.decode, bytearray, io.BytesIO])
def test_botocore_bodies_of_every_kind(path, provider, kind):
    assert both(path, lambda: json.loads(aws(provider.url, kind(b"aws")).content))["echo"] == "aws"


def test_botocore_without_a_body_and_without_a_recording(path, provider):
    assert both(path, lambda: json.loads(aws(provider.url, None).content))["echo"] == ""
    assert aws(provider.url, b"x").status_code == 200


def test_botocore_failures_of_others_are_replayed_as_its_own(make, path):
    make.write(
        path,
        make.item({"n": 1}, Answer(None, "timeout", (), b"", Failure("timeout", "lm15", "X", "x"))),
        make.item({"n": 2}, Answer(None, "connection", (), b"", Failure("connection", "lm15", "X", "x"))),
    )
    with open_recording(path, "none", strict=True):
        with pytest.raises(ReadTimeoutError):
            aws("http://h/v1/chat", b'{"n": 1}')
        with pytest.raises(EndpointConnectionError):
            aws("http://h/v1/chat", b'{"n": 2}')


def test_what_is_not_a_failure_of_transport_is_not_recorded(path, provider, monkeypatch):
    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", _explode)
    monkeypatch.setattr(URLLib3Session, "send", _explode)
    with open_recording(path) as recording:
        for work in (lambda: requests.get(provider.url), lambda: aws(provider.url, b"x")):
            with pytest.raises(ZeroDivisionError):
                work()
        assert recording.in_flight("") == 0
    assert show(path).interactions == []


def _explode(*_: Any, **__: Any) -> None:
    raise ZeroDivisionError


class _Told:
    """A call that notes how it ended."""

    def __init__(self) -> None:
        self.ends: list[tuple[Any, ...]] = []

    def answered(self, *args: Any, **kwargs: Any) -> None:
        self.ends.append((*args, kwargs))

    def failed(self, *args: Any) -> None:
        self.ends.append(args)


EVENTS = (("content-type", "text/event-stream"),)


@pytest.mark.parametrize(
    ("chunks", "ends"),
    [
        ([b"data: 1\n\n", b"data: [DONE]\n\n"], True),
        ([b"data: 1\n\ndata: [DO", b"NE]\n", b"\n"], True),
        ([b"data: 1\r\n\r\n", b"data: [DONE]\r\n\r\n"], True),
        ([b"event: message_stop\ndata: {}\n\n"], True),
        ([b"data: 1\n\nevent: response.completed\ndata: {}\n\n"], True),
        ([b"data: [DONE]"], False),
        ([b"data: 1\n\n", b"\n"], False),
        ([b"data: x\n", b"\n"], False),
        ([b'data: "data: [DONE]"\n\n'], False),
    ],
)
def test_a_stream_ends_with_its_last_event(chunks, ends):
    call = _Told()
    tap = Tap(call, 200, "OK", EVENTS)
    for chunk in chunks[:-1]:
        tap.feed(chunk)
    assert call.ends == []
    tap.feed(chunks[-1])
    assert bool(call.ends) is ends


@pytest.mark.parametrize(
    ("status", "headers", "more"),
    [
        (204, (), {}),
        (304, (), {}),
        (200, (("content-length", "0"),), {}),
        (200, (("content-length", "9"),), {"empty": True}),
    ],
)
def test_a_response_without_a_body_is_complete_at_once(status, headers, more):
    call = _Told()
    Tap(call, status, "", headers, **more)
    assert len(call.ends) == 1


def test_a_response_is_complete_with_its_content_length_unless_it_was_decoded():
    call, other = _Told(), _Told()
    Tap(call, 200, "", (("content-length", "3"),)).feed(b"abc")
    Tap(other, 200, "", (("content-length", "3"), ("content-encoding", "gzip")), encoded=False).feed(b"abc")
    assert len(call.ends) == 1
    assert other.ends == []


def test_a_tapped_body_reports_what_breaks_it():
    class Inner:
        def read(self, *_: Any) -> bytes:
            raise OSError("gone")

        def stream(self, *_: Any, **__: Any) -> Any:
            yield b"a"
            raise OSError("gone")

    call = _Told()
    tapped = Tapped(Inner(), Tap(call, 200, "", ()))
    with pytest.raises(OSError, match="gone"):
        tapped.read()
    with pytest.raises(OSError, match="gone"):
        list(tapped.stream())
    assert len(call.ends) == 2


def test_a_request_inside_a_request_is_recorded_once(path, provider):
    class Riding(httpx.HTTPTransport):
        """A transport that answers with another library."""

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            return super().handle_request(request)

    with open_recording(path):
        assert current.recording() is not None
        with httpx.Client(transport=Riding()) as client:
            client.post(provider.url, json={})
    assert len(show(path).interactions) == 1


def test_what_is_dropped_half_read_is_closed_by_the_next_request_and_not_by_the_garbage_collector(provider, path):
    provider.script["/long"] = [(200, {}, b"0" * 100_000)]
    with httpx.Client() as client, open_recording(path):
        pool = client._transport._pool
        begun = client.send(client.build_request("POST", f"{provider.url}/long"), stream=True)
        chunks = begun.iter_raw(10)
        assert next(chunks) == b"0" * 10
        begun.extensions["itself"] = begun, chunks  # a cycle, as libraries keep them
        del begun, chunks
        gc.collect()
        assert ["ACTIVE" in str(held) for held in pool.connections] == [True]
        assert client.post(f"{provider.url}/next").status_code == 200
        assert ["ACTIVE" in str(held) for held in pool.connections] == [False]
