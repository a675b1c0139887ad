"""The contract of an engine: it asks for what plain `dspy.GEPA` asks for, and never for more than was promised."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from openai import OpenAI

from rollout_local.domain.dataset import Task
from rollout_local.domain.run import StopReason
from rollout_local.domain.target import Candidate, TargetKind
from rollout_local.search.engine import (
    Event,
    Graded,
    Judged,
    Proposed,
    ReflectionModel,
    SearchResult,
    SearchSpec,
    Signals,
    Ticket,
    Validated,
)
from rollout_local.search.gepa import told_to_reflection
from rollout_local.search.optimizers import optimizer_named
from rollout_local.simulator import Simulator
from tests.conftest import ROOT
from tests.contracts.plain_gepa import Batch, Function, PlainRun, Question, Texts, plain_gepa

ONE = {"instructions": "Answer the question.\n\n    - Be brief.\n    - Be kind."}
"""DSPy reads it as another text (see `CLEAN`), which is the one that plain GEPA sees."""
TWO = {"system": ONE["instructions"], "closing": "Say goodbye."}
CLEAN = {ONE["instructions"]: "Answer the question.\n\n- Be brief.\n- Be kind."}
VAL = 6
WANTED = 14

Asked = tuple[Candidate, Ticket]


# -- the agent under optimization


def tasks(split: str, size: int) -> list[Task]:
    return [Task(name=f"{split}-{n}", instruction=f"Question {n} of {split}", input={"n": n}) for n in range(size)]


def dice(*parts: object) -> float:
    """A number in [0, 1) that its parts decide."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:6]) / 2**48


def wanted(name: str) -> list[str]:
    """The words that a task's output has to contain; most of them are wanted by other tasks as well."""
    return [f"word{int(dice(name, n) * 60)}" for n in range(WANTED)]


def graded(output: str, found_in: str, words: Sequence[str]) -> tuple[str, float, str]:
    missing = [word for word in words if word not in found_in]
    lines = [f'expected the output to contain "{word}"' for word in missing[:3]]
    return output, 1 - len(missing) / len(words), "\n".join(lines) or "all is there"


def pure(texts: Texts, name: str, shown: dict[str, Any]) -> tuple[str, float, str]:
    """An agent that is a function of the texts and the task; the dice spoil some texts, so that some are rejected."""
    text = "\n".join(cleaned(texts))
    output, score, feedback = graded(f"read {len(text)} characters", text, wanted(name))
    return output, score / 2 if dice(text, name) < 0.3 else score, feedback


def over_http(client: OpenAI, texts: Texts, name: str, shown: dict[str, Any]) -> tuple[str, float, str]:
    """The simulator's student, asked through the openai client."""
    messages: Any = [
        {"role": "system", "content": "\n".join(cleaned(texts))},
        {"role": "user", "content": shown["instruction"]},
    ]
    completion = client.chat.completions.create(model="sim-student", messages=messages, temperature=0)
    output = completion.choices[0].message.content or ""
    return graded(output, output, wanted(name))


def cleaned(texts: Texts) -> tuple[str, ...]:
    return tuple(CLEAN.get(text, text) for text in texts.values())


# -- the two searches


@dataclass
class OurRun:
    """What our engine asked for and told."""

    result: SearchResult
    asked: list[Asked] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def texts(self, number: int) -> tuple[str, ...]:
        proposed = {event.number: event.candidate for event in self.of(Proposed)}
        return cleaned((proposed.get(number) or self.asked[0][0]).components)


def make_spec(
    simulator: Simulator | str,
    *,
    train: int = 7,
    budget: int = 50,
    seed: int = 0,
    threads: int = 1,
    baseline: Texts | None = None,
    model: str = "openai/sim-reflection",
    arguments: dict[str, Any] | None = None,
) -> SearchSpec:
    return SearchSpec(
        kind=TargetKind.PROMPT,
        description="Answers questions.",
        objective="Be helpful.",
        baseline=Candidate(components=baseline or ONE),
        train=tasks("train", train),
        val=tasks("val", VAL),
        budget=budget,
        seed=seed,
        concurrency=threads,
        reflection=ReflectionModel(model, simulator if isinstance(simulator, str) else simulator.url, "x"),
        first_occurrence={"train": 1, "val": 0},
        arguments=arguments or {},
    )


