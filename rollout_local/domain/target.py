"""Candidate, AgentResult and the Target protocol: what is optimized, and what running it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

from pydantic import Field, ValidationError, field_validator, model_validator

from rollout_local.domain.dataset import Task, Value
from rollout_local.domain.identity import canonical_json, content_hash, well_formed
from rollout_local.errors import InputError

TEXT_COMPONENT = "instructions"
"""The component name of a candidate that is one text."""


class TargetKind(StrEnum):
    """What kind of text is optimized; it is told to the reflection model."""

    PROMPT = "prompt"
    TOOL_DESCRIPTION = "tool_description"
    ROUTER_PROMPT = "router_prompt"
    RETRIEVAL_PROMPT = "retrieval_prompt"
    AGENT = "agent"


class Candidate(Value):
    """The text under test: one text, or one per component of a program.

    `Candidate(text="…")` and `Candidate(components={"name": "…"})` are both accepted.
    """

    components: dict[str, str] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _accept_text(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and set(data) == {"text"}:
            return {"components": {TEXT_COMPONENT: data["text"]}}
        return data

    @property
    def text(self) -> str:
        """The text of a candidate with a single component; a `ValueError` names the components otherwise."""
        if len(self.components) == 1:
            return next(iter(self.components.values()))
        msg = f"this candidate has several texts ({', '.join(self.components)}): use candidate.components"
        raise ValueError(msg)

    @cached_property
    def content_hash(self) -> str:
        """`sha256:…` over the components."""
        return content_hash(self.components)


class AgentResult(Value):
    """What one execution of a target gave back. Only `output` is required."""

    output: Any
    trace_id: str | None = None
    latency_ms: float | None = None
    cost_usd: float | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)

    @field_validator("output", "metadata")
    @classmethod
    def _can_be_written(cls, value: Any) -> Any:
        try:
            return well_formed(value)
        except RecursionError:
            return value

    @property
    def text(self) -> str:
        """The output as a verifier reads it: a text as it is, anything else as JSON."""
        return output_text(self.output)


def output_text(output: Any) -> str:
    """`output` as text: itself, or its canonical JSON, or (where JSON cannot say it) its `repr`."""
    if isinstance(output, str):
        return output
    try:
        return canonical_json(output)
    except (TypeError, ValueError):
        return repr(output)
    except RecursionError:
        return "(an output that is nested too deeply to be shown)"


def as_result(returned: Any) -> AgentResult:
    """Normalise the three shapes a target may return: an `AgentResult`, a `str`, or a `dict` like one.

    Raises `InputError` for anything else, naming what came.
    """
    if isinstance(returned, AgentResult):
        return returned
    if isinstance(returned, str):
        return AgentResult(output=returned)
    if isinstance(returned, Mapping):
        try:
            return AgentResult.model_validate(dict(returned))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            msg = f"the target returned a dict that is no AgentResult: {where}: {first['msg']}"
            raise InputError(msg) from error
    kind = "nothing" if returned is None else f"a {type(returned).__name__}"
    msg = f"the target returned {kind}; return an AgentResult, a str, or a dict with the key 'output'"
    raise InputError(msg)


@runtime_checkable
class Target(Protocol):
    """Anything that can be run on a task with a candidate's text."""

    @property
    def id(self) -> str:
        """The name it is registered under."""
        ...

    @property
    def kind(self) -> TargetKind:
        """What kind of text it is."""
        ...

    @property
    def description(self) -> str:
        """What it is for, in the user's words; empty when not given."""
        ...

    @property
    def baseline(self) -> Candidate:
        """The text that the search starts from."""
        ...

    @property
    def source(self) -> str:
        """The source text that its hash is over, kept so that a mismatch can be shown."""
        ...

    @property
    def source_hash(self) -> str:
        """`sha256:…` of what decides its behaviour."""
        ...

    def run(self, task: Task, candidate: Candidate) -> AgentResult:
        """Execute once. Whatever the user's code raises comes through unchanged."""
        ...
