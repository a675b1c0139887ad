"""All of a run leaves the file in one transaction, and nothing of any other run changes."""

from __future__ import annotations

import os
import sqlite3

import pytest

from rollout_local.domain.identity import text_hash
from rollout_local.domain.run import RunStatus
from rollout_local.errors import Refused, StoreError
from rollout_local.store import chain, check, deletion, lease, reads, releases, run_tables
from rollout_local.store.journal import SpanRecord, TraceRecord
from rollout_local.store.schema import open_store
from tests.unit.store.conftest import AT, add_candidate, begin, trial


def fill(store, add_run, run_id):
    """A run with rows in every table: two candidates, a corrected trial, traces with a text of its own and a shared."""
    journal = begin(store, add_run(run_id))
    first, text = add_candidate(journal)
    second, better = add_candidate(journal, "Better.", 1, [first])
    for n, (content, score) in enumerate(((text, None), (text, 0.5), (better, 1.0))):
        span = SpanRecord(f"sp-{run_id}-{n}", "model", "m", ['"shared"', f'"only {run_id}"'], "out", AT, 0.5)
        trace = TraceRecord(f"tr-{run_id}-{n}", "trial", AT, 1.0, [span], {})
        journal.add_trial(trial(content, score, trace_id=trace.id, answer={"a": 1}), trace)
    journal.add_reflection("sha256:in", 0, {"text": "new"}, None, AT)
    journal.add_proposal({"iteration": 0, "parent_candidate_id": first, "component": "instructions",
                          "candidate_id": second, "feedback_json": "[]", "created_at": AT})  # fmt: skip
    journal.add_event(AT, "info", f"secretly {run_id}")
    journal.add_point("best_val", 1, 0.5, AT)
    with store.write() as db:
        db.execute(
            "INSERT INTO reports (run_id, attempt, report_json, created_at) VALUES (?, 1, '{}', ?)", (run_id, AT)
        )
        chain.append(db, run_id, "reports", db.execute("SELECT max(id) FROM reports").fetchone()[0])
        db.execute("UPDATE runs SET baseline_candidate_id = ?, best_candidate_id = ?", (first, second))
        db.execute("UPDATE runs SET baseline_candidate_id = NULL, best_candidate_id = NULL WHERE id != ?", (run_id,))
    return run_id


@pytest.fixture
def two(store, add_run):
    """Two runs that are alike."""
    return [fill(store, add_run, name) for name in ("opt_gone", "opt_kept")]


def promote(store, run_id="opt_gone", **columns):
    row = {"run_id": run_id, "attempt": 1, "target_id": "support", "text": "t", "text_hash": text_hash("t"),
           "former_text": "f", "former_hash": text_hash("f"), "forced": 0, "reason": None, "unmet_json": "[]",
           "actor": "me", "at": AT, "reverts": None, "pending": None, "capability": None, "agent": None,
           "from_version": None, "to_version": None, "to_path": "agent.txt", **columns}  # fmt: skip
    return releases.add_promotion(store, row)


def delete(store, run_id="opt_gone", **given):
    deletion.delete(store, run_id, actor="me", at=AT, **given)


def mentions(store, run_id):
    """Tables that still hold a row of a run."""
    tables = store.rows("SELECT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c ON c.name = 'run_id'"
                        " WHERE m.type = 'table'")  # fmt: skip
    found = {name for (name,) in (row.values() for row in tables)}
    assert {"trials", "journal_entries", "metrics", "leases", "promotions"} < found
    return {name for name in found if store.rows(f"SELECT 1 FROM {name} WHERE run_id = ?", (run_id,))}


def test_every_row_of_the_run_goes_and_every_other_stays(store, two):
    promote(store, reverts=promote(store))
    whole, head = run_tables.gather(store, "opt_kept"), chain.head(store, "opt_kept")
    before = [problem for problem in check.problems(store) if "opt_gone" not in problem]
    delete(store)
    assert mentions(store, "opt_gone") == {"deleted_runs"}
    assert run_tables.gather(store, "opt_kept") == whole
    assert chain.head(store, "opt_kept") == head
    assert list(check.problems(store)) == before
    assert [row["run_id"] for row in store.rows("SELECT DISTINCT run_id FROM candidate_tasks")] == ["opt_kept"]
    assert store.rows("SELECT * FROM candidate_parents") == store.rows(
        "SELECT e.* FROM candidate_parents e JOIN candidates c ON c.id = e.candidate_id"
    )
    assert {row["text"] for row in store.rows("SELECT text FROM texts")} == {'"shared"', '"only opt_kept"'}
    assert store.rows("PRAGMA foreign_keys") == [{"foreign_keys": 1}]


