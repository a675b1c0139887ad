"""What every HTTP client that recordings cover must do: one class, run on each row of the table, and the SDKs above."""

from __future__ import annotations

import asyncio
import gc
import http.client
import importlib.util
import json
import os
import socket
import sys
import urllib.request
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from rollout_local.errors import RecordingMiss
from rollout_local.recordings import clients, open_recording, show
from rollout_local.recordings.clients import CLIENTS

_SPEC = importlib.util.spec_from_file_location(
    "recordings_conftest", Path(__file__).parents[1] / "unit" / "recordings" / "conftest.py"
)
assert _SPEC is not None
assert _SPEC.loader is not None
_shared = sys.modules.setdefault("recordings_conftest", importlib.util.module_from_spec(_SPEC))
_SPEC.loader.exec_module(_shared)
provider, path = _shared.provider, _shared.path

EVENTS = [b'data: {"n":%d}\n\n' % number for number in range(4)] + [b"data: [DONE]\n\n"]


# one driver per row: yields a response's body as it comes


def _httpx(url: str, body: Any, timeout: float, library: str = "httpx") -> Iterator[bytes]:
    httpx = importlib.import_module(library)
    with httpx.Client(trust_env=False, timeout=timeout) as client, client.stream("POST", url, json=body) as response:
        yield from response.iter_bytes()


def _async_httpx(url: str, body: Any, timeout: float, library: str = "httpx") -> Iterator[bytes]:
    httpx = importlib.import_module(library)

    async def run() -> AsyncGenerator[bytes]:
        async with (
            httpx.AsyncClient(trust_env=False, timeout=timeout) as client,
            client.stream("POST", url, json=body) as response,
        ):
            async for chunk in response.aiter_bytes():
                yield chunk

    return _drive(run())


def _aiohttp(url: str, body: Any, timeout: float) -> Iterator[bytes]:
    import aiohttp

    async def run() -> AsyncGenerator[bytes]:
        limits = aiohttp.ClientTimeout(total=None, sock_read=timeout, sock_connect=timeout)
        async with (
            aiohttp.ClientSession(timeout=limits) as session,
            session.post(url, json=body, raise_for_status=True) as response,
        ):
            async for chunk in response.content.iter_any():
                yield chunk

    return _drive(run())


def _requests(url: str, body: Any, timeout: float) -> Iterator[bytes]:
    import requests

    with requests.Session() as session, session.post(url, json=body, stream=True, timeout=timeout) as response:
        yield from response.iter_content(None)


def _botocore(url: str, body: Any, timeout: float) -> Iterator[bytes]:
    from botocore.awsrequest import AWSRequest
    from botocore.httpsession import URLLib3Session

    headers = {"content-type": "application/json"}
    request = AWSRequest("POST", url, data=json.dumps(body).encode(), headers=headers).prepare()
    request.stream_output = True
    session = URLLib3Session(timeout=timeout)
    response = session.send(request)
    try:
        yield from response.raw.stream()
    finally:
        response.raw.release_conn()
        session.close()


def _urllib(url: str, body: Any, timeout: float) -> Iterator[bytes]:
    asked = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked, timeout=timeout) as response:
        while chunk := response.read1(65536):
            yield chunk


def _http_client(url: str, body: Any, timeout: float) -> Iterator[bytes]:
    parts = urlsplit(url)
    assert parts.hostname
    with closing(http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)) as connection:
        headers = {"content-type": "application/json"}
        connection.request("POST", parts.path, iter([json.dumps(body).encode()]), headers)
        with connection.getresponse() as response:
            if response.status >= 400:
                raise http.client.HTTPException(response.read())
            for line in response:
                yield line + (response.readline() if line != b"\n" and line.startswith(b"data") else b"")


def _lm15(url: str, body: Any, timeout: float) -> Iterator[bytes]:
    from dspy._vendor.lm15.transports import StdlibTransport, TransportRequest

    request = TransportRequest("POST", url, [("content-type", "application/json")], json.dumps(body).encode())
    transport = StdlibTransport(read_timeout=timeout, connect_timeout=timeout, trust_env=False)
    with transport, transport.stream(request) as response:
        yield from response


