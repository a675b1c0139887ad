"""GEPA as an engine: what it asks, what it tells, how it ends."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dspy
import pytest

from rollout_local.domain.run import StopReason
from rollout_local.domain.target import Candidate, TargetKind
from rollout_local.errors import Cancelled, Paused, RecordingMiss, StopSearch
from rollout_local.search.engine import (
    Began,
    Event,
    Graded,
    Judged,
    ProposalFailed,
    Proposed,
    ReflectionModel,
    Ticket,
    Validated,
)
from rollout_local.search.gepa import reflection_lm, search, told_to_reflection
from rollout_local.simulator import Simulator
from tests.unit.search.conftest import Answer, Heard, Model, as_json, length_counts, make_spec

Start = Callable[[Answer], Model]
TRAIN, VAL = 6, 4


def improving(number: int) -> str:
    """Each reply is better than all before."""
    return as_json("better " * (number + 1) + "answers, please")


def getting_worse(number: int) -> str:
    return as_json(f"Answer number {number}, please.")


# -- what it tells


def test_the_events_of_a_search_come_in_order_and_carry_their_numbers(model: Start) -> None:
    heard = Heard()
    result = search(make_spec(model(improving).url, budget=30), heard.signals())
    told = [(type(event).__name__, event.number) for event in heard.events if not isinstance(event, Began)]
    rounds = [[("Proposed", n), ("Validated", n), ("Judged", n)] for n in (1, 2, 3)]
    assert told == [("Validated", 0), *(event for one in rounds for event in one)]
    assert [event.parents for event in heard.of(Proposed)] == [(0,), (1,), (2,)]
    assert [event.iteration for event in heard.of(Proposed)] == [1, 2, 3]
    assert [event.mean for event in heard.of(Validated)] == pytest.approx([0, 0.05, 0.1, 0.15])
    assert [event.best for event in heard.of(Validated)] == [True] * 4
    assert [event.spent for event in heard.of(Validated)] == [0, 10, 20, 30]
    assert (result.best, result.stop_reason) == (3, StopReason.BUDGET_SPENT)


def test_an_accepted_proposal_has_its_minibatch_means_before_and_after(model: Start) -> None:
    heard = Heard()
    search(make_spec(model(improving).url, budget=20), heard.signals())
    assert [(event.accepted, event.reason) for event in heard.of(Judged)] == [(True, "its minibatch improved")] * 2
    assert [(event.before, event.after) for event in heard.of(Judged)] == [
        (0, pytest.approx(0.05)),
        (pytest.approx(0.05), pytest.approx(0.1)),
    ]


def test_rejected_proposals_are_told_with_a_reason_and_means_in_the_unit_interval(model: Start) -> None:
    heard = Heard()
    baseline = Candidate(text="better " * 30)
    result = search(make_spec(model(getting_worse).url, baseline=baseline, budget=18), heard.signals())
    assert result.best == 0
    assert heard.of(Judged) == []  # every minibatch of the baseline is perfect: there is nothing to reflect on
    baseline = Candidate(text="better " * 15)
    search(make_spec(model(getting_worse).url, baseline=baseline, budget=18), heard.signals())
    assert [event.number for event in heard.of(Judged)] == [1, 2, 3]
    for event in heard.of(Judged):
        assert not event.accepted
        assert "not better" in event.reason
        assert (event.before, event.after) == (pytest.approx(0.75), 0)


def test_a_proposal_that_the_budget_leaves_unjudged_is_told_all_the_same(model: Start) -> None:
    heard = Heard()
    search(make_spec(model(improving).url, budget=5), heard.signals())
    assert [event.number for event in heard.of(Proposed)] == [1]
    assert heard.of(Judged) == []
    assert len(heard.asked) == VAL + 3


def test_a_proposal_carries_what_the_reflection_model_read_with_the_tasks_names(model: Start) -> None:
    heard = Heard()
    server = model(improving)
    search(make_spec(server.url, budget=6), heard.signals())
    proposal = heard.of(Proposed)[0]
    names = [ticket.task.name for _, ticket in heard.asked[VAL : VAL + 3]]
    assert [record["task"] for record in proposal.feedback] == names
    for record, name in zip(proposal.feedback, names, strict=True):
        assert record["feedback"] == f"feedback on {name}"
        assert record["output"] == {"output": f"output for {name}"}
        assert record["inputs"] == {"task": {"instruction": f"Question {name[-1]}"}}
    assert proposal.components == ("instructions",)
    assert all(f"feedback on {name}" in server.prompt(0) for name in names)
    assert "secret" not in server.prompt(0)
    assert "secret" not in repr(proposal.feedback)


def test_inputs_of_any_shape_are_kept_readable(model: Start) -> None:
    spec = make_spec(model(improving).url, budget=6)
    shapes = {"list": [1, {"a": None}], "flag": True, "nested": {"number": 1.5}}
    spec = make_spec(
        spec.reflection.api_base or "",
        budget=6,
        train=[task.model_copy(update={"input": shapes}) for task in spec.train],
    )
    heard = Heard()
    search(spec, heard.signals())
    assert heard.of(Proposed)[0].feedback[0]["inputs"]["task"]["input"] == shapes


def test_a_failed_reflection_is_told_with_its_iteration_and_what_it_read(model: Start) -> None:
    heard = Heard()
    replies = ["???", improving(0)]
    search(make_spec(model(lambda n: replies[n]).url, budget=9), heard.signals())
    failed = heard.of(ProposalFailed)[0]
    assert (failed.iteration, failed.parent, failed.component) == (1, 0, "instructions")
    assert len(failed.feedback) == 3
    assert heard.of(Proposed)[0].iteration == 2


def test_the_best_is_the_first_of_equals(model: Start) -> None:
    def graded(candidate: Candidate, ticket: Ticket) -> Graded:
        if ticket.split == "val":
            return Graded("", 0.5, "")
        return length_counts(candidate, ticket)

    heard = Heard(evaluate=graded)
    result = search(make_spec(model(improving).url, budget=30), heard.signals())
    assert [event.best for event in heard.of(Validated)] == [True, False, False, False]
    assert result.best == 0


# -- the budget


@pytest.mark.parametrize("budget", [1, 2, 3, 5, 6, 7, 9, 10, 16, 33])
@pytest.mark.parametrize("threads", [1, 4])
def test_no_batch_begins_that_would_pass_the_budget(model: Start, budget: int, threads: int) -> None:
    heard = Heard()
    server = model(improving)
    result = search(make_spec(server.url, budget=budget, concurrency=threads), heard.signals())
    search_calls = len(heard.asked) - VAL
    admissible = {1: 0, 2: 0, 3: 3, 5: 3, 6: 6, 7: 6, 9: 6, 10: 10, 16: 16, 33: 33}
    assert search_calls == admissible[budget] <= budget
    assert result.stop_reason is StopReason.BUDGET_SPENT


def test_the_seed_pass_is_not_counted(model: Start) -> None:
    heard = Heard()
    search(make_spec(model(improving).url, budget=1), heard.signals())
    assert [ticket.split for _, ticket in heard.asked] == ["val"] * VAL


# -- how it ends


def test_a_score_that_was_asked_for_ends_the_search(model: Start) -> None:
    heard = Heard()
    result = search(make_spec(model(improving).url, budget=500, stop_at=0.15), heard.signals())
    assert result.stop_reason is StopReason.SCORE_REACHED
    assert heard.of(Validated)[-1].mean == pytest.approx(0.15)
    assert len(heard.of(Validated)) == 4


def test_a_baseline_that_reaches_the_score_is_not_searched(model: Start) -> None:
    heard = Heard(evaluate=lambda candidate, ticket: Graded("", 1.0, ""))
    result = search(make_spec(model(improving).url, stop_at=1.0), heard.signals())
    assert (result.best, result.stop_reason, len(heard.asked)) == (0, StopReason.SCORE_REACHED, VAL)


def test_the_search_ends_after_so_many_iterations_without_improvement(model: Start) -> None:
    heard = Heard()
    replies = [improving(0), improving(1)]
    server = model(lambda n: replies[n] if n < 2 else getting_worse(n))
    result = search(make_spec(server.url, budget=500, no_improvement=4), heard.signals())
    assert (result.best, result.stop_reason) == (2, StopReason.NO_IMPROVEMENT)
    assert [event.accepted for event in heard.of(Judged)] == [True, True, False, False, False, False]


def test_a_reflection_model_that_only_fails_ends_the_search_and_says_so(model: Start) -> None:
    heard = Heard()
    server = model(lambda _: "???")
    result = search(make_spec(server.url, budget=500), heard.signals())
    assert (result.best, result.stop_reason) == (0, StopReason.NO_PROPOSALS)
    assert [event.iteration for event in heard.of(ProposalFailed)] == [1, 2, 3]
    assert len(heard.asked) == VAL + 3 * 3
    assert server.asked == 3


def test_a_model_that_sees_nothing_to_change_is_asked_about_other_minibatches(model: Start) -> None:
    heard = Heard()
    spec = make_spec("http://127.0.0.1:9/v1", budget=30)
    server = model(lambda n: as_json(spec.baseline.text) if n < 5 else improving(n))
    result = search(make_spec(server.url, budget=30), heard.signals())
    assert result.stop_reason is StopReason.BUDGET_SPENT
    assert [event.iteration for event in heard.of(ProposalFailed)] == [1, 2, 3, 4, 5]
    assert result.best > 0


@pytest.mark.parametrize(("name", "proposals"), [("sim-reflection-rubbish", 0), ("sim-reflection-plain", 4)])
def test_each_attempt_at_a_proposal_is_one_request(
    simulate: Callable[..., Simulator], name: str, proposals: int
) -> None:
    simulator = simulate()

    def graded(candidate: Candidate, ticket: Ticket) -> Graded:
        return Graded("x", min(1.0, len(candidate.text) / 9000), f'expected the output to contain "{ticket.task.name}"')

    heard = Heard(evaluate=graded)
    reflection = ReflectionModel(f"openai/{name}", simulator.url, "x")
    search(make_spec(simulator.url, budget=40, reflection=reflection), heard.signals())
    attempts = len(heard.of(Proposed)) + len(heard.of(ProposalFailed))
    assert len(heard.of(Proposed)) == proposals
    assert simulator.calls()["by_model"] == {name: attempts}
    assert attempts == len(heard.reflected) == len(set(heard.reflected))


# -- stopping from inside


class Interruption:
    """Raises its reason, everywhere, once it is set."""

    def __init__(self, reason: StopSearch) -> None:
        self.reason = reason
        self.is_set = threading.Event()

    def check(self) -> None:
        if self.is_set.is_set():
            raise self.reason


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize(
    "reason", [Paused("the provider is down"), Cancelled("by the user")], ids=["paused", "cancelled"]
)
def test_a_stop_from_another_thread_ends_the_search_with_its_reason(
    model: Start, threads: int, reason: StopSearch
) -> None:
    interruption = Interruption(reason)

    def graded(candidate: Candidate, ticket: Ticket) -> Graded:
        interruption.check()
        time.sleep(0.005)
        return length_counts(candidate, ticket)

    heard = Heard(evaluate=graded, should_stop=interruption.check)
    timer = threading.Timer(0.15, interruption.is_set.set)
    timer.start()
    with pytest.raises(type(reason)) as raised:
        search(make_spec(model(improving).url, budget=10_000, concurrency=threads), heard.signals())
    timer.join()
    assert raised.value is reason
    assert len(heard.asked) < 200


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("at", [2, VAL + 2, VAL + 5, VAL + 8])
def test_a_trial_that_pauses_ends_the_search_wherever_it_is(model: Start, threads: int, at: int) -> None:
    paused = Paused("the provider is down", reason="error")
    lock, count, started = threading.Lock(), [0], []

    def graded(candidate: Candidate, ticket: Ticket) -> Graded:
        with lock:
            count[0] += 1
            if count[0] >= at:  # as the runner does: after a stop, every further call is refused
                raise paused
            started.append(ticket)
        return length_counts(candidate, ticket)

    heard = Heard(evaluate=graded)
    with pytest.raises(Paused) as raised:
        search(make_spec(model(improving).url, concurrency=threads), heard.signals())
    assert raised.value is paused
    assert len(started) == at - 1


def test_a_reflection_that_pauses_ends_the_search_at_once(model: Start) -> None:
    def reflect(key: str, occurrence: int, produce: Callable[[], Any]) -> Any:
        msg = "not recorded"
        raise RecordingMiss(msg)

    heard = Heard(reflect=reflect)
    with pytest.raises(RecordingMiss, match="not recorded"):
        search(make_spec(model(improving).url), heard.signals())
    assert len(heard.reflected) == 1


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("signal", ["evaluate", "reflect", "emit", "should_stop"])
def test_an_error_of_ours_is_raised_and_never_scored(model: Start, signal: str, threads: int) -> None:
    """DSPy would score it 0 and GEPA would log it: a full disk would look like a bad prompt."""
    calls = [0]

    def fail(*_: Any) -> Any:
        calls[0] += 1
        msg = "database or disk is full"
        raise OSError(msg)

    heard = Heard(**{signal: fail})  # type: ignore[arg-type]
    with pytest.raises(OSError, match="disk is full"):
        search(make_spec(model(improving).url, concurrency=threads), heard.signals())
    assert calls[0] == 1
    assert [event for event in heard.events if isinstance(event, Judged)] == []


def test_an_interrupt_from_the_keyboard_passes_through(model: Start) -> None:
    def graded(candidate: Candidate, ticket: Ticket) -> Graded:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(make_spec(model(improving).url), Heard(evaluate=graded).signals())


def test_a_stop_that_comes_with_the_last_batch_is_not_lost(model: Start) -> None:
    interruption = Interruption(Paused("Ctrl-C", interrupted=True))
    heard = Heard(should_stop=interruption.check)

    def told(event: Event) -> None:
        if isinstance(event, Judged):
            interruption.is_set.set()

    heard.emit = told
    with pytest.raises(Paused, match="Ctrl-C"):
        search(make_spec(model(improving).url, budget=10), heard.signals())


def test_an_argument_that_gepa_does_not_know_is_an_error_before_anything_is_asked(model: Start) -> None:
    heard = Heard()
    with pytest.raises(TypeError, match="population"):
        search(make_spec(model(improving).url, arguments={"population": 3}), heard.signals())
    assert heard.asked == []


def test_what_dspy_raises_on_its_own_account_comes_through(model: Start) -> None:
    with pytest.raises(AssertionError, match="Trainset"):
        search(make_spec(model(improving).url, train=[]), Heard().signals())


def test_arguments_reach_gepa(model: Start) -> None:
    heard = Heard()
    search(make_spec(model(improving).url, arguments={"reflection_minibatch_size": 2}, budget=2), heard.signals())
    assert len(heard.asked) == VAL + 2


# -- what the reflection model is told


@pytest.mark.parametrize("kind", list(TargetKind))
def test_the_kind_is_told_in_words(kind: TargetKind) -> None:
    told = told_to_reflection(make_spec("", kind=kind, description="", objective=None))
    assert told == f"The instructions are the text of a {kind.value.replace('_', ' ')}."


def test_kind_description_and_objective_reach_the_prompt(model: Start) -> None:
    server = model(improving)
    search(make_spec(server.url, kind=TargetKind.TOOL_DESCRIPTION, budget=6), Heard().signals())
    for part in ("a tool description", "Answers questions about boats.", "Be as brief as a sailor."):
        assert part in server.prompt(0)


def test_parameters_of_the_reflection_model_go_with_each_request(model: Start) -> None:
    server = model(improving)
    params = {"temperature": 0.25, "max_tokens": 1234}
    search(make_spec(server.url, reflection=ReflectionModel("openai/m", server.url, None, params)), Heard().signals())
    assert {(body["model"], body["temperature"], body["max_tokens"]) for body in server.bodies} == {("m", 0.25, 1234)}


def test_the_reflection_model_is_neither_cached_nor_retried_and_uses_the_client_that_is_recorded() -> None:
    lm = reflection_lm(make_spec("http://127.0.0.1:9/v1"))
    assert (lm.cache, lm.num_retries, lm.engine) == (False, 0, "litellm")
    hosted = reflection_lm(make_spec("", reflection=ReflectionModel("openai/m")))
    assert "api_base" not in hosted.kwargs


# -- good manners


def test_stdout_stays_clean_and_prints_of_the_target_reach_stderr(
    model: Start, capfd: pytest.CaptureFixture[str]
) -> None:
    def graded(candidate: Candidate, ticket: Ticket) -> Graded:
        print("the target speaks")
        return length_counts(candidate, ticket)

    search(make_spec(model(improving).url, budget=20), Heard(evaluate=graded).signals())
    out, err = capfd.readouterr()
    assert out == ""
    assert err.replace("\n", "") == "the target speaks" * (VAL + 20)


def test_stdout_is_given_back_after_an_interruption_too(model: Start) -> None:
    before = sys.stdout

    def graded(candidate: Candidate, ticket: Ticket) -> Graded:
        msg = "wait"
        raise Paused(msg)

    with pytest.raises(Paused):
        search(make_spec(model(improving).url), Heard(evaluate=graded).signals())
    assert sys.stdout is before


def test_loggers_are_quiet_during_the_search_and_as_before_afterwards(
    model: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("dspy", "gepa"):
        monkeypatch.setattr(logging.getLogger(name), "level", logging.DEBUG)
    during: list[int] = []

    def graded(candidate: Candidate, ticket: Ticket) -> Graded:
        during.extend(logging.getLogger(name).level for name in ("dspy", "gepa"))
        return length_counts(candidate, ticket)

    search(make_spec(model(improving).url, budget=6), Heard(evaluate=graded).signals())
    assert set(during) == {logging.CRITICAL}
    assert [logging.getLogger(name).level for name in ("dspy", "gepa")] == [logging.DEBUG] * 2


def test_dspys_caches_are_off_and_nothing_is_written(
    model: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    home = Path(os.path.expanduser("~/.dspy_cache"))  # noqa: PTH111
    before = home.stat().st_mtime_ns if home.exists() else None
    server = model(lambda _: improving(0))
    for _ in range(2):
        search(make_spec(server.url, budget=6), Heard().signals())
    assert server.asked == 2
    assert (dspy.cache.enable_disk_cache, dspy.cache.enable_memory_cache) == (False, False)
    assert list(tmp_path.iterdir()) == []
    assert (home.stat().st_mtime_ns if home.exists() else None) == before
