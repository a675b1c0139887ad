"""One candidate × one task → a trial: outcomes, retries, the journal."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import httpx
import pytest

from rollout_local.clock import new_id, now
from rollout_local.domain.dataset import Task
from rollout_local.domain.program import PredictorCall, ProgramAnswer, ProgramResult, Unparsed
from rollout_local.domain.run import CandidateStatus, Phase, RunConfig, TrialKey
from rollout_local.domain.target import Candidate, TargetKind
from rollout_local.errors import Cancelled, LeaseLost, Paused, ProviderError, StopSearch
from rollout_local.planning import endpoint as endpoints
from rollout_local.providers.cost import Spend
from rollout_local.providers.failures import Patience
from rollout_local.recordings import RecordMode, open_recording
from rollout_local.redaction import Redactor
from rollout_local.runs.evaluation import Ask, Evaluator
from rollout_local.runs.execution import Executor, Wire
from rollout_local.simulator import Simulator
from rollout_local.stop import StopFlag
from rollout_local.store.journal import Journal
from rollout_local.store.lifecycle import insert_run
from rollout_local.store.schema import Store
from rollout_local.targets.function import FunctionTarget
from rollout_local.verifiers.grade import parse_spec
from tests.endpoint import Endpoint, error

CANDIDATE = Candidate(text="Answer.")
QUICK = Patience(tries=3, first_wait=0.001, longest_wait=0.01, outage=0)
SPEC = parse_spec({"checks": [{"type": "contains", "value": "yes"}]}, "says-yes", "test")


def given_run(store: Store) -> Journal:
    """A run with its baseline candidate."""
    with store.write() as db:
        db.execute("INSERT INTO datasets VALUES (1, 's', 1, 's', 'h', 0, 'now', NULL)")
        db.execute("INSERT INTO targets VALUES (1, 't', 'prompt', '', 'b', '{}', '', 'h', '[]', 'now')")
    insert_run(store, {
        "id": "opt_test", "project": "default", "tags_json": "[]", "status": "running", "target_id": "t",
        "target_row_id": 1, "dataset_id": 1, "verifier_ids_json": "[]", "split_json": "{}", "optimizer": "gepa",
        "seed": 0, "config_json": "{}", "fingerprint": "f", "fingerprint_json": "{}", "metric_call_budget": 1,
        "created_at": now(),
    })  # fmt: skip
    journal = Journal(store, "opt_test", 1)
    journal.add_candidate(CANDIDATE, CandidateStatus.BASELINE, (), now(), number=0)
    return journal


def ask(task: str = "a", *, must_score: bool = True, occurrence: int = 0) -> Ask:
    key = TrialKey(attempt=1, candidate=CANDIDATE.content_hash, task=task, split="train", occurrence=occurrence)
    return Ask(key, CANDIDATE, Task(name=task, instruction="?"), Phase.BASELINE, must_score=must_score)


@pytest.fixture
def evaluating(store: Store) -> Callable[..., Any]:
    """`with evaluating(function, timeout=None) as (evaluator, journal)`."""

    @contextmanager
    def start(function: Callable[..., Any], path: Path | None = None, **settings: Any) -> Iterator[Any]:
        journal, wire = given_run(store), Wire()
        target = FunctionTarget(function, id="t", kind=TargetKind.PROMPT, description="", baseline=CANDIDATE)
        timeout, gate = settings.pop("timeout", None), settings.pop("gate", None)
        settings.setdefault("stop", StopFlag())
        settings.setdefault("on_trial", lambda trial: None)
        with open_recording(path, RecordMode.NEW_EPISODES, sink=wire, gate=gate) as recording:
            evaluator = Evaluator(
                executor=Executor(target, recording, wire, timeout), specs=[SPEC], journal=journal,
                make_id=new_id, patience=QUICK, dice=random.Random(0), **settings,
            )  # fmt: skip
            yield evaluator, journal

    return start


def row(journal: Journal, task: str = "a") -> dict[str, Any]:
    found = journal.find(ask(task).key)
    assert found is not None
    return found


def test_an_output_is_graded_committed_and_then_answered_from_the_journal(evaluating: Any) -> None:
    calls: list[str] = []

    def target(task: Task, candidate: Candidate) -> str:
        calls.append(task.name)
        return "yes indeed"

    with evaluating(target) as (evaluator, journal):
        first, second = evaluator.evaluate(ask()), evaluator.evaluate(ask())
    assert calls == ["a"]
    assert first == second
    assert first.score == 1.0
    assert row(journal)["outcome"] == "scored"
    assert row(journal)["passed"] == 1


def test_another_occurrence_is_another_sample(evaluating: Any) -> None:
    calls: list[str] = []
    with evaluating(lambda task, candidate: calls.append(task.name) or "yes") as (evaluator, _):
        evaluator.evaluate(ask())
        evaluator.evaluate(ask(occurrence=1))
    assert calls == ["a", "a"]


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (None, "returned nothing"),
        (3j, "returned a complex"),
        ({"text": "x"}, "output"),
        ({"output": object()}, "the target's output is a object, which JSON cannot say"),
        ({"output": float("nan")}, "the target's output is a float, which JSON cannot say"),
    ],
)
def test_what_is_no_result_is_scored_zero_and_says_why(evaluating: Any, returned: Any, words: str) -> None:
    with evaluating(lambda task, candidate: returned) as (evaluator, journal):
        graded = evaluator.evaluate(ask())
    assert graded.score == 0.0
    assert words in graded.feedback
    assert words in row(journal)["error"]


def test_a_target_that_raises_on_its_own_account_is_scored_zero_with_that_as_feedback(evaluating: Any) -> None:
    def target(task: Task, candidate: Candidate) -> str:
        msg = "no such order"
        raise KeyError(msg)

    with evaluating(target) as (evaluator, _):
        graded = evaluator.evaluate(ask())
    assert graded.score == 0.0
    assert "KeyError" in graded.feedback
    assert "no such order" in graded.feedback


def asking(url: str, *, swallow: bool = False) -> Callable[..., Any]:
    """A target that asks the simulator once, and may swallow what goes wrong."""

    def target(task: Task, candidate: Candidate) -> str:
        body = {"model": "sim-student", "messages": [{"role": "user", "content": task.name}]}
        reply = httpx.post(url + "/chat/completions", json=body, timeout=5)
        if not swallow:
            reply.raise_for_status()
        return "yes " + reply.text

    return target


def test_a_provider_error_is_never_a_score_and_pauses_after_its_retries(
    evaluating: Any, simulate: Callable[..., Simulator]
) -> None:
    simulator = simulate(faults="503:1:retry-after=0")
    with evaluating(asking(simulator.url)) as (evaluator, journal), pytest.raises(Paused, match="overloaded"):
        evaluator.evaluate(ask())
    assert (row(journal)["outcome"], row(journal)["score"]) == ("provider_error", None)
    assert row(journal)["tries"] == QUICK.tries == simulator.calls()["total"]


def test_an_error_that_the_target_swallowed_is_no_score_either(
    evaluating: Any, simulate: Callable[..., Simulator]
) -> None:
    with evaluating(asking(simulate(faults="429:1:retry-after=0").url, swallow=True)) as (evaluator, journal):
        assert evaluator.evaluate(ask(must_score=False)) is None
    assert row(journal)["error_kind"] == "rate_limit"


def _in_an_executor(ask_it: Callable[[], str]) -> str:
    with ThreadPoolExecutor(2) as pool:
        return next(iter(pool.map(lambda _: ask_it(), [None])))


def _in_an_executor_of_the_module(ask_it: Callable[[], str]) -> str:
    return _KEPT.submit(ask_it).result()


def _in_a_thread(ask_it: Callable[[], str]) -> str:
    told: list[str] = []
    thread = threading.Thread(target=lambda: told.append(ask_it()))
    thread.start()
    thread.join()
    return told[0] if told else "nothing"


def _in_a_daemon(ask_it: Callable[[], str]) -> str:
    told: list[str] = []
    thread = threading.Thread(target=lambda: told.append(ask_it()), daemon=True)
    thread.start()
    thread.join()
    return told[0] if told else "nothing"


def _in_a_pool_of_threads(ask_it: Callable[[], str]) -> str:
    with ThreadPool(2) as pool:
        return pool.map(lambda _: ask_it(), [None])[0]


def _in_a_pool_of_the_module(ask_it: Callable[[], str]) -> str:
    try:
        return next(_KEPT_POOL.imap(lambda _: ask_it(), [None]))
    except RuntimeError:
        return "sorry"


def _caught(ask_it: Callable[[], str]) -> str:
    try:
        return ask_it()
    except BaseException:  # noqa: BLE001 - what a target may write
        return "sorry"


def _in_a_loop(ask_it: Callable[[], str]) -> str:
    async def main() -> str:
        return await asyncio.get_running_loop().run_in_executor(None, ask_it)

    return asyncio.run(main())


_KEPT = ThreadPoolExecutor(1)
_KEPT_POOL = ThreadPool(1)
THREADS = [
    _in_an_executor, _in_an_executor_of_the_module, _in_a_thread, _in_a_daemon, _in_a_pool_of_threads,
    _in_a_pool_of_the_module, _in_a_loop, _caught,
]  # fmt: skip


@pytest.mark.parametrize("how", THREADS)
def test_what_a_thread_of_the_target_swallowed_is_no_score_either(
    evaluating: Any, simulate: Callable[..., Simulator], how: Callable[..., str]
) -> None:
    target = asking(simulate(faults="429:1:retry-after=0").url, swallow=True)
    _KEPT.submit(str).result()  # its thread is there before the trial
    with evaluating(lambda task, candidate: how(lambda: target(task, candidate))) as (evaluator, journal):
        assert evaluator.evaluate(ask(must_score=False)) is None
    assert row(journal)["error_kind"] == "rate_limit"


@pytest.mark.parametrize("how", THREADS)
def test_a_limit_that_is_met_in_a_thread_of_the_target_ends_the_run(
    evaluating: Any, simulate: Callable[..., Simulator], how: Callable[..., str], capfd: pytest.CaptureFixture[str]
) -> None:
    target = asking(simulate().url)
    stop = StopFlag()
    with evaluating(
        lambda task, candidate: how(lambda: target(task, candidate)), stop=stop, gate=partial(_refuse, stop)
    ) as (evaluator, journal):
        with pytest.raises(Paused, match="a limit"):
            evaluator.evaluate(ask())
        assert journal.find(ask().key) is None
    assert "Traceback" not in "".join(capfd.readouterr())


def _refuse(stop: StopFlag, *_: Any) -> None:
    """As the gate of a run."""
    stop.stop(Paused("a limit"))
    stop.check()


def test_where_no_score_is_needed_the_pass_goes_on_and_a_later_try_supersedes(
    evaluating: Any, simulate: Callable[..., Simulator], store: Store
) -> None:
    simulator = simulate(faults=f"500:1:first={QUICK.tries}")
    with evaluating(asking(simulator.url)) as (evaluator, journal):
        assert evaluator.evaluate(ask(must_score=False)) is None
        assert evaluator.evaluate(ask(must_score=False)).score == 1.0
    assert row(journal)["outcome"] == "scored"
    assert len(store.rows("SELECT 1 FROM trials")) == 2
    assert store.row("SELECT metric_calls, error_count FROM runs") == {"metric_calls": 0, "error_count": 0}


def test_a_refused_key_stops_at_once_even_where_no_score_is_needed(
    evaluating: Any, simulate: Callable[..., Simulator]
) -> None:
    simulator = simulate(faults="401:1")
    with evaluating(asking(simulator.url)) as (evaluator, _):
        with pytest.raises(Paused, match="refused the key"):
            evaluator.evaluate(ask(must_score=False))
        with pytest.raises(Paused, match="refused the key"):
            evaluator.evaluate(ask("b", must_score=False))
    assert simulator.calls()["total"] == 1


def test_a_prompt_too_long_for_the_model_is_the_candidates_doing(
    evaluating: Any, simulate: Callable[..., Simulator]
) -> None:
    with evaluating(asking(simulate(faults="context:1").url)) as (evaluator, _):
        graded = evaluator.evaluate(ask())
    assert graded.score == 0.0
    assert "longer than the model's context" in graded.feedback


def test_a_retried_trial_gives_the_score_that_it_would_have_had(
    evaluating: Any, simulate: Callable[..., Simulator]
) -> None:
    with evaluating(asking(simulate(faults="500:1:first=2").url)) as (evaluator, journal):
        assert evaluator.evaluate(ask()).score == 1.0
    assert row(journal)["tries"] == 3


def test_running_past_the_limit_without_a_call_in_flight_is_the_targets_doing(evaluating: Any) -> None:
    release = threading.Event()
    with evaluating(lambda task, candidate: release.wait(20), timeout=0.05) as (evaluator, _):
        graded = evaluator.evaluate(ask())
        release.set()
    assert graded.score == 0.0
    assert "past its time limit" in graded.feedback


def test_running_past_the_limit_with_a_call_in_flight_is_a_timeout_without_a_score(
    evaluating: Any, simulate: Callable[..., Simulator]
) -> None:
    slow = simulate(latency_ms=1200)
    with evaluating(asking(slow.url), timeout=0.5) as (evaluator, journal):
        assert evaluator.evaluate(ask(must_score=False)) is None
        time.sleep(1)  # the call that was left behind ends before the recording does
    assert (row(journal)["outcome"], row(journal)["score"]) == ("timeout", None)


def test_a_verifier_that_fails_is_no_score(evaluating: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "grades.py").write_text("def broken(task, output):\n    raise RuntimeError('down')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = parse_spec({"checks": [{"type": "python", "function": "grades:broken"}]}, "v", "test")
    with evaluating(lambda task, candidate: "yes") as (evaluator, journal):
        evaluator.specs = [spec]
        assert evaluator.evaluate(ask(must_score=False)) is None
    assert row(journal)["outcome"] == "verifier_error"


def test_the_same_ask_twice_in_flight_is_executed_once(evaluating: Any) -> None:
    calls: list[str] = []

    def target(task: Task, candidate: Candidate) -> str:
        calls.append(task.name)
        time.sleep(0.1)
        return "yes"

    with evaluating(target) as (evaluator, _), ThreadPoolExecutor(8) as pool:
        grades = list(pool.map(lambda _: evaluator.evaluate(ask()), range(8)))
    assert len(calls) == 1
    assert len({grade.score for grade in grades}) == 1


def test_after_a_stop_nothing_more_is_executed(evaluating: Any) -> None:
    calls: list[str] = []
    with evaluating(lambda task, candidate: calls.append(task.name) or "yes") as (evaluator, _):
        evaluator.stop.stop(Paused("enough"))
        with pytest.raises(Paused, match="enough"):
            evaluator.evaluate(ask())
    assert calls == []


def test_an_output_that_is_no_text_is_kept_as_json(evaluating: Any) -> None:
    with evaluating(lambda task, candidate: {"output": {"answer": "yes"}}) as (evaluator, journal):
        evaluator.evaluate(ask())
    assert (row(journal)["output"], row(journal)["output_kind"]) == ('{"answer":"yes"}', "json")


class Wordless(Exception):
    def __str__(self) -> str:
        raise ValueError


class Faceless:
    def __repr__(self) -> str:
        raise ValueError


def odd(name: str, **methods: Any) -> BaseException:
    """An error with methods of its own."""
    return type(name, (BaseException,), methods)("said")


def stopping(_: BaseException) -> str:
    raise SystemExit


def asked(_: BaseException, name: str) -> Any:
    raise ZeroDivisionError(name)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (odd("Stopping", __str__=stopping), "the target raised Stopping: (its words raised SystemExit)"),
        (odd("Asked", __getattribute__=asked), "the target raised Asked: said"),
        (odd("Status", status_code=property(stopping)), "the target raised Status: said"),
        (asyncio.CancelledError(), "the target raised CancelledError"),
        (GeneratorExit(), "the target raised GeneratorExit"),
        (SystemExit(3), "the target raised SystemExit: 3"),
        (Wordless(), "the target raised Wordless: (its words raised ValueError)"),
    ],
    ids=lambda given: type(given).__name__ if isinstance(given, BaseException) else "",
)
def test_whatever_a_target_raises_is_the_result_of_its_trial(evaluating: Any, error: BaseException, words: str) -> None:
    def target(task: Task, candidate: Candidate) -> str:
        raise error

    with evaluating(target) as (evaluator, journal):
        assert words in evaluator.evaluate(ask()).feedback
    assert row(journal)["outcome"] == "scored"


def test_a_provider_s_error_of_a_kind_that_is_none_is_a_refused_request(evaluating: Any) -> None:
    def target(task: Task, candidate: Candidate) -> str:
        raise ProviderError("odd", kind="nonsense")

    with evaluating(target) as (evaluator, _), pytest.raises(Paused, match=r"the provider refused the request \(odd\)"):
        evaluator.evaluate(ask())


LOOP: list[Any] = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), LOOP, Faceless(), {(1, 2): 3}, 10**5000, object()],
    ids=lambda value: type(value).__name__,
)
def test_metadata_that_json_cannot_say_costs_nobody_a_trial(evaluating: Any, value: Any) -> None:
    with evaluating(lambda task, candidate: {"output": "yes", "metadata": {"it": value}}) as (evaluator, journal):
        assert evaluator.evaluate(ask()).score == 1.0
    assert json.loads(row(journal)["metadata_json"])


def test_what_a_target_changes_in_its_task_reaches_no_verifier_and_no_later_trial(evaluating: Any) -> None:
    seen: list[Any] = []

    def target(task: Task, candidate: Candidate) -> str:
        seen.append(json.dumps([task.input, task.metadata]))
        task.input["messages"].insert(0, "system")
        task.metadata.clear()
        return "yes"

    task = Task(name="a", instruction="?", input={"messages": ["hi"]}, metadata={"expected": "x"})
    with evaluating(target) as (evaluator, _):
        for occurrence in range(2):
            evaluator.evaluate(replace(ask(occurrence=occurrence), task=task))
    assert seen[0] == seen[1]
    assert (task.input, task.metadata) == ({"messages": ["hi"]}, {"expected": "x"})


def test_what_a_target_reports_of_its_cost_counts_against_the_limit(evaluating: Any) -> None:
    def target(task: Task, candidate: Candidate) -> dict[str, Any]:
        return {"output": "yes", "cost_usd": 1.0}

    spend = Spend(3.0, 0.0, {})
    with evaluating(target, spend=spend) as (evaluator, _):
        for occurrence in range(3):
            evaluator.evaluate(ask(occurrence=occurrence))
        with pytest.raises(Paused, match=r"the next execution may pass --max-cost 3 USD \(3.0000 spent") as paused:
            evaluator.evaluate(ask(occurrence=3))
    assert (paused.value.reason, spend.spent) == ("cost_limit", 3.0)


def test_metadata_cost_and_latency_that_the_target_reports_are_kept(evaluating: Any) -> None:
    result = {"output": "yes", "cost_usd": 0.25, "latency_ms": 12.5, "metadata": {"tool_calls": ["search"]}}
    with evaluating(lambda task, candidate: result) as (evaluator, journal):
        evaluator.evaluate(ask())
    kept = row(journal)
    assert (kept["cost_usd"], kept["latency_ms"], kept["metadata_json"]) == (0.25, 12.5, '{"tool_calls":["search"]}')


def test_a_trace_says_whose_it_is_and_what_the_target_calls_its_own(evaluating: Any, store: Store) -> None:
    with evaluating(lambda task, candidate: {"output": "yes", "trace_id": "mine-1"}) as (evaluator, _):
        evaluator.evaluate(ask())
    kept = store.row("SELECT attributes_json FROM traces")
    assert kept is not None
    assert json.loads(kept["attributes_json"]) == {
        "run_id": "opt_test", "phase": "evaluating_baseline", "attempt": 1, "candidate": CANDIDATE.content_hash,
        "task": "a", "split": "train", "occurrence": 0, "external_trace_id": "mine-1",
    }  # fmt: skip


def test_a_target_behind_a_url_is_believed_before_its_status(evaluating: Any, endpoint: Endpoint) -> None:
    endpoint.replies["run"] = (400, error(retryable=False))
    target = endpoints.find(RunConfig(target_url=endpoint.url), Path())
    with evaluating(target.run) as (evaluator, journal):
        evaluator.evaluate(ask())
    target.close()
    assert (row(journal)["score"], row(journal)["feedback"]) == (0.0, "the target failed: ValueError: no such order")


def test_the_wait_that_an_endpoint_asks_for_is_obeyed(evaluating: Any, endpoint: Endpoint) -> None:
    endpoint.replies["run"] = lambda _: (429, b"") if len(endpoint.runs) == 1 else {"output": "yes"}
    endpoint.answer_headers["Retry-After"] = "0.04"
    target = endpoints.find(RunConfig(target_url=endpoint.url), Path())
    begun = time.monotonic()
    with evaluating(target.run) as (evaluator, journal):
        evaluator.evaluate(ask())
    target.close()
    assert time.monotonic() - begun >= 0.04
    assert (row(journal)["outcome"], row(journal)["tries"]) == ("scored", 2)


def test_an_endpoint_that_stays_in_trouble_gives_no_score_and_is_named(evaluating: Any, endpoint: Endpoint) -> None:
    endpoint.replies["run"] = (503, error(retryable=False, message="starting"))
    target = endpoints.find(RunConfig(target_url=endpoint.url), Path())
    with evaluating(target.run) as (evaluator, journal), pytest.raises(Paused):
        evaluator.evaluate(ask())
    target.close()
    found = row(journal)
    assert (found["outcome"], found["score"], found["tries"]) == ("provider_error", None, 3)
    assert found["error"] == "the target's endpoint is overloaded or failed (ValueError: starting)"


KEY = "Zr7W/vT5+xKp2Lm9-odd"


def test_the_grade_is_of_the_output_as_it_came_and_what_is_handed_on_has_no_secret(evaluating: Any) -> None:
    with evaluating(lambda task, candidate: f"yes, {KEY}") as (evaluator, journal):
        evaluator.specs = [parse_spec({"checks": [{"type": "equals", "value": f"yes, {KEY}"}]}, "exact", "test")]
        journal.store.redactor = Redactor({"A_TOKEN": KEY})
        first, second = evaluator.evaluate(ask()), evaluator.evaluate(ask())
    assert first == second
    assert (first.score, first.output) == (1.0, "yes, [redacted]")
    assert row(journal)["output"] == "yes, [redacted]"


@pytest.mark.parametrize("key", [KEY, KEY.encode().hex()])
def test_what_a_target_raised_is_handed_on_and_told_without_the_secret_in_it(evaluating: Any, key: str) -> None:
    def target(task: Task, candidate: Candidate) -> str:
        msg = f"no login with {key}"
        raise ValueError(msg)

    told: list[Any] = []
    with evaluating(target, on_trial=told.append) as (evaluator, journal):
        journal.store.redactor = Redactor({"A_TOKEN": KEY})
        graded = evaluator.evaluate(ask())
    said = "the target raised ValueError: no login with [redacted]"
    assert (graded.feedback, told[0].error, row(journal)["error"]) == (said, said, said)


def test_the_answer_of_a_program_is_handed_on_without_the_secrets_in_it(evaluating: Any) -> None:
    answer = ProgramAnswer(
        {"text": f"it is {KEY}", "n": 3}, True, (PredictorCall("ask", {"q": KEY}, {"text": ("a", KEY)}),),
        unparsed=Unparsed("ask", "chat", f"<{KEY}>"),
    )  # fmt: skip
    with evaluating(lambda *_: "") as (evaluator, journal):
        evaluator.executor.target.run = lambda task, candidate: ProgramResult(output="yes", answer=answer)
        plain = evaluator.evaluate(ask("b"))
        journal.store.redactor = Redactor({"A_TOKEN": KEY})
        graded = evaluator.evaluate(ask())
    assert plain.answer is answer
    assert graded.answer == ProgramAnswer(
        {"text": "it is [redacted]", "n": 3}, True,
        (PredictorCall("ask", {"q": "[redacted]"}, {"text": ("a", "[redacted]")}),),
        unparsed=Unparsed("ask", "chat", "<[redacted]>"),
    )  # fmt: skip


@pytest.mark.parametrize("kind", [Paused, Cancelled, LeaseLost, StopSearch])
def test_our_own_ways_to_stop_raised_by_a_target_end_its_trial_and_no_run(
    evaluating: Any, kind: type[BaseException]
) -> None:
    def target(task: Task, candidate: Candidate) -> str:
        raise kind("by the target")

    with evaluating(target) as (evaluator, _):
        graded = evaluator.evaluate(ask())
        assert evaluator.stop.reason is None
    assert (graded.score, graded.feedback) == (0.0, f"the target raised {kind.__name__}: by the target")