def _async_lm15(url: str, body: Any, timeout: float) -> Iterator[bytes]:
    from dspy._vendor.lm15.transports import TransportRequest
    from dspy._vendor.lm15.transports._async import StdlibAsyncTransport

    async def run() -> AsyncGenerator[bytes]:
        request = TransportRequest("POST", url, [("content-type", "application/json")], json.dumps(body).encode())
        transport = StdlibAsyncTransport(read_timeout=timeout, connect_timeout=timeout, trust_env=False)
        async with transport, transport.stream(request) as response:
            async for chunk in response:
                yield chunk

    return _drive(run())


def _drive(chunks: AsyncGenerator[bytes]) -> Iterator[bytes]:
    async def step() -> bytes | None:
        return await anext(chunks, None)

    with asyncio.Runner() as runner:
        try:
            while (chunk := runner.run(step())) is not None:
                yield chunk
        finally:
            runner.run(chunks.aclose())


def _driving(function: Callable[..., Iterator[bytes]], library: str) -> Callable[..., Iterator[bytes]]:
    return lambda url, body, timeout: function(url, body, timeout, library)


DRIVERS: dict[str, dict[str, Callable[[str, Any, float], Iterator[bytes]]]] = {
    "httpx": {"sync": _httpx, "async": _async_httpx},
    "httpx2": {"sync": _driving(_httpx, "httpx2"), "async": _driving(_async_httpx, "httpx2")},
    "aiohttp": {"async": _aiohttp},
    "requests": {"sync": _requests},
    "http.client": {"sync": _http_client, "urllib": _urllib},
    "botocore": {"sync": _botocore},
    "dspy": {"sync": _lm15},
    "dspy-async": {"async": _async_lm15},
}
KNOWN_BY_OTHERS = {"httpx2": "httpx", "dspy": "SDKs", "dspy-async": "SDKs"}
"""Clients whose users are told by the name of another."""
ROWS = [(client.name, how) for client in CLIENTS for how in DRIVERS[client.name]]


@pytest.fixture(params=ROWS, ids=lambda row: "-".join(row))
def ask(request: pytest.FixtureRequest) -> Callable[..., Iterator[bytes]]:
    name, how = request.param
    client = next(client for client in CLIENTS if client.name == name)
    if importlib.util.find_spec(client.library) is None:
        pytest.skip(f"{client.library} is not installed")
    return DRIVERS[name][how]


def _closed_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _told(
    ask: Callable[..., Iterator[bytes]], url: str, timeout: float = 5
) -> tuple[bytes, type[BaseException] | None]:
    """The whole body, and the exception that ended it."""
    body = b""
    try:
        for chunk in ask(url, {"q": 1}, timeout):
            body += chunk
    except Exception as error:  # noqa: BLE001  which it is, is the question
        return body, type(error)
    return body, None


def test_drivers_and_modules_are_those_of_the_table() -> None:
    """A client that is written is in the table; what is in the table is driven here."""
    assert set(DRIVERS) == {client.name for client in CLIENTS}
    written = {path.stem for path in Path(clients.__file__).parent.glob("*.py") if "patches(" in path.read_text()}
    used = {client.patches.__module__.rpartition(".")[2] for client in (*CLIENTS, *clients.SWITCHES)}
    assert written - {"__init__", "hooks"} == used


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_who_uses_another_client_is_told_of_each(client: clients.Client) -> None:
    assert (client.known_as or KNOWN_BY_OTHERS[client.name]) in clients.COVERED


