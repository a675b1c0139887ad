"""`rollout db`: what is found, what is mended, what is copied."""

from __future__ import annotations

import contextlib
import sqlite3
import stat
import tarfile

import pytest

from rollout_local.domain.identity import text_hash
from rollout_local.errors import InputError, StoreError
from rollout_local.store import chain, check, reads, releases, rollups
from rollout_local.store.schema import open_store
from tests.conftest import ROOT
from tests.unit.store.conftest import add_candidate, trial


@pytest.fixture
def filled(store, journal):
    """A candidate with two trials on val and one without a score on train."""
    _, content = add_candidate(journal)
    journal.add_trial(trial(content, 0.25, task="a"), None)
    journal.add_trial(trial(content, 0.75, task="b"), None)
    journal.add_trial(trial(content, None, task="c", split="train"), None)
    return store


def change(store, sql):
    with store.write() as db:
        db.execute(sql)


def found(store):
    return list(check.problems(store))


def test_a_database_without_runs_and_one_with_a_run_are_whole(store, filled):
    assert found(filled) == []


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        (
            "UPDATE candidates SET val_n = 3",
            "candidate 0 on val shows 3 trials with the sum 1, the mean 0.5 and the best 0.75; there are 2 with 1, 0.5",
        ),
        ("UPDATE candidates SET val_sum = 1.5", "candidate 0 on val shows 2 trials with the sum 1.5"),
        ("UPDATE candidates SET train_n = 1, train_sum = 1", "candidate 0 on train shows 1 trials"),
        ("UPDATE candidates SET holdout_sum = 0.1", "there are 0 with 0, none"),
    ],
)
def test_a_wrong_roll_up_is_found_and_made_anew(filled, sql, words):
    whole = filled.rows("SELECT * FROM candidates")
    change(filled, sql)
    assert len(found(filled)) == 1
    assert words in found(filled)[0]
    assert rollups.rebuild(filled) == 1
    assert found(filled) == []
    assert filled.rows("SELECT * FROM candidates") == whole
    assert rollups.rebuild(filled) == 0


def test_a_mean_that_is_not_the_mean_of_its_trials_is_mended_with_its_sum(filled):
    change(filled, "UPDATE candidates SET val_mean = 9, val_sum = 9, holdout_n = 2, holdout_mean = 1")
    assert rollups.rebuild(filled) == 2
    row = filled.row("SELECT val_mean, holdout_mean FROM candidates")
    assert (row["val_mean"], row["holdout_mean"]) == (0.5, None)


def test_a_row_that_refers_to_nothing_is_found(filled):
    db = sqlite3.connect(filled.path)
    db.execute("PRAGMA foreign_keys=OFF")
    db.execute("INSERT INTO candidate_parents VALUES (1, 99)")
    db.commit()
    db.close()
    assert found(filled) == ["a row of candidate_parents refers to a row of candidates that is not there"]


def test_a_door_for_deletion_that_was_left_open_is_found(filled):
    change(filled, "INSERT INTO deleted_runs VALUES ('opt_1', 0, '', 'me', '2026', 1)")
    assert found(filled) == [
        "run opt_1: its rows are open to be deleted, as they are only while `rollout optimize delete` does it"
    ]


def test_an_index_that_lost_an_entry_is_found_by_sqlite(filled):
    db = sqlite3.connect(filled.path, isolation_level=None)
    db.execute("PRAGMA writable_schema=ON")
    db.execute("UPDATE sqlite_master SET sql = replace(sql, 'val_mean)', 'train_n)') WHERE name = 'candidates_ranked'")
    db.close()
    with open_store(filled.path) as again:
        assert any(problem.startswith("SQLite: ") for problem in check.problems(again))


def test_a_backup_is_whole_and_is_never_written_over_a_file(filled, tmp_path):
    target = tmp_path / "copy.db"
    check.backup(filled, target)
    with open_store(target, create=False) as copy:
        assert found(copy) == []
        assert copy.rows("SELECT * FROM trials") == filled.rows("SELECT * FROM trials")
    with pytest.raises(InputError, match="exists; give a file that does not"):
        check.backup(filled, target)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_a_backup_into_a_folder_that_is_not_there_is_refused_and_leaves_nothing(filled, tmp_path):
    with pytest.raises(StoreError, match="cannot be written"):
        check.backup(filled, tmp_path / "none" / "copy.db")
    assert not (tmp_path / "none").exists()


