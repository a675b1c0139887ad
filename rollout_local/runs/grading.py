"""The verdict on one output. Verifiers may ask a model, whose failure is no score: it is asked again, or none is given.

What is asked is recorded under a scope of its own beside the trial's, so that the judge is asked anew without the
target being executed again. The wire is believed here too: a check that swallows its model's error gives no score.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from rollout_local.domain.dataset import Task
from rollout_local.domain.target import AgentResult
from rollout_local.domain.verdict import Verdict, VerifierSpec
from rollout_local.errors import GradingError
from rollout_local.providers.failures import Health, Patience, ProviderFailure, failure_in, of_models
from rollout_local.providers.retry import Retry, Tried
from rollout_local.recordings import Exchange, scope
from rollout_local.runs.execution import Wire
from rollout_local.stop import StopFlag
from rollout_local.verifiers.grade import grade


@dataclass(frozen=True)
class Grading:
    """A verdict, or why there is none: a provider's `failure`, or what was wrong with the grading in words."""

    verdict: Verdict | None
    error: str = ""
    failure: ProviderFailure | None = None
    exchanges: Sequence[Exchange] = ()


@dataclass(frozen=True)
class Grader:
    """Grades outputs, and asks a judge again while its provider is in the way."""

    specs: Sequence[VerifierSpec]
    wire: Wire
    stop: StopFlag
    patience: Patience = field(default_factory=Patience)
    health: Health = field(default_factory=Health)
    dice: random.Random = field(default_factory=random.Random)
    replaying: bool = False

    def grade(self, name: str, task: Task, result: AgentResult, *, again: bool) -> Grading:
        """The verdict on a result, under the recording scope `name`; `again` starts the scope anew."""
        seen: list[Exchange] = []

        def once(_number: int) -> Tried[tuple[Verdict | None, Exception | None]]:
            verdict, error = self._graded(name, task, result, again=again or bool(seen))
            exchanges = self.wire.take(name)
            seen.extend(exchanges)
            failure = of_models(exchanges) or (None if error is None else failure_in(error))
            return Tried((verdict, error), failure, exchanges)

        retry = Retry(self.patience, self.health, self.dice, self.stop, self.replaying)
        tried, _ = retry.until_done(once)
        verdict, error = tried.result
        return Grading(None if tried.failure else verdict, _words(error, tried.failure), tried.failure, seen)

    def _graded(
        self, name: str, task: Task, result: AgentResult, *, again: bool
    ) -> tuple[Verdict | None, Exception | None]:
        try:
            with scope(name, restart=again):
                return grade(self.specs, task, result), None
        except Exception as error:  # noqa: BLE001 - a check's own code, or a client: whatever it raises is no score
            return None, error


def _words(error: Exception | None, failure: ProviderFailure | None) -> str:
    if failure is not None:
        return f"the judge: {failure.words}"
    if error is None or isinstance(error, GradingError):
        return str(error or "")
    return f"the verifier raised {type(error).__name__}: {error}"
