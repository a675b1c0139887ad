"""The source text of a target, and the hash of what in it decides its behaviour.

The hash is over the syntax trees of the target's module and of the user's own modules that it imports, so
comments and layout do not count. The text itself is kept too: a later mismatch can be shown, not only stated.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Mapping
from importlib.util import decode_source
from pathlib import Path
from types import ModuleType

from rollout_local.domain.identity import content_hash
from rollout_local.errors import InputError
from rollout_local.python_source import tree_of
from rollout_local.targets.started_module import name_of


def source_of(module_name: str) -> tuple[str, str]:
    """Return `(text, hash)` of a module and of the user's modules that it imports, by relative path.

    Modules without a readable source file (built from a string, frozen) contribute nothing.
    """
    files = dict(sorted(_collect(module_name).items()))
    return joined(files), content_hash({path: syntax(source) for path, source in files.items()})


def joined(files: Mapping[str, str]) -> str:
    """One text of files by relative path, which `files_of` takes apart again."""
    return "\n".join(f"# --- {path}\n{source}" for path, source in files.items())


def files_of(text: str) -> dict[str, str]:
    """The files of a text that `source_of` made, by relative path, byte for byte.

    Raises `InputError` where a path leads out of its folder: the text may come from elsewhere.
    """
    files: dict[str, str] = {}
    for part in _HEADER.split("\n" + text)[1:]:
        path, _, source = part.partition("\n")
        if Path(path).is_absolute() or ".." in Path(path).parts or not path.isprintable() or "\\" in path:
            msg = f"the stored source names a file outside its folder: {path!r}"
            raise InputError(msg)
        files[path] = source
    return files


_HEADER = re.compile(r"\n# --- (?=\S[^\n]*\.py\n)")
"""Begins a file: a comment of the user's may begin with the same dashes, and names no Python file."""


def syntax(source: str) -> object:
    """The syntax tree of `source` as plain JSON, the same on every supported version of Python."""
    return _plain(tree_of(source))


def _plain(node: object) -> object:
    if isinstance(node, ast.Constant):
        return {"node": "Constant", "value": repr(node.value)}  # 1 and "1" are two constants
    if isinstance(node, ast.AST):
        fields = {
            name: _plain(value)
            for name, value in ast.iter_fields(node)
            if value not in (None, []) and name not in ("kind", "type_comment")
        }
        return {"node": type(node).__name__, **fields}
    if isinstance(node, list):
        return [_plain(item) for item in node]
    return node if isinstance(node, str) else repr(node)


def _collect(module_name: str) -> dict[str, str]:
    first = sys.modules[module_name]
    root = _root(first)
    found: dict[str, str] = {}
    waiting = [first]
    seen = {module_name}
    while waiting:
        module = waiting.pop()
        path, source = _read(module)
        if path is None or root is None or not path.is_relative_to(root):
            continue
        found[path.relative_to(root).as_posix()] = source
        for name in _imported(source, module):
            if name in sys.modules and name not in seen:
                seen.add(name)
                waiting.append(sys.modules[name])
    return found


def _root(module: ModuleType) -> Path | None:
    """The folder that the top-level package of `module` lies in."""
    path, _ = _read(module)
    if path is None:
        return None
    depth = name_of(module).count(".") + (path.name == "__init__.py")
    return path.parents[depth]


def _read(module: ModuleType) -> tuple[Path | None, str]:
    file = getattr(module, "__file__", None)
    if not file or not file.endswith(".py") or "site-packages" in Path(file).parts:
        return None, ""
    path = Path(file).resolve()
    try:
        return path, decode_source(path.read_bytes())
    except (OSError, SyntaxError, UnicodeDecodeError):
        return None, ""


def _imported(source: str, module: ModuleType) -> list[str]:
    """Full names of the modules that `source` may import; names inside a package are tried as modules too."""
    names: list[str] = []
    package = module.__package__ or ""
    for node in ast.walk(tree_of(source)):
        if isinstance(node, ast.Import):
            names += [prefix for alias in node.names for prefix in _prefixes(alias.name)]
        elif isinstance(node, ast.ImportFrom):
            parent = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            base = ".".join(part for part in (parent, node.module or "") if part)
            names += _prefixes(base) + [f"{base}.{alias.name}" for alias in node.names]
    return names


def _prefixes(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))] if name else []
