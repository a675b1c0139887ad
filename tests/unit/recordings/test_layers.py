"""Modules of `recordings` do not import each other in a circle, types included."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import rollout_local.recordings

ROOT = Path(rollout_local.recordings.__file__).parent
PACKAGE = "rollout_local.recordings"


def imported(path: Path) -> set[str]:
    """The modules of the package that one names, in a block for types or inside a function, too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == PACKAGE:
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE + "."):
            found.add(str(node.module).removeprefix(PACKAGE + ".").partition(".")[0])
    return found


def test_there_is_no_circle() -> None:
    modules = {path.stem: path for path in ROOT.glob("*.py") if path.stem != "__init__"}
    graph = {name: imported(path) & set(modules) for name, path in modules.items()}
    assert graph["session"], "session needs others"
    order = list(TopologicalSorter(graph).static_order())
    assert order.index("scopes") < order.index("session") < order.index("current")
