"""The journal of an attempt: append only, safe between threads, the same after a second run over it."""

import json
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from rollout_local.domain.run import CandidateStatus
from rollout_local.domain.target import Candidate
from rollout_local.store import reads
from rollout_local.store.journal import Journal, SpanRecord, TraceRecord
from tests.unit.store.conftest import AT, add_candidate, begin, trial

LONG = json.dumps({"role": "system", "content": "long " * 400})


def span(id, *inputs, **more):
    return SpanRecord(
        **{"type": "llm", "name": "m", "output": "o", "started_at": AT, "duration_s": 0.1, **more}, id=id, input=inputs
    )


def trace(id, *spans):
    return TraceRecord(id=id, name="optimize:support", started_at=AT, duration_s=1.0, spans=spans, attributes={"k": 1})


# -- candidates


def test_a_candidate_that_is_there_is_found_again_by_a_replay(store, journal):
    first, _ = add_candidate(journal)
    second, content = add_candidate(journal, "Be brief.", 1, [first], CandidateStatus.PROPOSED)
    again = Journal(store, "opt_1", 1)
    assert add_candidate(again)[0] == first
    assert add_candidate(again, "Be brief.", 1, [first], CandidateStatus.PROPOSED)[0] == second
    assert again.candidate_id(content) == second
    assert len(store.rows("SELECT * FROM candidates")) == 2
    assert reads.parents(store, "opt_1", 1) == [{"child": 1, "parent": 0}]


def test_a_replay_does_not_take_back_what_became_of_a_candidate(store, journal):
    row_id, _ = add_candidate(journal, status=CandidateStatus.PROPOSED)
    journal.judge(row_id, CandidateStatus.ACCEPTED)
    add_candidate(Journal(store, "opt_1", 1), status=CandidateStatus.PROPOSED)
    assert reads.candidate(store, row_id)["status"] == "accepted"


def test_the_same_text_proposed_twice_is_two_candidates_and_the_newest_is_meant(journal):
    first, content = add_candidate(journal, "same", 1)
    second, _ = add_candidate(journal, "same", 2)
    assert first != second
    assert journal.candidate_id(content) == second


def test_a_candidate_of_several_texts_is_kept_with_each_of_them(store, journal):
    candidate = Candidate(components={"plan": "P", "answer": "A"})
    row = reads.candidate(store, journal.add_candidate(candidate, CandidateStatus.BASELINE, [], AT, 0))
    assert json.loads(row["components_json"]) == candidate.components
    assert (row["text"], row["content_hash"]) == ("P\n\nA", candidate.content_hash)


def test_a_candidate_of_two_parents_has_two_edges_and_the_same_parent_twice_one(store, journal):
    one, two = add_candidate(journal, "1", 0)[0], add_candidate(journal, "2", 1)[0]
    add_candidate(journal, "3", 2, [one, two])
    add_candidate(journal, "4", 3, [one, one])
    edges = [(row["child"], row["parent"]) for row in reads.parents(store, "opt_1", 1)]
    assert edges == [(2, 0), (2, 1), (3, 0)]


def test_a_candidate_that_was_not_added_is_not_known(journal):
    with pytest.raises(KeyError):
        journal.candidate_id("sha256:none")
    with pytest.raises(KeyError):
        journal.add_trial(trial("sha256:none"), None)


def test_judging_twice_changes_nothing_the_second_time(store, journal):
    row_id, _ = add_candidate(journal)
    journal.judge(row_id, CandidateStatus.REJECTED)
    before = reads.run(store, "opt_1")["rev"]
    journal.judge(row_id, CandidateStatus.REJECTED)
    assert reads.run(store, "opt_1")["rev"] == before


# -- trials


def test_a_finished_trial_is_found_by_its_key_with_all_that_it_says(journal):
    _, content = add_candidate(journal)
    done = trial(
        content, 0.5, output='{"a":1}', output_kind="json", passed=True, checks_json="[]",
        metadata={"b": 1.0, "a": [1]}, latency_ms=12.5, cost_usd=0.25, tries=3, trace_id="trc_1",
    )  # fmt: skip
    row_id = journal.add_trial(done, None)
    found = journal.find(done.key)
    assert found["id"] == row_id
    for name in ("score", "output", "output_kind", "latency_ms", "cost_usd", "tries", "trace_id", "created_at"):
        assert found[name] == getattr(done, name), name
    assert (found["outcome"], found["passed"], found["reused"]) == ("scored", 1, 0)
    assert json.loads(found["metadata_json"]) == {"b": 1, "a": [1]}


@pytest.mark.parametrize(
    "change", [{"attempt": 2}, {"candidate": "sha256:x"}, {"task": "b"}, {"split": "train"}, {"occurrence": 1}]
)
def test_another_key_finds_nothing(journal, change):
    done = trial(add_candidate(journal)[1])
    journal.add_trial(done, None)
    assert journal.find(done.key.model_copy(update=change)) is None


