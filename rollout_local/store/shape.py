"""Is the database laid out as the migrations left it: every table, index, trigger and view, and no other trigger.

The index for full-text search is there on request, with its triggers. Tables and views that people add for themselves
are theirs. A trigger of another maker could rewrite our rows.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterator

from sqlite_utils import Database

from rollout_local.store import trial_index
from rollout_local.store.migrations import migrations
from rollout_local.store.schema import Store

_OBJECTS = "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL"
_COLUMNS = 'SELECT name, type, "notnull", dflt_value, pk FROM pragma_table_info(?)'
_REFERENCES = 'SELECT "from", "table", "to", on_delete FROM pragma_foreign_key_list(?)'


def problems(store: Store) -> Iterator[str]:
    """Sentences for what is missing, is not as it was made, or was added as a trigger."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh:
        migrations.apply(Database(fresh))
        ours = _objects(fresh)
    with store.reading() as db:
        there = _objects(db)
    if there.keys() & trial_index.TRIGGERS.keys():
        ours |= {name: ("trigger", _plain(sql)) for name, sql in trial_index.TRIGGERS.items()}
    for name, (kind, made) in ours.items():
        if name not in there:
            yield f"the {kind} {name} is missing"
        elif there[name][0] != kind:
            yield f"{name} is a {there[name][0]} where a {kind} should be"
        elif there[name][1] != made:
            yield f"the {kind} {name} is not as rollout-local made it"
    for name, (kind, _made) in there.items():
        if kind == "trigger" and name not in ours:
            yield f"the trigger {name} was made by another program, and may change rows"


def _objects(db: sqlite3.Connection) -> dict[str, tuple[str, object]]:
    """By name: the kind of an object, and how it is made. The order of a table's columns does not count."""
    return {
        name: (kind, _table(db, name) if kind == "table" and not _is_virtual(sql) else _plain(sql))
        for kind, name, sql in db.execute(_OBJECTS).fetchall()
    }


def _is_virtual(sql: str) -> bool:
    """Its columns are known to a module that SQLite may not have."""
    return sql.upper().startswith("CREATE VIRTUAL")


def _table(db: sqlite3.Connection, name: str) -> object:
    return [set(db.execute(sql, (name,)).fetchall()) for sql in (_COLUMNS, _REFERENCES)]


def _plain(sql: str) -> str:
    """A statement without what SQLite's versions write differently: white space and quotes around names."""
    return re.sub(r"\s+", "", sql).replace('"', "").lower()
