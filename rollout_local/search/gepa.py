"""`dspy.GEPA` as an engine, through its public arguments alone.

What GEPA 0.1.4 would do by itself and must not: keep its own checkpoint (`log_dir`), cache evaluations,
pass its budget by up to a val pass. None of these is left on. The budget is kept where DSPy announces a batch
(`on_evaluate_start`), before it begins; what GEPA decides is heard through its callbacks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dspy
from dspy.utils.callback import BaseCallback

from rollout_local.domain.run import StopReason
from rollout_local.domain.target import Candidate
from rollout_local.errors import BudgetSpent, InputError, NoProposals
from rollout_local.search.component_order import components_in_order
from rollout_local.search.engine import (
    Began,
    Budget,
    Judged,
    ProposalFailed,
    Proposed,
    SearchResult,
    SearchSpec,
    Signals,
    Validated,
)
from rollout_local.search.gepa_arguments import table
from rollout_local.search.isolation import SignalFailed, loud, quiet
from rollout_local.search.optimizer_inputs import inputs_of
from rollout_local.search.proposer import proposer_of
from rollout_local.search.task_model import lm_settings
from rollout_local.search.text_adapter import Tickets, restored, restored_text, texts_of

if TYPE_CHECKING:
    from gepa.core.callbacks import (
        CandidateAcceptedEvent,
        CandidateSelectedEvent,
        EvaluationEndEvent,
        EvaluationStartEvent,
        IterationStartEvent,
        MinibatchSampledEvent,
        ProposalEndEvent,
        ReflectiveDatasetBuiltEvent,
        ValsetEvaluatedEvent,
    )


def search(spec: SearchSpec, signals: Signals) -> SearchResult:
    """Run `dspy.GEPA` over the spec. Returns the best candidate by val mean, the first of equals, as GEPA does.

    What a signal raises ends the search and is raised here.
    """
    try:
        return _search(spec, loud(signals))
    except SignalFailed as failed:
        raise failed.error from None


def _search(spec: SearchSpec, signals: Signals) -> SearchResult:
    inputs = inputs_of(spec, signals)
    train, val = inputs.train, inputs.val
    budget = Budget(spec.budget)
    listener = Listener(spec, signals, train, budget)
    arguments = table().loaded(spec.arguments)
    if arguments.get("track_best_outputs"):
        arguments["track_stats"] = True  # GEPA asserts it; the store has both anyway
    if callable(arguments.get("component_selector")):
        arguments["component_selector"] = checked_selector(arguments["component_selector"])
    below = arguments.get("gepa_kwargs", {})
    optimizer = dspy.GEPA(**{
        **arguments,
        "metric": inputs.metric,
        "max_metric_calls": spec.budget + len(val),
        "reflection_lm": reflection_lm(spec),
        "instruction_proposer": proposer_of(
            arguments.get("instruction_proposer"), signals.reflect, listener.failed, told_to_reflection(spec)
        ),
        "num_threads": spec.concurrency,
        "seed": spec.seed,
        "gepa_kwargs": {**below, "callbacks": [listener], "stop_callbacks": [listener.is_done]},
    })  # fmt: skip
    with quiet(), components_in_order(), dspy.context(callbacks=[_Gate(budget, signals, listener)]):
        try:
            optimizer.compile(inputs.module, trainset=train, valset=val)
        except BudgetSpent:
            listener.stop_reason = StopReason.BUDGET_SPENT
        except NoProposals:
            listener.stop_reason = StopReason.NO_PROPOSALS
        except Exception:
            signals.should_stop()  # DSPy turns an interrupted evaluation into a plain Exception
            raise
    signals.should_stop()
    return SearchResult(best=listener.best, stop_reason=listener.stop_reason)


def checked_selector(own: Callable[..., Sequence[str]]) -> Callable[..., Sequence[str]]:
    """A component selector of the user's that must name components: GEPA would go on, and spend, without a proposal."""

    def select(
        state: object, trajectories: object, scores: object, index: int, candidate: dict[str, str]
    ) -> Sequence[str]:
        names: Sequence[str] = own(state, trajectories, scores, index, candidate)
        if not names or any(name not in candidate for name in names):
            msg = f"the component selector gave {names!r}; name some of {', '.join(candidate)}"
            raise InputError(msg)
        return names

    return select


