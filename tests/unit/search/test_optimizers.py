"""The table of optimizers: whole, and nothing beside it."""

from __future__ import annotations

import inspect

import pytest

from rollout_local.search.arguments import Table
from rollout_local.search.optimizers import GIVEN, OPTIMIZERS, Optimizer
from tests.conftest import ROOT

ROWS = (*OPTIMIZERS.values(), GIVEN)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_a_row_names_is_there(row: Optimizer) -> None:
    assert list(inspect.signature(row.engine()).parameters) == ["spec", "signals"]
    assert isinstance(row.table(), Table)


def test_every_search_that_is_written_has_a_row() -> None:
    sources = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "rollout_local/search").glob("*.py")}
    written = {name for name, source in sources.items() if "\ndef search(" in source}
    assert written == {row.search.partition(":")[0] for row in ROWS}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_is_in_the_readme(name: str) -> None:
    assert f"`{name}`" in (ROOT / "README.md").read_text(encoding="utf-8")