def ours(
    spec: SearchSpec,
    function: Function,
    *,
    before: Callable[[Candidate], object] = lambda candidate: None,
    told: Callable[[Event], object] = lambda event: None,
) -> OurRun:
    """Run our engine; `before` sees each candidate before its trial, `told` each event."""
    asked: list[Asked] = []
    events: list[Event] = []
    lock = threading.Lock()

    def evaluate(candidate: Candidate, ticket: Ticket) -> Graded:
        with lock:
            asked.append((candidate, ticket))
            before(candidate)
        return Graded(*function(candidate.components, ticket.task.name, ticket.task.question))

    def hear(event: Event) -> None:
        events.append(event)
        told(event)

    signals = Signals(
        evaluate=evaluate,
        reflect=lambda key, occurrence, produce: produce(),
        emit=hear,
        should_stop=lambda: None,
    )
    return OurRun(optimizer_named("gepa").engine()(spec, signals), asked, events)


def plain(spec: SearchSpec, function: Function) -> PlainRun:
    model = spec.reflection
    return plain_gepa(
        function,
        baseline=spec.baseline.components,
        train=[Question(task.name, task.question) for task in spec.train],
        val=[Question(task.name, task.question) for task in spec.val],
        max_metric_calls=spec.budget + len(spec.val),
        reflection={"model": model.name, "api_base": model.api_base, "api_key": model.api_key},
        additional_instructions=told_to_reflection(spec),
        threads=spec.concurrency,
        seed=spec.seed,
        arguments=optimizer_named("gepa").table().loaded(spec.arguments),
    )


# -- what has to be the same


def assert_same_search(spec: SearchSpec, our: OurRun, his: PlainRun) -> None:
    kept = his.within(spec.budget)
    assert in_batches(our.asked, kept) == [Counter((batch.texts, name) for name in batch.tasks) for batch in kept]
    executions = len(our.asked) - len(spec.val)
    assert executions == sum(len(batch.tasks) for batch in kept[1:]) <= spec.budget

    validated = our.of(Validated)
    size = len(validated)
    assert [our.texts(event.number) for event in validated] == [
        tuple(texts.values()) for texts in his.candidates[:size]
    ]
    assert [event.mean for event in validated] == pytest.approx(his.scores[:size])
    assert size == sum(len(batch.tasks) == len(spec.val) for batch in kept)
    assert our.texts(our.result.best) == tuple(his.candidates[his.scores.index(max(his.scores[:size]))].values())
    assert parents(our) == his.parents[1:size]


def in_batches(asked: Sequence[Asked], like: Sequence[Batch]) -> list[Counter[tuple[tuple[str, ...], str]]]:
    """Our asks cut as the batches of plain GEPA are; within a batch, threads may have changed the order."""
    rest = [(cleaned(candidate.components), ticket.task.name) for candidate, ticket in asked]
    cut = []
    for batch in like:
        cut.append(Counter(rest[: len(batch.tasks)]))
        rest = rest[len(batch.tasks) :]
    assert rest == []
    return cut


def merges(our: OurRun) -> list[Any]:
    return [event for event in our.of(Proposed) if len(event.parents) == 2]


def parents(our: OurRun) -> list[list[int]]:
    """The parents of each accepted candidate, as positions in the pool."""
    pool = [event.number for event in our.of(Validated)]
    proposed = {event.number: event for event in our.of(Proposed)}
    return [[pool.index(parent) for parent in proposed[number].parents] for number in pool[1:]]


@pytest.fixture
def simulator(simulate: Callable[..., Simulator]) -> Simulator:
    return simulate()


@pytest.mark.parametrize(
    ("train", "seed"),
    [(10, 0), (7, 3), *(pytest.param(*other, marks=pytest.mark.long) for other in ((7, 0), (10, 3), (12, 0), (12, 3)))],
)
@pytest.mark.parametrize("budget", [10, *(pytest.param(some, marks=pytest.mark.long) for some in (17, 50, 300)), 101])
def test_the_search_is_plain_gepas_up_to_the_batch_that_would_pass_the_budget(
    simulator: Simulator, budget: int, train: int, seed: int
) -> None:
    spec = make_spec(simulator, train=train, budget=budget, seed=seed, threads=4 if seed else 1)
    our = ours(spec, pure)
    assert_same_search(spec, our, plain(spec, pure))
    assert our.result.stop_reason is StopReason.BUDGET_SPENT


def test_plain_gepa_passes_its_budget_where_ours_does_not(simulator: Simulator) -> None:
    spec = make_spec(simulator, budget=10)
    assert plain(spec, pure).spent == 12
    assert len(ours(spec, pure).asked) - VAL == 6


