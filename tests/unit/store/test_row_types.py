"""The types of rows are the columns of a migrated database: names, types, and what may be missing."""

from __future__ import annotations

import re
import types
import typing
from pathlib import Path

import pytest

import rollout_local
from rollout_local.store.catalog_rows import CATALOG_TABLES
from rollout_local.store.row_types import RUN_TABLES
from rollout_local.store.schema import Store, open_store
from rollout_local.store.view_rows import VIEWS

TABLES = {**RUN_TABLES, **CATALOG_TABLES}

PYTHON = {"INTEGER": int, "REAL": float, "TEXT": str}


@pytest.fixture
def store(tmp_path: Path):
    with open_store(tmp_path / "rollout.db") as opened:
        yield opened


def columns(store: Store, name: str) -> dict[str, tuple[type | None, bool]]:
    rows = store.rows("SELECT * FROM pragma_table_info(?)", (name,))
    return {row["name"]: (PYTHON.get(row["type"]), not (row["notnull"] or row["pk"])) for row in rows}


def declared(kind: type) -> dict[str, tuple[type, bool]]:
    found = {}
    for name, hint in typing.get_type_hints(kind).items():
        parts = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        (plain,) = (part for part in parts if part is not type(None))
        found[name] = (plain, type(None) in parts)
    return found


def objects(store: Store, kind: str) -> set[str]:
    rows = store.rows("SELECT name FROM sqlite_master WHERE type = ?", (kind,))
    return {row["name"] for row in rows if not re.match("_?sqlite_", row["name"])}


def test_every_table_and_view_has_a_type(store):
    assert set(TABLES) == objects(store, "table")
    assert set(VIEWS) == objects(store, "view")


@pytest.mark.parametrize("name", TABLES)
def test_a_tables_type_is_its_columns(store, name):
    assert declared(TABLES[name]) == columns(store, name)


@pytest.mark.parametrize("name", VIEWS)
def test_a_views_type_is_its_columns(store, name):
    seen, said = columns(store, name), declared(VIEWS[name])
    assert set(said) == set(seen)
    for column, (kind, _) in seen.items():  # of a view SQLite does not say what may be missing
        assert kind in (None, said[column][0]), column


PACKAGE = Path(rollout_local.__file__).parent
MADE = re.compile(r"store/(ddl\w*|migrations|\w+_rows|\w+_types)\.py$")
"""Where a column is made and typed."""


def test_every_column_is_named_by_what_writes_or_shows_it():
    kinds = {".py", ".html", ".js"}
    files = [path for path in PACKAGE.rglob("*") if path.suffix in kinds and not MADE.search(path.as_posix())]
    words = {word for path in files for word in re.findall(r"\w+", path.read_text(encoding="utf-8"))}
    unused = [(table, column) for table, kind in TABLES.items() for column in declared(kind) if column not in words]
    assert unused == []
