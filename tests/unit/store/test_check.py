"""`rollout db`: what is found, what is mended, what is copied."""

from __future__ import annotations

import sqlite3

import pytest

from rollout_local.errors import InputError, StoreError
from rollout_local.store import check
from rollout_local.store.schema import open_store
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
        ("UPDATE candidates SET val_n = 3", "candidate 0 shows 3 trials on val with the sum 1; there are 2 with 1"),
        ("UPDATE candidates SET val_sum = 1.5", "candidate 0 shows 2 trials on val with the sum 1.5"),
        ("UPDATE candidates SET train_n = 1, train_sum = 1", "candidate 0 shows 1 trials on train"),
        ("UPDATE candidates SET holdout_sum = 0.1", "there are 0 with 0"),
    ],
)
def test_a_wrong_roll_up_is_found_and_made_anew(filled, sql, words):
    whole = filled.rows("SELECT * FROM candidates")
    change(filled, sql)
    assert len(found(filled)) == 1
    assert words in found(filled)[0]
    assert check.rebuild(filled) == 1
    assert found(filled) == []
    assert filled.rows("SELECT * FROM candidates") == whole
    assert check.rebuild(filled) == 0


def test_a_mean_that_is_not_the_mean_of_its_trials_is_mended_with_its_sum(filled):
    change(filled, "UPDATE candidates SET val_mean = 9, val_sum = 9, holdout_n = 2, holdout_mean = 1")
    assert check.rebuild(filled) == 2
    row = filled.row("SELECT val_mean, holdout_mean FROM candidates")
    assert (row["val_mean"], row["holdout_mean"]) == (0.5, None)


def test_a_row_that_refers_to_nothing_is_found(filled):
    db = sqlite3.connect(filled.path)
    db.execute("PRAGMA foreign_keys=OFF")
    db.execute("INSERT INTO candidate_parents VALUES (1, 99)")
    db.commit()
    db.close()
    assert found(filled) == ["a row of candidate_parents refers to a row of candidates that is not there"]


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
