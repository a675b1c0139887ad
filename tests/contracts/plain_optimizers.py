"""DSPy's own MIPROv2, SIMBA and BetterTogether over a program of two predictors, and the same through our engines."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import dspy
from dspy.lm15 import Message, Request, Response, TextPart, Usage
from dspy.teleprompt import BootstrapFewShot, BootstrapFewShotWithRandomSearch
from dspy.teleprompt.gepa import InstructionProposer

from rollout_local.domain.dataset import Task
from rollout_local.domain.identity import canonical_json
from rollout_local.domain.program import ProgramAnswer
from rollout_local.domain.target import Candidate, TargetKind
from rollout_local.errors import Paused
from rollout_local.search.components import candidate_of, demos_of
from rollout_local.search.engine import (
    Event,
    Graded,
    Proposed,
    ReflectionModel,
    SearchResult,
    SearchSpec,
    Signals,
    Ticket,
    Validated,
)
from rollout_local.search.gepa import told_to_reflection
from rollout_local.search.optimizers import optimizer_named, read_strategy
from rollout_local.simulator import Simulator
from rollout_local.targets.program import ProgramTarget


class Fickle:
    """A model whose reply depends on all that it is sent: instructions, demonstrations, temperature."""

    def complete(self, request: Request) -> Response:
        said = [
            str(request.system),
            str(request.config.temperature),
            *(f"{m.role}: {m.text}" for m in request.messages),
        ]
        sign = hashlib.sha256("\n".join(said).encode()).digest()
        words = [f"{kind}-{WORDS[sign[at] % len(WORDS)]}" for at, kind in enumerate(("code", "sign", "code", "sign"))]
        fields = re.findall(r"`\[\[ ## (\w+) ## \]\]`", request.messages[-1].text or "")
        text = "\n\n".join(f"[[ ## {name} ## ]]\n{' '.join(words)} {sign[9]}" for name in fields)
        return Response(
            id=None, model=request.model, message=Message.assistant([TextPart(text)]), finish_reason="stop",
            usage=Usage(input_tokens=0, output_tokens=0, total_tokens=0),
        )  # fmt: skip


def task_lm() -> Any:
    return dspy.LM("fickle/model", engine=Fickle(), cache=False)


WORDS = ("alpha", "bravo", "charlie", "delta", "echo")


class Typed(dspy.Signature):
    """Draft a reply.

    Keep to the topics.
    """

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
        return dspy.Prediction(draft=draft, reply=self.editor(draft=once + "!").reply)


def metric(gold: Any, pred: Any, trace: Any = None, pred_name: Any = None, pred_trace: Any = None) -> Any:
    wanted = {"write": f"code-{gold.word}", "editor.predict": f"sign-{gold.word}"}
    texts = {"write": pred.draft, "editor.predict": pred.reply}
    missing = {name: word for name, word in wanted.items() if word not in texts[name]}
    told = [word for name, word in missing.items() if pred_name in (None, name)]
    feedback = "\n".join(f'expected the output to contain "{word}"' for word in told)
    luck = int(hashlib.sha256(f"{pred.draft}{pred.reply}{gold.word}".encode()).hexdigest(), 16) % 7 / 14
    return dspy.Prediction(score=0.5 * (1 - len(missing) / 2) + luck, feedback=feedback or "fine")


def number(gold: Any, pred: Any, trace: Any = None, pred_name: Any = None, pred_trace: Any = None) -> float:
    """The same as a number alone, and 0 for every third task."""
    score: float = metric(gold, pred).score
    return 0.0 if gold.word == "charlie" else score


def tasks(split: str, size: int) -> list[Task]:
    return [
        Task(
            name=f"{split}-{n}",
            input={"question": f"What about {n} of {split}?", "topics": [split, str(n)]},
            expected_output={"word": WORDS[(n * 7 + len(split)) % len(WORDS)]},
        )
        for n in range(size)
    ]


def spec_of(simulator: Simulator, *, own: Any = metric, train: int = 9, val: int = 8, **given: Any) -> SearchSpec:
    target = ProgramTarget(Writer, id="writer", metric=own)
    settings = {"budget": 10_000, "seed": 0, "concurrency": 1, **given}
    return SearchSpec(
        kind=TargetKind.PROMPT, description="Answers.", objective=None, baseline=target.baseline,
        train=tasks("train", train), val=tasks("val", val),
        reflection=ReflectionModel("openai/sim-reflection", simulator.url, "x"),
        first_occurrence={"train": 1, "val": 0}, program=target, **settings,
    )  # fmt: skip


@dataclass
class Journal:
    """What a run keeps: trials and replies by key, as JSON would give them back. Stops after `limit` paid acts."""

    trials: dict[tuple[str, str, str, int], Any] = field(default_factory=dict)
    replies: dict[tuple[str, int], Any] = field(default_factory=dict)
    limit: int | None = None
    paid: int = 0
    events: list[Event] = field(default_factory=list)
    asked: list[tuple[str, str, str, int]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def pay(self) -> None:
        with self._lock:
            if self.limit is not None and self.paid >= self.limit:
                raise Paused("killed")
            self.paid += 1

    def signals(self, target: Any, going_on: threading.Event) -> Signals:
        def evaluate(candidate: Candidate, ticket: Ticket) -> Graded:
            key = (candidate.content_hash, ticket.task.name, ticket.split, ticket.occurrence)
            if not going_on.is_set():
                raise Paused("a thread of a search that has ended")
            with self._lock:
                self.asked.append(key)
            if key in self.trials:
                score, feedback, record = self.trials[key]
                answer: ProgramAnswer = target.recall(json.loads(record), candidate)
                return Graded("", score, feedback, answer)
            self.pay()
            result = target.run(ticket.task, candidate)
            assert result.record is not None
            record = json.dumps(result.record)
            self.trials[key] = (result.verdict.score, result.verdict.feedback, record)
            return Graded("", result.verdict.score, result.verdict.feedback, result.answer)

        def reflect(key: str, occurrence: int, produce: Any) -> Any:
            if (key, occurrence) not in self.replies:
                self.pay()
                self.replies[key, occurrence] = canonical_json(produce())
            return json.loads(self.replies[key, occurrence])

        return Signals(evaluate, reflect, self.events.append, lambda: None, reflect)


def ours(name: str, spec: SearchSpec, journal: Journal | None = None) -> tuple[SearchResult, Journal]:
    journal = journal or Journal()
    journal.events, journal.asked = [], []
    going_on = threading.Event()
    going_on.set()
    try:
        return optimizer_named(name).engine()(spec, journal.signals(spec.program, going_on)), journal
    finally:
        going_on.clear()


def candidates_of(spec: SearchSpec, journal: Journal) -> dict[int, dict[str, str]]:
    found = {e.number: dict(e.candidate.components) for e in journal.events if isinstance(e, Proposed)}
    return {0: dict(spec.baseline.components), **found}


def validated(spec: SearchSpec, journal: Journal) -> list[tuple[dict[str, str], float]]:
    """Candidates with their means, in the order in which they were scored on val."""
    known = candidates_of(spec, journal)
    return [(known[e.number], e.mean) for e in journal.events if isinstance(e, Validated)]


def reflection(spec: SearchSpec) -> Any:
    return dspy.LM(spec.reflection.name, api_base=spec.reflection.api_base, api_key="x", engine="litellm", cache=False)


def sets(spec: SearchSpec) -> dict[str, Any]:
    target: Any = spec.program
    return {f"{name}set": [target.example(task) for task in getattr(spec, name)] for name in ("train", "val")}


def components(program: Any) -> dict[str, str]:
    """What plain DSPy made, in our words."""
    return dict(candidate_of(program, demos_of(Writer())).components)


def plain_mipro(spec: SearchSpec, own: Any = metric) -> Any:
    optimizer, rest = mipro(spec, spec.arguments, own)
    return optimizer.compile(Writer(), **sets(spec), **rest)


def mipro(spec: SearchSpec, arguments: Mapping[str, Any], own: Any) -> tuple[Any, dict[str, Any]]:
    """MIPROv2, and what its `compile` is given."""
    names = ("num_candidates", "auto", "max_bootstrapped_demos", "max_labeled_demos")
    made = {name: value for name, value in arguments.items() if name in names}
    optimizer = dspy.MIPROv2(
        metric=own, prompt_model=reflection(spec), seed=spec.seed, num_threads=spec.concurrency,
        max_errors=1000, **{"auto": None, **made},
    )  # fmt: skip
    return optimizer, {name: value for name, value in arguments.items() if name not in made}


def plain_simba(spec: SearchSpec, own: Any = metric) -> Any:
    optimizer = dspy.SIMBA(metric=own, prompt_model=reflection(spec), num_threads=spec.concurrency, **spec.arguments)
    return optimizer.compile(Writer(), trainset=sets(spec)["trainset"], seed=spec.seed)


def plain_together(spec: SearchSpec, own: Any = metric) -> Any:
    given = {name: dict(value) for name, value in spec.arguments.items()}
    steps = read_strategy(spec.strategy)
    made, compiled = dict[str, Any](), dict[str, Any]()
    for step in steps:
        if step == "few_shot":
            made[step] = BootstrapFewShot(metric=own, **given.get(step, {}))
        elif step in ("bootstrap", "random_search"):
            made[step] = BootstrapFewShotWithRandomSearch(
                metric=own, num_threads=spec.concurrency, **given.get(step, {})
            )
        elif step == "gepa":
            made[step] = dspy.GEPA(
                metric=own, reflection_lm=reflection(spec), num_threads=spec.concurrency, seed=spec.seed,
                instruction_proposer=InstructionProposer(additional_instructions=told_to_reflection(spec)),
                **given.get(step, {}),
            )  # fmt: skip
        elif step == "simba":
            made[step] = dspy.SIMBA(
                metric=own, prompt_model=reflection(spec), num_threads=spec.concurrency, **given.get(step, {})
            )
            compiled[step] = {"seed": spec.seed}
        elif step == "mipro":
            made[step], compiled[step] = mipro(spec, given.get(step, {}), own)
    student = Writer()
    student.set_lm(dspy.settings.lm.copy())
    return dspy.BetterTogether(metric=own, **made).compile(
        student,
        **sets(spec),
        num_threads=spec.concurrency,
        seed=spec.seed,
        strategy=" -> ".join(steps),
        optimizer_compile_args=compiled or None,
    )
