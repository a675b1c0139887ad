"""The formats of other recorders, each read into rows as vcrpy keeps them: `{"request": …, "response": …}`.

Invariant: every interaction and every byte of body of a file comes out, or the file is refused with the field that is
not read. What a format says beside requests and answers (times, versions, who recorded it) is named in `_ASIDE`; any
other field that holds something is refused, since it may be a body in a spelling that nobody here knows.

Formats, and where they are described: vcrpy, Betamax and VCR of Ruby and R, go-vcr (`interactions`); cassetter and
pydantic-ai (typed and parsed bodies); LangChain's test suite (`requests` beside `responses`); HAR 1.2 and Polly.JS
(`log.entries`); nock (`scope`, `path`); httpmock of Rust (`when`, `then`); httprr of Go ("httprr trace v1").
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import orjson

from rollout_local.recordings.foreign_text import HTTPRR, Documents

Row = dict[str, Any]
FORMATS = "vcrpy, Betamax, VCR (Ruby, R, Go), cassetter, pydantic-ai, LangChain, HAR, Polly, nock, httpmock and httprr"
_ASIDE: dict[str, str] = {
    "file": "version recorded_with recorded_at metadata meta name",
    "interaction": "recorded_at id time duration elapsed ignore_query",
    "request": "method uri url headers body parsed_body protocol host port path proto proto_major proto_minor form"
    " trailer content_length transfer_encoding remote_addr request_uri http_version timestamp",
    "response": "status status_code code reason reason_phrase headers body parsed_body content http_version proto url"
    " proto_major proto_minor content_length uncompressed transfer_encoding trailer duration adapter_metadata elapsed",
    "when": "method path body query_param header host port scheme",
    "then": "status header body body_base64 delay",
    "nock": "scope method path body status response rawHeaders headers reqheaders responseIsBinary",
    "postData": "mimeType text params comment",
    "content": "mimeType text encoding size compression comment _isBinary",
}
"""What is read of each part of a file, or says nothing about a request and its answer."""


class Unread(ValueError):
    """A sentence on what in a file is not read."""


def rows_of(data: object) -> list[Row]:
    """The interactions in the data of a file. Raises `Unread`."""
    for fits, read in _FORMATS:
        if fits(data):
            return list(read(data))
    kind = "holds several YAML documents, and" if isinstance(data, Documents) else "has no list of interactions, and"
    msg = f"is not a cassette: it {kind} is none of the formats that are read ({FORMATS})"
    raise Unread(msg)


def require_known(part: str, held: Mapping[str, object], kind: str | None = None) -> None:
    """Raise `Unread` where a part of a file holds something under a name that is not read."""
    known = _ASIDE[kind or part].split()
    for name, value in held.items():
        if str(name) not in known and value not in (None, "", [], {}, (), False):
            msg = f"the {part} has {str(name)[:60]!r}, which is not read here"
            raise Unread(msg)


# -- vcrpy and its relatives


def _listed(data: Mapping[str, object]) -> list[Row]:
    name = "interactions" if "interactions" in data else "http_interactions"
    require_known("file", {key: value for key, value in data.items() if key != name})
    rows: object = data[name]
    if not isinstance(rows, list):
        msg = "is not a cassette: it has no list of interactions"
        raise Unread(msg)
    for row in rows:
        if isinstance(row, Mapping):
            require_known("interaction", {key: row[key] for key in row if key not in ("request", "response")})
    return rows


def _langchain(data: Mapping[str, Any]) -> Iterator[Row]:
    require_known("file", {key: value for key, value in data.items() if key not in ("requests", "responses")})
    asked, answered = data["requests"], data["responses"]
    if len(asked) != len(answered):
        msg = f"has {len(asked)} requests and {len(answered)} responses"
        raise Unread(msg)
    for request, response in zip(asked, answered, strict=True):
        yield {"request": request, "response": response}


# -- HAR, and Polly's


def _har(data: Mapping[str, Any]) -> Iterator[Row]:
    for number, entry in enumerate(data["log"]["entries"], 1):
        request, response = entry["request"], entry["response"]
        answered = response["status"]
        if not answered:
            msg = f"entry {number} has no answer (status {answered!r})"
            raise Unread(msg)
        yield {
            "request": {"method": request["method"], "uri": request["url"], "headers": _named(request["headers"]),
                        "body": _posted(request.get("postData") or {}, number)},
            "response": {"status": {"code": answered, "message": response.get("statusText") or ""},
                         "headers": _named(response["headers"]),
                         "body": _content(response.get("content") or {}, number)},
        }  # fmt: skip


def _named(pairs: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    return [(pair["name"], pair["value"]) for pair in pairs or ()]


def _posted(held: Mapping[str, Any], number: int) -> object:
    require_known(f"postData of entry {number}", held, "postData")
    if held.get("text"):
        return held["text"]
    fields = held.get("params") or ()
    if any("fileName" in field or "value" not in field for field in fields):
        msg = f"the postData of entry {number} names files, whose content is not in it"
        raise Unread(msg)
    return urlencode(_named(fields)) or None


def _content(held: Mapping[str, Any], number: int) -> object:
    require_known(f"content of entry {number}", held, "content")
    text = held.get("text")
    if text is None and (held.get("size") or 0) > 0:
        msg = f"the content of entry {number} is not in the file (its size is {held['size']})"
        raise Unread(msg)
    if held.get("encoding") == "base64":
        return _of_base64(text or "")
    if held.get("encoding"):
        msg = f"the content of entry {number} is kept as {held['encoding']!r}, which is not read here"
        raise Unread(msg)
    return text or ""


def _of_base64(text: str) -> bytes:
    """One text; or, as Polly keeps what came in chunks, a JSON list of them."""
    chunks = orjson.loads(text) if text.startswith("[") else [text]
    return b"".join(base64.b64decode(chunk, validate=True) for chunk in chunks)


# -- nock


def _nock(data: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    for number, row in enumerate(data, 1):
        require_known(f"interaction {number}", row, "nock")
        raw = row.get("rawHeaders") or row.get("headers") or {}
        headers = list(raw.items()) if isinstance(raw, Mapping) else list(zip(raw[::2], raw[1::2], strict=True))
        packed = any(str(name).lower() == "content-encoding" for name, _ in headers)
        yield {
            "request": {"method": row["method"], "uri": _without_usual_port(row["scope"]) + row["path"],
                        "headers": row.get("reqheaders") or {}, "body": _json_or_text(row.get("body"))},
            "response": {"status": {"code": row["status"], "message": ""}, "headers": headers,
                         "body": _of_nock(row.get("response"), as_hex=packed or bool(row.get("responseIsBinary")))},
        }  # fmt: skip


def _of_nock(held: object, *, as_hex: bool) -> object:
    """An answer: hexadecimal pieces where it is packed or binary, else JSON or text."""
    pieces = [held] if isinstance(held, str) else held
    if as_hex and isinstance(pieces, list) and all(isinstance(one, str) and _HEX.fullmatch(one) for one in pieces):
        return b"".join(bytes.fromhex(one) for one in pieces)
    return _json_or_text(held)


def _json_or_text(held: object) -> object:
    return held if held is None or isinstance(held, str) else orjson.dumps(held)


_HEX = re.compile(r"(?:[0-9a-fA-F]{2})*")
_USUAL = {"https": ":443", "http": ":80"}


def _without_usual_port(scope: str) -> str:
    return scope.removesuffix(_USUAL.get(scope.partition("://")[0], "://"))


# -- httpmock of Rust


def _httpmock(data: Any) -> Iterator[Row]:
    for number, row in enumerate(data if isinstance(data, Documents) else [data], 1):
        when, then = row["when"], row["then"]
        require_known(f"when of document {number}", when, "when")
        require_known(f"then of document {number}", then, "then")
        query = urlencode(_named(when.get("query_param") or ()))
        port = f":{when['port']}" if when.get("port") else ""
        place = f"{when.get('scheme') or 'http'}://{when.get('host') or 'localhost'}{port}{when['path']}"
        packed = then.get("body_base64")
        yield {
            "request": {"method": when["method"], "uri": place + (f"?{query}" if query else ""),
                        "headers": _named(when.get("header") or ()), "body": when.get("body")},
            "response": {"status": {"code": then["status"], "message": ""}, "headers": _named(then.get("header") or ()),
                         "body": base64.b64decode(packed) if packed else then.get("body") or ""},
        }  # fmt: skip


# -- httprr of Go


def httprr_rows(raw: bytes) -> Iterator[Row]:
    """The interactions of a trace: for each the lengths of request and answer, then both as they crossed the wire."""
    at = len(HTTPRR)
    while at < len(raw):
        line, _, _ = raw[at : at + 64].partition(b"\n")
        found = re.fullmatch(rb"(\d+) (\d+)", line)
        if found is None:
            msg = f"at byte {at} are no lengths of a request and an answer"
            raise Unread(msg)
        asked, answered = int(found[1]), int(found[2])
        start = at + len(line) + 1
        at = start + asked + answered
        if at > len(raw):
            msg = f"it is cut off: it has {len(raw)} bytes, and an answer that ends at {at}"
            raise Unread(msg)
        yield _of_wire(raw[start : start + asked], raw[start + asked : at])


def _of_wire(asked: bytes, answered: bytes) -> Row:
    (method, target, _), headers, body = _message(asked)
    (_, code, reason), told, answer = _message(answered)
    host = next((value for name, value in headers if name.lower() == "host"), "localhost")
    url = target if "://" in target else f"https://{host}{target}"
    return {
        "request": {"method": method, "uri": url, "headers": headers, "body": body or None},
        "response": {"status": {"code": code, "message": reason}, "headers": told, "body": answer},
    }


def _message(raw: bytes) -> tuple[list[str], list[tuple[str, str]], bytes]:
    """First line, headers and body; chunks are put together."""
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = [(name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    if any(name.lower() == "transfer-encoding" and value.lower() == "chunked" for name, value in headers):
        body = _dechunked(body)
    return [*first.split(" ", 2), "", ""][:3], headers, body


def _dechunked(body: bytes) -> bytes:
    parts: list[bytes] = []
    while True:
        size, _, body = body.partition(b"\r\n")
        length = int(size.partition(b";")[0], 16)
        if length == 0:
            return b"".join(parts)
        if len(body) < length + 2:
            msg = "a chunk of a body is cut off"
            raise Unread(msg)
        parts.append(body[:length])
        body = body[length + 2 :]


def _is_mapping_with(*names: str) -> Callable[[object], bool]:
    return lambda data: isinstance(data, Mapping) and all(name in data for name in names)


def _is_nock(data: object) -> bool:
    return isinstance(data, list) and bool(data) and all(_is_mapping_with("scope", "path")(row) for row in data)


def _is_httpmock(data: object) -> bool:
    return all(_is_mapping_with("when", "then")(one) for one in (data if isinstance(data, Documents) else [data]))


def _is_har(data: Any) -> bool:
    return _is_mapping_with("log")(data) and _is_mapping_with("entries")(data["log"])


_FORMATS: tuple[tuple[Callable[[Any], bool], Callable[[Any], Any]], ...] = (
    (_is_mapping_with("interactions"), _listed),
    (_is_mapping_with("http_interactions"), _listed),
    (_is_mapping_with("requests", "responses"), _langchain),
    (_is_har, _har),
    (_is_httpmock, _httpmock),
    (_is_nock, _nock),
    (lambda data: isinstance(data, list) and not isinstance(data, Documents), lambda data: data),
)
"""How a format is told from the others, and how it is read; the first that fits."""
