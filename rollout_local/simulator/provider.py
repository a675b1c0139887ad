"""What the provider answers to a request, and what it counts; the wire is the server's.

A body is a function of the request and the seed. Only `vary_sightings` and the faults also look at how often the same
request has come before.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from rollout_local.errors import InputError
from rollout_local.simulator import chat, reflection, student
from rollout_local.simulator.faults import REFUSALS, Fault, choose, parse_faults, spoil
from rollout_local.simulator.script import Reflection, Script, ScriptedStudent
from rollout_local.simulator.seeded_choice import Chance

_MALFORMED = b'{"id": "chatcmpl-0", "object": "chat.completion", "choices": [{"index": 0, "message": {"role": "assi'


@dataclass(frozen=True)
class Settings:
    """Switches of a simulator.

    `latency_ms` is added to every completion; `vary_sightings` gives another sample each time the same request
    comes; `faults` is a SPEC of `faults.parse_faults`.
    """

    seed: int = 0
    latency_ms: float = 0.0
    vary_sightings: bool = False
    faults: str = ""


@dataclass(frozen=True)
class Reply:
    """An HTTP answer: `pieces` is one body, or the chunks of a stream; `seconds` is how long a slow manner takes."""

    status: int
    pieces: tuple[bytes, ...]
    manner: Literal["whole", "hang", "reset", "drip"] = "whole"
    seconds: float = 0.0
    streamed: bool = False
    retry_after: float | None = None


@dataclass
class _Counts:
    total: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    sightings: Counter[str] = field(default_factory=Counter)
    faults: int = 0
    in_flight: int = 0
    in_flight_max: int = 0


class Provider:
    """Answers chat completion bodies. Safe for many threads."""

    def __init__(self, script: Script, settings: Settings) -> None:
        if settings.latency_ms < 0:
            msg = f"latency is {settings.latency_ms} ms. Give 0 or more milliseconds."
            raise InputError(msg)
        self.script = script
        self.settings = settings
        self._faults = parse_faults(settings.faults)
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._counts = _Counts()

    def models(self) -> list[str]:
        """The names and patterns of the script."""
        return list(self.script.models)

    def calls(self) -> dict[str, object]:
        """Counters of chat requests since the start or the last reset.

        `answered` counts completions that were sent whole with status 200, also empty or garbled ones; not broken
        bodies, resets, hangs or refusals.
        """
        with self._lock:
            counts = self._counts
            return {
                "total": counts.total.total(),
                "by_model": dict(counts.total),
                "answered": counts.answered.total(),
                "answered_by_model": dict(counts.answered),
                "faults": counts.faults,
                "in_flight_max": counts.in_flight_max,
            }

    def reset(self) -> None:
        """Set the counters and sightings back; what is in flight stays in flight."""
        with self._lock:
            now = self._counts.in_flight
            self._counts = _Counts(in_flight=now, in_flight_max=now)

    def enter(self) -> None:
        """A chat request began."""
        with self._lock:
            self._counts.in_flight += 1
            self._counts.in_flight_max = max(self._counts.in_flight_max, self._counts.in_flight)

    def leave(self) -> None:
        """A chat request ended."""
        with self._lock:
            self._counts.in_flight -= 1

    def respond(self, raw: bytes) -> Reply:
        """The answer to a request body."""
        try:
            ask = chat.read(raw)
        except chat.BadRequest as problem:
            self._arrived("", "")
            return Reply(400, (chat.error(str(problem), "invalid_request_error", None),))
        arrival, sighting = self._arrived(ask.model, ask.key)
        rules = self.script.find(ask.model)
        if rules is None:
            message = f"The model `{ask.model}` does not exist. This simulator has: {', '.join(self.models())}."
            return Reply(404, (chat.error(message, "invalid_request_error", "model_not_found"),))
        age = time.monotonic() - self._started
        fault = choose(self._faults, ask.model, arrival, age, (self.settings.seed, ask.key, sighting))
        if fault is None:
            return self._answered(ask.model, self._complete(rules, ask, sighting, None))
        with self._lock:
            self._counts.faults += 1
        return self._faulty(fault, rules, ask, sighting)

    def _arrived(self, model: str, key: str) -> tuple[int, int]:
        with self._lock:
            self._counts.total[model] += 1
            self._counts.sightings[key] += 1
            return self._counts.total.total(), self._counts.sightings[key] - 1

    def _answered(self, model: str, reply: Reply) -> Reply:
        with self._lock:
            self._counts.answered[model] += 1
        return reply

    def _faulty(self, fault: Fault, rules: ScriptedStudent | Reflection, ask: chat.ChatRequest, sighting: int) -> Reply:
        refusal = REFUSALS.get(fault.kind)
        if refusal is not None:
            body = chat.error(refusal.message, refusal.type, refusal.code)
            return Reply(refusal.status, (body,), retry_after=fault.retry_after)
        reply = self._complete(rules, ask, sighting, fault.kind)
        if fault.kind == "malformed":
            return Reply(200, (_MALFORMED,))
        if fault.kind == "hang":
            return Reply(200, reply.pieces, "hang", fault.seconds, reply.streamed)
        if fault.kind == "reset":
            return Reply(200, reply.pieces, "reset", streamed=reply.streamed)
        if fault.kind == "drip":
            reply = Reply(200, reply.pieces, "drip", fault.seconds, reply.streamed)
        return self._answered(ask.model, reply)

    def _complete(
        self, rules: ScriptedStudent | Reflection, ask: chat.ChatRequest, sighting: int, fault: str | None
    ) -> Reply:
        texts = [self._text(rules, ask, sighting, index, fault) for index in range(ask.n)]
        if ask.stream:
            return Reply(200, tuple(chat.events(ask, texts)), streamed=True)
        return Reply(200, (chat.completion(ask, texts),))

    def _text(
        self, rules: ScriptedStudent | Reflection, ask: chat.ChatRequest, sighting: int, index: int, fault: str | None
    ) -> str:
        if fault == "empty":
            return ""
        twist = index + (128 * sighting if self.settings.vary_sightings else 0)
        chance = Chance(self.settings.seed, ask.key, twist)
        model = (
            student.answer(rules, ask, chance)
            if isinstance(rules, ScriptedStudent)
            else reflection.answer(rules, ask, chance)
        )
        return spoil(model, self.settings.seed, ask.key, sighting, index) if fault == "garbage" else model
