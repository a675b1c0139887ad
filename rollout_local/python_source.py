"""Python source as a tree: `ast.parse`, tried again where CPython gives up for a reason that is not in the source.

CPython 3.11 raises `SystemError: AST constructor recursion depth mismatch` where something else makes a tree while it
makes one: a finalizer that the garbage collector runs in the middle, or another thread.
"""

from __future__ import annotations

import ast

TRIES = 5


def tree_of(source: str | bytes, file: str = "<unknown>") -> ast.Module:
    """The tree of a module; raises as `ast.parse` does."""
    for _ in range(TRIES - 1):
        try:
            return ast.parse(source, file)
        except SystemError:
            continue
    return ast.parse(source, file)