class TestClient:
    """The contract of a client under a recording."""

    def test_it_records_once_and_replays_without_the_server(self, ask, path, provider):
        url = provider.url + "/v1/chat"
        with open_recording(path) as recording:
            first = b"".join(ask(url, {"q": 1}, 5))
            assert recording.stats().recorded == 1
            assert recording.in_flight("") == 0
        with open_recording(path, "none", strict=True) as recording:
            assert b"".join(ask(url, {"q": 1}, 5)) == first
            assert recording.blocked == []
            with pytest.raises(RecordingMiss):
                b"".join(ask(url, {"q": 2}, 5))
        assert provider.count == 1

    def test_a_stream_keeps_streaming_while_it_is_recorded(self, ask, path, provider):
        provider.script["/stream"] = [lambda handler: handler.stream(*EVENTS)]
        url = provider.url + "/stream"
        with open_recording(path) as recording:
            chunks = ask(url, {"stream": True}, 10)
            first = next(chunks)
            assert first == EVENTS[0]
            assert not provider.go_on.is_set()
            assert recording.in_flight("") == 1
            assert show(path).interactions == []
            provider.go_on.set()
            rest = b""
            for chunk in chunks:
                rest += chunk
                if b"[DONE]" in rest:
                    assert len(show(path).interactions) == 1  # before the caller has the end
            assert first + rest == b"".join(EVENTS)
        with open_recording(path, "none", strict=True):
            assert b"".join(ask(url, {"stream": True}, 5)) == b"".join(EVENTS)

    def test_a_timeout_is_replayed_as_the_same_exception(self, ask, path, provider):
        provider.script["/slow"] = [lambda handler: handler.hang()]
        told = []
        with open_recording(path, sink=told.append) as recording:
            body, error = _told(ask, provider.url + "/slow", 0.15)
            assert recording.in_flight("") == 0
        provider.go_on.set()
        assert error is not None
        assert "timeout" in error.__name__.lower()
        assert (told[0].error, told[0].status) == ("timeout", None)
        with open_recording(path, "none", strict=True):
            assert _told(ask, provider.url + "/slow") == (body, error)

    def test_a_refused_connection_is_replayed_as_the_same_exception(self, ask, path):
        url = f"http://127.0.0.1:{_closed_port()}/v1/chat"
        told = []
        with open_recording(path, sink=told.append):
            body, error = _told(ask, url)
        assert error is not None
        assert told[0].error == "connection"
        with open_recording(path, "none", strict=True):
            assert _told(ask, url) == (body, error)

    def test_a_response_that_breaks_is_replayed_to_where_it_broke(self, ask, path, provider):
        provider.script["/half"] = [lambda handler: handler.half()]
        with open_recording(path):
            live = _told(ask, provider.url + "/half")
        with open_recording(path, "none", strict=True):
            assert _told(ask, provider.url + "/half") == live
        assert live[0] in (b"half an", b"")  # requests gives nothing of a piece that is not whole

    def test_an_error_status_is_recorded_with_its_body(self, ask, path, provider):
        provider.script["/v1/chat"] = [(400, {}, b'{"error":"no"}')]
        with open_recording(path):
            live = _told(ask, provider.url + "/v1/chat")
        assert show(path).interactions[0].answer.body == b'{"error":"no"}'
        with open_recording(path, "none", strict=True):
            assert _told(ask, provider.url + "/v1/chat") == live

    def test_a_zipped_answer_is_recorded_as_text(self, ask, path, provider):
        provider.script["/zip"] = [lambda handler: handler.zipped()]
        with open_recording(path):
            b"".join(ask(provider.url + "/zip", {"q": 1}, 5))
        assert show(path).interactions[0].answer.body == b'{"zipped":true}'
        with open_recording(path, "none", strict=True):
            assert b"".join(ask(provider.url + "/zip", {"q": 1}, 5)) == b'{"zipped":true}'

    def test_a_stream_that_the_caller_leaves_is_recorded_as_cut(self, ask, path, provider):
        provider.script["/stream"] = [lambda handler: handler.stream(*EVENTS)]
        with open_recording(path) as recording:
            chunks = ask(provider.url + "/stream", {"q": 1}, 5)
            first = next(chunks)
            chunks.close()
            provider.go_on.set()
            assert recording.in_flight("") == 0
        assert [item.answer.outcome for item in show(path).interactions] == ["cut"]
        with open_recording(path, "none", strict=True):
            again = ask(provider.url + "/stream", {"q": 1}, 5)
            assert next(again) == first
            again.close()

    def test_without_a_recording_nothing_is_different(self, ask, provider):
        assert json.loads(b"".join(ask(provider.url + "/v1/chat", {"q": 1}, 5)))["n"] == 1


# the SDKs that send through those rows

