"""Check and Verdict: how good one output is, and why it is not perfect. And the spec that says how to tell."""

from __future__ import annotations

from typing import Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from rollout_local.domain.dataset import Value
from rollout_local.domain.identity import content_hash


class CheckSpec(Value):
    """One check of a verifier. `type` is a name in `rollout_local.verifiers.checks.CHECKS`, aliases resolved."""

    id: str
    type: str
    weight: float = 1.0
    required: bool = False
    params: dict[str, Any] = Field(default_factory=dict)
    message: str = ""
    """What the feedback says in place of the check's own words, where the author wrote something."""

    @model_serializer(mode="wrap")
    def _without_nothing(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A check without a message is written as before there were any, and so has the hash that it had."""
        written: dict[str, Any] = handler(self)
        if not self.message:
            written.pop("message", None)
        return written


class VerifierSpec(Value):
    """A verifier as people write it (a `native` verifier of hosted Rollout), aliases resolved."""

    id: str
    name: str
    kind: str = "native"
    pass_threshold: float = 1.0
    checks: tuple[CheckSpec, ...]

    @property
    def content_hash(self) -> str:
        """`sha256:…` over everything but the display name."""
        return content_hash(self.model_dump(exclude={"name"}))


class Check(Value):
    """The outcome of one check on one output.

    `score` is in [0, 1]; `reason` says in words why it is not 1, and is empty where it is.
    """

    id: str
    type: str
    score: float = Field(ge=0.0, le=1.0, allow_inf_nan=False)
    weight: float = 1.0
    required: bool = False
    reason: str = ""


class Verdict(Value):
    """The grade of one output: a score in [0, 1], whether it passed, and the feedback that GEPA reflects on."""

    score: float = Field(ge=0.0, le=1.0, allow_inf_nan=False)
    passed: bool
    feedback: str = ""
    checks: tuple[Check, ...] = ()

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that are not perfect."""
        return tuple(check for check in self.checks if check.score < 1.0)
