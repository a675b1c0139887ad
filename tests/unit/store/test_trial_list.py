"""Trials are found by what they say, with an index and without, and listed with their question."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import replace

import pytest

from rollout_local.domain.dataset import Task
from rollout_local.domain.run import Phase
from rollout_local.errors import StoreError
from rollout_local.store import catalog, check, deletion, trial_index, trial_list
from rollout_local.store.trial_list import Sought
from tests.unit.store.conftest import AT, add_candidate, begin, dataset, trial

SAID = [  # task, split, score, output, feedback
    ("a", "val", 0.0, "A refund of 20 €.", "It lacks the invoice number."),
    ("b", "val", 1.0, "Kindly refused.", "All is there."),
    ("a", "holdout", 0.4, "The refunds are late.", "It says 100% too often."),
    ("b", "train", None, None, ""),
]


@pytest.fixture
def run(store, add_run):
    """Two candidates, each with the four trials `SAID`; ids 1 to 8."""
    tasks = (Task(name="a", instruction="Reply.", input={"text": "Where is it?"}, expected_output="soon"),
             Task(name="b", instruction="Refuse."))  # fmt: skip
    journal = begin(store, add_run(dataset_id=catalog.import_dataset(store, dataset(*tasks, slug="s"), AT)["id"]))
    for number, text in enumerate(("Be kind.", "Be brief.")):
        row_id, content = add_candidate(journal, text, number)
        write(journal, content)
    return row_id


def write(journal, content, occurrence=0, attempt=1):
    for task, split, score, output, feedback in SAID:
        more = {"output": output} if score is not None else {"error": "429 Too Many Requests"}
        record = trial(content, score, task=task, split=split, occurrence=occurrence, attempt=attempt, **more)
        journal.add_trial(replace(record, feedback=feedback), None)


def ids(store, **wanted):
    return [row["id"] for row in trial_list.find(store, Sought("opt_1", 1, **wanted)).trials]


@pytest.fixture(params=[False, True], ids=["looking", "indexed"])
def searched(request, store, run):
    """The store, with the index and without: what is found is the same."""
    if request.param:
        trial_index.build(store)
    return store


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("late", {3, 7}),
        ("REFUND invoice", {1, 5}),
        ('"lacks the invoice"', {1, 5}),
        ("requests", {4, 8}),
        ("refund kindly", set()),
        ("nothing-like-it", set()),
        ('"', {1, 2, 3, 4, 5, 6, 7, 8}),
    ],
)
def test_words_find_trials_by_output_feedback_and_error(searched, text, found):
    assert set(ids(searched, text=text)) == found


def test_looking_finds_parts_of_words_as_they_are_typed_and_the_index_whole_ones(store, run):
    for is_on, of_part, of_sign in ((False, {1, 3, 5, 7}, set()), (True, {1, 5}, {3, 7})):
        assert trial_index.is_on(store) is is_on
        assert set(ids(store, text="refund")) == of_part
        assert set(ids(store, text="often%")) == of_sign
        trial_index.build(store)


def test_the_beginning_of_a_word_is_asked_for_with_a_star(searched):
    assert set(ids(searched, text="refun*")) == {1, 3, 5, 7}


@pytest.mark.parametrize("text", ['a" OR b', "NEAR(", "output:x", "^", "-", "?!", "AND", "*", "a*b", "\0", "'); DROP"])
def test_no_search_is_a_mistake(searched, text):
    ids(searched, text=text)


def test_filters_narrow_and_are_combined(searched, run):
    assert ids(searched) == [8, 7, 6, 5, 4, 3, 2, 1]
    assert ids(searched, candidate=run) == [8, 7, 6, 5]
    assert ids(searched, task="a") == [7, 5, 3, 1]
    assert ids(searched, split="val") == [6, 5, 2, 1]
    assert ids(searched, score="errors") == [8, 4]
    assert ids(searched, score="zero") == [5, 1]
    assert ids(searched, score="low") == [7, 5, 3, 1]
    assert ids(searched, score="full") == [6, 2]
    assert ids(searched, candidate=run, task="a", split="val", score="low", text="lacks") == [5]
    assert ids(searched, before=4) == [3, 2, 1]


def test_rows_have_question_and_expected(store, run):
    row, other = trial_list.find(store, Sought("opt_1", 1, before=3)).trials[::-1]
    assert (row["instruction"], row["input_json"], row["expected_output_json"]) == (
        "Reply.", '{"text": "Where is it?"}', '"soon"',
    )  # fmt: skip
    assert (other["instruction"], other["expected_output_json"]) == ("Refuse.", None)


@pytest.mark.parametrize(
    ("sort", "first"),
    [("score", [8, 4, 5, 1]), ("-score", [6, 2, 7, 3]), ("task", [7, 5, 3, 1]), ("-task", [8, 6, 4, 2]),
     ("candidate", [4, 3, 2, 1]), ("-candidate", [8, 7, 6, 5])],
)  # fmt: skip
def test_heads_sort_both_ways(store, run, sort, first):
    assert ids(store, sort=sort)[:4] == first


def test_pages_go_on_where_the_last_one_ended(store, journal, monkeypatch):
    monkeypatch.setattr(trial_list, "PER_PAGE", 3)
    _, content = add_candidate(journal)
    write(journal, content)
    write(journal, content, 1)
    seen, before = [], None
    while True:
        found = trial_list.find(store, Sought("opt_1", 1, before=before))
        seen += [row["id"] for row in found.trials]
        before = found.older
        if before is None:
            break
    assert seen == [8, 7, 6, 5, 4, 3, 2, 1]
    pages = [trial_list.find(store, Sought("opt_1", 1, sort="task", page=n)) for n in (1, 2, 3)]
    assert [[row["id"] for row in page.trials] for page in pages] == [[7, 5, 3], [1, 8, 6], [4, 2]]
    assert [(page.more, page.older) for page in pages] == [(True, None), (True, None), (False, None)]


def test_a_rare_one_is_looked_for_step_by_step_to_the_end(store, run, monkeypatch):
    monkeypatch.setattr(trial_list, "LOOKED_AT", 3)
    found = trial_list.find(store, Sought("opt_1", 1, score="zero", text="invoice"))
    assert (found.trials, found.looked_at, found.older) == ([], 3, 6)
    found = trial_list.find(store, Sought("opt_1", 1, score="zero", text="invoice", before=6))
    assert ([row["id"] for row in found.trials], found.older) == ([5], 3)
    found = trial_list.find(store, Sought("opt_1", 1, score="zero", text="invoice", before=3))
    assert ([row["id"] for row in found.trials], found.looked_at, found.older) == ([1], None, None)


def test_trials_of_other_runs_and_attempts_are_not_shown(searched, add_run):
    other = begin(searched, add_run("opt_2"))
    write(other, add_candidate(other)[1])
    second = begin(searched, "opt_1")
    write(second, add_candidate(second)[1], attempt=2)
    for wanted in ({}, {"text": "kindly"}, {"task": "b"}):
        assert max(ids(searched, **wanted)) <= 8
    assert ids(searched, text="kindly") == [6, 2]


# -- the index


def test_the_index_keeps_up_with_trials_and_with_deleted_runs(store, run, add_run):
    assert trial_index.build(store) == 8
    other = begin(store, add_run("opt_2"))
    write(other, add_candidate(other)[1])
    sql = "SELECT rowid FROM trials_fts WHERE trials_fts MATCH 'kindly'"
    assert [row["rowid"] for row in store.rows(sql)] == [2, 6, 10]
    deletion.delete(store, "opt_1", actor="me", at=AT)
    assert [row["rowid"] for row in store.rows(sql)] == [10]
    with store.write() as db:
        db.execute("INSERT INTO trials_fts (trials_fts, rank) VALUES ('integrity-check', 1)")
    assert [problem for problem in check.problems(store) if "trials_fts" in problem or "trigger" in problem] == []


def test_words_of_a_deleted_run_leave_the_file_at_vacuum(store, add_run):
    journal = begin(store, add_run())
    _, content = add_candidate(journal)
    trial_index.build(store)
    for n in range(30):
        journal.add_trial(trial(content, output="unutterable secret", occurrence=n), None)
    deletion.delete(store, "opt_1", actor="me", at=AT)
    check.vacuum(store)
    store.close()
    assert b"unutterable" not in b"".join(path.read_bytes() for path in store.path.parent.glob("*.db*"))


def test_an_index_that_lost_a_trigger_is_off_and_told(store, run):
    trial_index.build(store)
    assert trial_index.is_on(store)
    with store.write() as db:
        db.execute("DROP TRIGGER trials_fts_deleted")
    assert not trial_index.is_on(store)
    assert "the trigger trials_fts_deleted is missing" in list(check.problems(store))
    trial_index.build(store)
    assert trial_index.is_on(store)


def test_it_is_taken_away_whole(store, run):
    trial_index.build(store)
    assert trial_index.remove(store) is True
    assert trial_index.remove(store) is False
    assert store.rows("SELECT 1 FROM sqlite_master WHERE name LIKE 'trials_fts%'") == []


def test_where_sqlite_has_no_fts5_it_is_said_in_a_sentence_and_the_file_can_still_be_freed(store, run):
    with pytest.raises(StoreError, match=r"the SQLite of this Python \(.*\) has no FTS5, which full-text search needs"):
        trial_index.build(store, has=lambda _db: False)
    trial_index.build(store)
    assert trial_index.remove(store, has=lambda _db: False) is True
    assert not trial_index.is_on(store)
    trial_index.build(store)
    assert set(ids(store, text="kindly")) == {2, 6}


def test_datasette_would_find_the_index(store, run):
    trial_index.build(store)
    with contextlib.closing(sqlite3.connect(store.path)) as db:
        sql = db.execute("SELECT sql FROM sqlite_master WHERE name = 'trials_fts'").fetchone()[0]
    assert 'content="trials"' in sql


def test_an_update_of_the_search_phase_is_no_change_of_words(store, run):
    trial_index.build(store)
    with store.write() as db:
        db.execute("UPDATE trials SET phase = ?", (Phase.SEARCH,))
    assert set(ids(store, text="kindly")) == {2, 6}