def test_a_trial_without_a_score_is_superseded_by_the_next(store, journal):
    _, content = add_candidate(journal)
    failed = journal.add_trial(trial(content, None), None)
    again = journal.add_trial(trial(content, None), None)
    scored = journal.add_trial(trial(content, 1.0), None)
    assert journal.find(trial(content).key)["id"] == scored
    rows = store.rows("SELECT id, superseded_by, error FROM trials ORDER BY id")
    assert [(row["id"], row["superseded_by"]) for row in rows] == [(failed, again), (again, scored), (scored, None)]
    assert rows[0]["error"] == "429"


@pytest.mark.parametrize("score", [None, 0.0, 1.0])
def test_a_score_is_never_replaced(store, journal, score):
    _, content = add_candidate(journal)
    journal.add_trial(trial(content, 0.0), None)
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        journal.add_trial(trial(content, score), trace("trc_1"))
    assert journal.find(trial(content).key)["score"] == 0.0
    assert store.rows("SELECT * FROM traces") == []


def test_a_trial_and_its_trace_are_committed_together_or_not_at_all(store, journal):
    _, content = add_candidate(journal)
    with pytest.raises(sqlite3.IntegrityError):
        journal.add_trial(trial(content), trace("trc_1", span("s", "1"), span("s", "2")))
    assert journal.find(trial(content).key) is None
    assert [store.rows(f"SELECT * FROM {table}") for table in ("traces", "texts", "span_records")] == [[], [], []]


def test_texts_that_utf_8_cannot_write_do_not_lose_a_paid_trial(store, journal):
    _, content = add_candidate(journal)
    cut = span("s", '"in \ud83d"', output="out \ude00", error="\ud800")
    journal.add_trial(
        trial(content, output="said \ud83d", error="why \ud800", metadata={"m": "\udfff"}), trace("t", cut)
    )
    row = journal.find(trial(content).key)
    assert (row["output"], row["error"], row["metadata_json"]) == ("said \ufffd", "why \ufffd", '{"m":"\ufffd"}')
    kept = store.row("SELECT input, output, error FROM spans")
    assert kept == {"input": '["in \ufffd"]', "output": "out \ufffd", "error": "\ufffd"}


# -- spans


def test_a_span_comes_back_with_its_inputs_in_their_order(store, journal):
    _, content = add_candidate(journal)
    one, two = '{"content":"é","role":"user"}', '"plain"'
    given = span(
        "s1", LONG, one, two, one, model="m", parent_id="s0", tokens_in=7, tokens_out=2, cost_usd=0.5, error="e",
        replayed=True,
    )  # fmt: skip
    trial_id = journal.add_trial(trial(content), trace("trc_1", given, span("s2")))
    shown = store.row("SELECT * FROM spans WHERE id = 's1'")
    assert json.loads(shown["input"]) == [json.loads(text) for text in (LONG, one, two, one)]
    for name in (
        "type",
        "name",
        "model",
        "parent_id",
        "output",
        "tokens_in",
        "tokens_out",
        "cost_usd",
        "duration_s",
        "error",
    ):
        assert shown[name] == getattr(given, name), name
    assert (shown["trace_id"], shown["replayed"]) == ("trc_1", 1)
    assert store.row("SELECT input FROM spans WHERE id = 's2'") == {"input": "[]"}
    assert store.row("SELECT trial_id, run_id, attributes_json FROM traces") == {
        "trial_id": trial_id, "run_id": "opt_1", "attributes_json": '{"k":1}',
    }  # fmt: skip


def test_a_text_that_comes_again_is_stored_once(store, journal):
    _, content = add_candidate(journal)
    for number in range(20):
        spans = [span(f"s{number}a", LONG, f'"{number}"'), span(f"s{number}b", LONG)]
        journal.add_trial(trial(content, occurrence=number), trace(f"trc_{number}", *spans))
    assert store.row("SELECT count(*) AS n FROM texts") == {"n": 21}
    assert store.row("SELECT count(*) AS n FROM texts WHERE text = ?", (LONG,)) == {"n": 1}
    assert all(json.loads(row["input"])[0] == json.loads(LONG) for row in store.rows("SELECT input FROM spans"))


# -- reflections and proposals


def test_a_reflection_is_answered_from_the_journal(store, journal):
    assert journal.find_reflection("sha256:in", 0) is None
    journal.add_reflection(
        "sha256:in", 0, {"text": "é", "n": 1}, trace("trc_1", span("s", cost_usd=0.5), span("u")), AT
    )
    journal.add_reflection("sha256:in", 1, None, None, AT)
    assert journal.find_reflection("sha256:in", 0) == {"text": "é", "n": 1}
    assert journal.find_reflection("sha256:in", 1) is None
    assert journal.find_reflection("sha256:other", 0) is None
    assert Journal(store, "opt_1", 2).find_reflection("sha256:in", 0) is None
    assert reads.run(store, "opt_1")["cost_usd"] == 0.5
    assert store.row("SELECT trial_id FROM traces") == {"trial_id": None}


