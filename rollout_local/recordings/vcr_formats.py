"""Cassettes that others made: every dialect of vcrpy's, and the formats of other recorders (`recorders`).

Invariant: a cassette is read whole, every interaction and byte of body, or refused with the interaction (and, in YAML,
the line) that is wrong; vcrpy's own loader calls a damaged file empty (vcr/cassette.py, `_load`). Nothing in it is
executed, and how much is read is bounded (`foreign_text`). What it holds is redacted on the way in, as all else is.
Bodies are decompressed, and text that was kept as base64 is decoded, so that each interaction means the same as one of
ours.
"""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson

from rollout_local import limits
from rollout_local.errors import RecordingError
from rollout_local.recordings import foreign_text, lines, recorders
from rollout_local.recordings.closest import parts_of
from rollout_local.recordings.exchange import Answer, Headers
from rollout_local.recordings.file import Entry, Tape
from rollout_local.recordings.identity import Reader, uncompressed
from rollout_local.recordings.lines import Interaction
from rollout_local.redaction import Redactor

_CODECS = {"br": "brotli", "zstd": "zstandard"}
"""Packages that undo an encoding, and need not be here."""
_WRONG = (KeyError, TypeError, ValueError, AttributeError, IndexError)


def read(path: Path, reader: Reader) -> list[Interaction]:
    """The interactions of a foreign cassette, redacted and keyed. Raises `RecordingError` saying where it is wrong."""
    text, rows = _rows(path)
    pairs = [_checked(path, text, number, row) for number, row in enumerate(rows, 1)]
    for _, _, headers, _, _, url in pairs:
        reader.redactor.watch(headers)
        reader.redactor.url(url)
    items, size = [], 0
    for number, pair in enumerate(pairs, 1):
        try:
            items.append(_interaction(reader, pair))
            size += len(items[-1].body or b"") + len(items[-1].answer.body)
            limits.check(size, "cassette's bodies")
        except ValueError as error:
            raise RecordingError(f"{path}: interaction {number}: its body {error}.") from None
    return items


def entries(items: Iterable[Interaction]) -> list[Entry]:
    """Index entries of interactions in memory, numbered from 1."""
    return [
        Entry(
            number,
            0,
            len(item.body or b""),
            item.key,
            item.scope,
            item.attempt,
            item.answer.outcome,
            item.parts.encode(),
        )
        for number, item in enumerate(items, 1)
    ]


def convert(path: Path, reader: Reader, manifest: Mapping[str, object], out: Path | None = None) -> int:
    """Rewrite a foreign cassette as a recording of ours (in its place, unless `out`); return its length."""
    if out is None and path.suffix == ".json":
        raise RecordingError(
            f"{path}: a JSON cassette cannot be continued; `rollout recordings import` makes a recording of it."
        )
    items = read(path, reader)
    write(items, manifest, out or path)
    return len(items)


def write(items: Sequence[Interaction], manifest: Mapping[str, Any], out: Path) -> None:
    """Write a whole, closed recording at once: beside its place, then moved there."""
    out.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=out.name, suffix=".part", dir=out.parent)
    os.close(handle)
    part = Path(name)
    try:
        tape = Tape(part, manifest)
        for item in items:
            tape.append(lines.dump(item))
        tape.close()
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)


def _rows(path: Path) -> tuple[str, list[Any]]:
    """The file's text (empty where it is none) and the rows in it, as vcrpy keeps them."""
    raw = foreign_text.bytes_of(path)
    try:
        if raw.startswith(foreign_text.HTTPRR):
            text, rows = "", list(recorders.httprr_rows(raw))
        else:
            text = foreign_text.text_of(path, raw)
            rows = recorders.rows_of(foreign_text.parsed(path, text))
    except recorders.Unread as error:
        raise RecordingError(f"{path}: {error}.") from None
    except _WRONG as error:
        raise RecordingError(f"{path}: an interaction is damaged ({type(error).__name__}: {error}).") from None
    if not rows:
        raise RecordingError(f"{path}: the cassette holds no interactions.")
    return text, rows


_Pair = tuple[str, bytes | None, Headers, Answer, str, str]


def _checked(path: Path, text: str, number: int, row: Any) -> _Pair:
    """method, body, headers, answer, encoding of the answer, URL."""
    try:
        request, response = row["request"], row["response"]
        recorders.require_known("request", request)
        recorders.require_known("response", response)
        answer, encoding = _answer(response)
        headers = _headers(request.get("headers"))
        body = _held_body(request, headers)
        return str(request["method"]).upper(), body, headers, answer, encoding, _url(request)
    except _WRONG as error:
        line = foreign_text.line_of(text, number) if text else None
        where = f"{path}:{line}" if line else str(path)
        if isinstance(error, recorders.Unread):
            raise RecordingError(f"{where}: interaction {number}: {error}.") from None
        raise RecordingError(f"{where}: interaction {number} is damaged ({type(error).__name__}: {error}).") from None


def _interaction(reader: Reader, pair: _Pair) -> Interaction:
    method, body, headers, answer, encoding, url = pair
    asked = reader.read(method, url, headers, body)
    return Interaction(
        key=asked.key,
        scope="",
        attempt=1,
        parts=parts_of(asked.canonical),
        recorded_at=0.0,
        seconds=0.0,
        lease=None,
        method=asked.method,
        url=asked.url,
        headers=asked.headers,
        body=asked.body,
        answer=_redacted(reader.redactor, answer, encoding),
    )