def reflection_lm(spec: SearchSpec) -> dspy.LM:
    """The reflection model."""
    model = spec.reflection
    limit = {} if model.timeout is None else {"timeout": model.timeout}
    return dspy.LM(model.name, **limit | lm_settings(model.api_base, model.api_key, model.params))


def told_to_reflection(spec: SearchSpec) -> str:
    """What the reflection model is told beside the examples: kind, description, objective."""
    lines = [f"The instructions are the text of a {spec.kind.replace('_', ' ')}."]
    if spec.description:
        lines.append(f"What it is for: {spec.description}")
    if spec.objective:
        lines.append(f"Objective: {spec.objective}")
    return "\n".join(lines)


class _Gate(BaseCallback):  # type: ignore[misc]
    """Sees each batch before it begins: the first is the seed pass over val, which is paid for already."""

    def __init__(self, budget: Budget, signals: Signals, listener: Listener) -> None:
        self._budget = budget
        self._signals = signals
        self._listener = listener
        self._seed_pass_begun = False

    def on_evaluate_start(self, call_id: str, instance: dspy.Evaluate, inputs: dict[str, object]) -> None:  # noqa: ARG002
        """Refuse a batch that may not begin, by a `BaseException`: DSPy swallows every other kind."""
        self._signals.should_stop()
        size = len(instance.devset)
        if self._seed_pass_begun:
            self._budget.admit(size)
        self._seed_pass_begun = True
        self._signals.emit(Began(size))
        self._listener.begins(restored(texts_of(inputs["program"]), self._listener.baseline))


_IMPROVED = "its minibatch improved"
_AS_GOOD = "a merge, on a sample of val no worse than the better of its parents"


@dataclass
class _Pending:
    number: int
    before: float | None
    after: float | None = None


