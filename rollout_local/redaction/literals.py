"""Credentials that are written into source code: text literals under names of credentials."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from itertools import chain, pairwise

from rollout_local.python_source import tree_of
from rollout_local.redaction import secret_patterns
from rollout_local.redaction.known import is_plain
from rollout_local.redaction.named import is_secret_field

_SCHEME = re.compile(r"(?i)(?:bearer|basic|token|apikey)\s+")
_LINE = re.compile(r"(?m)^[ \t\"'-]*([\w-]+)[\"']?\s*[:=]\s*[\"']?([^\s\"',;#]+)[\"']?[ \t]*(?:[,;#].*)?$")
"""`name: value` or `name = value` on a line of its own."""
_OPAQUE = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z])[\w.~+/=-]+")
"""What a token may look like: `<|endoftext|>` and `[SEP]` are tokens, too, and no secrets."""
_WRAPPERS = frozenset({"SecretStr", "Secret", "SecretBytes", "str", "bytes"})


def credentials_in(source: str) -> set[str]:
    """The values in `source` that stand under names of credentials: `api_key="…"`, `{"password": "…"}`,
    `os.environ["X_TOKEN"] = "…"`, `setdefault("X_TOKEN", "…")`. In a text that is no Python, lines `name: value`.

    Words, numbers and sentences are none (`known.is_plain`), and neither is what a call gives. A value that is put
    together of several literals is there whole and in its pieces, which are what stands in the source; so is one that
    has the shape of a provider's key, under whatever name.
    """
    try:
        tree = tree_of(source)
    except (SyntaxError, ValueError, RecursionError):
        pairs: Iterator[tuple[str, str]] = ((hit[1], hit[2]) for hit in _LINE.finditer(source))
    else:
        pairs = chain(_pairs(tree, source), (("api_key", piece) for piece in _pieces_of_keys(tree, source)))
    values = (_SCHEME.sub("", value.strip(), count=1) for name, value in pairs if _is_secret(name, value))
    return {value for value in values if not is_plain(value) and not any(map(str.isspace, value))}


def _is_secret(name: str, value: str) -> bool:
    return is_secret_field(name) or (name.lower() == "token" and _OPAQUE.fullmatch(value.strip()) is not None)


def _pairs(tree: ast.AST, source: str) -> Iterator[tuple[str, str]]:
    """Every name in the code with each text literal that is given to it."""
    for node in ast.walk(tree):
        for name, value in _given(node):
            for text in _texts(value):
                yield name, text
            if value is not None and (is_secret_field(name) or name.lower() == "token"):
                yield from ((name, piece) for piece in _pieces(value, source))


def _pieces_of_keys(tree: ast.AST, source: str) -> Iterator[str]:
    """The pieces of texts that look like a key once they are put together, or as far as they are known."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant | ast.BinOp | ast.JoinedStr | ast.Call):
            pieces = list(_pieces(node, source))
            if len(pieces) > 1 and any(secret_patterns.find("".join(pieces).encode("utf-8", "replace"))):
                yield from pieces


def _pieces(value: ast.expr, source: str) -> Iterator[str]:
    """The literals that a text is put together of: one after the other, by `+`, in an f-string, or by a `join`."""
    match value:
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            yield from (*_pieces(left, source), *_pieces(right, source))
        case ast.JoinedStr(values=parts):
            yield from (part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str))
        case ast.Call(func=ast.Attribute(attr="join"), args=[ast.List(elts=parts) | ast.Tuple(elts=parts)]):
            yield from (piece for part in parts for piece in _pieces(part, source))
        case ast.Constant(value=str() | bytes()):
            whole = list(_texts(value))
            yield from _written(value, source) or whole


def _written(value: ast.expr, source: str) -> list[str]:
    """The literals of a text as they stand one after the other in the source; empty where it is one alone."""
    segment = ast.get_source_segment(source, value) or ""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(f"({segment})").readline))
        found = [ast.literal_eval(token.string) for token in tokens if token.type == tokenize.STRING]
    except (tokenize.TokenError, SyntaxError, ValueError):
        return []
    texts = [piece.decode("utf-8", "surrogateescape") if isinstance(piece, bytes) else piece for piece in found]
    return texts if len(texts) > 1 else []


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
        case ast.Tuple(elts=parts):  # auth=("user", "password")
            yield from (text for part in parts for text in _texts(part))
        case ast.BoolOp(values=parts):
            yield from (text for part in parts for text in _texts(part))
        case ast.IfExp(body=one, orelse=other):
            yield from (*_texts(one), *_texts(other))
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            before, after = list(_texts(left)), list(_texts(right))
            yield from [a + b for a in before for b in after] or before or after
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=[only]) if name in _WRAPPERS:
            yield from _texts(only)
