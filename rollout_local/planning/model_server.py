"""What a model's server says of itself before it is paid for anything: its models, and how much they can read.

Asked are lists and settings, never a model. The answers are those of llama.cpp, vLLM, SGLang, TGI, Ollama, LM Studio,
OpenRouter, Groq and Mistral; a server that says nothing of the kind is taken as it is.
"""

from __future__ import annotations

import ipaddress
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from rollout_local.domain.dataset import Task
from rollout_local.domain.identity import canonical_json
from rollout_local.domain.run import DEFAULT_REFLECTION_PARAMS, RunConfig
from rollout_local.domain.target import Target
from rollout_local.errors import InputError
from rollout_local.models import key_of
from rollout_local.planning.readiness import may_ask, recording_of
from rollout_local.planning.secrets import connected
from rollout_local.recordings import first_request
from rollout_local.recordings.guard import is_loopback
from rollout_local.reports.forecast import MINIBATCH

CONTEXT_NAMES = (
    "loaded_context_length", "n_ctx", "max_model_len", "context_length", "context_window", "max_context_length",
    "max_total_tokens",
)  # fmt: skip
"""How servers name the tokens that a prompt and its answer may have together; what is in force before what could be."""
BESIDE = ("/props", "/info", "/api/v0/models", "/api/ps")
"""Where a server on this machine or network may say it beside its list of models: llama.cpp, TGI, LM Studio, Ollama."""
CHARACTERS_A_TOKEN = 4
"""In English; other texts have more tokens, so what is refused for its length is too long indeed."""
QUESTION = 2_000
"""Characters that DSPy puts around what a reflection is shown."""
KEPT_S = 30.0
TIMEOUT = 5.0
"""Seconds that a list may take."""


@dataclass(frozen=True)
class ModelServer:
    """A server at an OpenAI-compatible base URL. `problem` says why it gave no list of models, if it did not.

    `context` is the number of tokens that a prompt and its answer may have together, where it is known.
    """

    base: str
    problem: str = ""
    models: tuple[str, ...] = ()
    context: int | None = None

    def knows(self, model: str) -> bool:
        """Whether the model is on its list; a server without a list may know any."""
        name = model.partition("/")[2] or model
        listed = (name, model, f"{name}:latest")
        return not self.models or any(fnmatchcase(one, known) for known in self.models for one in listed)


_seen: dict[tuple[str, str], tuple[float, ModelServer]] = {}


def server_at(base: str, model: str, *, key: str | None = None) -> ModelServer:
    """What the server at `base` is. Raises nothing: what went wrong is in the answer.

    One that answered is not asked again within `KEPT_S` seconds: a command looks at it more than once.
    """
    before = _seen.get((base, model))
    if before is not None and time.monotonic() - before[0] < KEPT_S:
        return before[1]
    found = _look(base, model, key or key_of(model))
    if not found.problem:
        _seen[base, model] = (time.monotonic(), found)
    return found


def _look(base: str, model: str, key: str | None) -> ModelServer:
    name = model.partition("/")[2] or model
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    here = _is_near(urlsplit(base).hostname or "")
    with httpx.Client(headers=headers, timeout=TIMEOUT, trust_env=not here, follow_redirects=False) as client:
        listed, problem = _asked(client, base.rstrip("/") + "/models")
        if problem:
            return ModelServer(base, problem)
        entries = _entries(listed)
        names = tuple(dict.fromkeys(said for entry in entries for said in _names(entry)))
        mine = next((entry for entry in entries if name in _names(entry)), entries[0] if len(entries) == 1 else {})
        context = _context(mine)
        for path in BESIDE if context is None and here else ():
            beside, failed = _asked(client, _root(base) + path)
            context = context or (None if failed else _context_beside(beside, name))
    return ModelServer(base, "", names, context)


def tokens_of(characters: int) -> int:
    """About how many tokens a text of this length has; no tokenizer is asked."""
    return characters // CHARACTERS_A_TOKEN + 1


def key_in(params: Mapping[str, object]) -> str | None:
    """The key that a model's parameters name; None leaves it to the environment."""
    key = params.get("api_key")
    return key if isinstance(key, str) else None


def fitted(config: RunConfig, folder: Path) -> RunConfig:
    """The config with a limit of tokens for reflections that its server can keep, where none was named.

    In a replay it is the one that was recorded. Half of the context is left for what a reflection has to read.
    """
    if config.reflection_params.get("max_tokens") != DEFAULT_REFLECTION_PARAMS["max_tokens"]:
        return config
    recording = recording_of(config, folder) if config.record_mode in ("none", "once") else None
    limit = _recorded_limit(recording) if recording is not None else _limit_of_server(config)
    if limit is None:
        return config
    return config.model_copy(update={"reflection_params": {**config.reflection_params, "max_tokens": limit}})


def told_of_fit(given: RunConfig, used: RunConfig) -> str:
    """A sentence where `fitted` changed something that is to be known before a run; else nothing."""
    limit = used.reflection_params.get("max_tokens")
    if used.record_mode == "none" or limit == given.reflection_params.get("max_tokens"):
        return ""
    return (
        f"max_tokens={limit} for reflections: half of what {used.reflection_api_base} can hold of a prompt and its "
        "answer; --reflection-param max_tokens=N for another limit"
    )


