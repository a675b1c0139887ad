"""Identity is content: canonical JSON and the hashes that name things.

Two values that are equal as JSON have one canonical text, whatever the order of their keys, and so one hash.
An integral float is written as the integer that it equals (`1.0` is `1`), since JSON knows only one kind of
number.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any


def canonical_json(value: object) -> str:
    """The one JSON text of `value`: sorted keys, no spaces, no escapes that JSON does not ask for.

    Raises `ValueError` for NaN and infinities and `TypeError` for what JSON cannot say.
    """
    return json.dumps(_canonical(value), sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def content_hash(value: object) -> str:
    """`sha256:<64 hex digits>` over the canonical JSON of `value`."""
    return text_hash(canonical_json(value))


def text_hash(text: str) -> str:
    """`sha256:<64 hex digits>` over the UTF-8 bytes of `text` (lone surrogates are kept apart)."""
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def well_formed(value: object) -> Any:
    """`value` with every lone surrogate in its texts replaced by U+FFFD, so that it can be stored and sent.

    Models' replies have them where a token cut an escaped pair in two; neither UTF-8 nor SQLite can write them.
    What is of a class of its own that JSON takes for a text, a number, a list or an object is that, and no more: no
    method of such a class is called here, nor by whoever has the value after.
    """
    if isinstance(value, str):
        text = str.__str__(value)
        return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {well_formed(key): well_formed(item) for key, item in dict.items(value)}
    if isinstance(value, list):
        return [well_formed(item) for item in list.__iter__(value)]
    if isinstance(value, tuple):
        return tuple(well_formed(item) for item in tuple.__iter__(value))
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int.__int__(value)
    return float.__float__(value) if isinstance(value, float) else value


def make_id(prefix: str, entropy: bytes) -> str:
    """A readable id such as `opt_3k7q02m5la`: base32 over the caller's bytes (five bits each), in their order."""
    return f"{prefix}_{base64.b32hexencode(entropy).decode('ascii').lower().rstrip('=')}"


def _canonical(value: object) -> object:
    if isinstance(value, float):
        if not math.isfinite(value):
            msg = f"{value} has no place in JSON"
            raise ValueError(msg)
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, Mapping):
        return {str(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    return value