def test_what_stays_says_who_deleted_it_and_where_its_journal_ended(store, two):
    head = chain.head(store, "opt_gone")
    delete(store)
    gone = deletion.record(store, "opt_gone")
    assert (gone["entries"], gone["chain"], gone["actor"], gone["at"], gone["deleting"]) == (*head, "me", AT, 0)


def test_the_door_is_shut_again_and_was_never_open_for_others(store, two):
    with store.write() as db:
        db.execute("INSERT INTO deleted_runs VALUES ('opt_gone', 0, '', 'me', '', 1)")
    with pytest.raises(sqlite3.IntegrityError, match="trials are append only"), store.write() as db:
        db.execute("DELETE FROM trials")
    delete(store)
    with pytest.raises(sqlite3.IntegrityError, match="trials are append only"), store.write() as db:
        db.execute("DELETE FROM trials")


def test_a_run_that_is_imported_again_can_be_deleted_again(store, two, add_run):
    delete(store)
    fill(store, add_run, "opt_gone")
    delete(store)
    assert mentions(store, "opt_gone") == {"deleted_runs"}


def test_its_rows_leave_the_file_at_vacuum(store, two):
    delete(store)
    check.vacuum(store)
    store.close()
    data = b"".join(path.read_bytes() for path in store.path.parent.glob("*.db*"))
    assert b"secretly opt_kept" in data
    assert b"secretly opt_gone" not in data


def test_a_run_that_somebody_runs_is_refused_and_stays(store, two):
    other = open_store(store.path)
    held = lease.acquire(other, "opt_gone", at=AT)
    with pytest.raises(Refused, match=f"is being run by process {os.getpid()}"):
        delete(store)
    assert reads.is_there(store, "opt_gone")
    held.release()
    other.close()
    delete(store)
    assert not reads.is_there(store, "opt_gone")


def test_a_run_whose_runner_is_gone_can_be_deleted(store, two):
    with store.write() as db:
        db.execute("UPDATE runs SET status = ? WHERE id = 'opt_gone'", (RunStatus.RUNNING,))
        db.execute("INSERT INTO leases VALUES ('opt_gone', 4, 999999, 'here', ?, 'never', 1, 0)",
                   (lease.Machine().this().boot,))  # fmt: skip
    delete(store)
    assert not reads.is_there(store, "opt_gone")


def test_a_run_whose_promotion_stands_is_deleted_by_force_alone(store, two):
    promote(store)
    with pytest.raises(Refused, match=r"stands in agent.txt; take it back with `rollout optimize promote opt_gone"):
        delete(store)
    assert reads.is_there(store, "opt_gone")
    assert store.rows("SELECT 1 FROM leases WHERE run_id = 'opt_gone' AND pid IS NOT NULL") == []
    delete(store, force=True)
    assert mentions(store, "opt_gone") == {"deleted_runs"}


def test_a_published_version_stays_and_forgets_where_it_came_from(store, two):
    release = {"name": "cap", "version": "1.0.1", "description": "d", "content_hash": "sha256:c", "manifest_json": "{}",
               "agents_json": "[]", "files_json": "{}", "promoted_from_run": "opt_gone", "created_at": AT}  # fmt: skip
    releases.add_version(store, release)
    before = store.rows("SELECT * FROM capability_versions")
    for change in ("promoted_from_run = NULL", "promoted_from_run = 'opt_kept'", "description = 'x'"):
        with pytest.raises(sqlite3.IntegrityError, match="a published version never changes"), store.write() as db:
            db.execute(f"UPDATE capability_versions SET {change}")
    delete(store)
    assert store.rows("SELECT * FROM capability_versions") == [before[0] | {"promoted_from_run": None}]


def test_nothing_is_changed_where_a_row_of_another_run_refers_to_it(store, two):
    with store.write() as db:
        row = db.execute("SELECT id FROM candidates WHERE run_id = 'opt_gone'").fetchone()
        db.execute("UPDATE runs SET best_candidate_id = ? WHERE id = 'opt_kept'", row)
    with pytest.raises(StoreError, match="a row of runs would refer to a row of candidates that is not there"):
        delete(store)
    assert reads.is_there(store, "opt_gone")
    assert store.rows("SELECT * FROM deleted_runs") == []
    assert store.rows("PRAGMA foreign_keys") == [{"foreign_keys": 1}]


def test_what_goes_is_counted(store, two):
    assert deletion.counts(store, "opt_gone") == {
        "candidates": 2, "trials": 3, "traces": 3, "reports": 1, "promotions": 0,
    }  # fmt: skip