def _limit_of_server(config: RunConfig) -> int | None:
    config = connected(config, os.environ)
    base, model = config.reflection_api_base, config.reflection_model
    if base is None or model is None or config.record_mode == "none" or not may_ask(config, base):
        return None
    context = server_at(base, model, key=key_in(config.reflection_params)).context
    default = DEFAULT_REFLECTION_PARAMS["max_tokens"]
    return None if context is None or not isinstance(default, int) or context >= 2 * default else max(1, context // 2)


def _recorded_limit(recording: Path) -> int | None:
    body = first_request(recording, "reflection/")
    limit = body.get("max_tokens") if isinstance(body, Mapping) else None
    return limit if isinstance(limit, int) else None


def _asked(client: httpx.Client, url: str) -> tuple[Any, str]:
    """What a GET answered, or what went wrong in words."""
    try:
        response = client.get(url)
        if response.status_code >= 400:
            return None, f"HTTP {response.status_code} for {url}: {' '.join(response.text.split())[:120]}"
        return response.json(), ""
    except httpx.TimeoutException:
        return None, f"no answer within {client.timeout.read:g} s for {url}"
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return None, f"{type(error).__name__} for {url}: {error}"


def _is_near(host: str) -> bool:
    """On this machine or network, where a server has more addresses than its API."""
    try:
        return is_loopback(host) or "." not in host or ipaddress.ip_address(host).is_private
    except ValueError:
        return False


def _root(base: str) -> str:
    return base.rstrip("/").removesuffix("/v1")


def _entries(listed: object) -> list[Mapping[str, Any]]:
    found = (listed.get("data") or listed.get("models")) if isinstance(listed, Mapping) else listed
    return [entry for entry in found if isinstance(entry, Mapping)] if isinstance(found, Sequence) else []


def _names(entry: Mapping[str, Any]) -> Iterator[str]:
    for field in ("id", "name", "model"):
        if isinstance(entry.get(field), str):
            yield entry[field]
    yield from (alias for alias in entry.get("aliases") or () if isinstance(alias, str))


def _context(entry: Mapping[str, Any]) -> int | None:
    below = [value for value in entry.values() if isinstance(value, Mapping)]
    for name in CONTEXT_NAMES:
        for place in (entry, *below):
            if isinstance(place.get(name), int) and place[name] > 0:
                return int(place[name])
    return None


def _context_beside(said: object, model: str) -> int | None:
    entries = _entries(said)
    if entries:
        return _context(next((entry for entry in entries if model in _names(entry)), {}))
    return _context(said) if isinstance(said, Mapping) else None


@dataclass(frozen=True)
class Need:
    """What one role asks of its server: `prompt` and `answer` in tokens, at most; an answer may be unknown (0).

    `key` is the one that its parameters name, where they do.
    """

    role: str
    model: str
    base: str
    prompt: int
    answer: int
    key: str | None

    @property
    def server(self) -> ModelServer:
        """What its server is."""
        return server_at(self.base, self.model, key=self.key)


def needs(config: RunConfig, target: Target, tasks: Sequence[Task]) -> Iterator[Need]:
    """The models of a run that have an address of their own, with the longest prompt that each will surely read.

    `config` is to have its variables read (`secrets.connected`).
    """
    texts = sum(len(text) for text in target.baseline.components.values())
    lengths = [_length(task) for task in tasks]
    longest, shortest = max(lengths, default=0), min(lengths, default=0)
    shown = texts + longest + (MINIBATCH - 1) * shortest + QUESTION
    for role, model, base, params, characters in (
        ("task", config.task_model, config.task_api_base, config.task_params, texts + longest),
        ("reflection", config.reflection_model, config.reflection_api_base, config.reflection_params, shown),
    ):
        if model is not None and base is not None:
            limit = params.get("max_tokens")
            answer = limit if isinstance(limit, int) else 0
            yield Need(role, model, base, tokens_of(characters), answer, key_in(params))


def room_problem(need: Need, server: ModelServer) -> str:
    """A sentence where a prompt is longer than a server can hold, or leaves no room for an answer; else nothing."""
    if server.context is None or need.prompt + 1 <= server.context:
        return ""
    return (
        f"--{need.role}-model {need.model} at {need.base} holds {server.context} tokens of a prompt and its answer, "
        f"and the longest {need.role} prompt has about {need.prompt}: serve it with a larger context, or give shorter "
        "tasks"
    )


def require_room(config: RunConfig, target: Target, tasks: Sequence[Task]) -> None:
    """Raise `InputError`, with numbers, where a server says that it cannot hold what a reflection has to read.

    What a target makes of a task is its own: a prompt of its that is too long is found out by trying.
    """
    if config.record_mode == "none":
        return
    for need in needs(connected(config, os.environ), target, tasks):
        asked = need.role == "reflection" and may_ask(config, need.base)
        if asked and (problem := room_problem(need, need.server)):
            raise InputError(problem)


def _length(task: Task) -> int:
    return len(task.instruction) + len(canonical_json(dict(task.input))) * bool(task.input)
