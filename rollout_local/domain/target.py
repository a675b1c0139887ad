"""Candidate, AgentResult and the Target protocol: what is optimized, and what running it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticSerializationError, to_jsonable_python

from rollout_local.domain.dataset import Task, Value
from rollout_local.domain.identity import canonical_json, content_hash, well_formed
from rollout_local.domain.kept import kept_metadata, kept_output, unsayable
from rollout_local.domain.validation import first_problem
from rollout_local.errors import InputError

TEXT_COMPONENT = "instructions"
"""The component name of a candidate that is one text."""


MOST = 1e12
"""What a target may say that one execution took or cost, at most: sums of what it says are finite, too."""


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
    def _accept_text(cls, data: object) -> object:
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
    latency_ms: float | None = Field(default=None, ge=0, le=MOST, allow_inf_nan=False)
    cost_usd: float | None = Field(default=None, ge=0, le=MOST, allow_inf_nan=False)
    metadata: dict[str, Any] = Field(default_factory=dict)

    @field_validator("output")
    @classmethod
    def _is_plain(cls, value: object) -> object:
        """Models, dataclasses, sets, dates and the like become the JSON that they stand for."""
        if not isinstance(value, str | dict | list | int | float | None):
            try:
                value = to_jsonable_python(value)
            except (PydanticSerializationError, ValueError, RecursionError):
                return value
        return _written(value)

    @field_validator("metadata")
    @classmethod
    def _can_be_written(cls, value: object) -> object:
        return _written(value)

    @property
    def text(self) -> str:
        """The output as a verifier reads it: a text as it is, anything else as JSON."""
        return output_text(self.output)


def _written(value: object) -> object:
    try:
        return well_formed(value)
    except RecursionError:
        return value


def output_text(output: object) -> str:
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
    """Normalise what a target may return: an `AgentResult`, a `dict` like one, or the output itself.

    An output is a text, or whatever JSON can say: a list, a number, a pydantic model, a dataclass. Raises `InputError`
    for anything else, naming what came. What is in the result is plain: nothing of the target's own classes is left.
    """
    result = _read(returned)
    sayable = kept_output(result.output) is not None
    output = result.output if sayable else unsayable(type(result.output).__name__)
    return result.model_copy(update={"output": output, "metadata": kept_metadata(result.metadata)})


def _read(returned: object) -> AgentResult:
    if isinstance(returned, AgentResult):  # it may be of a class of the target's, or made without a check
        returned = {name: value for name, value in vars(returned).items() if name in AgentResult.model_fields}
    if isinstance(returned, str):
        return AgentResult(output=returned)
    if isinstance(returned, BaseModel) and _is_like_a_result(type(returned)):
        returned = returned.model_dump()  # the hosted SDK's own AgentResult
    if isinstance(returned, Mapping):
        try:
            return AgentResult.model_validate(dict(returned))
        except ValidationError as error:
            place, problem = first_problem(error)
            msg = f"the target returned a dict that is no AgentResult: {place}: {problem}"
            raise InputError(msg) from error
    if isinstance(returned, list | tuple | int | float | BaseModel) or is_dataclass(returned):
        return AgentResult(output=returned)
    kind = "nothing" if returned is None else f"a {type(returned).__name__}"
    msg = f"the target returned {kind}; return an AgentResult, a str, or a dict with the key 'output'"
    raise InputError(msg)


def _is_like_a_result(kind: type[BaseModel]) -> bool:
    """Another package's class for the same: it has an output, and no field that ours has not."""
    return "output" in kind.model_fields and set(kind.model_fields) <= set(AgentResult.model_fields)


class OwnMetric(Protocol):
    """The metric of a target that grades itself: the user's function, and what was noticed of its scores so far."""

    function: Callable[..., Any]
    gave_no_feedback: bool
    disagreed: bool


class TargetDefaults:
    """What a target has of the rest of `Target` where it says nothing else: every kind of target derives from it."""

    metric: OwnMetric | None = None
    models: Sequence[str] = ()

    @property
    def grades_itself(self) -> bool:
        """It has a metric of its own, and takes no verifier."""
        return self.metric is not None

    def close(self) -> None:
        """Nothing is held."""


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

    @property
    def metric(self) -> OwnMetric | None:
        """The metric of its own that grades it in place of verifiers, if it has one."""
        ...

    @property
    def grades_itself(self) -> bool:
        """It has a metric of its own, and takes no verifier."""
        ...

    @property
    def models(self) -> Sequence[str]:
        """The models that it names itself, beside the run's."""
        ...

    def run(self, task: Task, candidate: Candidate) -> AgentResult:
        """Execute once. Whatever the user's code raises comes through unchanged."""
        ...

    def close(self) -> None:
        """End the connections that it holds."""
        ...