def _redacted(redactor: Redactor, answer: Answer, encoding: str) -> Answer:
    unpacked = uncompressed(answer.body, encoding)
    if unpacked is answer.body and _CODECS.get(encoding.strip().lower()) and not _is_text(unpacked):
        msg = f"is packed as {encoding}, which is undone with {_CODECS[encoding.strip().lower()]}: pip install it"
        raise ValueError(msg)
    body = redactor.body(unpacked)
    return Answer(answer.status, redactor.text(answer.reason), redactor.response_headers(answer.headers), body)


def _url(request: Mapping[str, Any]) -> str:
    """`uri`, or `url`, or the parts of which vcrpy before 1.0 made it."""
    found = request.get("uri") or request.get("url")
    if found:
        return str(found)
    scheme, port = str(request["protocol"]), int(request["port"])
    shown = "" if port == {"https": 443, "http": 80}.get(scheme) else f":{port}"
    return f"{scheme}://{request['host']}{shown}{request['path']}"


def _answer(response: Mapping[str, object]) -> tuple[Answer, str]:
    code, reason = _status(response)
    headers = _headers(response.get("headers"))
    encoding = next((value for name, value in headers if name.lower() == "content-encoding"), "")
    body = _held_body(response, headers) or b""
    if not encoding and body.startswith(b"\x1f\x8b"):
        encoding = "gzip"
    return Answer(code, reason, headers, body), encoding


def _status(response: Mapping[str, Any]) -> tuple[int, str]:
    status = response.get("status", response.get("status_code"))
    if isinstance(status, Mapping):
        code = status["code"] if "code" in status else status["status_code"]
        return int(code), str(status.get("message") or status.get("reason") or "")
    if isinstance(status, str):
        code, _, reason = status.partition(" ")
        return int(code), reason
    if isinstance(status, (list, tuple)):
        return int(status[0]), str(status[1])
    if status is None:
        raise ValueError("no status")
    return int(status), str(response.get("reason") or response.get("reason_phrase") or "")


def _headers(given: Any) -> Headers:
    """Pairs from a mapping (of texts or lists), a list of pairs, of raw lines, or of one list of pairs."""
    if not given:
        return ()
    if isinstance(given, Mapping):
        found = [(name, value) for name, values in given.items() for value in _many(values)]
    else:
        found = []
        for one in given:
            found += _header_item(one)
    return tuple((_plain(name), _plain(value)) for name, value in found)


def _many(values: object) -> Sequence[object]:
    return values if isinstance(values, (list, tuple)) else [values]


def _header_item(one: Any) -> list[tuple[object, object]]:
    if isinstance(one, (str, bytes)):
        name, _, value = _plain(one).partition(":")
        return [(name.strip(), value.strip())]
    if one and isinstance(one[0], (list, tuple)):
        return [(name, value) for name, values in one for value in _many(values)]
    name, values = one
    return [(name, value) for value in _many(values)]


def _plain(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _held_body(held: Mapping[str, object], headers: Headers) -> bytes | None:
    """The body of a request or an answer, under whichever name it is kept."""
    names = [name for name in ("body", "content", "parsed_body") if held.get(name) not in (None, "", b"")]
    if len(names) > 1:
        msg = f"its body is there as {' and as '.join(names)}"
        raise recorders.Unread(msg)
    found = held[names[0]] if names else held.get("body")
    if names != ["parsed_body"]:
        return _body(found)
    kind = next((value for name, value in headers if name.lower() == "content-type"), "")
    if "x-www-form-urlencoded" in kind and isinstance(found, Mapping):
        return urlencode(found, doseq=True).encode()
    return orjson.dumps(found)


def _body(held: Any) -> bytes | None:
    """A body's bytes, however it was kept."""
    if held is None or isinstance(held, (bytes, str)):
        return held.encode() if isinstance(held, str) else held
    if isinstance(held, BytesIO):
        return held.getvalue()
    if isinstance(held, Mapping):
        return _body_of_mapping(held)
    if (
        isinstance(held, (list, tuple))
        and held
        and all(isinstance(one, (list, tuple)) and len(one) == 2 for one in held)
    ):
        return urlencode([(_plain(name), _plain(value)) for name, value in held]).encode()
    pieces = list(held)
    if all(isinstance(one, (str, bytes)) for one in pieces):
        return b"".join(one.encode() if isinstance(one, str) else one for one in pieces)
    return orjson.dumps(pieces)


def _body_of_mapping(held: Mapping[object, Any]) -> bytes | None:
    if set(held) <= {"type", "content"} and isinstance(held.get("type"), str):
        return _typed(held["type"], held.get("content"))
    for name in ("base64_string", "base64"):
        if name in held and set(held) <= {name, "encoding"}:
            return base64.b64decode(held[name])
    if held.get("file"):
        msg = "its body is in another file"
        raise recorders.Unread(msg)
    if set(held) <= {"string", "encoding", "file"}:
        text = held.get("string")
        if str(held.get("encoding") or "").lower() == "base64":
            return base64.b64decode(text or "")
        return _body(text)
    return orjson.dumps(held)


def _typed(kind: str, content: object) -> bytes | None:
    """A body of cassetter says what it is."""
    if kind == "none" and content is None:
        return None
    if kind == "json":
        return orjson.dumps(content)
    if kind == "text" and isinstance(content, str):
        return content.encode()
    if kind in ("base64", "binary") and isinstance(content, str):
        return base64.b64decode(content, validate=True)
    if kind in ("binary", "bytes") and isinstance(content, bytes):
        return content
    msg = f"its body is of the type {kind[:60]!r}, which is not read here"
    raise recorders.Unread(msg)


def _is_text(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True