class Listener:
    """Hears GEPA's callbacks and turns them into our events; numbers candidates in the order of proposal."""

    def __init__(self, spec: SearchSpec, signals: Signals, train: Tickets, budget: Budget) -> None:
        self._spec = spec
        self._signals = signals
        self._train = train
        self._budget = budget
        self._numbers: dict[str, int] = {spec.baseline.content_hash: 0}
        self._candidates: list[Candidate] = [spec.baseline]
        self._by_index: dict[int, int] = {0: 0}
        self._pending: list[_Pending] = []
        self._iteration = 0
        self._parents: tuple[int, ...] = ()
        self._merged: tuple[int, ...] = ()
        self._before: float | None = None
        self._records: dict[str, list[dict[str, object]]] = {}
        self._tasks: list[str] = []
        self._trajectories: Sequence[Mapping[str, Any]] = ()
        self._best_mean = -1.0
        self._improved_at = 0
        self.best = 0
        self.stop_reason = StopReason.BUDGET_SPENT

    @property
    def baseline(self) -> Candidate:
        """The candidate that the search starts from."""
        return self._spec.baseline

    def _number(self, candidate: Candidate) -> int:
        return self._numbers[candidate.content_hash]

    # -- GEPA's callbacks, in the order in which they come

    def on_iteration_start(self, event: IterationStartEvent) -> None:
        """A new iteration; what an earlier one left undecided stays `proposed`."""
        self._signals.should_stop()
        self._iteration = event["iteration"]
        self._pending, self._before, self._records = [], None, {}

    def on_evaluation_start(self, event: EvaluationStartEvent) -> None:
        """The first word of a merge: a candidate that is not in the pool yet, and has two parents."""
        is_merge = event["candidate_idx"] is None and len(event["parent_ids"]) > 1
        self._merged = tuple(self._by_index[index] for index in event["parent_ids"]) if is_merge else ()

    def begins(self, candidate: Candidate) -> None:
        """A batch was admitted. Nobody proposes a merge, so it is told here, before its first trial."""
        if self._merged:
            parent = self._candidates[self._merged[0]].components
            changed = [name for name, text in candidate.components.items() if text != parent[name]]
            self._announce(candidate.components, self._merged, changed)
            self._merged = ()

    def on_candidate_selected(self, event: CandidateSelectedEvent) -> None:
        """The parent of what will be proposed."""
        self._parents = (self._by_index[event["candidate_idx"]],)

    def on_minibatch_sampled(self, event: MinibatchSampledEvent) -> None:
        """The tasks that the reflection will see."""
        self._tasks = [self._train.tasks[position].name for position in event["minibatch_ids"]]

    def on_evaluation_end(self, event: EvaluationEndEvent) -> None:
        """Minibatch scores of the parent (before) or of a proposal (after), kept as means."""
        mean = sum(event["scores"]) / len(event["scores"])
        if event["candidate_idx"] is not None:
            self._before, self._trajectories = mean, event["trajectories"] or ()
            return
        for pending in self._pending:
            if pending.after is None:
                pending.after = mean
                return

    def on_reflective_dataset_built(self, event: ReflectiveDatasetBuiltEvent) -> None:
        """What the reflection model will read, with the tasks' names."""
        self._records = {
            component: [
                {"task": name, **_readable(record)}
                for name, record in zip(self._reflected(component, len(records)), records, strict=False)
            ]
            for component, records in event["dataset"].items()
        }

    def _reflected(self, component: str, count: int) -> list[str]:
        """Names of the tasks that a component's records were made of: none of those where it was not called."""
        text = self._candidates[self._parents[0]].components[component]
        names = [
            self._tasks[trajectory["example_ind"]]
            for trajectory in self._trajectories
            if any(restored_text(call[0], component, self._spec.baseline) == text for call in trajectory["trace"])
        ]
        return names if len(names) == count else self._tasks

    def failed(self, component: str, reason: str) -> None:
        """A reflection gave no usable text."""
        self._signals.emit(
            ProposalFailed(self._iteration, self._parents[0], component, reason, self._records.get(component, []))
        )

    def on_proposal_end(self, event: ProposalEndEvent) -> None:
        """A new text, before its first trial."""
        parent = self._candidates[self._parents[0]].components
        self._announce({**parent, **event["new_instructions"]}, self._parents, tuple(event["new_instructions"]))

    def on_candidate_rejected(self, event: Mapping[str, object]) -> None:
        """The first proposal that is still undecided did not improve its minibatch."""
        if self._pending:
            self._judge(self._pending.pop(0), accepted=False, reason=str(event["reason"]))

    def on_merge_rejected(self, event: Mapping[str, object]) -> None:
        """A merge did worse than one of its parents."""
        self.on_candidate_rejected(event)

    def on_valset_evaluated(self, event: ValsetEvaluatedEvent) -> None:
        """A candidate has a score on the whole val split."""
        number = self._number(restored(event["candidate"], self._spec.baseline))
        self._by_index[event["candidate_idx"]] = number
        mean = float(event["average_score"])
        better = mean > self._best_mean
        if better:
            self._best_mean, self.best, self._improved_at = mean, number, self._iteration
        self._signals.emit(Validated(number, mean, better, self._budget.spent))

    def on_candidate_accepted(self, event: CandidateAcceptedEvent) -> None:
        """A proposal joined the pool."""
        number = self._by_index[event["new_candidate_idx"]]
        for pending in [p for p in self._pending if p.number == number]:
            self._pending.remove(pending)
            merge = len(event["parent_ids"]) > 1
            self._judge(pending, accepted=True, reason=_AS_GOOD if merge else _IMPROVED)

    def is_done(self, _state: object) -> bool:
        """GEPA's stopper, asked at the top of every iteration: score reached, or no improvement for too long."""
        if self._spec.stop_at is not None and self._best_mean >= self._spec.stop_at:
            self.stop_reason = StopReason.SCORE_REACHED
            return True
        patience = self._spec.no_improvement
        if patience is not None and self._iteration - self._improved_at >= patience:
            self.stop_reason = StopReason.NO_IMPROVEMENT
            return True
        return False

    # -- numbering

    def _announce(self, components: Mapping[str, str], parents: tuple[int, ...], changed: Sequence[str]) -> None:
        candidate = restored(components, self._spec.baseline)
        number = len(self._candidates)
        self._candidates.append(candidate)
        self._numbers[candidate.content_hash] = number
        self._pending.append(_Pending(number, self._before))
        records = [record for name in changed for record in self._records.get(name, [])]
        self._signals.emit(Proposed(number, candidate, parents, self._iteration, tuple(changed), records))

    def _judge(self, pending: _Pending, *, accepted: bool, reason: str) -> None:
        self._signals.emit(Judged(pending.number, accepted, reason, pending.before, pending.after))


def _readable(record: Mapping[str, object]) -> dict[str, Any]:
    return {
        "inputs": _plain(record["Inputs"]),
        "output": _plain(record["Generated Outputs"]),
        "feedback": record["Feedback"],
    }


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
