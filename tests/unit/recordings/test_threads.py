"""Many threads: nothing lost, nothing served twice, the same answers at any number of threads."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx
import pytest
import requests

from rollout_local.recordings import open_recording, scope, show

CLIENTS = {"httpx": partial(httpx.Client, trust_env=False), "requests": requests.Session}


def _post_all(url: str, client: str, bodies: list[dict], threads: int) -> dict[tuple[str, int], dict]:
    """Ask everything in parallel, each body in its own scope, one client a thread; tell who got what."""
    told: dict[tuple[str, int], dict] = {}

    def work(share: list[dict]) -> None:
        with CLIENTS[client]() as session:
            for body in share:
                with scope(body["scope"]):
                    told[body["scope"], body["q"]] = session.post(url, json={"q": body["q"]}).json()

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, [bodies[start::threads] for start in range(threads)]))
    return told


def _round(provider, path, client: str, count: int) -> None:
    url = provider.url + "/v1/chat"
    bodies = [{"q": number % (count // 3), "scope": f"s{number}"} for number in range(count)]
    with open_recording(path) as recording:
        recorded = _post_all(url, client, bodies, 32)
        assert recording.stats().recorded == count
    assert provider.count == count == len(show(path).interactions)
    for threads in (32, 1):
        random.Random(threads).shuffle(bodies)
        with open_recording(path, "none", strict=True) as recording:
            assert _post_all(url, client, bodies, threads) == recorded
            assert (recording.stats().replayed, recording.stats().from_other_scope) == (count, 0)
    assert provider.count == count


@pytest.mark.parametrize("client", CLIENTS)
def test_32_threads_lose_nothing_and_replay_everything(provider, path, client):
    _round(provider, path, client, 300)


@pytest.mark.long
@pytest.mark.parametrize("client", CLIENTS)
def test_32_threads_lose_nothing_of_3000_a_thread(provider, path, client):
    _round(provider, path, client, 32 * 3000)


def test_unscoped_claims_are_never_served_twice(make, path, ask):
    make.write(path, *(make.item({"a": 1}, number) for number in range(400)))
    with open_recording(path, "none", strict=True), ThreadPoolExecutor(16) as pool:
        assert sorted(pool.map(lambda _: ask({"a": 1}), range(400))) == list(range(400))