def test_vacuum_gives_space_back(filled):
    change(filled, "INSERT INTO texts SELECT 'h', hex(randomblob(400000))")
    change(filled, "DELETE FROM texts WHERE hash = 'h'")
    change(filled, "PRAGMA user_version = 0")
    before = filled.row("PRAGMA page_count")["page_count"]
    check.vacuum(filled)
    assert filled.row("PRAGMA page_count")["page_count"] < before
    assert found(filled) == []


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The database of a whole run, brought up to date."""
    folder = tmp_path_factory.mktemp("whole")
    with tarfile.open(ROOT / "tests/landed/0005_programs.tar.gz") as archive:
        archive.extract("./rollout.db", folder, filter="data")
    with open_store(folder / "rollout.db") as store:
        row = {"run_id": reads.run(store, "latest")["id"], "attempt": 1, "target_id": "support-reply",
               "to_path": "prompt.txt", "text": "New.", "text_hash": text_hash("New."), "former_text": "Old.",
               "former_hash": text_hash("Old."), "forced": 0, "actor": "someone", "at": "2026"}  # fmt: skip
        releases.add_promotion(store, row)
        with store.write() as db:  # as the present version writes its entries
            db.execute("UPDATE runs SET cost_usd = 0.5")
            db.execute("DELETE FROM journal_entries")
            chain.complete(db, row["run_id"])
    return folder / "rollout.db"


UNNOTICED = {
    "attempts": "pid host started_at ended_at outcome",
    "datasets": "version name task_count created_at",
    "leases": "token host boot process beats beat_s",
    "metrics": "attempt name step value at",
    "promotions": "attempt target_id to_path forced unmet_json actor at",
    "runs": "project message cost_usd heartbeat_at last_event_at rev started_at finished_at log_dir recording active_s"
    " queued wants_fresh restarts",
    "span_records": "type name model input_hashes_json output tokens_in tokens_out started_at duration_s replayed",
    "targets": "source modules_json synced_at",
    "tasks": "position",
    "traces": "name run_id attributes_json started_at duration_s",
    "verifiers": "name created_at",
}
"""What an edit of goes unnoticed, by table: `rollout db check --help` says so in words."""


def edited(value):
    """What a stray UPDATE makes of a value."""
    if isinstance(value, str):
        return value[:-1] + "x" + value[-1] if value else "x"
    return value + 1 if isinstance(value, int) else value * 0.5 + 0.1


def columns_of(path):
    with contextlib.closing(sqlite3.connect(path)) as db:
        for (table,) in db.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB '[a-z]*'"
        ).fetchall():
            columns = db.execute("SELECT name, pk FROM pragma_table_info(?)", (table,)).fetchall()
            yield from ((table, name) for name, key in columns if not key and not table.startswith("sqlite"))


def notices(store, table, column):
    """Whether an edit of a column is noticed; None where there is nothing to edit, or SQLite refuses it."""
    with store.reading() as db:
        db.execute("BEGIN")
        try:
            triggers = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
            for name, _ in triggers:
                db.execute(f"DROP TRIGGER {name}")
            sql = f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL ORDER BY 1"
            values = [row[0] for row in db.execute(sql)]
            if not values:
                return None
            value = values[len(values) // 2]
            try:
                db.execute(f"UPDATE {table} SET {column} = ? WHERE {column} IS ?", (edited(value), value))
            except sqlite3.IntegrityError:
                return None
            for _, sql in triggers:
                db.execute(sql)
            return next(check.problems(store), None) is not None
        finally:
            db.execute("ROLLBACK")


def test_an_edit_of_any_column_is_noticed_but_of_those_that_are_named(whole):
    unnoticed = {}
    with open_store(whole, create=False) as store:
        with store.reading() as db:
            db.execute("PRAGMA foreign_keys=OFF")
        for table, column in columns_of(whole):
            if notices(store, table, column) is False:
                unnoticed.setdefault(table, []).append(column)
    assert {table: set(columns) for table, columns in unnoticed.items()} == {
        table: set(columns.split()) for table, columns in UNNOTICED.items()
    }
