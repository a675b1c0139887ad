"""The chain over a journal: every entry follows the one before, and every row is what was written."""

from __future__ import annotations

from typing import get_type_hints

import pytest

from rollout_local.domain.dataset import SPLITS
from rollout_local.store import chain
from rollout_local.store.journal import Journal
from rollout_local.store.row_types import RUN_TABLES
from tests.unit.store.conftest import AT, add_candidate, begin, trial

TRIGGERS = "SELECT name FROM sqlite_master WHERE type = 'trigger'"


MAY_CHANGE = {
    "candidates": {f"{split}_{what}" for split in SPLITS for what in ("sum", "mean", "n")} | {"val_best"},
    "proposals": {"candidate_id", "parent_candidate_id"},
    "trials": {"candidate_id", "superseded_by"},
    "runs": {
        "active_s", "archived_at", "attempt", "baseline_candidate_id", "best_candidate_id", "concurrency_now",
        "confirmed", "cost_usd", "dataset_id", "degraded", "error_count", "finished_at", "folder", "heartbeat_at",
        "last_event_at", "log_dir", "message", "metric_calls", "name", "note", "phase", "project", "queued",
        "recording", "restarts", "rev", "run_ref", "started_at", "status", "stop_reason", "tags_json",
        "target_row_id", "trial_count", "val_dataset_id", "verifier_ids_json", "wants_fresh",
    },
}  # fmt: skip
"""Columns that no entry hashes: roll-ups, row ids, where a run stands, and what is its owner's."""


@pytest.mark.parametrize("table", chain.KINDS)
def test_every_column_is_hashed_or_may_change(table):
    """A column that is added is one or the other: to be hashed, it needs a new `chain.FORMAT`."""
    hashed = set(chain.COLUMNS[chain.FORMAT][table])
    assert set(get_type_hints(RUN_TABLES[table])) - hashed - {"id", "run_id"} == MAY_CHANGE.get(table, set())


@pytest.fixture
def written(store, journal) -> Journal:
    """Three events, two trials (one superseded), a reflection."""
    _, content = add_candidate(journal)
    for n in range(3):
        journal.add_event(AT, "info", f"event {n}", {"n": n})
    journal.add_trial(trial(content, None), None)
    journal.add_trial(trial(content, 0.5), None)
    journal.add_reflection("sha256:x", 0, {"text": "ü \ud800"}, None, AT)
    return journal


def change(store, sql):
    with store.write() as db:
        for (name,) in db.execute(TRIGGERS).fetchall():
            db.execute(f"DROP TRIGGER {name}")
        db.execute(sql)


def found(store):
    return list(chain.problems(store, "opt_1"))


def test_what_was_written_is_whole_and_superseding_changes_no_hash(store, written):
    assert found(store) == []
    assert [row["seq"] for row in store.rows("SELECT seq FROM journal_entries ORDER BY seq")] == list(range(1, 9))
    assert store.row("SELECT count(*) AS n FROM trials WHERE superseded_by IS NOT NULL")["n"] == 1


def test_each_run_has_a_chain_of_its_own_that_goes_on_over_attempts(store, written, add_run):
    other = begin(store, add_run("opt_2"))
    other.add_event(AT, "info", "first")
    begin(store, "opt_1").add_event(AT, "info", "second attempt")
    heads = store.rows("SELECT run_id, max(seq) AS last FROM journal_entries GROUP BY run_id ORDER BY run_id")
    assert [(row["run_id"], row["last"]) for row in heads] == [("opt_1", 9), ("opt_2", 2)]
    assert found(store) == list(chain.problems(store, "opt_2")) == []


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("DELETE FROM journal_entries WHERE seq = 3",
         ["journal entries 3 to 3 are missing", "broken at journal entry 4",
          "1 rows of events have no journal entry"]),
        ("DELETE FROM events WHERE id = 2", ["row 2 of events is missing (journal entry 4)"]),
        ("UPDATE trials SET feedback = 'better' WHERE id = 2",
         ["row 2 of trials is not what was written (journal entry 7)"]),
        ("UPDATE events SET message = CAST(x'80' AS TEXT) WHERE id = 1", ["row 1 of events cannot be read"]),
        ("UPDATE journal_entries SET kind = 'leases' WHERE seq = 8",
         ["broken at journal entry 8", "of leases is in a table that the journal does not cover",
          "1 rows of reflections have no journal entry"]),
        ("UPDATE journal_entries SET row_hash = 'ü' WHERE seq = 8",
         ["broken at journal entry 8", "of reflections is not what was written"]),
    ],
)  # fmt: skip
def test_what_was_changed_afterwards_is_named(store, written, sql, words):
    change(store, sql)
    problems = found(store)
    assert len(problems) == len(words), problems
    for problem, said in zip(problems, words, strict=True):
        assert said in problem
        assert problem.startswith("run opt_1: ")


def test_an_entry_is_undone_with_its_row(store, written):
    def fail() -> None:
        with store.write() as db:
            chain.append(db, "opt_1", "events", 1)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert found(store) == []
