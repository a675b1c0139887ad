import copy

import pytest

from rollout_local.reports import promotion
from rollout_local.reports.differences import CUT, first_difference
from rollout_local.reports.digest import rows
from rollout_local.store import lifecycle


@pytest.fixture
def canonical(improved):
    improved.candidate(2, "Third.")
    improved.proposal(3, 2, feedback=[{"task": "train-1", "feedback": "shorter"}])
    improved.proposal(2, None, accepted=False, reason="no usable text")
    import json

    told = promotion.build(improved.store, improved.row)
    lifecycle.add_report(improved.store, improved.run_id, improved.attempt, json.dumps(told), improved.stamp)
    return rows(improved.store, improved.row)


def changed(canonical, table, match, **fields):
    other = copy.deepcopy(canonical)
    row = next(row for row in other[table] if match.items() <= row.items())
    row.update(fields)
    return other


def test_equal_runs_have_no_difference(canonical):
    assert first_difference(canonical, copy.deepcopy(canonical)) is None


def test_a_trial_is_named_with_its_field_and_both_values(canonical):
    other = changed(canonical, "trials", {"candidate": 1, "task": "val-1"}, score=0.25)
    said = "the trial of candidate 1 on val task 'val-1': score was 0.75, is 0.25"
    assert first_difference(canonical, other) == said
    other = changed(canonical, "trials", {"candidate": 1, "task": "train-0"}, score=0.25)
    assert "'train-0', occurrence 1: score was 1, is 0.25" in first_difference(canonical, other)


def test_a_proposal_is_named_by_iteration_component_and_candidate(canonical):
    other = changed(canonical, "proposals", {"candidate": 2}, minibatch_after=0.75)
    said = "the proposal of iteration 3 for 'instructions' (candidate 2): minibatch_after was 0.5, is 0.75"
    assert first_difference(canonical, other) == said
    other = changed(canonical, "proposals", {"candidate": 2}, feedback=[{"task": "train-1", "feedback": "longer"}])
    assert first_difference(canonical, other).endswith('feedback[0].feedback was "shorter", is "longer"')
    other = changed(canonical, "proposals", {"candidate": None}, reason="gone")
    assert "iteration 2 for 'instructions' (no usable text): reason was" in first_difference(canonical, other)


def test_a_candidate_and_its_lineage_are_named(canonical):
    other = changed(canonical, "candidates", {"number": 2}, components={"instructions": "Fourth."})
    assert first_difference(canonical, other) == 'candidate 2: components.instructions was "Third.", is "Fourth."'
    other = changed(canonical, "parents", {"child": 2}, parent=1)
    assert first_difference(canonical, other) == "candidate 2: parents[0] was 0, is 1"
    other = changed(canonical, "candidates", {"number": 2}, status="rejected")
    assert first_difference(canonical, other) == 'candidate 2: status was "accepted", is "rejected"'


def test_the_report_comes_last_and_is_read_to_the_leaf(canonical):
    other = copy.deepcopy(canonical)
    other["report"][0]["holdout"]["lift"] = 0.25
    assert first_difference(canonical, other) == "the promotion report: holdout.lift was 0.5, is 0.25"


def test_the_cause_is_named_before_what_follows_from_it(canonical):
    other = changed(canonical, "trials", {"candidate": 0, "task": "train-0"}, output="other")
    other = changed(other, "candidates", {"number": 1}, components={"instructions": "another"})
    other["report"][0]["verdict"] = {}
    assert "candidate 0 on train task 'train-0': output was" in first_difference(canonical, other)


def test_what_is_missing_or_new_is_named(canonical):
    other = copy.deepcopy(canonical)
    gone = other["trials"].pop()
    said = f"the trial of candidate 1 on val task '{gone['task']}' is missing now"
    assert first_difference(canonical, other) == said
    assert first_difference(other, canonical).endswith("was not there before")


def test_long_texts_are_cut_around_the_place_where_they_part(canonical):
    one = changed(canonical, "trials", {"candidate": 0, "task": "val-0"}, output="a" * 5000 + "X" + "b" * 5000)
    other = changed(canonical, "trials", {"candidate": 0, "task": "val-0"}, output="a" * 5000 + "Y" + "b" * 5000)
    said = first_difference(one, other)
    before, after = said.split("output was ")[1].split(", is ")
    assert (len(before), len(after)) == (CUT, CUT)
    assert "aX" in before
    assert "aY" in after


def test_a_text_that_was_cut_short_is_shown_from_where_it_ends(canonical):
    one = changed(canonical, "trials", {"candidate": 0, "task": "val-0"}, output="a" * 300)
    other = changed(canonical, "trials", {"candidate": 0, "task": "val-0"}, output="a" * 400)
    assert len(first_difference(one, other)) < 3 * CUT


def test_control_characters_in_values_are_spelled_out(canonical):
    other = changed(canonical, "trials", {"candidate": 0, "task": "val-0"}, output="\u202eevil")
    assert "\\u202eevil" in first_difference(canonical, other)
