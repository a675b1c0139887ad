"""The database is as the migrations left it, or what is not so is named."""

from __future__ import annotations

import sqlite3

import pytest

from rollout_local.errors import StoreError
from rollout_local.store import check, reads, shape
from rollout_local.store.schema import open_store
from tests.unit.store.conftest import add_candidate, trial


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("DROP TABLE metrics", "the table metrics is missing"),
        ("ALTER TABLE metrics RENAME TO m; CREATE VIEW metrics AS SELECT * FROM m", "metrics is a view where a table"),
        (
            "CREATE TRIGGER t AFTER INSERT ON events BEGIN UPDATE candidates SET text = 'x'; END",
            "the trigger t was made",
        ),
        ("DROP TRIGGER trials_are_kept", "the trigger trials_are_kept is missing"),
        ("DROP INDEX trials_feed", "the index trials_feed is missing"),
        ("ALTER TABLE metrics ADD COLUMN more TEXT", "the table metrics is not as rollout-local made it"),
        ("DROP VIEW errors; CREATE VIEW errors AS SELECT 1", "the view errors is not as rollout-local made it"),
    ],
)
def test_what_is_missing_changed_or_added_as_a_trigger_is_named(store, sql, words):
    db = sqlite3.connect(store.path)
    db.executescript(sql)
    db.close()
    assert any(words in problem for problem in check.problems(store))


def test_tables_and_views_of_other_peoples_are_theirs(store):
    with store.write() as db:
        db.execute("CREATE TABLE notes (text TEXT)")
        db.execute("CREATE VIEW mine AS SELECT id FROM runs")
        db.execute("CREATE INDEX mine_too ON notes (text)")
    assert list(shape.problems(store)) == []


def test_a_candidate_whose_text_was_edited_is_not_read(store, journal):
    row_id, content = add_candidate(journal)
    journal.add_trial(trial(content), None)
    with store.write() as db:
        db.execute("UPDATE candidates SET text = 'Be evil.', components_json = '{\"instructions\":\"Be evil.\"}'")
    for read in (lambda: reads.candidate(store, row_id), lambda: reads.candidates(store, "opt_1", 1)):
        with pytest.raises(
            StoreError, match=r"the text of candidate 0 of run opt_1 .* was changed after it was written"
        ):
            read()


def test_an_empty_file_is_no_database_of_ours_unless_one_is_to_be_made(tmp_path):
    path = tmp_path / "empty.db"
    path.touch()
    with pytest.raises(StoreError, match="is empty: no run was ever in it"):
        open_store(path, create=False)
    assert path.read_bytes() == b""
    open_store(path).close()
