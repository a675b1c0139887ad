"""What the sink is told of an answer: its body as data, and the wait that it asks for."""

from __future__ import annotations

import email.utils

import orjson

from rollout_local.recordings.exchange import Headers


def readable(body: bytes | None) -> object:
    """Parsed JSON, or text, or None."""
    if not body:
        return None
    if body[:1] in b'{["':
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            pass
    return body.decode("utf-8", "replace")


def retry_after(headers: Headers, now: float) -> float | None:
    """Seconds to wait, from `retry-after-ms` or `retry-after` (seconds or a date; RFC 9110, 10.2.3)."""
    named = dict(headers)
    try:
        if "retry-after-ms" in named:
            return float(named["retry-after-ms"]) / 1000
        if "retry-after" not in named:
            return None
        value = named["retry-after"].strip()
        if value.replace(".", "", 1).isdigit():
            return float(value)
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now)
    except ValueError:
        return None
