"""What a body says of how an answer came about: whether a limit of tokens cut it, and which model and build gave it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rollout_local.dialects.bodies import as_object, as_objects, events_of

_LIMITS = frozenset({"length", "max_tokens", "max_output_tokens", "model_context_window_exceeded"})
_REASONS = ("finish_reason", "finishReason", "stopReason", "stop_reason", "done_reason")


@dataclass(frozen=True)
class ServedBy:
    """The model that answered, by its own name, and the build of its server; empty where they are not told."""

    model: str = ""
    fingerprint: str = ""


def was_cut(response: object) -> bool:
    """Whether an answer stops at a limit of tokens (`finish_reason` length, MAX_TOKENS, an incomplete response)."""
    return any(str(reason).lower() in _LIMITS for event in events_of(response) for reason in _reasons(event))


def served_by(response: object) -> ServedBy:
    """Who answered, as the first event says that names a model."""
    for event in events_of(response):
        for part in (event, as_object(event.get("response")), as_object(event.get("message"))):
            model = part.get("model") or part.get("modelVersion")
            if isinstance(model, str) and model:
                fingerprint = part.get("system_fingerprint")
                return ServedBy(model, fingerprint if isinstance(fingerprint, str) else "")
    return ServedBy()


def _reasons(event: Mapping[str, object]) -> Iterator[object]:
    whole = as_object(event.get("response"))
    delta = as_object(event.get("delta"))
    for part in (event, delta, *as_objects(event.get("choices")), *as_objects(event.get("candidates"))):
        yield from (part[name] for name in _REASONS if part.get(name))
    for part in (event, whole):
        yield as_object(part.get("incomplete_details")).get("reason")
