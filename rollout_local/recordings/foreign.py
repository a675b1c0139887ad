"""Cassettes that others made: every dialect of vcrpy's, and its relatives' (Ruby VCR, Betamax).

Invariant: a cassette is read whole or refused with the interaction (and, in YAML, the line) that is wrong; vcrpy's own
loader calls a damaged file empty (vcr/cassette.py, `_load`). Nothing in it is executed: vcrpy's safe loader reads
the YAML. What it holds is redacted on the way in, like everything else. Bodies are decompressed, and text that was
kept as base64 is decoded, so that each interaction means the same as one of ours.
"""

from __future__ import annotations

import base64
import gzip
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson
import yaml

from rollout_local.errors import RecordingError
from rollout_local.recordings import lines
from rollout_local.recordings.exchange import Answer, Headers
from rollout_local.recordings.identity import Reader, uncompressed
from rollout_local.recordings.lines import Interaction
from rollout_local.recordings.nearest import parts_of
from rollout_local.recordings.redact import Redactor
from rollout_local.recordings.tape import Entry, Tape

_OLD_TAGS = (
    "!!python/object:vcr.request.Request",
    "!!python/object/apply:__builtin__.frozenset",
    "!!python/object/apply:builtins.frozenset",
)
_WRONG = (KeyError, TypeError, ValueError, AttributeError, IndexError)


def read(path: Path, reader: Reader) -> list[Interaction]:
    """The interactions of a foreign cassette, redacted and keyed. Raises `RecordingError` saying where it is wrong."""
    text = _text(path)
    rows = _rows(path, text)
    pairs = [_checked(path, text, number, row) for number, row in enumerate(rows, 1)]
    for _, _, headers, _, _, url in pairs:
        reader.redactor.watch(headers)
        reader.redactor.url(url)
    return [_interaction(reader, pair) for pair in pairs]


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


def convert(path: Path, reader: Reader, manifest: Mapping[str, Any], out: Path | None = None) -> int:
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


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read ({error.strerror}).") from None
    try:
        if raw.startswith(b"\x1f\x8b"):
            raw = gzip.decompress(raw)
        return raw.decode("utf-16" if raw.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except (UnicodeDecodeError, OSError, EOFError):
        raise RecordingError(f"{path}: is neither a recording nor a cassette (it is not text).") from None


def _rows(path: Path, text: str) -> list[Any]:
    data = _parsed(path, text)
    if isinstance(data, Mapping):
        data = data.get("interactions", data.get("http_interactions"))
    if not isinstance(data, list):
        raise RecordingError(f"{path}: is not a cassette: it has no list of interactions.")
    if not data:
        raise RecordingError(f"{path}: the cassette holds no interactions.")
    return data


def _parsed(path: Path, text: str) -> Any:
    from vcr.serializers import yamlserializer

    try:
        if text.lstrip()[:1] in ("{", "["):
            return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if path.suffix == ".json":
            raise RecordingError(f"{path}:{error.lineno}: is not JSON ({error.msg}).") from None
    for tag in _OLD_TAGS:
        text = text.replace(tag, "")
    try:
        return yamlserializer.deserialize(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not YAML"
        raise RecordingError(f"{path}{where}: the cassette is damaged ({problem}).") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise RecordingError(f"{path}: the cassette cannot be read ({error}).") from None


_Pair = tuple[str, bytes | None, Headers, Answer, str, str]


def _checked(path: Path, text: str, number: int, row: Any) -> _Pair:
    """method, body, headers, answer, encoding of the answer, URL."""
    try:
        request, response = row["request"], row["response"]
        answer, encoding = _answer(response)
        headers = _headers(request.get("headers"))
        return str(request["method"]).upper(), _body(request.get("body")), headers, answer, encoding, _url(request)
    except _WRONG as error:
        line = _line_of(text, number)
        where = f"{path}:{line}" if line else str(path)
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
    body = redactor.body(uncompressed(answer.body, encoding))
    return Answer(answer.status, redactor.text(answer.reason), redactor.response_headers(answer.headers), body)


def _url(request: Mapping[str, Any]) -> str:
    """`uri`, or `url`, or the parts of which vcrpy before 1.0 made it."""
    found = request.get("uri") or request.get("url")
    if found:
        return str(found)
    scheme, port = str(request["protocol"]), int(request["port"])
    shown = "" if port == {"https": 443, "http": 80}.get(scheme) else f":{port}"
    return f"{scheme}://{request['host']}{shown}{request['path']}"


def _answer(response: Mapping[str, Any]) -> tuple[Answer, str]:
    code, reason = _status(response)
    headers = _headers(response.get("headers"))
    held = response["body"] if "body" in response else response.get("content")
    encoding = next((value for name, value in headers if name.lower() == "content-encoding"), "")
    body = _body(held) or b""
    if not encoding and body.startswith(b"\x1f\x8b"):
        encoding = "gzip"
    return Answer(code, reason, headers, body), encoding


def _status(response: Mapping[str, Any]) -> tuple[int, str]:
    status = response.get("status", response.get("status_code"))
    if isinstance(status, Mapping):
        return int(status["code"]), str(status.get("message") or status.get("reason") or "")
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


def _many(values: Any) -> Sequence[Any]:
    return values if isinstance(values, (list, tuple)) else [values]


def _header_item(one: Any) -> list[tuple[Any, Any]]:
    if isinstance(one, (str, bytes)):
        name, _, value = _plain(one).partition(":")
        return [(name.strip(), value.strip())]
    if one and isinstance(one[0], (list, tuple)):
        return [(name, value) for name, values in one for value in _many(values)]
    name, values = one
    return [(name, value) for value in _many(values)]


def _plain(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


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


def _body_of_mapping(held: Mapping[Any, Any]) -> bytes | None:
    for name in ("base64_string", "base64"):
        if name in held:
            return base64.b64decode(held[name])
    if "string" in held or set(held) <= {"encoding"}:
        text = held.get("string")
        if str(held.get("encoding") or "").lower() == "base64":
            return base64.b64decode(text or "")
        return _body(text)
    return orjson.dumps(held)


def _line_of(text: str, number: int) -> int | None:
    """The line of the n-th interaction in a YAML text; None where that cannot be said."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return None
    listed = root if isinstance(root, yaml.SequenceNode) else None
    if isinstance(root, yaml.MappingNode):
        listed = next((value for _, value in root.value if isinstance(value, yaml.SequenceNode)), None)
    return listed.value[number - 1].start_mark.line + 1 if listed is not None else None
