from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from rollout_local.errors import InputError
from rollout_local.simulator import Settings, Simulator, load_script, parse_faults
from rollout_local.simulator.faults import GARBAGE, REFUSALS, Fault, spoil


@pytest.mark.parametrize("kind", sorted(REFUSALS))
def test_a_refusal_has_its_status_and_the_body_of_openai(simulate: Callable[..., Any], kind: str) -> None:
    client = simulate(faults=f"{kind}:1")
    response = client.post()
    assert response.status_code == REFUSALS[kind].status
    assert response.json()["error"]["code"] == REFUSALS[kind].code
    calls = client.simulator.calls()
    assert (calls["total"], calls["answered"], calls["faults"]) == (1, 0, 1)


def test_a_rate_limit_says_how_long_to_wait(simulate: Callable[..., Any]) -> None:
    assert simulate(faults="429:1:retry-after=0.05").post().headers["retry-after"] == "0.05"
    assert simulate(faults="429:1").post().headers["retry-after"] == "1"
    assert "retry-after" not in simulate(faults="500:1").post().headers


def test_a_rate_hits_that_part_of_the_requests_the_same_each_time(simulate: Callable[..., Any]) -> None:
    def statuses(**settings: Any) -> list[int]:
        client = simulate(faults="429:0.3, 500:0.2", **settings)
        return [client.post(f"Number {i}").status_code for i in range(100)]

    first = statuses()
    assert 15 < first.count(429) < 45
    assert 5 < first.count(500) < 30
    assert statuses() == first
    assert statuses(seed=1) != first


def test_a_retry_may_succeed(simulate: Callable[..., Any]) -> None:
    client = simulate(faults="503:0.5")
    assert {client.post("Same").status_code for _ in range(12)} == {200, 503}


def test_a_fault_may_be_for_some_models_and_some_requests_only(simulate: Callable[..., Any]) -> None:
    client = simulate(faults="429:1:first=2,500:1:after=4,503:1:for=60:model=sim-ref*,502:1:for=0")
    got = [client.post(str(i)).status_code for i in range(3)]
    got.append(client.post("x", model="sim-reflection").status_code)
    got.append(client.post("y").status_code)
    assert got == [429, 429, 200, 503, 500]


def test_a_reset_breaks_the_connection_within_the_body(simulate: Callable[..., Any]) -> None:
    client = simulate(faults="reset:1")
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        client.post()
    assert client.simulator.calls()["answered"] == 0


def test_a_malformed_body_is_no_json(simulate: Callable[..., Any]) -> None:
    response = simulate(faults="malformed:1").post()
    assert response.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        response.json()


def test_a_hanging_request_says_nothing_until_the_client_gives_up(simulate: Callable[..., Any]) -> None:
    client = simulate(faults="hang:1:first=1")
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{client.url}/chat/completions", json=_BODY, timeout=0.2)
    assert client.post().status_code == 200
    assert client.simulator.calls()["answered"] == 1


def test_a_hanging_request_ends_with_its_time_or_with_the_simulator(simulate: Callable[..., Any]) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        simulate(faults="hang:1:seconds=0.1").post()


_BODY = {"model": "sim-student", "messages": [{"role": "user", "content": "Hi"}]}


def test_a_dripping_body_arrives_whole_but_slowly(simulate: Callable[..., Any]) -> None:
    client = simulate(faults="drip:1:seconds=0.3")
    began = time.monotonic()
    assert client.say() == simulate().say()
    assert time.monotonic() - began > 0.25


def test_stopping_does_not_wait_for_a_slow_answer() -> None:
    simulator = Simulator(load_script(), Settings(faults="drip:1:seconds=86400")).start()
    with httpx.stream("POST", f"{simulator.url}/chat/completions", json=_BODY, timeout=5) as response:
        assert response.status_code == 200
        simulator.stop()


def test_an_empty_answer_counts_as_an_answer(simulate: Callable[..., Any]) -> None:
    client = simulate(faults="empty:1")
    assert client.say() == ""
    assert client.simulator.calls()["answered"] == 1


def test_garbage_is_valid_http_with_a_text_that_is_not(simulate: Callable[..., Any]) -> None:
    client = simulate(faults="garbage:1")
    texts = [client.say(f"Number {i}") for i in range(40)]
    assert any("\ud800" in text for text in texts)
    assert any(len(text) == 10_000_000 for text in texts)
    assert any(text.startswith("[[[[") for text in texts)


def test_every_kind_of_garbage_comes_up() -> None:
    assert len({spoil("word", i)[:3] for i in range(100)}) == len(GARBAGE)


def test_a_spec_is_read_with_all_its_options() -> None:
    assert parse_faults("429:0.3:retry-after=2:model=a*:first=3:after=1:for=9, drip:1:seconds=2,,") == (
        Fault("429", 0.3, 2.0, 0.0, "a*", 3, 1, 9),
        Fault("drip", 1.0, None, 2.0, "*", math.inf, 0, math.inf),
    )
    assert parse_faults("") == ()


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("teapot:1", ["'teapot'", "quota", "malformed", "garbage"]),
        ("429", ["the rate in '429'"]),
        ("429:x", ["the rate in '429:x'"]),
        ("429:2", ["between 0 and 1"]),
        ("429:nan", ["rate"]),
        ("429:1:wait=3", ["'wait'", "retry-after"]),
        ("429:1:for=-1", ["the for"]),
    ],
)
def test_a_wrong_spec_is_refused_naming_what_is_known(spec: str, words: list[str]) -> None:
    with pytest.raises(InputError) as refused:
        Simulator(load_script(), Settings(faults=spec))
    assert all(word in str(refused.value) for word in words)
