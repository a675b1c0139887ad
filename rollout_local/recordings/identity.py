"""What makes two requests the same request.

Invariant: the key is a pure function of the redacted request and of the names to ignore, so it is the same on
every machine, in every thread and under every provider key. It covers method, path, query without secrets
and the canonical body: JSON with sorted keys and integral floats as integers, forms sorted, multipart with a
fixed boundary, compression undone. It leaves out scheme, host, port and headers, which differ between a
simulator on loopback and the provider it stands for.

Source: facts/recordings.md, sections 4 (a) and 5; `VERSION` goes into the manifest, and a recording of
another version is keyed anew when it is opened.
"""

from __future__ import annotations

import base64
import gzip
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from importlib import import_module
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson

from rollout_local.recordings.exchange import Headers
from rollout_local.recordings.redact import SECRET_PARAMS, Redactor

VERSION = 1
_MAYBE_INTEGRAL = re.compile(rb"\d\.0|\d[eE]")
_BOUNDARY = re.compile(r"boundary=\"?([^\";,\s]+)")
_EXACT = 2**53
_Pairs = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that may be written: redacted, its body uncompressed, with its key.

    `content` is the canonical body: parsed JSON, a list of form fields, text, or None.
    """

    method: str
    url: str
    headers: Headers
    body: bytes | None
    path: str
    query: _Pairs
    content: Any
    canonical: bytes
    key: str

    def question(self) -> str:
        """Hash of the canonical request without its path and its body's model."""
        content = self.content
        if isinstance(content, dict):
            content = {name: value for name, value in content.items() if name != "model"}
        return digest(_dump([self.method, self.query, content]))


class Reader:
    """Turns what a client is about to send into an `Asked`.

    `ignore` names fields to leave out of the key: a plain name at any depth of the body and in the query, or a
    dotted path (`metadata.user`) from the root of the body.
    """

    def __init__(self, redactor: Redactor, ignore: Iterable[str] = ()) -> None:
        names = tuple(sorted(set(ignore)))
        self.redactor = redactor
        self.ignore = names
        self._anywhere = frozenset(name for name in names if "." not in name)
        self._paths = tuple(tuple(name.split(".")) for name in names if "." in name)

    def read(self, method: str, url: str, headers: Iterable[tuple[str, str]], body: bytes | None) -> Asked:
        """Learn the request's credentials, redact it, and name it by its key."""
        pairs = list(headers)
        kept = self.redactor.watch(pairs)
        clean_url = self.redactor.url(url)
        kind = _header(kept, "content-type")
        if body is not None:
            body = self.redactor.body(uncompressed(body, _header(pairs, "content-encoding")))
        return self.name(method, clean_url, kept, body, kind)

    def name(self, method: str, url: str, headers: Headers, body: bytes | None, kind: str) -> Asked:
        """Name a request that is already redacted."""
        parts = urlsplit(url)
        query = self._query(parts.query) if parts.query else []
        content = self._content(body, kind)
        method = method.upper()
        canonical = _dump([method, parts.path, query, content])
        return Asked(method, url, headers, body, parts.path, query, content, canonical, digest(canonical))

    def _query(self, query: str) -> _Pairs:
        pairs = parse_qsl(query, keep_blank_values=True)
        return sorted(p for p in pairs if p[0] not in self._anywhere and not SECRET_PARAMS.fullmatch(p[0]))

    def _content(self, body: bytes | None, kind: str) -> Any:
        if not body:
            return None
        if "multipart/" in kind:
            return _multipart(body, kind)
        if "x-www-form-urlencoded" in kind and not body.startswith((b"{", b"[")):
            return self._query(body.decode("utf-8", "replace"))
        try:
            content = orjson.loads(body)
        except orjson.JSONDecodeError:
            return _as_text(body)
        if _MAYBE_INTEGRAL.search(body):
            content = _whole(content)
        if self.ignore:
            content = self._without(content)
        return content

    def _without(self, content: Any) -> Any:
        if self._anywhere:
            content = _strip(content, self._anywhere)
        for path in self._paths:
            content = _cut(content, path)
        return content


def digest(data: bytes) -> str:
    """The name of canonical bytes: 32 hexadecimal digits."""
    return blake2b(data, digest_size=16).hexdigest()


def uncompressed(body: bytes, encoding: str) -> bytes:
    """Undo a content-encoding; a body in an encoding that cannot be undone here is returned as it is."""
    if not encoding or not body or encoding == "identity":
        return body
    for name in reversed([piece.strip().lower() for piece in encoding.split(",")]):
        body = _undo(body, name)
    return body


def _undo(body: bytes, name: str) -> bytes:
    try:
        if name in ("gzip", "x-gzip"):
            return gzip.decompress(body)
        if name == "deflate":
            return _inflate(body)
        if name == "br":
            return bytes(import_module("brotli").decompress(body))
        if name == "zstd":
            return bytes(import_module("zstandard").ZstdDecompressor().decompressobj().decompress(body))
    except Exception:  # noqa: BLE001  each codec has its own errors; a body that is not what it says stays as it is
        return body
    return body


def _inflate(body: bytes) -> bytes:
    try:
        return zlib.decompress(body)
    except zlib.error:
        return zlib.decompress(body, -zlib.MAX_WBITS)


def _header(headers: Iterable[tuple[str, str]], name: str) -> str:
    return next((value for key, value in headers if key.lower() == name), "")


def _dump(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _as_text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return "base64:" + base64.b64encode(body).decode()


def _multipart(body: bytes, kind: str) -> str:
    found = _BOUNDARY.search(kind)
    return _as_text(body.replace(found.group(1).encode(), b"boundary") if found else body)


def _whole(value: Any) -> Any:
    """`1.0` is `1`: clients write the same number either way."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < _EXACT else value
    if isinstance(value, dict):
        return {name: _whole(item) for name, item in value.items()}
    return [_whole(item) for item in value] if isinstance(value, list) else value


def _strip(value: Any, names: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {name: _strip(item, names) for name, item in value.items() if name not in names}
    return [_strip(item, names) for item in value] if isinstance(value, list) else value


def _cut(value: Any, path: tuple[str, ...]) -> Any:
    if isinstance(value, list):
        return [_cut(item, path) for item in value]
    if not isinstance(value, Mapping) or path[0] not in value:
        return value
    rest = {name: item for name, item in value.items() if name != path[0]}
    return rest if len(path) == 1 else {**rest, path[0]: _cut(value[path[0]], path[1:])}
