"""What crosses between a child and the run: results, errors, spans, as JSON that is read back to the same values.

Invariant: what is made of them in the run (an output's text, a failure's kind and words, a row's metadata) is what
would have been made of the originals. No pickle: a class of the user's is never built in the run's process, an error is
known there by its names, its words and what says that a provider was in the way.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NotRequired, TypedDict, cast

from rollout_local import errors
from rollout_local.domain.identity import canonical_json
from rollout_local.domain.kept import kept_metadata, kept_output, unsayable, words_of
from rollout_local.domain.target import AgentResult
from rollout_local.tracing import Span


class PackedResult(TypedDict):
    """A result; `output` is JSON, or None where JSON cannot say it, `type` the name of its type."""

    output: str | None
    type: str
    trace_id: str | None
    latency_ms: float | None
    cost_usd: float | None
    metadata: str


class PackedProvider(TypedDict):
    """What says that a provider was in the way."""

    kind: str
    retry_after: float | None
    who: str


class PackedError(TypedDict):
    """An error without its causes; `kinds` are modules and names of its classes, its own first."""

    kinds: list[tuple[str, str]]
    words: str
    status_code: int | None
    provider: NotRequired[PackedProvider]


class PauseSettings(TypedDict):
    """What a pause has beside its words."""

    reason: str | None
    interrupted: bool


class PackedStop(TypedDict):
    """A signal of ours with its words, or an error with its causes."""

    error: NotRequired[list[PackedError]]
    stop: NotRequired[str]
    words: NotRequired[str]
    settings: NotRequired[PauseSettings]


class PackedSpan(TypedDict):
    """A span; `input` and `output` are JSON."""

    name: str
    type: str
    started: float
    duration: float
    input: str
    output: str
    error: str | None


_MARK = "$"
_LINKS = 20
"""Causes of an error that are told."""
_STOPS: dict[str, type[errors.StopSearch]] = {
    kind.__name__: kind
    for kind in (
        errors.Paused, errors.Cancelled, errors.BudgetSpent, errors.NoProposals, errors.TargetFailed,
        errors.RecordingMiss, errors.LeaseLost,
    )
}  # fmt: skip
_OURS: dict[str, type[errors.RolloutError]] = {
    kind.__name__: kind
    for kind in (
        errors.InputError, errors.NotFound, errors.ModuleMissing, errors.Refused, errors.NotConfirmed,
        errors.StoreError, errors.RecordingError, errors.GradingError, errors.OutOfScale, errors.TargetError,
        errors.ProviderError, errors.RolloutError,
    )
}  # fmt: skip


def pack_result(result: AgentResult) -> PackedResult:
    """A result; an output that JSON cannot say travels as the name of its type."""
    output = result.output
    sayable = kept_output(output) is not None
    return {
        "output": json.dumps(_marked(output)) if sayable else None,
        "type": type(output).__name__,
        "trace_id": result.trace_id,
        "latency_ms": result.latency_ms,
        "cost_usd": result.cost_usd,
        "metadata": json.dumps(kept_metadata(result.metadata)),
    }


def unpack_result(packed: PackedResult) -> AgentResult:
    """The result again; an output that JSON cannot say is something of a type of the same name."""
    output = unsayable(packed["type"]) if packed["output"] is None else _unmarked(json.loads(packed["output"]))
    return AgentResult(
        output=output, trace_id=packed["trace_id"], latency_ms=packed["latency_ms"], cost_usd=packed["cost_usd"],
        metadata=json.loads(packed["metadata"]),
    )  # fmt: skip


def _marked(value: object) -> object:
    """JSON cannot tell a tuple from a list, nor a key 1 from a key "1"; checks of the user's may."""
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value) and _MARK not in value:
            return {key: _marked(item) for key, item in value.items()}
        pairs = [[key if isinstance(key, int | float | None) else str(key), _marked(value[key])] for key in value]
        return {_MARK: ["dict", pairs]}
    if isinstance(value, tuple):
        return {_MARK: ["tuple", [_marked(item) for item in value]]}
    return [_marked(item) for item in value] if isinstance(value, list) else value


