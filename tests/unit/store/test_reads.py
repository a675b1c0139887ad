"""The selects that show runs."""

import pytest

from rollout_local.domain.run import CandidateStatus, Phase
from rollout_local.errors import NotFound
from rollout_local.store import lifecycle, reads
from tests.unit.store.conftest import AT, add_candidate, trial


@pytest.fixture
def runs(add_run):
    add_run("opt_aaa1", name="first", created_at="2025-01-01", project="p", tags_json='["x", "y"]')
    add_run("opt_aab2", name="twice", created_at="2025-01-03", status="completed", tags_json='["y"]')
    add_run("opt_bcd3", name="twice", created_at="2025-01-02", status="completed")


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("opt_aaa1", "opt_aaa1"),
        ("opt_aaa", "opt_aaa1"),
        ("aab", "opt_aab2"),
        ("b", "opt_bcd3"),
        ("opt_b", "opt_bcd3"),
        ("first", "opt_aaa1"),
        ("latest", "opt_aab2"),
    ],
)
def test_a_run_is_found_by_id_prefix_name_or_as_the_latest(store, runs, reference, found):
    assert reads.run(store, reference)["id"] == found


def test_an_id_goes_before_every_other_reading(store, runs, add_run):
    add_run("opt_aa", created_at="2020")
    assert reads.run(store, "opt_aa")["id"] == "opt_aa"


@pytest.mark.parametrize(
    ("reference", "named"),
    [
        ("aa", "opt_aaa1, opt_aab2"),
        ("twice", "opt_bcd3, opt_aab2"),
        ("opt_", "opt_aaa1, opt_bcd3, opt_aab2"),
    ],
)
def test_what_fits_several_runs_is_refused_with_their_ids(store, runs, reference, named):
    with pytest.raises(NotFound) as refused:
        reads.run(store, reference)
    assert str(refused.value) == f"{reference!r} fits several runs: {named}; give more of the id"


def test_at_most_five_of_many_are_named(store, add_run):
    for number in range(8):
        add_run(f"opt_{number}", created_at=f"2025-01-0{number + 1}")
    with pytest.raises(NotFound, match="fits several runs: opt_0, opt_1, opt_2, opt_3, opt_4; give"):
        reads.run(store, "opt_")


@pytest.mark.parametrize("reference", ["opt_zzz", "firs", "%", "opt_aaa1 ", "aaa1x", "_aa"])
def test_a_run_that_does_not_exist_is_not_found(store, runs, reference):
    with pytest.raises(NotFound) as missing:
        reads.run(store, reference)
    assert (
        str(missing.value)
        == f"there is no run {reference!r} in {store.path}; `rollout optimize list` shows what there is"
    )


@pytest.mark.parametrize("nothing", ["", "  "])
def test_nothing_stands_for_no_run_not_even_the_only_one(store, add_run, nothing):
    add_run()
    with pytest.raises(NotFound, match="the id of a run is empty; give one that `rollout optimize list` shows"):
        reads.run(store, nothing)


def test_an_empty_database_has_no_latest_run(store):
    with pytest.raises(NotFound, match=r"there is no run in .*rollout.db yet; begin with `rollout optimize run`"):
        reads.run(store, "latest")


def test_of_two_runs_made_at_once_the_latest_is_the_one_made_last(store, add_run):
    add_run("opt_b")
    add_run("opt_a")
    assert reads.run(store, "latest")["id"] == "opt_a"
    assert [row["id"] for row in reads.runs(store)] == ["opt_a", "opt_b"]


@pytest.mark.parametrize(
    ("asked", "ids"),
    [
        ({}, ["opt_aab2", "opt_bcd3", "opt_aaa1"]),
        ({"limit": 1}, ["opt_aab2"]),
        ({"status": "completed"}, ["opt_aab2", "opt_bcd3"]),
        ({"tag": "y"}, ["opt_aab2", "opt_aaa1"]),
        ({"tag": "y", "status": "created"}, ["opt_aaa1"]),
        ({"project": "p"}, ["opt_aaa1"]),
        ({"target": "support"}, ["opt_aab2", "opt_bcd3", "opt_aaa1"]),
        ({"target": "other"}, []),
        ({"tag": "z"}, []),
    ],
)
def test_runs_are_listed_newest_first_and_filtered_by_whatever_is_given(store, runs, asked, ids):
    assert [row["id"] for row in reads.runs(store, **asked)] == ids


