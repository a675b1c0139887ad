"""Credentials that are written into source code: text literals under names of credentials."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise

from rollout_local.python_source import tree_of
from rollout_local.redaction.known import is_plain
from rollout_local.redaction.named import is_secret_field

_SCHEME = re.compile(r"(?i)(?:bearer|basic|token|apikey)\s+")
_LINE = re.compile(r"(?m)^[ \t\"'-]*([\w-]+)[\"']?\s*[:=]\s*[\"']?([^\s\"',;#]+)[\"']?[ \t]*(?:[,;#].*)?$")
"""`name: value` or `name = value` on a line of its own."""
_WRAPPERS = frozenset({"SecretStr", "Secret", "SecretBytes", "str", "bytes"})


def credentials_in(source: str) -> set[str]:
    """The values in `source` that stand under names of credentials: `api_key="…"`, `{"password": "…"}`,
    `os.environ["X_TOKEN"] = "…"`, `setdefault("X_TOKEN", "…")`. In a text that is no Python, lines `name: value`.

    Words, numbers and sentences are none (`known.is_plain`), and neither is what a call gives.
    """
    try:
        tree = tree_of(source)
    except (SyntaxError, ValueError, RecursionError):
        pairs: Iterator[tuple[str, str]] = ((hit[1], hit[2]) for hit in _LINE.finditer(source))
    else:
        pairs = _pairs(tree)
    values = (_SCHEME.sub("", value.strip(), count=1) for name, value in pairs if is_secret_field(name))
    return {value for value in values if not is_plain(value) and not any(map(str.isspace, value))}


def _pairs(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Every name in the code with each text literal that is given to it."""
    for node in ast.walk(tree):
        for name, value in _given(node):
            for text in _texts(value):
                yield name, text


def _given(node: ast.AST) -> Iterator[tuple[str, ast.expr | None]]:
    """The names that a piece of code binds, each with what it is given."""
    match node:
        case ast.keyword(arg=str(name), value=value):
            yield name, value
        case ast.Assign(targets=targets, value=value):
            yield from ((_name(target), value) for target in targets)
        case ast.AnnAssign(target=target, value=value) | ast.NamedExpr(target=target, value=value):
            yield _name(target), value
        case ast.Dict(keys=keys, values=values):
            yield from ((_name(key), value) for key, value in zip(keys, values, strict=True))
        case ast.Call(args=items) | ast.Tuple(elts=items) | ast.List(elts=items):
            yield from ((_literal(name), value) for name, value in pairwise(items))
        case ast.arguments():
            yield from _defaults(node)


def _defaults(arguments: ast.arguments) -> Iterator[tuple[str, ast.expr | None]]:
    names = [*arguments.posonlyargs, *arguments.args]
    last = names[len(names) - len(arguments.defaults) :]
    yield from ((name.arg, value) for name, value in zip(last, arguments.defaults, strict=True))
    yield from ((name.arg, value) for name, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True))


def _literal(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _name(node: ast.expr | None) -> str:
    if isinstance(node, ast.Subscript):
        return _name(node.slice)
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Name):
        return node.id
    return _literal(node) if node is not None else ""


def _texts(value: ast.expr | None) -> Iterator[str]:
    """The text literals that `value` may be, without those that it computes with."""
    match value:
        case ast.Constant(value=str(text)):
            yield text
        case ast.Constant(value=bytes(raw)):
            yield raw.decode("utf-8", "surrogateescape")
        case ast.BoolOp(values=parts):
            yield from (text for part in parts for text in _texts(part))
        case ast.IfExp(body=one, orelse=other):
            yield from (*_texts(one), *_texts(other))
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            before, after = list(_texts(left)), list(_texts(right))
            yield from [a + b for a in before for b in after] or before or after
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=[only]) if name in _WRAPPERS:
            yield from _texts(only)
