"""Credentials by the name under which they stand: in JSON, forms, multipart bodies, queries and metadata."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rollout_local.redaction.known import MARK, is_plain

SECRET_PARAMS = re.compile(
    r"(?i)key|api[-_]?key|subscription-key|(?:access|auth|id|refresh|api|session|bearer)[-_]?token|token|sig|signature"
    r"|pass(?:word|wd|phrase)|pwd|auth|(?:client[-_]?)?secret|x-amz-(?:credential|signature|security-token)"
    r"|x-goog-signature|client[-_]?assertion"
)
"""Names in queries and forms whose values are credentials, whatever they look like."""
_UNLESS_PLAIN = frozenset({"k"})
"""Names that are as often ordinary (`k=10`)."""
_NAME = (
    r"(?:[\w-]*[_-])?(?:api|access|private|secret|subscription|signing|encryption)[-_]?key(?:[-_]id)?"
    r"|(?:[\w-]*[_-])?(?:access|auth|refresh|session|bearer|api|id)[-_]?token"
    r"|(?:[\w-]*[_-])?(?:secret|password|passwd|passphrase|pwd)"
    r"|(?:x-)?api-?key|(?:proxy-)?authorization|credentials?|auth|cookie|set-cookie"
)
_FIELD_NAME = re.compile(rf"(?i)(?:{_NAME})")
_MARKS = (b"key", b"oken", b"ecret", b"assw", b"assp", b"pwd", b"uth", b"redential", b"ookie",
          b"KEY", b"Key", b"OKEN", b"ECRET", b"ASSW", b"ASSP", b"PWD", b"Pwd", b"UTH")  # fmt: skip
_FIELD = re.compile(
    rf"(?i)\"(?:{_NAME})\\?\"\s*:\s*(?:\{{\s*\\?\"(?:value|key|token)\\?\"\s*:\s*)?\\?\"((?:[^\"\\]|\\[^\"])+)".encode()
)
_FORM = re.compile(rb"[\w.%\[\]+-]+=[^&\s\"{}<>]*(?:&[\w.%\[\]+-]+=[^&\s\"{}<>]*)*")
_PART = re.compile(
    rb"(?i)(content-disposition:[^\r\n]*?\bname=\"?([^\";\r\n]+)\"?[^\r\n]*(?:\r?\n[^\r\n]+)*\r?\n\r?\n)(.*?)(?=\r?\n--)",
    re.DOTALL,
)


def is_secret_param(name: str, value: str) -> bool:
    """Whether what stands under `name` in a query or a form is a credential."""
    return SECRET_PARAMS.fullmatch(name) is not None or (name in _UNLESS_PLAIN and not is_plain(value))


def is_secret_field(name: str) -> bool:
    """Whether a field of this name holds a credential."""
    return _FIELD_NAME.fullmatch(name) is not None


def values(data: bytes) -> set[bytes]:
    """What stands in JSON fields that are named like credentials, words and numbers aside."""
    if not any(mark in data for mark in _MARKS):
        return set()
    found = {hit.group(1) for hit in _FIELD.finditer(data)}
    return {value for value in found if MARK not in value and not is_plain(value.decode("utf-8", "replace"))}


def without_parts(data: bytes) -> bytes:
    """`data` without the credentials in a form or in the parts of a multipart body; the same object where none is."""
    if b"\n" not in data and _FORM.fullmatch(data):
        pieces = list(_pieces(data))
        return b"&".join(pieces) if MARK in b"".join(pieces) else data
    if b"ontent-" in data and b"isposition" in data:
        return _PART.sub(_emptied, data)
    return data


def _pieces(form: bytes) -> Iterator[bytes]:
    for piece in form.split(b"&"):
        name, equals, value = piece.partition(b"=")
        is_secret = is_secret_param(name.decode("latin-1"), value.decode("latin-1"))
        yield name + equals + MARK if value and is_secret else piece


def _emptied(part: re.Match[bytes]) -> bytes:
    name, value = part[2].decode("utf-8", "replace"), part[3].decode("utf-8", "replace")
    return part[1] + MARK if is_secret_param(name, value) or is_secret_field(name) else part[0]
