"""Plain `dspy.GEPA` around a function, as somebody without this project writes it, and what it asked for.

This is the yardstick of `test_engine.py` and of the bench: it must stay independent of `rollout_local.search`.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import dspy
from dspy.teleprompt.gepa import InstructionProposer
from dspy.utils.callback import BaseCallback

Texts = dict[str, str]
Function = Callable[[Texts, str, dict[str, Any]], tuple[str, float, str]]
"""`function(text by component, task name, question)` gives `(output, score, feedback)`."""


@dataclass(frozen=True)
class Question:
    """One task: its name, and what the agent is shown of it."""

    name: str
    shown: dict[str, Any]


@dataclass(frozen=True)
class Batch:
    """One batch of evaluations that GEPA began: the texts under test and the tasks, in order."""

    texts: tuple[str, ...]
    tasks: tuple[str, ...]


@dataclass
class PlainRun:
    """What plain GEPA did. `batches[0]` is the seed pass; `candidates` and `scores` are its accepted pool."""

    batches: list[Batch] = field(default_factory=list)
    candidates: list[Texts] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    parents: list[list[int | None]] = field(default_factory=list)

    def within(self, budget: int) -> list[Batch]:
        """The seed pass, and the batches after it up to the first one that would pass `budget`."""
        kept, spent = [self.batches[0]], 0
        for batch in self.batches[1:]:
            if spent + len(batch.tasks) > budget:
                break
            spent += len(batch.tasks)
            kept.append(batch)
        return kept

    @property
    def spent(self) -> int:
        """Executions beyond the seed pass."""
        return sum(len(batch.tasks) for batch in self.batches[1:])


class Plain(dspy.Module):  # type: ignore[misc]
    """The program that plain GEPA optimizes."""

    def __init__(self, baseline: Texts, function: Function) -> None:
        super().__init__()
        for name, text in baseline.items():
            setattr(self, name, dspy.Predict(dspy.Signature("task -> output", text)))
        self.function = function

    def forward(self, question: Question) -> Any:
        output, score, feedback = self.function(texts_of(self), question.name, question.shown)
        if dspy.settings.trace is not None:
            for _, predictor in self.named_predictors():
                dspy.settings.trace.append((predictor, {"task": question.shown}, dspy.Prediction(output=output)))
        return dspy.Prediction(output=output, score=score, feedback=feedback)


def texts_of(program: Any) -> Texts:
    """The instructions of a program, by component."""
    return {name: predictor.signature.instructions for name, predictor in program.named_predictors()}


class _Batches(BaseCallback):  # type: ignore[misc]
    def __init__(self, run: PlainRun) -> None:
        self._run = run

    def on_evaluate_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        texts = tuple(texts_of(inputs["program"]).values())
        self._run.batches.append(Batch(texts, tuple(example.question.name for example in instance.devset)))


def metric(gold: Any, pred: Any, trace: Any = None, pred_name: Any = None, pred_trace: Any = None) -> Any:
    """DSPy's metric: the function graded already."""
    return dspy.Prediction(score=pred.score, feedback=pred.feedback)


def plain_gepa(
    function: Function,
    *,
    baseline: Texts,
    train: Sequence[Question],
    val: Sequence[Question],
    max_metric_calls: int,
    reflection: dict[str, Any],
    additional_instructions: str,
    threads: int,
    seed: int,
    arguments: dict[str, Any] | None = None,
) -> PlainRun:
    """Run `dspy.GEPA` on `function`. `reflection` holds the arguments of its `dspy.LM`, `arguments` further ones."""
    run = PlainRun()
    optimizer = dspy.GEPA(
        metric,
        max_metric_calls=max_metric_calls,
        reflection_lm=dspy.LM(**reflection, engine="litellm", cache=False),
        instruction_proposer=InstructionProposer(additional_instructions=additional_instructions),
        num_threads=threads,
        seed=seed,
        **{"track_stats": True, **(arguments or {})},
    )
    with _silent(), dspy.context(callbacks=[_Batches(run)]):
        optimized = optimizer.compile(Plain(baseline, function), trainset=_examples(train), valset=_examples(val))
    details = optimized.detailed_results
    run.candidates = [texts_of(candidate) for candidate in details.candidates]
    run.scores = [float(score) for score in details.val_aggregate_scores]
    run.parents = details.parents
    return run


def _examples(questions: Sequence[Question]) -> list[Any]:
    return [dspy.Example(question=question).with_inputs("question") for question in questions]


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("dspy", "gepa")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
