"""The module that this process was started with: `__main__` here, and a name of its own for every other process.

It is imported under that name by others only where it says what is not to be done then, under
`if __name__ == "__main__":`. Here it is never imported a second time: its targets are registered already.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from types import ModuleType

from rollout_local.python_source import tree_of

MAIN = "__main__"


def name_of(module: ModuleType) -> str:
    """The full name of a module, whether or not the process was started with it."""
    if module.__name__ != MAIN:
        return module.__name__
    spec, file = getattr(module, "__spec__", None), getattr(module, "__file__", None)
    return str(spec.name) if spec is not None else Path(file).stem if file else MAIN


def is_started(name: str) -> bool:
    """Whether the process was started with the module of this name."""
    return MAIN in sys.modules and name_of(sys.modules[MAIN]) == name


def is_guarded(file: Path) -> bool:
    """Whether a script can be imported without doing all that it does: it has an `if __name__ == "__main__":`."""
    try:
        lines = tree_of(file.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return False
    return any(isinstance(line, ast.If) and _asks_for_name(line.test) for line in lines)


def _asks_for_name(test: ast.expr) -> bool:
    if not isinstance(test, ast.Compare) or len(test.ops) != 1 or not isinstance(test.ops[0], ast.Eq):
        return False
    sides = [test.left, test.comparators[0]]
    names = {side.id for side in sides if isinstance(side, ast.Name)}
    return names == {"__name__"} and MAIN in {side.value for side in sides if isinstance(side, ast.Constant)}
