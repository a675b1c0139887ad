"""SQL stands in `store`, and what the pages need beyond it in `ui/queries`: whoever changes a column looks there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import rollout_local

ROOT = Path(rollout_local.__file__).parent
STATEMENT = re.compile(
    r"\s*(SELECT\s|INSERT\s+(OR\s+\w+\s+)?INTO\s|UPDATE\s+\S*\s*SET\s|DELETE\s+FROM\s|REPLACE\s+INTO\s|PRAGMA\s|ATTACH\s"
    r"|(CREATE|ALTER|DROP)\s+(TABLE|VIEW|INDEX|TRIGGER|VIRTUAL)\b)"
)


def statements(source: str) -> Iterator[tuple[int, str]]:
    """The texts in a module that begin as a statement of SQL does, parts of f-strings among them; no docstrings."""
    tree = ast.parse(source)
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone
        if is_text and STATEMENT.match(node.value):
            yield node.lineno, node.value


def has_a_door(path: Path) -> bool:
    place = path.relative_to(ROOT)
    return place.parts[0] == "store" or place == Path("ui/queries.py") or "starter" in place.parts


def test_sql_stands_in_store_and_queries_alone() -> None:
    elsewhere = {
        f"{path.relative_to(ROOT)}:{line}: {sql[:60]}"
        for path in ROOT.rglob("*.py")
        if not has_a_door(path)
        for line, sql in statements(path.read_text(encoding="utf-8"))
    }
    assert elsewhere == set()


@pytest.mark.parametrize(
    "source",
    [
        "store.row('SELECT 1')",
        "f'UPDATE runs SET {name} = 1'",
        "sql = f'INSERT OR IGNORE INTO {table} VALUES (1)'",
        "x('PRAGMA x')",
    ],
)
def test_a_statement_is_found_in_any_text(source: str) -> None:
    assert list(statements(source))


@pytest.mark.parametrize("source", ["'Select a run.'", "'update it'", '"""SELECT 1"""', "'The PRAGMA is read.'"])
def test_words_and_docstrings_are_none(source: str) -> None:
    assert not list(statements(source))