CHAT = {
    "id": "c1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}
MESSAGE = {
    "id": "m1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "hello"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 1},
}
PIECES = [
    b"data: "
    + json.dumps(
        {
            "id": "c1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "m",
            "choices": [{"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}],
        }
    ).encode()
    + b"\n\n"
    for text in ("hel", "lo")
] + [b"data: [DONE]\n\n"]
ASKING = [{"role": "user", "content": "hi"}]
KEY = "sk-contract-0123456789abcdef"


def _openai(url: str) -> Any:
    import openai

    with openai.OpenAI(base_url=url + "/v1", api_key=KEY) as client:
        return client.chat.completions.create(model="m", messages=ASKING).choices[0].message.content


def _openai_async(url: str) -> Any:
    import openai

    async def run() -> Any:
        async with openai.AsyncOpenAI(base_url=url + "/v1", api_key=KEY) as client:
            return (await client.chat.completions.create(model="m", messages=ASKING)).choices[0].message.content

    return asyncio.run(run())


def _openai_stream(url: str) -> Any:
    import openai

    with openai.OpenAI(base_url=url + "/stream", api_key=KEY) as client:
        pieces = client.chat.completions.create(model="m", messages=ASKING, stream=True)
        return "".join(piece.choices[0].delta.content or "" for piece in pieces)


def _anthropic(url: str) -> Any:
    anthropic = pytest.importorskip("anthropic")
    with anthropic.Anthropic(base_url=url, api_key=KEY) as client:
        return client.messages.create(model="m", max_tokens=5, messages=ASKING).content[0].text


def _litellm(url: str) -> Any:
    import litellm

    told = litellm.completion("openai/m", messages=ASKING, api_base=url + "/v1", api_key=KEY)
    return told.choices[0].message.content


def _litellm_async(url: str) -> Any:
    import litellm

    async def run() -> Any:
        told = await litellm.acompletion("openai/m", messages=ASKING, api_base=url + "/v1", api_key=KEY)
        await litellm.close_litellm_async_clients()
        return told.choices[0].message.content

    return asyncio.run(run())


def _dspy(url: str) -> Any:
    import dspy

    return dspy.LM("openai/m", api_base=url + "/v1", api_key=KEY, cache=False)("hi")[0]


def _dspy_async(url: str) -> Any:
    import dspy

    return asyncio.run(dspy.LM("openai/m", api_base=url + "/v1", api_key=KEY, cache=False).acall("hi"))[0]


def _dspy_litellm(url: str) -> Any:
    import dspy

    return dspy.LM("openai/m", api_base=url + "/v1", api_key=KEY, cache=False, engine="litellm")("hi")[0]


def _boto3(url: str) -> Any:
    boto3 = pytest.importorskip("boto3")
    client = boto3.client(
        "bedrock-runtime", endpoint_url=url, region_name="us-east-1", aws_access_key_id=KEY, aws_secret_access_key=KEY
    )
    told = client.invoke_model(modelId="m", body=json.dumps({"q": "hi"}))
    return json.loads(told["body"].read())["answer"]


SDKS = [
    _openai, _openai_async, _openai_stream, _anthropic, _litellm, _litellm_async, _dspy, _dspy_async, _dspy_litellm,
    _boto3,
]  # fmt: skip


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("call", SDKS, ids=lambda call: call.__name__[1:])
def test_an_sdk_records_once_and_replays_without_the_server(call, path, provider):
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    provider.go_on.set()
    provider.script["/v1/chat/completions"] = [(200, {}, json.dumps(CHAT).encode())]
    provider.script["/v1/messages"] = [(200, {}, json.dumps(MESSAGE).encode())]
    provider.script["/stream/chat/completions"] = [lambda handler: handler.stream(*PIECES)]
    provider.script["/model/m/invoke"] = [(200, {}, b'{"answer":"hello"}')]
    with open_recording(path) as recording:
        assert call(provider.url) == "hello"
        assert recording.stats().recorded == 1
    assert provider.count == 1
    assert KEY.encode() not in path.read_bytes()
    with open_recording(path, "none", strict=True) as recording:
        assert call(provider.url) == "hello"
        assert recording.blocked == []
    assert provider.count == 1
    gc.collect()  # dspy and litellm leave their connections to the collector, which warns of each


def test_a_miss_is_not_retried_by_an_sdk(path, provider):
    with open_recording(path):
        pass
    for call in (_openai, _litellm, _dspy, _dspy_litellm):
        with open_recording(path, "none") as recording:
            with pytest.raises(RecordingMiss):
                call(provider.url)
            assert recording.stats().missed == 1