def test_proposals_that_were_rejected_are_told_as_well_and_are_those_of_plain_gepa(simulator: Simulator) -> None:
    spec = make_spec(simulator, budget=300, seed=3)
    our, his = ours(spec, pure), plain(spec, pure)
    pool = {tuple(texts.values()) for texts in his.candidates}
    tried = list(dict.fromkeys(batch.texts for batch in his.within(300)))
    rejected = [our.texts(event.number) for event in our.of(Judged) if not event.accepted]
    never_accepted = list(dict.fromkeys(texts for texts in rejected if texts not in pool))
    assert never_accepted == [texts for texts in tried if texts not in pool]
    assert len(rejected) >= 5


@pytest.mark.parametrize(("seed", "threads"), [(0, 4), pytest.param(3, 1, marks=pytest.mark.long)])
@pytest.mark.parametrize("budget", [pytest.param(50, marks=pytest.mark.long), 300])
def test_a_candidate_of_several_texts_is_searched_as_by_plain_gepa_merges_included(
    simulator: Simulator, budget: int, seed: int, threads: int
) -> None:
    spec = make_spec(simulator, budget=budget, seed=seed, threads=threads, baseline=TWO)
    our, his = ours(spec, pure), plain(spec, pure)
    assert_same_search(spec, our, his)
    if budget == 300:
        assert merges(our)


@pytest.mark.parametrize("threads", [pytest.param(1, marks=pytest.mark.long), 4])
@pytest.mark.parametrize("seed", [2, pytest.param(4, marks=pytest.mark.long)])
def test_a_merge_is_told_before_its_first_trial_and_judged_like_any_proposal(
    simulator: Simulator, seed: int, threads: int
) -> None:
    known: set[str] = set()
    unknown: list[Candidate] = []
    spec = make_spec(simulator, budget=300, seed=seed, threads=threads, baseline=TWO)
    known.add(spec.baseline.content_hash)
    our = ours(
        spec,
        pure,
        before=lambda candidate: None if candidate.content_hash in known else unknown.append(candidate),
        told=lambda event: known.add(event.candidate.content_hash) if isinstance(event, Proposed) else None,
    )
    assert unknown == []
    judged = {event.number: event for event in our.of(Judged)}
    assert {judged[merge.number].accepted for merge in merges(our)} == {True, False}
    for merge in merges(our):
        parents = [dict(zip(TWO, our.texts(number), strict=True)) for number in merge.parents]
        texts = dict(zip(TWO, our.texts(merge.number), strict=True))
        assert all(texts[name] in {parent[name] for parent in parents} for name in TWO)
        assert set(merge.components) == {name for name in TWO if texts[name] != parents[0][name]}
        assert merge.feedback == []
        assert "merge" in judged[merge.number].reason.lower()
        assert judged[merge.number].before is None
        assert 0 <= judged[merge.number].after <= 1


@pytest.mark.parametrize("threads", [pytest.param(1, marks=pytest.mark.long), 4])
def test_the_same_holds_with_a_student_over_http(simulator: Simulator, threads: int) -> None:
    with OpenAI(base_url=simulator.url, api_key="x", max_retries=0) as client:

        def function(texts: Texts, name: str, shown: dict[str, Any]) -> tuple[str, float, str]:
            return over_http(client, texts, name, shown)

        spec = make_spec(simulator, train=10, budget=101, seed=3, threads=threads)
        our, his = ours(spec, function), plain(spec, function)
    assert_same_search(spec, our, his)
    assert our.of(Validated)[-1].mean > our.of(Validated)[0].mean


def test_fenced_replies_give_plain_gepas_search_too(simulator: Simulator) -> None:
    spec = make_spec(simulator, budget=101, model="openai/sim-reflection-fenced")
    assert_same_search(spec, ours(spec, pure), plain(spec, pure))


def test_plain_text_replies_improve_the_prompt_where_plain_gepa_gets_nowhere(simulator: Simulator) -> None:
    spec = make_spec(simulator, budget=101, model="openai/sim-reflection-plain")
    assert len(plain(spec, pure).candidates) == 1
    as_json = make_spec(simulator, budget=101)
    assert [event.mean for event in ours(spec, pure).of(Validated)] == [
        event.mean for event in ours(as_json, pure).of(Validated)
    ]


