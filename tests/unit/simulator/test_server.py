from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from rollout_local.errors import InputError
from rollout_local.simulator import Settings, Simulator, load_script
from tests.children import until


def test_the_same_request_gets_the_same_bytes_whatever_came_between(simulate: Callable[..., Any]) -> None:
    one, other = simulate(), simulate()
    first = one.post("Hello", 'Say "yes1".').content
    one.post("Something else")
    assert one.post("Hello", 'Say "yes1".').content == first
    assert other.post("Hello", 'Say "yes1".').content == first


def test_the_seed_changes_answers(simulate: Callable[..., Any]) -> None:
    def texts(seed: int) -> list[str]:
        client = simulate(seed=seed)
        return [client.say(f"Parcel {i}") for i in range(10)]

    assert texts(0) == texts(0)
    assert texts(0) != texts(1)


def test_vary_sightings_gives_another_answer_each_time(simulate: Callable[..., Any]) -> None:
    client = simulate(vary_sightings=True)
    assert len({client.say("My parcel") for _ in range(12)}) > 2


def test_a_completion_has_the_shape_of_openai(client: Any) -> None:
    body = client.post("Hello", n=3).json()
    assert body["object"] == "chat.completion"
    assert body["model"] == "sim-student"
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] + body["usage"]["completion_tokens"]
    bare = client.http.post(client.url.removesuffix("/v1") + "/chat/completions", json=_body("Hello"))
    assert bare.json()["choices"][0] == body["choices"][0]


def _body(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "sim-student", "messages": [{"role": "user", "content": text}], **more}


def test_the_openai_client_streams_the_same_text(client: Any) -> None:
    import openai

    with openai.OpenAI(base_url=client.url, api_key="x", max_retries=0) as api:
        ask = {"model": "sim-student", "messages": [{"role": "user", "content": "My parcel is lost"}]}
        whole = api.chat.completions.create(**ask)
        options = {"include_usage": True}
        with api.chat.completions.create(**ask, stream=True, stream_options=options) as stream:
            chunks = list(stream)
        assert {model.id for model in api.models.list()} >= {"sim-reflection"}
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert len(chunks) > 3
    assert chunks[-1].usage == whole.usage
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert {chunk.id for chunk in chunks} == {whole.id}


def test_a_stream_without_usage_ends_with_done(client: Any) -> None:
    response = client.post("Hello", stream=True)
    assert response.headers["content-type"] == "text/event-stream"
    assert response.text.endswith("data: [DONE]\n\n")
    assert '"usage"' not in response.text


def test_an_unknown_model_is_not_found(client: Any) -> None:
    response = client.post(model="gpt-9")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "model_not_found"
    assert "sim-student" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b'{"messages": []}',
        b'{"model": "sim-student"}',
        b'{"model": "sim-student", "messages": []}',
        b'{"model": "sim-student", "messages": ["hi"]}',
        b'{"model": "sim-student", "messages": [{"role": "user", "content": "x"}], "n": "two"}',
        b'{"model": "sim-student", "messages": [{"role": "user", "content": "x"}], "n": 1000}',
        b'{"model": "sim-student", "messages": [{"role": "user"}], "x": ' + b"[" * 400 + b"]" * 400 + b"}",
    ],
)
def test_a_malformed_request_is_refused_with_400(client: Any, content: bytes) -> None:
    response = client.http.post(f"{client.url}/chat/completions", content=content)
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert client.simulator.calls()["total"] == 1


def test_another_address_is_not_found(client: Any) -> None:
    assert client.http.get(f"{client.url}/files").status_code == 404
    assert client.http.post(f"{client.url}/embeddings", json={}).status_code == 404


def test_calls_are_counted_by_model_and_can_be_set_back(client: Any) -> None:
    root = client.url.removesuffix("/v1")
    client.post()
    client.post(model="sim-student-b")
    client.post(model="gpt-9")
    assert client.http.get(f"{root}/-/health").json() == {"ok": True}
    calls = client.http.get(f"{root}/-/calls").json()
    assert calls == {
        "total": 3,
        "by_model": {"sim-student": 1, "sim-student-b": 1, "gpt-9": 1},
        "answered": 2,
        "answered_by_model": {"sim-student": 1, "sim-student-b": 1},
        "faults": 0,
        "in_flight_max": 1,
    }
    client.http.post(f"{root}/-/reset")
    assert client.simulator.calls()["total"] == 0
    client.post()
    client.simulator.reset()
    assert client.simulator.calls()["answered"] == 0


@pytest.mark.no_cover  # CPython 3.11 may lose a thread that starts while another one installs its trace function
def test_thirty_two_clients_are_served_at_once(simulate: Callable[..., Any]) -> None:
    client = simulate(latency_ms=600_000)

    def ask(number: int) -> None:
        with httpx.Client(timeout=600) as http, contextlib.suppress(httpx.TransportError):
            http.post(f"{client.url}/chat/completions", json=_body(f"Parcel {number}"))

    with ThreadPoolExecutor(32) as pool:
        asked = [pool.submit(ask, number) for number in range(32)]
        try:
            until(lambda: client.simulator.calls()["in_flight_max"] == 32)
            assert not any(one.done() for one in asked)
        finally:
            client.simulator.stop()  # the pool waits for all of them


def test_one_client_after_another_is_never_counted_as_two(client: Any) -> None:
    for number in range(50):
        client.post(str(number))
    assert client.simulator.calls()["in_flight_max"] == 1


def test_nothing_answers_after_stop() -> None:
    simulator = Simulator(load_script(), Settings()).start()
    with httpx.Client() as http:
        assert http.get(f"{simulator.url}/models").status_code == 200
        simulator.stop()
        simulator.stop()
        with pytest.raises(httpx.TransportError):
            http.get(f"{simulator.url}/models")


def test_serve_forever_ends_when_it_is_stopped() -> None:
    simulator = Simulator(load_script())
    thread = threading.Thread(target=simulator.serve_forever)
    thread.start()
    assert httpx.get(f"{simulator.url}/models").status_code == 200
    simulator.stop()
    thread.join(5)
    assert not thread.is_alive()


def test_a_simulator_that_never_served_can_be_stopped() -> None:
    Simulator(load_script()).stop()


@pytest.mark.parametrize("port", [70_000, -1])
def test_a_port_that_is_none_is_refused(port: int) -> None:
    with pytest.raises(InputError, match=r"cannot be used: .*0-65535; choose another"):
        Simulator(load_script(), port=port)


def test_a_port_in_use_is_refused() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match="cannot be used"):
            Simulator(load_script(), port=taken.getsockname()[1])


def test_a_negative_latency_is_refused() -> None:
    with pytest.raises(InputError, match="latency"):
        Simulator(load_script(), Settings(latency_ms=-1))