def _unmarked(value: object) -> object:
    if isinstance(value, list):
        return [_unmarked(item) for item in value]
    if not isinstance(value, dict):
        return value
    if _MARK not in value:
        return {key: _unmarked(item) for key, item in value.items()}
    kind, items = value[_MARK]
    return tuple(map(_unmarked, items)) if kind == "tuple" else {key: _unmarked(item) for key, item in items}


def inert(error: BaseException) -> BaseException:
    """An error that says and means the same, and runs nothing of the user's."""
    return unpack_error(pack_error(error))


def pack_error(error: BaseException) -> list[PackedError]:
    """An error and its causes."""
    return [_pack_link(link) for link in _chain(error)]


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen and len(seen) < _LINKS:
        seen.add(id(link))
        yield link
        link = _CAUSE(link) or _CONTEXT(link)


_CAUSE, _CONTEXT = (BaseException.__dict__[name].__get__ for name in ("__cause__", "__context__"))
"""As they are, whatever a class of the user's says of them."""


def _pack_link(error: BaseException) -> PackedError:
    packed: PackedError = {
        "kinds": [(str(kind.__module__), kind.__name__) for kind in type(error).__mro__],
        "words": words_of(error),
        "status_code": _status_of(error),
    }
    if issubclass(type(error), errors.ProviderError):  # `isinstance` would ask the error
        told = cast("errors.ProviderError", error)
        packed["provider"] = {"kind": told.kind, "retry_after": told.retry_after, "who": told.who}
    return packed


def _status_of(error: BaseException) -> int | None:
    try:
        status = error.status_code  # type: ignore[attr-defined]
    except BaseException:  # noqa: BLE001 - a class's own code
        return None
    return int.__int__(status) if isinstance(status, int) else None


def unpack_error(packed: Sequence[PackedError]) -> BaseException:
    """An error with the same names, words and causes; one of our own classes where it was."""
    links = [_unpack_link(link) for link in packed]
    for link, cause in pairwise(links):
        link.__cause__ = cause
    return links[0]


def _unpack_link(packed: PackedError) -> BaseException:
    words, kinds = packed["words"], [(module, name) for module, name in packed["kinds"]]
    if "provider" in packed:
        return errors.ProviderError(words, **packed["provider"])
    for module, name in kinds:
        if module == errors.__name__ and name in _OURS:
            return _OURS[name](words)
    base: type[Exception] = ImportError if ("builtins", "ImportError") in kinds else Exception
    for module, name in reversed(kinds):
        base = type(name, (base,), {"__module__": module, "__str__": _says})
    error = base(words)
    if packed["status_code"] is not None:
        vars(error)["status_code"] = packed["status_code"]
    return error


def _says(error: BaseException) -> str:
    return str(error.args[0])


def pack_stop(reason: BaseException) -> PackedStop:
    """Why the run is to end, as one of our own signals says it; or any error."""
    kind = next((name for name, kind in _STOPS.items() if type(reason) is kind), None)
    if kind is None:
        return {"error": pack_error(reason)}
    packed: PackedStop = {"stop": kind, "words": words_of(reason)}
    if isinstance(reason, errors.Paused):
        packed["settings"] = {"reason": reason.reason, "interrupted": reason.interrupted}
    return packed


def unpack_stop(packed: PackedStop) -> BaseException:
    """The signal again, or the error."""
    if "error" in packed:
        return unpack_error(packed["error"])
    if "settings" in packed:
        return errors.Paused(packed["words"], **packed["settings"])
    return _STOPS[packed["stop"]](packed["words"])


def pack_span(span: Span) -> PackedSpan:
    """A span, its values as they are shown."""
    return {
        "name": span.name, "type": span.type, "started": span.started, "duration": span.duration,
        "input": _shown(span.input), "output": _shown(span.output), "error": span.error,
    }  # fmt: skip


def unpack_span(packed: PackedSpan) -> Span:
    """The span again."""
    return Span(
        name=packed["name"], type=packed["type"], started=packed["started"], duration=packed["duration"],
        input=json.loads(packed["input"]), output=json.loads(packed["output"]), error=packed["error"],
    )  # fmt: skip


def _shown(value: object) -> str:
    try:
        return canonical_json(value)
    except (TypeError, ValueError, RecursionError):
        return canonical_json(repr(value))
