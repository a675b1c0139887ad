"""What the owner says of a run may change at any time, is in no chain, and finds the run again."""

from __future__ import annotations

import pytest

from rollout_local.domain.run import RunStatus
from rollout_local.errors import InputError, Refused
from rollout_local.store import check, lifecycle, marks, queue, reads
from tests.unit.store.conftest import AT, add_candidate


def names(store, **wanted):
    return [row["id"] for row in reads.runs(store, **wanted)]


def test_a_run_is_renamed_and_found_by_its_name(store, add_run):
    add_run()
    assert marks.rename(store, "opt_1", "  Tickets, short ") == "Tickets, short"
    assert reads.run(store, "Tickets, short")["id"] == "opt_1"


@pytest.mark.parametrize(("name", "words"), [(" ", "1 to 200"), ("x" * 201, "has 201"), ("latest", "the newest run")])
def test_a_name_that_would_name_nothing_is_refused(store, add_run, name, words):
    add_run(name="kept")
    with pytest.raises(InputError, match=words):
        marks.rename(store, "opt_1", name)
    assert reads.run(store, "opt_1")["name"] == "kept"


def test_tags_are_added_once_and_taken_away(store, add_run):
    add_run(tags_json='["a", "b"]')
    assert marks.tag(store, "opt_1", [" c ", "a"], ["b"]) == ["a", "c"]
    assert names(store, tag="c") == ["opt_1"]
    assert names(store, tag="b") == []
    with pytest.raises(InputError, match="has no tag 'b'; it has a, c"):
        marks.tag(store, "opt_1", ["d"], ["b"])
    with pytest.raises(InputError, match="a tag has 1 to 200"):
        marks.tag(store, "opt_1", [""])
    assert names(store, tag="d") == []


def test_a_note_takes_the_place_of_the_one_before_and_goes_when_it_is_empty(store, add_run):
    add_run()
    for text, kept in (("One.", "One."), (" Two. ", "Two."), ("", None)):
        marks.note(store, "opt_1", text)
        assert reads.run(store, "opt_1")["note"] == kept
    with pytest.raises(InputError, match="at most 20,000 characters"):
        marks.note(store, "opt_1", "x" * 20_001)


def test_an_archived_run_is_listed_only_when_it_is_asked_for(store, add_run):
    add_run()
    add_run("opt_2")
    assert marks.archive(store, "opt_1", AT) is True
    assert marks.archive(store, "opt_1", AT) is False
    assert names(store) == ["opt_2"]
    assert sorted(names(store, archived=True)) == ["opt_1", "opt_2"]
    assert (marks.take_out(store, "opt_1"), marks.take_out(store, "opt_1")) == (True, False)
    assert sorted(names(store)) == ["opt_1", "opt_2"]


@pytest.mark.parametrize("status", [RunStatus.RUNNING, RunStatus.QUEUED])
def test_a_run_that_somebody_works_on_is_not_put_away(store, add_run, status):
    add_run(status=status)
    with pytest.raises(Refused, match=f"is {status}; `rollout optimize cancel opt_1` ends it"):
        marks.archive(store, "opt_1", AT)


def test_a_run_that_is_begun_or_queued_again_is_listed_again(store, add_run):
    add_run()
    marks.archive(store, "opt_1", AT)
    assert queue.enqueue(store, "opt_1", RunStatus.CREATED, AT)
    assert names(store) == ["opt_1"]
    add_run("opt_2")
    marks.archive(store, "opt_2", AT)
    lifecycle.take(store, "opt_2", 1, pid=1, host="here", at=AT)
    assert "opt_2" in names(store)


def test_marks_are_in_no_chain(store, journal):
    add_candidate(journal)
    marks.rename(store, "opt_1", "another")
    marks.tag(store, "opt_1", ["t"])
    marks.note(store, "opt_1", "said")
    marks.archive(store, "opt_1", AT)
    assert [problem for problem in check.problems(store) if "chain" in problem or "row" in problem] == []


@pytest.mark.parametrize(
    "search", ["ticket", "TICKETS nightly", "opt_1", "refund-rule", "100%", "kept it", "ref_9", "  "]
)
def test_a_search_finds_words_in_name_id_note_tags_reference_and_prompts(store, add_run, journal, search):
    add_run("opt_2", run_ref="refx9")
    add_candidate(journal, "Follow the refund-rule.")
    marks.rename(store, "opt_1", "Tickets")
    marks.tag(store, "opt_1", ["nightly"])
    marks.note(store, "opt_1", "kept it at 100%")
    with store.write() as db:
        db.execute("UPDATE runs SET run_ref = 'ref_9' WHERE id = 'opt_1'")
    expected = ["opt_1"] if search.strip() else ["opt_1", "opt_2"]
    assert sorted(names(store, search=search)) == expected


@pytest.mark.parametrize("search", ["nothing-like-it", "tickets unknown", "%", "_x"])
def test_every_word_must_stand_there_as_it_is_typed(store, add_run, search):
    add_run(name="tickets x")
    assert names(store, search=search) == []


def test_tags_that_others_made_of_no_json_are_no_reason_to_find_nothing(store, add_run):
    add_run(name="mine", tags_json="no json")
    assert names(store, search="mine") == ["opt_1"]
