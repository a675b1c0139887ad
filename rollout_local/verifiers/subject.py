"""What a check sees: the task, the result, the output as text and, once for all checks, as JSON.

An output of None is an empty text. JSON is read as `json.loads` reads it, but NaN and infinities, which are
no JSON, are refused, and so is nesting beyond `MAX_DEPTH`: where Python gives up depends on the depth of the
caller's stack, and a score may not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn, Protocol

from rollout_local.domain.dataset import Task
from rollout_local.domain.target import AgentResult
from rollout_local.verifiers.quoting import quote

MAX_DEPTH = 200
"""Levels of nesting up to which an output counts as JSON."""

Params = Mapping[str, Any]
Outcome = tuple[float, str]
"""Score in [0, 1], and the reason in words, empty for 1."""
PERFECT: Outcome = (1.0, "")

Step = str | int
_STEP = re.compile(r"\[(-?\d+)\]|(?:^|\.)([^.\[\]]+)")


class ModelReply(Protocol):
    """What a model answered."""

    @property
    def text(self) -> str:
        """The answer's text."""
        ...


class Completer(Protocol):
    """`rollout_local.models.complete`, or what stands in its place."""

    def __call__(
        self, model: str, messages: Sequence[Mapping[str, object]], *, api_base: str | None = None, **params: object
    ) -> ModelReply:
        """Ask `model`."""
        ...


class _Missing:
    """The type of `MISSING`."""


MISSING = _Missing()
"""Nothing stands at that path (null does not count as nothing)."""


@dataclass(frozen=True)
class ParsedText:
    """A text read as JSON; where it is none, `problem` says why and `value` means nothing."""

    value: Any
    problem: str = ""


@dataclass(frozen=True)
class Subject:
    """One output under grading. `complete` asks a model for `llm_judge`; None means the one of `models`."""

    task: Task
    result: AgentResult
    complete: Completer | None = None

    @cached_property
    def text(self) -> str:
        """The output as text."""
        if self.result.output is None:
            return ""
        try:
            return self.result.text
        except (RecursionError, ValueError):  # nested too deep, or an integer too long, for any text of it
            return f"<a {type(self.result.output).__name__} that cannot be written as text>"

    @cached_property
    def document(self) -> ParsedText:
        """The output as JSON."""
        return read_document(self.text)


def read_document(text: str) -> ParsedText:
    """Read `text` as strict JSON."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        return ParsedText(None, f"{error.msg} at line {error.lineno} column {error.colno}; {_beginning(text)}")
    except RecursionError:
        return _too_deep(text)
    except ValueError as error:
        return ParsedText(None, f"{error}; {_beginning(text)}")
    return ParsedText(value) if depth_within(value, MAX_DEPTH) else _too_deep(text)


def depth_within(value: object, most: int) -> bool:
    """True where lists and objects nest at most `most` levels deep."""
    level = [value]
    for _ in range(most + 1):
        level = [child for item in level for child in _children(item)]
        if not level:
            return True
    return False


def parse_path(text: str) -> tuple[Step, ...]:
    """The steps of a dotted path: `a.b[0]` is `("a", "b", 0)`, `$` is the whole; `ValueError` for others."""
    rest = text.removeprefix("$").removeprefix(".") if text.startswith(("$.", "$[")) or text == "$" else text
    steps: list[Step] = []
    position = 0
    while position < len(rest):
        match = _STEP.match(rest, position)
        if match is None:
            break
        steps.append(int(match[1]) if match[1] else match[2])
        position = match.end()
    if position < len(rest) or not text:
        msg = f"{quote(text)} is not a path such as a.b[0], or $ for all of it"
        raise ValueError(msg)
    return tuple(steps)


def find(value: object, path: str) -> object:
    """What stands at `path` in a JSON value, or `MISSING`."""
    for step in parse_path(path):
        value = _enter(value, step)
        if value is MISSING:
            return MISSING
    return value


def _enter(value: object, step: Step) -> object:
    if isinstance(value, Mapping):
        return value.get(str(step), MISSING)
    if isinstance(value, list | tuple) and isinstance(step, int) and -len(value) <= step < len(value):
        return value[step]
    return MISSING


def _children(item: object) -> list[object]:
    if isinstance(item, Mapping):
        return list(item.values())
    return list(item) if isinstance(item, list | tuple) else []


def _too_deep(text: str) -> ParsedText:
    return ParsedText(None, f"it nests more than {MAX_DEPTH} levels deep; {_beginning(text)}")


def _beginning(text: str) -> str:
    return f"it starts with {quote(text, 40)}" if text.strip() else "it is empty"


def _refuse_constant(name: str) -> NoReturn:
    msg = f"{name} is no JSON value"
    raise ValueError(msg)
