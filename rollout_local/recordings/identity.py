"""What makes two requests the same request.

Invariant: the key is a pure function of the redacted request and of the names to ignore, so it is the same on
every machine, in every thread and under every provider key. It covers method, path, query without secrets
and the canonical body: JSON with sorted keys and integral floats as integers, forms sorted, multipart with a
fixed boundary, compression undone. It leaves out scheme, host, port and headers, which differ between a
simulator on loopback and the provider it stands for.

`VERSION` goes into the manifest, and a recording of
another version is keyed anew when it is opened.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from importlib import import_module
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson

from rollout_local import limits
from rollout_local.recordings import ignored
from rollout_local.recordings.exchange import Headers
from rollout_local.redaction import Redactor
from rollout_local.redaction.named import SECRET_PARAMS

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

    `ignore` names fields, and pieces of texts, to leave out of the key (see `ignored`).
    """

    def __init__(self, redactor: Redactor, ignore: Iterable[str] = ()) -> None:
        names = tuple(sorted(set(ignore)))
        self.redactor = redactor
        self.ignore = names
        self._ignored = ignored.parse(names)

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
        return sorted(p for p in pairs if p[0] not in self._ignored.anywhere and not SECRET_PARAMS.fullmatch(p[0]))

    def _content(self, body: bytes | None, kind: str) -> object:
        if not body:
            return None
        if "multipart/" in kind:
            return _multipart(body, kind)
        if "x-www-form-urlencoded" in kind and not body.startswith((b"{", b"[")):
            return self._query(body.decode("utf-8", "replace"))
        try:
            content = orjson.loads(body)
        except orjson.JSONDecodeError:
            return self._ignored.without(_as_text(body))
        if _MAYBE_INTEGRAL.search(body):
            content = _whole(content)
        if self.ignore:
            content = self._ignored.without(content)
        return content


def digest(data: bytes) -> str:
    """The name of canonical bytes: 32 hexadecimal digits."""
    return blake2b(data, digest_size=16).hexdigest()


def uncompressed(body: bytes, encoding: str) -> bytes:
    """Undo a content-encoding; a body in an encoding that cannot be undone here is returned as it is.

    Raises `limits.TooLarge` where more comes out of it than is read.
    """
    if not encoding or not body or encoding == "identity":
        return body
    for name in reversed([piece.strip().lower() for piece in encoding.split(",")]):
        body = _undo(body, name)
    return body


def _undo(body: bytes, name: str) -> bytes:
    try:
        if name in ("gzip", "x-gzip"):
            return limits.inflate(body, "gzip", "body")
        if name == "deflate":
            return limits.inflate(body, "deflate", "body")
        if name == "br":
            return _from_brotli(body)
        if name == "zstd":
            return _from_zstd(body)
    except limits.TooLarge:
        raise
    except Exception:  # noqa: BLE001  each codec has its own errors; a body that is not what it says stays as it is
        return body
    return body


def _from_brotli(body: bytes) -> bytes:
    """Piece by piece: sixteen bytes can stand for a few blocks of 16 MiB, and not for more."""
    decompressor, parts, size = import_module("brotli").Decompressor(), [], 0
    for start in range(0, len(body), 16):
        parts.append(bytes(decompressor.process(body[start : start + 16])))
        size += len(parts[-1])
        limits.check(size, "body")
    if not decompressor.is_finished():
        raise EOFError
    return b"".join(parts)


def _from_zstd(body: bytes) -> bytes:
    stream = import_module("zstandard").ZstdDecompressor().stream_reader(body)
    found = bytes(stream.read(limits.MOST["body"] + 1))
    limits.check(len(found), "body")
    return found


def _header(headers: Iterable[tuple[str, str]], name: str) -> str:
    return next((value for key, value in headers if key.lower() == name), "")


def _dump(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _as_text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return "base64:" + base64.b64encode(body).decode()


def _multipart(body: bytes, kind: str) -> str:
    found = _BOUNDARY.search(kind)
    return _as_text(body.replace(found.group(1).encode(), b"boundary") if found else body)


def _whole(value: object) -> object:
    """`1.0` is `1`: clients write the same number either way."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < _EXACT else value
    if isinstance(value, dict):
        return {name: _whole(item) for name, item in value.items()}
    return [_whole(item) for item in value] if isinstance(value, list) else value
