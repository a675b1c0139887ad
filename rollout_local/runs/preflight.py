"""`dry-run --connect`: the run's models are asked a few short questions, before an hour is lost to one that cannot.

Is the server there, does it know the model, has it room for the longest prompt and an answer, does it answer and how
fast, does it keep to JSON, does it say the same thing twice at temperature 0. Nothing is recorded, and nothing is kept.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from rollout_local.domain.run import SPLITS, RunConfig
from rollout_local.models import Completion, complete, load_client
from rollout_local.planning.model_server import ModelServer, Need, key_in, needs, room_problem, server_at
from rollout_local.planning.readiness import may_ask
from rollout_local.planning.secrets import connected
from rollout_local.planning.setup import Setup
from rollout_local.providers.failures import ProviderFailure, failure_in

STORY = "Tell me in one sentence what happens when the tide comes in."
OBJECT = 'Answer with a JSON object that has the one key "word", and as its value any English word.'
EQUAL_REQUESTS = 10
ANSWER = 24
"""Tokens that an answer may have here."""
SHOWN = 5

Finding = tuple[str, str, str]
"""What was checked, `ok`, `warn` or `fail`, and a sentence."""


@dataclass(frozen=True)
class _Model:
    role: str
    name: str
    base: str | None
    params: Mapping[str, Any]

    def ask(self, text: str, **given: Any) -> Completion:
        params = {name: value for name, value in self.params.items() if name not in ("max_completion_tokens", "n")}
        params |= {"max_tokens": ANSWER, "timeout": 120, **given}
        return complete(self.name, [{"role": "user", "content": text}], api_base=self.base, **params)


def findings(setup: Setup) -> Iterator[Finding]:
    """What the servers of a run's models say, and their models."""
    config = connected(setup.config, os.environ)
    tasks = [task for split in SPLITS for task in setup.tasks(split)]
    room = {need.role: need for need in needs(config, setup.target, tasks)}
    seen: dict[tuple[str, str | None], str] = {}
    silent: set[tuple[str, str | None]] = set()
    for model in _models(config):
        if model.base is not None and not may_ask(config, model.base):
            yield "connect", "warn", f"--offline forbids {model.base}; give --allow-host to have it asked"
            continue
        other = seen.setdefault((model.name, model.base), model.role)
        if other == model.role:
            found = list(_of_model(model, room.get(model.role), config.concurrency))
            yield from found
            if any((check, status) == ("connect", "fail") for check, status, _ in found):
                silent.add((model.name, model.base))
        elif model.role in room:
            yield from _of_room(room[model.role], room[model.role].server)
        if model.role == "reflection" and (model.name, model.base) not in silent:
            yield from _json(model)


def of_server(base: str, model: str | None) -> Iterator[Finding]:
    """What one server says, for `doctor --server`; its model is asked where it has one, or `model` names it."""
    server = server_at(base, model or "")
    yield from _of_server(server, model)
    name = model or (f"openai/{server.models[0]}" if server.models else None)
    if name is not None and _is_there(server):
        yield from _answers_and_is_steady(_Model("server", name if "/" in name else f"openai/{name}", base, {}), 1)


def _models(config: RunConfig) -> Iterator[_Model]:
    if config.task_model is not None:
        yield _Model("task", config.task_model, config.task_api_base, config.task_params)
    if config.reflection_model is not None:
        yield _Model("reflection", config.reflection_model, config.reflection_api_base, config.reflection_params)


def _of_model(model: _Model, need: Need | None, concurrency: int) -> Iterator[Finding]:
    if model.base is not None:
        server = server_at(model.base, model.name, key=key_in(model.params))
        of_server = list(_of_server(server, model.name))
        yield from of_server
        if any(status == "fail" for _, status, _ in of_server):
            return
        if need is not None:
            yield from _of_room(need, server)
    if model.role == "task":
        yield from _answers_and_is_steady(model, concurrency)
    else:
        yield from _answers(model)


def _answers_and_is_steady(model: _Model, concurrency: int) -> Iterator[Finding]:
    answered = list(_answers(model))
    yield from answered
    if all(status == "ok" for _, status, _ in answered):
        yield from _steady(model, concurrency)


