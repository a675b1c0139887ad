"""One interaction as one line: JSON that is YAML.

Invariant: `- {…}` is at once a list item of a YAML document that plain vcrpy loads and, after its first two
bytes, a JSON object. So characters that YAML forbids or folds are escaped, and a body that is not UTF-8 is
written as `!!binary "…"`, which only the YAML parser reads. The fields that the index needs stand first,
in a fixed order, so that opening a recording parses no bodies; the last field is the chain: a hash over the
line before and this one, so that an edit, a cut or a swap is found, and found in its line.

Source for the escapes: libyaml's reader (api.c, `yaml_parser_update_buffer`): allowed are U+0009, 000A, 000D,
0020-007E, 0085, 00A0-D7FF, E000-FFFD without FEFF, and above; U+0085, 2028 and 2029 end a line in YAML.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import cast
from uuid import uuid4

import orjson
import yaml

from rollout_local.recordings.exchange import Answer, Failure, FailureKind, Headers
from rollout_local.recordings.line_types import PlainInteraction, RecordedLine

_UNSAFE = re.compile(
    rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]|\xef\xbb\xbf|\xef\xbf[\xbe\xbf]",
)
_BINARY = f"@binary-{uuid4().hex}-"
_BINARY_FIELD = re.compile(b'"' + _BINARY.encode() + rb'([A-Za-z0-9+/=]*)"')
HEAD = re.compile(
    rb'- \{"key":"([0-9a-f]{32})","scope":"((?:[^"\\]|\\.)*)","try":(\d+),'
    rb'"outcome":(?:(\d+)|"([a-z]+)"),"parts":"([0-9a-f]*)",'
)
CHAIN = re.compile(rb',"chain":"([0-9a-f]{32})"\}\n')
CHAIN_LENGTH = len(',"chain":""}\n') + 32


@dataclass(frozen=True, slots=True)
class Interaction:
    """A recorded request and its answer, with where, when and by whom it was recorded.

    `attempt` is the scope's `try`: an interaction of an earlier try is void. `recorded_at` is in seconds since
    the epoch; `seconds` is how long the answer took.
    """

    key: str
    scope: str
    attempt: int
    parts: str
    recorded_at: float
    seconds: float
    lease: str | None
    method: str
    url: str
    headers: Headers
    body: bytes | None
    answer: Answer


def dump(item: Interaction) -> bytes:
    """The line without its chain and end: `- {…`, ready for `seal`."""
    answer = item.answer
    fields: dict[str, object] = {
        "key": item.key,
        "scope": item.scope,
        "try": item.attempt,
        "outcome": answer.outcome,
        "parts": item.parts,
        "recorded_at": _written(item.recorded_at),
        "seconds": round(item.seconds, 6),
        "lease": item.lease,
    }
    if answer.failure is not None:
        fail = answer.failure
        fields["failure"] = {"client": fail.client, "name": fail.name, "message": fail.message, "status": answer.status}
    fields |= plain(item)
    line = orjson.dumps(fields)
    if _UNSAFE.search(line):
        line = _UNSAFE.sub(_escape, line)
    if _BINARY.encode() in line:
        line = _BINARY_FIELD.sub(rb'!!binary "\1"', line)
    return b"- " + line[:-1]


def plain(item: Interaction, *, mark: bool = True) -> PlainInteraction:
    """The `request` and `response` that plain vcrpy reads; bytes stay bytes unless they are marked for `dump`."""
    answer = item.answer
    return {
        "request": {
            "method": item.method,
            "uri": item.url,
            "body": None if item.body is None else _text(item.body, mark),
            "headers": _grouped(item.headers),
        },
        "response": {
            "status": {"code": _stand_in(answer), "message": answer.reason},
            "headers": _grouped(answer.headers),
            "body": {"string": _text(answer.body, mark)},
        },
    }


def seal(before: str, line: bytes) -> tuple[bytes, str]:
    """Return the finished line and its chain, given the chain of the line before."""
    chain = link(before, line)
    return b'%b,"chain":"%b"}\n' % (line, chain.encode()), chain


def link(before: str, line: bytes) -> str:
    """The chain at a line: a hash over the chain before it and its bytes up to its own chain."""
    state = blake2b(before.encode(), digest_size=16)
    state.update(line)
    return state.hexdigest()


def parse(line: bytes) -> Interaction:
    """Read a finished line. Raises ValueError, KeyError or TypeError where it is damaged."""
    body = line[2:]
    try:
        fields: RecordedLine = orjson.loads(body)
    except orjson.JSONDecodeError:
        try:
            fields = yaml.load(body, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  safe loaders both
        except yaml.YAMLError as error:
            raise ValueError(str(error)) from None
    request = fields["request"]
    return Interaction(
        key=fields["key"],
        scope=fields["scope"],
        attempt=fields["try"],
        parts=fields["parts"],
        recorded_at=datetime.fromisoformat(fields["recorded_at"]).timestamp(),
        seconds=fields["seconds"],
        lease=fields["lease"],
        method=request["method"],
        url=request["uri"],
        headers=_flat(request["headers"]),
        body=None if request["body"] is None else _bytes(request["body"]),
        answer=_answer(fields),
    )


def _answer(fields: RecordedLine) -> Answer:
    response = fields["response"]
    status: int | None = response["status"]["code"]
    failure = None
    if "failure" in fields:
        told = fields["failure"]
        failure = Failure(cast("FailureKind", fields["outcome"]), told["client"], told["name"], told["message"])
        status = told["status"]
    return Answer(
        status=status,
        reason=response["status"]["message"],
        headers=_flat(response["headers"]),
        body=_bytes(response["body"]["string"]),
        failure=failure,
        cut=fields["outcome"] == "cut",
    )


def _stand_in(answer: Answer) -> int:
    """The status that plain vcrpy is told: it knows no failures, so a gateway's codes stand for them."""
    if answer.status is not None:
        return answer.status
    return 504 if answer.outcome == "timeout" else 502


def _written(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")


def _escape(hit: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % ord(hit.group().decode())


def _text(data: bytes, mark: bool) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return _BINARY + base64.b64encode(data).decode() if mark else data


def _bytes(text: str | bytes | None) -> bytes:
    return text.encode() if isinstance(text, str) else text or b""


def _grouped(headers: Headers) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for name, value in headers:
        grouped.setdefault(name, []).append(value)
    return grouped


def _flat(headers: dict[str, list[str]]) -> Headers:
    return tuple((name, value) for name, values in headers.items() for value in values)