def test_a_listed_run_comes_with_the_scores_of_baseline_and_best(store, journal):
    assert reads.runs(store)[0]["best_val"] is None
    baseline, text = add_candidate(journal)
    best, better = add_candidate(journal, "Be brief.", 1, [baseline], CandidateStatus.ACCEPTED)
    for content, score in ((text, 0.25), (better, 0.75)):
        journal.add_trial(trial(content, score), None)
        journal.add_trial(trial(content, score / 2, split="holdout", phase=Phase.BEST), None)
    lifecycle.set_candidates(store, "opt_1", baseline=baseline, best=best)
    (row,) = reads.runs(store)
    assert (row["baseline_val"], row["best_val"], row["best_number"]) == (0.25, 0.75, 1)
    assert (row["baseline_holdout"], row["best_holdout"]) == (0.125, 0.375)
    assert "config_json" not in row


def test_final_trials_are_sorted_by_their_keys_and_the_superseded_are_left_out(store, journal):
    _, one = add_candidate(journal, "1", 0)
    row_id, two = add_candidate(journal, "2", 1)
    asked = [(two, "b", 0), (two, "a", 1), (one, "a", 0), (two, "a", 0)]
    for content, task, occurrence in asked:
        journal.add_trial(trial(content, None, task=task, occurrence=occurrence), None)
        journal.add_trial(trial(content, 1.0, task=task, occurrence=occurrence), None)
    journal.add_trial(trial(two, 0.0, split="train"), None)
    rows = reads.final_trials(store, "opt_1", 1)
    keys = [(row["candidate_hash"], row["split"], row["task_name"], row["occurrence"]) for row in rows]
    assert keys == sorted(keys)
    assert len(keys) == 5
    assert {row["candidate_number"] for row in rows} == {0, 1}
    assert [(row["task_name"], row["occurrence"]) for row in reads.trials_of(store, row_id, "val")] == [
        ("a", 0),
        ("a", 1),
        ("b", 0),
    ]
    assert reads.trials_of(store, row_id, "holdout") == []


def test_calls_are_counted_by_phase_and_what_was_reused_was_asked_but_not_spent(store, journal):
    _, content = add_candidate(journal)
    journal.add_trial(trial(content, 1.0, phase=Phase.BASELINE, cost_usd=0.5), None)
    journal.add_trial(trial(content, 1.0, task="b", reused=True), None)
    journal.add_trial(trial(content, None, task="c", cost_usd=0.25), None)
    journal.add_trial(trial(content, 0.5, task="c", cost_usd=0.25), None)
    calls = reads.phase_calls(store, "opt_1", 1)
    assert {name: (row["asked"], row["spent"], row["errors"], row["cost_usd"]) for name, row in calls.items()} == {
        "evaluating_baseline": (1, 1, 0, 0.5), "searching": (2, 1, 0, 0.5),
    }  # fmt: skip
    assert reads.run(store, "opt_1")["metric_calls"] == 1
    assert reads.phase_calls(store, "opt_1", 2) == {}


def test_proposals_come_in_order_with_the_numbers_of_parent_and_candidate(store, journal):
    parent, _ = add_candidate(journal, "1", 0)
    child, _ = add_candidate(journal, "2", 1, [parent])
    row = {"parent_candidate_id": parent, "component": "instructions", "feedback_json": "[]", "created_at": AT}
    journal.add_proposal({**row, "iteration": 2, "candidate_id": None})
    journal.add_proposal({**row, "iteration": 1, "candidate_id": child})
    shown = [(p["iteration"], p["parent_number"], p["candidate_number"]) for p in reads.proposals(store, "opt_1", 1)]
    assert shown == [(1, 0, 1), (2, 0, None)]
    assert reads.proposals(store, "opt_1", 2) == []