def _is_there(server: ModelServer) -> bool:
    """It answered, be it that it has no list of models: not every server has one."""
    return not server.problem or server.problem.startswith("HTTP")


def _of_server(server: ModelServer, model: str | None) -> Iterator[Finding]:
    if server.problem:
        no_list = f"{server.base}: no list of models ({server.problem})"
        if _is_there(server):
            yield "connect", "warn", no_list if model else f"{no_list}; name one with --model to have it asked"
        else:
            yield "connect", "fail", f"{no_list}; start the server, or correct the address"
        return
    names = ", ".join(server.models[:SHOWN]) or "no names"
    context = f"; it holds {server.context} tokens of a prompt and its answer" if server.context else ""
    if model is not None and not server.knows(model):
        yield "connect", "warn", f"{server.base} does not list {model}; it lists {names}{context}"
    else:
        yield "connect", "ok", f"{server.base} lists {names}{context}"


def _of_room(need: Need, server: ModelServer) -> Iterator[Finding]:
    if server.context is None:
        return
    if problem := room_problem(need, server):
        yield "context", "fail", problem
    elif need.prompt + need.answer > server.context:
        sum_of_both = f"about {need.prompt} tokens, and max_tokens={need.answer} with it is more than {server.context}"
        yield "context", "warn", f"the longest {need.role} prompt has {sum_of_both}: some servers refuse that"
    else:
        yield "context", "ok", f"the longest {need.role} prompt has about {need.prompt} of {server.context} tokens"


def _answers(model: _Model) -> Iterator[Finding]:
    load_client()
    begun = time.perf_counter()
    try:
        said = model.ask(STORY)
    except Exception as error:  # noqa: BLE001 - whatever a client raises
        yield "connect", "fail", f"the {model.role} model {model.name} does not answer: {_told(error, model)}"
        return
    seconds = time.perf_counter() - begun
    speed = f", {said.tokens_out / seconds:.1f} tokens a second" if said.tokens_out else ", and tells no usage"
    yield "connect", "ok", f"the {model.role} model {model.name} answers in {seconds:.1f} s{speed}"


def _json(model: _Model) -> Iterator[Finding]:
    """Whether the model keeps to JSON where it is asked to, as a reflection does."""
    try:
        said = model.ask(OBJECT, response_format={"type": "json_object"}).text
    except Exception as error:  # noqa: BLE001 - whatever a client raises
        yield "connect", "warn", f"{model.name} refuses response_format json_object: {_told(error, model)}"
        return
    try:
        holds = isinstance(json.loads(said), dict)
    except ValueError:
        holds = False
    if holds:
        yield "connect", "ok", f"the reflection model {model.name} keeps to JSON"
    else:
        yield "connect", "warn", f"{model.name} was asked for a JSON object and said {said[:60]!r}"


def _steady(model: _Model, concurrency: int) -> Iterator[Finding]:
    """Ten equal requests at temperature 0, as many at once as trials will be."""
    workers = min(concurrency, EQUAL_REQUESTS)
    try:
        with ThreadPoolExecutor(workers) as threads:
            texts = list(threads.map(lambda _: model.ask(STORY, temperature=0).text, range(EQUAL_REQUESTS)))
    except Exception as error:  # noqa: BLE001 - whatever a client raises
        yield "steady", "warn", f"{EQUAL_REQUESTS} equal requests, {workers} at once: {_told(error, model)}"
        return
    different = len(set(texts))
    if different == 1:
        yield "steady", "ok", f"{EQUAL_REQUESTS} equal requests at temperature 0, {workers} at once: one answer"
    else:
        asked = f"{EQUAL_REQUESTS} equal requests at temperature 0, {workers} at once"
        yield "steady", "warn", f"{asked}: {different} answers; a live rerun will differ, a replay will not"


def _told(error: Exception, model: _Model) -> str:
    failure = failure_in(error) or ProviderFailure("bad_request", f"{type(error).__name__}: {error}"[:200])
    return replace(failure, url=model.base or "").told(model.name)
