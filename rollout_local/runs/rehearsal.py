"""A dry run asks the target twice, and answers in a model's place: does it ask the same, and can a recording see it?

Invariant: nothing is sent, no process is started, and what the target makes of the answers does not count: they are a
scripted student's, or a sentence in the shape that a provider gives.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rollout_local.errors import InputError, RecordingMiss, StopSearch
from rollout_local.isolation.process import NoChild
from rollout_local.isolation.target import placed
from rollout_local.planning import environment
from rollout_local.planning.module_import import asked_at_import
from rollout_local.planning.setup import Setup
from rollout_local.recordings import Answer, Asked, open_recording, volatile
from rollout_local.runs.execution import Executor, Wire
from rollout_local.simulator import Settings, load_script
from rollout_local.simulator.provider import Provider
from rollout_local.stop import StopFlag
from rollout_local.targets.http import HttpTarget

STUDENT = "sim-student"
MOST_REQUESTS = 40
"""After so many a turn ends: an agent may go on until a model says what nobody says here."""
_SAID = "This is a dry run."
_SHAPES: dict[str, dict[str, object]] = {
    "/messages": {
        "id": "msg_0", "type": "message", "role": "assistant", "model": STUDENT, "stop_reason": "end_turn",
        "content": [{"type": "text", "text": _SAID}], "usage": {"input_tokens": 1, "output_tokens": 1},
    },
    ":generateContent": {
        "candidates": [{"content": {"role": "model", "parts": [{"text": _SAID}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2},
    },
    "/responses": {
        "id": "resp_0", "object": "response", "created_at": 0, "status": "completed", "model": STUDENT,
        "output": [{
            "id": "msg_0", "type": "message", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": _SAID, "annotations": []}],
        }],
        "parallel_tool_calls": False, "tool_choice": "auto", "tools": [],
    },
    "/api/chat": {"model": STUDENT, "message": {"role": "assistant", "content": _SAID}, "done": True},
    "/api/generate": {"model": STUDENT, "response": _SAID, "done": True},
    "/embeddings": {
        "object": "list", "model": STUDENT, "data": [{"object": "embedding", "index": 0, "embedding": [0.0]}],
    },
}  # fmt: skip
"""What is answered, by the end of the path that is asked."""


@dataclass
class StandIn:
    """Answers in a provider's place, and keeps what it was asked."""

    provider: Provider
    asked: list[Asked] = field(default_factory=list)

    def __call__(self, asked: Asked) -> Answer:
        """Raises `RecordingMiss` where it was asked too often."""
        self.asked.append(asked)
        if len(self.asked) > MOST_REQUESTS:
            msg = f"a dry run answers {MOST_REQUESTS} requests of a trial"
            raise RecordingMiss(msg)
        kind, body = "application/json", b"{}"
        if asked.path.endswith("/chat/completions") and isinstance(asked.content, Mapping):
            reply = self.provider.respond(json.dumps({**asked.content, "model": STUDENT}).encode())
            kind, body = "text/event-stream" if reply.streamed else kind, b"".join(reply.pieces)
        else:
            body = next((json.dumps(body).encode() for end, body in _SHAPES.items() if asked.path.endswith(end)), body)
        return Answer(200, "OK", (("content-type", kind),), body)


def findings(setup: Setup, folder: Path) -> Iterator[str]:
    """Sentences on what a replay could not do; none for a target behind a URL, whose requests are this package's.

    Raises `InputError` where the target was to run in a child process, and cannot.
    """
    if isinstance(setup.target, HttpTarget):
        return
    noted: dict[str, int] = {}
    first = _asked(setup, folder, noted)
    yield from noted
    if first:
        yield from _differences(first, _asked(setup, folder, noted))


def _asked(setup: Setup, folder: Path, noted: dict[str, int]) -> list[Asked]:
    """What the baseline asks on the first task of train."""
    config, stand_in = setup.config, StandIn(Provider(load_script(None), Settings()))
    with (
        open_recording(
            None, stand_in=stand_in, ignore_fields=config.ignore_fields, redactor=setup.redactor(os.environ)
        ) as recording,
        environment.during(config, "dry-run", 0),
    ):
        recording.adopt(asked_at_import(folder))
        try:
            with placed(setup, folder, recording, StopFlag(), ("dry-run", 0)) as target:
                executor = Executor(target, recording, Wire())
                executor.run("dry-run", setup.tasks("train")[0], setup.target.baseline, again=False)
        except NoChild as problem:
            raise InputError(str(problem)) from problem
        except StopSearch:
            pass  # what stopped it was noted, or it asked too often
        noted.update(recording.bypasses.noted())
        noted.update({recording.bypasses.uncovered(place.partition(" ")[0]): 1 for place in recording.blocked})
    return stand_in.asked


def _differences(first: Sequence[Asked], second: Sequence[Asked]) -> Iterator[str]:
    """What was asked in one turn and not in the other; a request with no partner is made once in a process."""
    spare = Counter(asked.key for asked in first) & Counter(asked.key for asked in second)
    left, right = _without(first, spare), _without(second, spare)
    for asked in left:
        other = next((one for one in right if (one.method, one.path) == (asked.method, asked.path)), None)
        if other is None:
            continue
        right.remove(other)
        changing = " and ".join(str(one) for one in volatile(asked, other))
        mend = (
            f"what differs is {changing}" if changing else "send the same for the same task, or name an --ignore-field"
        )
        yield f"the same task asked twice gives two requests to {asked.path}, which a replay would not find: {mend}"


def _without(asked: Sequence[Asked], spare: Counter[str]) -> list[Asked]:
    left, rest = Counter(spare), []
    for one in asked:
        if left[one.key]:
            left[one.key] -= 1
        else:
            rest.append(one)
    return rest
