"""Full-text search over what trials gave and were told: SQLite's FTS5 over `trials`, kept up to date by triggers.

It is off until `rollout db index` builds it, since every trial then pays for it. The words are in the index alone, the
texts stay where they are (external content), and Datasette finds the index by itself. Trials are never edited, so an
insert and the deletion of a run are all that there is to follow.

On is an index with its triggers. Where SQLite has no FTS5 nothing can be written to a file that is indexed, and the
table of the index cannot be dropped either; without its triggers it harms nobody, and is built anew.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Sequence

from rollout_local.errors import StoreError
from rollout_local.store.schema import Store

TABLE = "trials_fts"
COLUMNS = ("output", "feedback", "error")
_NAMES = ", ".join(COLUMNS)
_TABLE_SQL = (
    f'CREATE VIRTUAL TABLE {TABLE} USING fts5({_NAMES}, content="trials", content_rowid="id", columnsize=0,'
    ' tokenize="unicode61 remove_diacritics 2")'
)
TRIGGERS = {
    f"{TABLE}_inserted": f"""CREATE TRIGGER {TABLE}_inserted AFTER INSERT ON trials BEGIN
        INSERT INTO {TABLE} (rowid, {_NAMES}) VALUES (NEW.id, {", ".join("NEW." + name for name in COLUMNS)});
    END""",
    f"{TABLE}_deleted": f"""CREATE TRIGGER {TABLE}_deleted AFTER DELETE ON trials BEGIN
        INSERT INTO {TABLE} ({TABLE}, rowid, {_NAMES})
            VALUES ('delete', OLD.id, {", ".join("OLD." + name for name in COLUMNS)});
    END""",
}
"""By name, as they are made."""
SHORTEST_BEGINNING = 3
"""Characters of a word of which only the beginning is given: of a shorter one, all words of the file are looked at."""


def has_fts5(db: sqlite3.Connection) -> bool:
    """Whether this SQLite was built with FTS5."""
    return db.execute("SELECT 1 FROM pragma_module_list WHERE name = 'fts5'").fetchone() is not None


def is_on(store: Store) -> bool:
    """Whether the file has an index that is kept up to date."""
    marks = ", ".join("?" * len(TRIGGERS))
    sql = f"SELECT 1 FROM sqlite_master WHERE type = 'trigger' AND name IN ({marks}) GROUP BY type HAVING count(*) = 2"
    return store.has(sql, tuple(TRIGGERS))


def build(store: Store, has: Callable[[sqlite3.Connection], bool] = has_fts5) -> int:
    """Make the index, or make it anew, in one transaction; returns how many trials it holds.

    Raises `StoreError` where SQLite has no FTS5.
    """
    with store.write() as db:
        if not has(db):
            msg = f"the SQLite of this Python ({sqlite3.sqlite_version}) has no FTS5, which full-text search needs"
            raise StoreError(msg)
        _drop_triggers(db)
        db.execute(f"DROP TABLE IF EXISTS {TABLE}")
        for statement in (_TABLE_SQL, *TRIGGERS.values()):
            db.execute(statement)
        db.execute(f"INSERT INTO {TABLE} ({TABLE}) VALUES ('rebuild')")
        return int(db.execute("SELECT count(*) FROM trials").fetchone()[0])


def remove(store: Store, has: Callable[[sqlite3.Connection], bool] = has_fts5) -> bool:
    """Take the index away; False where there was none. Without FTS5 its table stays, and is of no use to anybody."""
    was_on = is_on(store)
    with store.write() as db:
        _drop_triggers(db)
        if has(db):
            db.execute(f"DROP TABLE IF EXISTS {TABLE}")
    return was_on


def forget_the_deleted(store: Store) -> None:
    """Let words of deleted trials leave the index: they stay in its older parts until these are merged."""
    if is_on(store):
        with store.write() as db:
            db.execute(f"INSERT INTO {TABLE} ({TABLE}) VALUES ('optimize')")


def words(text: str) -> list[str]:
    """The words of a search, and what stands in quotation marks, each as one."""
    found = re.findall(r'"([^"]*)"?|(\S+)', text.replace("\0", ""))
    return [part for quoted, plain in found if (part := quoted.strip() or plain)]


def match(asked: Sequence[str]) -> str:
    """The expression of FTS5 for trials with all of these words: whole ones, phrases, or beginnings (`refun*`)."""
    return " AND ".join(_term(word) for word in asked)


def _term(word: str) -> str:
    stem = word.rstrip("*")
    is_beginning = stem != word and len(stem) >= SHORTEST_BEGINNING
    return f'"{stem.replace(chr(34), "")}"' + ("*" if is_beginning else "")


def _drop_triggers(db: sqlite3.Connection) -> None:
    for name in TRIGGERS:
        db.execute(f"DROP TRIGGER IF EXISTS {name}")
