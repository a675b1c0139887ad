"""The contract of a program under GEPA: what it is asked, and what comes of it, is what plain `dspy.GEPA` gives."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import dspy
import pytest
from dspy.teleprompt.gepa import InstructionProposer

from rollout_local.domain.dataset import Task
from rollout_local.domain.program import ProgramAnswer
from rollout_local.domain.target import Candidate, TargetKind
from rollout_local.search.engine import Event, Graded, Proposed, ReflectionModel, SearchSpec, Signals, Ticket, Validated
from rollout_local.search.gepa import told_to_reflection
from rollout_local.search.optimizers import optimizer_named
from rollout_local.simulator import Simulator
from rollout_local.targets.program import ProgramTarget

WORDS = ("alpha", "bravo", "charlie", "delta", "echo")
VAL = 8


class Typed(dspy.Signature):
    """Draft a reply."""

    question: str = dspy.InputField()
    topics: list[str] = dspy.InputField()
    draft: str = dspy.OutputField()


class Writer(dspy.Module):
    """Two predictors, one of them inside another module; the second is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.write = dspy.Predict(Typed)
        self.editor = dspy.ChainOfThought(dspy.Signature("draft -> reply", "Polish it."))

    def forward(self, question: str, topics: list[str]) -> Any:
        draft = self.write(question=question, topics=topics).draft
        once = self.editor(draft=draft).reply
        return dspy.Prediction(draft=draft, reply=self.editor(draft=once).reply)


def metric(gold: Any, pred: Any, trace: Any = None, pred_name: Any = None, pred_trace: Any = None) -> Any:
    """Different words are wanted of the two predictors; the feedback is for the one that is asked about."""
    wanted = {"write": f"code-{gold.word}", "editor.predict": f"sign-{gold.word}"}
    texts = {"write": pred.draft, "editor.predict": pred.reply}
    missing = {name: word for name, word in wanted.items() if word not in texts[name]}
    told = [word for name, word in missing.items() if pred_name in (None, name)]
    if pred_name is not None:
        assert pred_trace[0][1], "a predictor is judged with what it was asked"
    feedback = "\n".join(f'expected the output to contain "{word}"' for word in told)
    spoilt = int(hashlib.sha256(f"{pred.draft}{gold.word}".encode()).hexdigest(), 16) % 3 == 0  # so that merges happen
    return dspy.Prediction(score=(1 - len(missing) / 2) * (0.5 if spoilt else 1.0), feedback=feedback or "fine")


def tasks(split: str, size: int) -> list[Task]:
    return [
        Task(
            name=f"{split}-{n}",
            input={"question": f"What about {n} of {split}?", "topics": [split, str(n)]},
            expected_output={"word": WORDS[(n * 7 + len(split)) % len(WORDS)]},
        )
        for n in range(size)
    ]


def spec_of(simulator: Simulator, *, budget: int, seed: int, threads: int, arguments: dict[str, Any]) -> SearchSpec:
    target = ProgramTarget(Writer, id="writer", metric=metric)
    return SearchSpec(
        kind=TargetKind.PROMPT, description="Answers.", objective=None, baseline=target.baseline,
        train=tasks("train", 9), val=tasks("val", VAL), budget=budget, seed=seed, concurrency=threads,
        reflection=ReflectionModel("openai/sim-reflection", simulator.url, "x"),
        first_occurrence={"train": 1, "val": 0}, program=target, arguments=arguments,
    )  # fmt: skip


def ours(spec: SearchSpec) -> tuple[list[Event], list[tuple[Candidate, Ticket]]]:
    target: Any = spec.program
    events: list[Event] = []
    asked: list[tuple[Candidate, Ticket]] = []

    def evaluate(candidate: Candidate, ticket: Ticket) -> Graded:
        asked.append((candidate, ticket))
        result = target.run(ticket.task, candidate)
        assert result.record is not None
        answer: ProgramAnswer = target.recall(
            json.loads(json.dumps(result.record)), candidate
        )  # as if it came of a journal
        return Graded("", result.verdict.score, result.verdict.feedback, answer)

    signals = Signals(evaluate, lambda key, occurrence, produce: produce(), events.append, lambda: None)
    optimizer_named("gepa").engine()(spec, signals)
    return events, asked


def plain(spec: SearchSpec) -> Any:
    target: Any = spec.program
    optimizer = dspy.GEPA(
        metric,
        max_metric_calls=spec.budget + VAL,
        reflection_lm=dspy.LM(
            spec.reflection.name, api_base=spec.reflection.api_base, api_key="x", engine="litellm", cache=False
        ),
        instruction_proposer=InstructionProposer(additional_instructions=told_to_reflection(spec)),
        num_threads=spec.concurrency,
        seed=spec.seed,
        track_stats=True,
        **spec.arguments,
    )
    sets = {f"{name}set": [target.example(task) for task in getattr(spec, name)] for name in ("train", "val")}
    return optimizer.compile(Writer(), **sets).detailed_results


@pytest.fixture
def quiet_dspy() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("dspy", "gepa")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    with contextlib.redirect_stdout(io.StringIO()):
        yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.mark.parametrize(
    ("budget", "seed", "threads", "arguments"),
    [
        pytest.param(40, 0, 1, {}, marks=pytest.mark.long),
        pytest.param(70, 3, 4, {"component_selector": "all"}, marks=pytest.mark.long),
        (70, 1, 8, {"candidate_selection_strategy": "current_best", "reflection_minibatch_size": 2}),
        pytest.param(110, 0, 2, {"max_merge_invocations": 9}, marks=pytest.mark.long),
        pytest.param(40, 0, 1, {"use_merge": False, "skip_perfect_score": False}, marks=pytest.mark.long),
    ],
)
def test_a_program_is_searched_as_by_plain_gepa(
    simulate: Any, quiet_dspy: None, budget: int, seed: int, threads: int, arguments: dict[str, Any]
) -> None:
    simulator = simulate()
    spec = spec_of(simulator, budget=budget, seed=seed, threads=threads, arguments=arguments)
    with dspy.context(
        lm=dspy.LM("openai/sim-student", api_base=simulator.url, api_key="x", engine="litellm", cache=False)
    ):
        events, asked = ours(spec)
        his = plain(spec)
    proposed = {event.number: dict(event.candidate.components) for event in events if isinstance(event, Proposed)}
    proposed[0] = dict(spec.baseline.components)
    validated = [event for event in events if isinstance(event, Validated)]
    assert len(asked) - VAL <= budget
    assert len(validated) > 1
    if "max_merge_invocations" in arguments:
        assert any(isinstance(event, Proposed) and len(event.parents) == 2 for event in events), "a merge was tried"
    found = [dict(_texts(program)) for program in his.candidates[: len(validated)]]
    assert [proposed[event.number] for event in validated] == found
    assert [event.mean for event in validated] == pytest.approx(his.val_aggregate_scores[: len(validated)])


def _texts(program: Any) -> dict[str, str]:
    return {name: predictor.signature.__doc__ for name, predictor in program.named_predictors()}
