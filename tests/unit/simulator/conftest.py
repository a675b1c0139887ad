"""A simulator per test on a free port of loopback, and a plain client for it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from rollout_local.simulator import Settings, Simulator, load_script

# Before anything imports litellm or dspy: neither may look at the network.
os.environ.update(LITELLM_LOCAL_MODEL_COST_MAP="True", LITELLM_OFFLINE_MODE="true", LITELLM_MODE="PRODUCTION")


class Client:
    """A simulator and what a test asks of it."""

    def __init__(self, simulator: Simulator, http: httpx.Client) -> None:
        self.simulator = simulator
        self.http = http
        self.url = simulator.url

    def post(
        self, message: str = "Hello there", system: str | None = None, model: str = "sim-student", **more: Any
    ) -> Any:
        messages = [{"role": "system", "content": system}] if system is not None else []
        body = {"model": model, "messages": [*messages, {"role": "user", "content": message}], **more}
        return self.http.post(f"{self.url}/chat/completions", json=body)

    def say(
        self, message: str = "Hello there", system: str | None = None, model: str = "sim-student", **more: Any
    ) -> str:
        response = self.post(message, system, model, **more)
        response.raise_for_status()
        return str(response.json()["choices"][0]["message"]["content"])


@pytest.fixture
def simulate(tmp_path: Path) -> Iterator[Callable[..., Client]]:
    """`simulate(models, **settings)`: a running simulator with these models, or the built-in ones."""
    opened: list[Client] = []

    def start(models: dict[str, Any] | None = None, **settings: Any) -> Client:
        path = None
        if models is not None:
            path = tmp_path / f"script{len(opened)}.json"
            path.write_text(json.dumps({"models": models}))
        simulator = Simulator(load_script(path), Settings(**settings)).start()
        opened.append(Client(simulator, httpx.Client(timeout=10)))
        return opened[-1]

    yield start
    for client in opened:
        client.http.close()
        client.simulator.stop()


@pytest.fixture
def client(simulate: Callable[..., Client]) -> Client:
    """The built-in models without faults."""
    return simulate()