def tried(search: str, url: str, hash_seed: str) -> Any:
    """What a search in a Python that was started with this PYTHONHASHSEED ran."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.contracts.under_hash_seeds", search, url], cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed}, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_merges_are_those_of_plain_gepa_under_hash_seed_0_whatever_the_hash_seed(simulator: Simulator) -> None:
    """Plain GEPA itself, started with PYTHONHASHSEED=2, merges other texts here."""
    assert tried("ours", simulator.url, "2") == tried("plain", simulator.url, "0")


# -- occurrences


def keys_of(our: OurRun) -> list[tuple[str, str, str, int]]:
    return [(candidate.content_hash, t.split, t.task.name, t.occurrence) for candidate, t in our.asked]


def test_a_task_that_pads_a_minibatch_gets_two_occurrences(simulator: Simulator) -> None:
    spec = make_spec(simulator, train=7, budget=101)
    our, kept = ours(spec, pure), plain(spec, pure).within(101)
    padded = [number for number, batch in enumerate(kept) if len(set(batch.tasks)) < len(batch.tasks)]
    assert padded
    starts = [sum(len(batch.tasks) for batch in kept[:number]) for number in padded]
    for start in starts:
        tickets = [ticket for _, ticket in our.asked[start : start + 3]]
        assert len({ticket.task.name for ticket in tickets}) == 2
        assert len({(ticket.task.name, ticket.occurrence) for ticket in tickets}) == 3
    assert len(set(keys_of(our))) == len(our.asked)


@pytest.mark.parametrize("train", [7, pytest.param(10, marks=pytest.mark.long)])
def test_tickets_are_the_same_with_one_thread_and_with_eight_and_in_a_second_run(
    simulator: Simulator, train: int
) -> None:
    runs = [ours(make_spec(simulator, train=train, budget=150, threads=threads), pure) for threads in (1, 8, 1, 8)]
    keys = [
        [(candidate.content_hash, t.split, t.task.name, t.occurrence) for candidate, t in run.asked] for run in runs
    ]
    assert keys[0] == keys[2]
    assert sorted(keys[1]) == sorted(keys[0]) == sorted(keys[3])
    assert [repr(run.events) for run in runs] == [repr(runs[0].events)] * 4


def test_the_first_fetch_of_a_split_has_the_occurrence_that_the_spec_says(simulator: Simulator) -> None:
    our = ours(make_spec(simulator, budget=50), pure)
    seed_pass, search = our.asked[:VAL], our.asked[VAL:]
    assert {(ticket.split, ticket.occurrence) for _, ticket in seed_pass} == {("val", 0)}
    assert min(ticket.occurrence for _, ticket in search if ticket.split == "train") == 1
    assert min(ticket.occurrence for _, ticket in search if ticket.split == "val") == 1


# -- arguments


SAME_AS_PLAIN = [
    {"reflection_minibatch_size": 2},
    {"candidate_selection_strategy": "current_best"},
    {"candidate_selection_strategy": "epsilon_greedy"},
    {"skip_perfect_score": False, "perfect_score": 0.5},
    {"skip_perfect_score": True, "perfect_score": 0.5},
    {"add_format_failure_as_feedback": True},
    {"component_selector": "all"},
    {"component_selector": "tests.contracts.test_engine:the_last_one"},
    {"use_merge": False},
    {"max_merge_invocations": 0},
    {"track_stats": True, "track_best_outputs": True, "warn_on_score_mismatch": False},
    {"gepa_kwargs": {"acceptance_criterion": "improvement_or_equal"}},
    {"gepa_kwargs": {"frontier_type": "instance", "merge_val_overlap_floor": 2, "use_cloudpickle": True}},
]


def the_last_one(state: Any, trajectories: Any, scores: Any, index: int, candidate: Texts) -> list[str]:
    """A component selector of the user's."""
    return list(candidate)[-1:]


@pytest.mark.parametrize("arguments", SAME_AS_PLAIN, ids=json.dumps)
def test_an_argument_has_the_effect_that_it_has_in_plain_gepa(simulator: Simulator, arguments: dict[str, Any]) -> None:
    spec = make_spec(simulator, budget=70, baseline=TWO, arguments=arguments)
    assert_same_search(spec, ours(spec, pure), plain(spec, pure))


def test_the_requests_of_both_searches_are_the_same_byte_for_byte(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same prompts, same parameters: a recording of the one would serve the other."""
    import httpx

    bodies: list[Any] = []
    send = httpx.Client.send

    def remember(self: httpx.Client, request: httpx.Request, **more: Any) -> httpx.Response:
        bodies.append(json.loads(request.content))
        return send(self, request, **more)

    monkeypatch.setattr(httpx.Client, "send", remember)
    spec = make_spec(simulator, budget=50)
    ours(spec, pure)
    our, bodies[:] = list(bodies), []
    plain(spec, pure)
    assert our
    assert our == bodies[: len(our)]
