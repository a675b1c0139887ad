"""A run's row and its moves: every change names the state it starts from and says whether it happened."""

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from rollout_local.domain.run import MOVES, Phase, RunStatus, StopReason
from rollout_local.store import lifecycle, reads
from tests.unit.store.conftest import AT, add_candidate, begin, trial

ALL = list(RunStatus)


@pytest.mark.parametrize(("start", "to"), [(a, b) for a, b in itertools.product(ALL, ALL) if b in MOVES[a]])
def test_a_legal_move_from_the_expected_state_happens_and_says_so(store, add_run, start, to):
    add_run(status=start)
    before = reads.run(store, "opt_1")["rev"]
    assert lifecycle.move(store, "opt_1", [start], to, message="why", finished_at=AT) is True
    run = reads.run(store, "opt_1")
    assert (run["status"], run["message"], run["finished_at"], run["rev"]) == (to, "why", AT, before + 1)


@pytest.mark.parametrize(("start", "to"), [(a, b) for a, b in itertools.product(ALL, ALL) if b not in MOVES[a]])
def test_an_illegal_move_never_happens(store, add_run, start, to):
    add_run(status=start)
    before = reads.run(store, "opt_1")
    others = [status for status in ALL if to in MOVES[status]]
    assert not others or lifecycle.move(store, "opt_1", ALL, to, message="why") is False
    with pytest.raises(AssertionError, match=f"may become {to}"):
        lifecycle.move(store, "opt_1", [start], to)
    assert reads.run(store, "opt_1") == before


def test_a_state_that_was_not_expected_is_left_and_nothing_else_is_changed(store, add_run):
    add_run(status=RunStatus.PAUSED)
    before = reads.run(store, "opt_1")
    moved = lifecycle.move(store, "opt_1", [RunStatus.CREATED, RunStatus.QUEUED], RunStatus.RUNNING, message="x")
    assert moved is False
    assert reads.run(store, "opt_1") == before


def test_several_states_may_be_expected(store, add_run):
    add_run(status=RunStatus.PAUSED)
    assert lifecycle.move(store, "opt_1", {RunStatus.CREATED, RunStatus.PAUSED}, RunStatus.RUNNING) is True


def test_a_run_that_does_not_exist_does_not_move(store, add_run):
    add_run()
    assert lifecycle.move(store, "opt_2", [RunStatus.CREATED], RunStatus.RUNNING) is False


def test_of_many_that_take_a_run_one_gets_it(store, add_run):
    add_run()
    together = threading.Barrier(8)

    def take(number):
        together.wait()
        return lifecycle.move(store, "opt_1", [RunStatus.CREATED], RunStatus.RUNNING, message=str(number))

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(take, range(8))) == [False] * 7 + [True]


def test_a_new_attempt_clears_what_is_shown_and_keeps_every_row(store, journal):
    baseline, content = add_candidate(journal)
    journal.add_trial(trial(content, 1.0, cost_usd=0.5), None)
    journal.add_trial(trial(content, None, task="b"), None)
    journal.add_event(AT, "info", "hello")
    lifecycle.set_candidates(store, "opt_1", baseline=baseline, best=baseline)
    lifecycle.set_phase(store, "opt_1", Phase.SEARCH)
    lifecycle.set_stop_reason(store, "opt_1", StopReason.ERROR)
    lifecycle.move(store, "opt_1", [RunStatus.CREATED], RunStatus.RUNNING)
    lifecycle.move(store, "opt_1", [RunStatus.RUNNING], RunStatus.FAILED, message="m", degraded=1, finished_at=AT)
    shown = ("metric_calls", "trial_count", "error_count", "cost_usd", "degraded", "baseline_candidate_id",
             "best_candidate_id", "stop_reason", "message", "phase", "finished_at")  # fmt: skip
    before = reads.run(store, "opt_1")
    assert [before[name] for name in shown] == [2, 2, 1, 0.5, 1, 1, 1, "error", "m", "searching", AT]

    assert lifecycle.begin_attempt(store, "opt_1", pid=7, host="there", at="2026") == 2
    after = reads.run(store, "opt_1")
    assert [after[name] for name in shown] == [0, 0, 0, None, 0, None, None, None, None, None, None]
    assert (after["attempt"], after["status"], after["rev"]) == (2, "failed", before["rev"] + 1)
    assert len(reads.final_trials(store, "opt_1", 1)) == 2
    assert len(reads.candidates(store, "opt_1", 1)) == 1
    assert len(reads.events(store, "opt_1")) == 1
    assert reads.candidates(store, "opt_1", 2) == []
    attempts = store.rows("SELECT number, pid, host, started_at, ended_at, outcome FROM attempts ORDER BY number")
    assert attempts[1] == {
        "number": 2, "pid": 7, "host": "there", "started_at": "2026", "ended_at": None, "outcome": None,
    }  # fmt: skip


def test_an_attempt_ends_with_how_it_stands(store, journal):
    begin(store, "opt_1")
    lifecycle.end_attempt(store, "opt_1", 1, RunStatus.FAILED, "2026")
    rows = store.rows("SELECT outcome, ended_at FROM attempts ORDER BY number")
    assert rows == [{"outcome": "failed", "ended_at": "2026"}, {"outcome": None, "ended_at": None}]


def test_the_recording_is_no_change_that_is_shown(store, journal):
    before = reads.run(store, "opt_1")["rev"]
    lifecycle.set_recording(store, "opt_1", "recording.yaml")
    run = reads.run(store, "opt_1")
    assert (run["recording"], run["rev"]) == ("recording.yaml", before)


def test_a_run_says_whether_it_is_degraded(store, journal):
    for degraded in (True, False):
        lifecycle.set_degraded(store, "opt_1", degraded=degraded)
        assert reads.run(store, "opt_1")["degraded"] == degraded


def test_naming_one_candidate_keeps_the_other(store, journal):
    one, two = add_candidate(journal, "1", 0)[0], add_candidate(journal, "2", 1)[0]
    lifecycle.set_candidates(store, "opt_1", baseline=one)
    lifecycle.set_candidates(store, "opt_1", best=two)
    run = reads.run(store, "opt_1")
    assert (run["baseline_candidate_id"], run["best_candidate_id"]) == (one, two)


def test_the_newest_report_of_an_attempt_is_shown_and_the_others_are_kept(store, journal):
    assert reads.newest_report(store, "opt_1", 1) is None
    for attempt, text in ((1, '{"n":1}'), (1, '{"n":2}'), (2, '{"n":3}')):
        lifecycle.add_report(store, "opt_1", attempt, text, AT)
    assert reads.newest_report(store, "opt_1", 1) == '{"n":2}'
    assert reads.newest_report(store, "opt_1", 2) == '{"n":3}'
    assert len(store.rows("SELECT * FROM reports")) == 3