def test_a_reflection_is_paid_once(store, journal):
    journal.add_reflection("sha256:in", 0, "text", None, AT)
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        journal.add_reflection("sha256:in", 0, "other", trace("trc_1", span("s", cost_usd=1.0)), AT)
    assert journal.find_reflection("sha256:in", 0) == "text"
    assert reads.run(store, "opt_1")["cost_usd"] is None


def proposal(iteration, candidate, **more):
    return {"iteration": iteration, "component": "instructions", "candidate_id": candidate, "parent_candidate_id": None,
            "feedback_json": "[]", "created_at": AT, **more}  # fmt: skip


def test_a_proposal_is_written_once_however_often_the_search_is_replayed(store, journal):
    row_id, _ = add_candidate(journal)
    first = journal.add_proposal(proposal(1, row_id))
    journal.judge_proposal(first, accepted=True, reason="better", before=0.25, after=0.5)
    again = Journal(store, "opt_1", 1)
    assert again.add_proposal(proposal(1, row_id)) == first
    again.judge_proposal(first, accepted=False, reason="other", before=0.0, after=0.0)
    (row,) = reads.proposals(store, "opt_1", 1)
    assert (row["accepted"], row["reason"], row["minibatch_before"], row["minibatch_after"]) == (1, "better", 0.25, 0.5)


def test_a_proposal_that_gave_no_candidate_is_written_once_too(store, journal):
    ids = [journal.add_proposal(proposal(2, None, reason="unchanged", accepted=0)) for _ in range(2)]
    assert ids[0] == ids[1]
    assert [row["reason"] for row in reads.proposals(store, "opt_1", 1)] == ["unchanged"]


def test_another_iteration_component_or_candidate_is_another_proposal(journal):
    one, two = add_candidate(journal, "1", 0)[0], add_candidate(journal, "2", 1)[0]
    rows = [proposal(1, one), proposal(2, one), proposal(1, one, component="plan"), proposal(1, two), proposal(1, None)]
    assert len({journal.add_proposal(row) for row in rows}) == 5


# -- events and series


def test_events_come_in_their_order_after_a_line(store, journal):
    for number in range(3):
        journal.add_event(AT, "info", f"line {number}", {"n": number} if number else None)
    lines = reads.events(store, "opt_1")
    assert [(line["message"], line["data_json"]) for line in lines] == [
        ("line 0", "{}"), ("line 1", '{"n":1}'), ("line 2", '{"n":2}'),
    ]  # fmt: skip
    assert [line["message"] for line in reads.events(store, "opt_1", after=lines[0]["id"], limit=1)] == ["line 1"]


def test_a_point_of_a_series_that_is_there_stays(store, journal):
    journal.add_point("best", 1, 0.5, AT)
    journal.add_point("best", 1, 0.9, AT)
    journal.add_point("best", 2, 0.75, AT)
    assert [row["value"] for row in store.rows("SELECT value FROM metrics ORDER BY step")] == [0.5, 0.75]


# -- threads


def test_eight_threads_write_fifty_trials_each_and_none_is_lost(store, journal):
    row_id, content = add_candidate(journal)
    together = threading.Barrier(8)

    def work(thread):
        together.wait()
        for number in range(50):
            occurrence = thread * 50 + number
            done = trial(content, number % 2, occurrence=occurrence, task=f"t{number}", cost_usd=0.5)
            kept = trace(f"trc_{occurrence}", span(f"spn_{occurrence}", LONG))
            trial_id = journal.add_trial(done, kept)
            assert journal.find(done.key)["id"] == trial_id

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert store.row("SELECT count(*) AS n, count(DISTINCT id) AS ids FROM trials") == {"n": 400, "ids": 400}
    candidate, run = reads.candidate(store, row_id), reads.run(store, "opt_1")
    assert (candidate["val_n"], candidate["val_mean"]) == (400, 0.5)
    assert (run["trial_count"], run["metric_calls"], run["cost_usd"]) == (400, 400, 200.0)
    assert store.row("SELECT count(*) AS n FROM spans") == {"n": 400}
    assert store.row("SELECT count(*) AS n FROM texts") == {"n": 1}


def test_the_same_trial_of_two_threads_is_kept_once(store, journal):
    done = trial(add_candidate(journal)[1])
    together = threading.Barrier(4)

    def work(number):
        together.wait()
        try:
            journal.add_trial(replace(done, feedback=str(number)), None)
        except sqlite3.IntegrityError:
            return 0
        return 1

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(work, range(4))) == 1
    assert len(store.rows("SELECT * FROM trials")) == 1


def test_a_new_attempt_has_a_journal_of_its_own(store, journal):
    _, content = add_candidate(journal)
    journal.add_trial(trial(content), None)
    second = begin(store, "opt_1")
    add_candidate(second)
    assert second.find(trial(content, attempt=2).key) is None
    second.add_trial(trial(content, 1.0, attempt=2), None)
    assert [row["score"] for row in reads.final_trials(store, "opt_1", 1)] == [0.5]
    assert [row["score"] for row in reads.final_trials(store, "opt_1", 2)] == [1.0]
