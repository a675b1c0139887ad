"""Templates into bytes. Every text that enters a page is made visible and escaped here, and nowhere else.

`finalize` spells out what would act instead of being read (escape sequences, bidirectional overrides), then Jinja
escapes; markup of ours passes as `Markup`. The policy forbids inline scripts and styles and any other host.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from rollout_local.reports.escape import one_line, visible
from rollout_local.reports.wording import (
    money,
    number,
    percent,
    rounded_numbers,
    signed,
    spread,
    tasks_counted,
    words,
)
from rollout_local.ui.draw import marks
from rollout_local.ui.heartbeat import duration, seconds

FOLDER = Path(__file__).parent
LONGEST = 60_000
"""Characters of a text that a page shows; Datasette has the rest."""


def _final(value: object) -> object:
    if isinstance(value, str) and not isinstance(value, Markup):
        return visible(value)
    return "" if value is None else value


def short(text: object, limit: int = 80) -> str:
    """A text on one line, cut; the megabyte after the cut is never looked at."""
    return one_line(str(text)[: 4 * limit], limit) if text is not None else ""


def whole(text: str | None) -> str:
    """A text as it is, up to `LONGEST` characters."""
    if text is None or len(text) <= LONGEST:
        return text or ""
    return f"{text[:LONGEST]}\n… {len(text) - LONGEST:,} more characters; `Browse data` has them."


def pretty(text: str | None) -> str:
    """JSON text indented where it is JSON, otherwise the text."""
    if text is None or len(text) > LONGEST:
        return whole(text)
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text


def ago(at: str | None, now: float) -> str:
    """How long ago a time was: `4 min ago`."""
    return "" if at is None else f"{duration(max(0.0, now - seconds(at)))} ago"


def clock(at: str | None) -> str:
    """`2026-11-21 02:29` (UTC)."""
    return (at or "")[:16].replace("T", " ")


def took(value: float | None) -> str:
    """`9 ms`, `0.67 s`, `12.4 s`, `3 min`."""
    if value is None:
        return "–"
    if value < 0.0995:
        return f"{1000 * value:.0f} ms"
    return f"{value:.2f} s" if value < 9.95 else f"{value:.1f} s" if value < 90 else duration(value)


def dollars(value: float | None) -> str:
    """`$0.0123`; `$0` where nothing was spent."""
    return "$0" if value == 0 else money(value)


def count(value: int | None) -> str:
    """`12,345`."""
    return "–" if value is None else f"{value:,}"


@cache
def environment() -> Environment:
    """The templates, with what they may call."""
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates" / "rollout"), autoescape=True, finalize=_final,
        undefined=StrictUndefined, cache_size=100, auto_reload=False,
    )  # fmt: skip
    made.filters.update(
        num=number, signed=signed, spread=spread, percent=percent, money=dollars, words=words, short=short,
        whole=whole, pretty=pretty, clock=clock, count=count, duration=duration, took=took, tasks=tasks_counted,
        rounded=rounded_numbers,
    )  # fmt: skip
    made.globals.update(dumbbell=marks.dumbbell, share=marks.share, ago=ago)
    return made


@cache
def static_file(name: str) -> tuple[bytes, str] | None:
    """A file of ours and its type, or None."""
    kinds = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
    path = FOLDER / "static" / name
    kind = kinds.get(path.suffix)
    return (path.read_bytes(), kind) if kind and path.parent == FOLDER / "static" and path.is_file() else None


@cache
def version(name: str) -> str:
    """What changes when a static file changes."""
    found = static_file(name)
    return hashlib.sha256(found[0]).hexdigest()[:12] if found else ""


def render(template: str, context: Mapping[str, object]) -> bytes:
    """A page as bytes."""
    return environment().get_template(template).render(context).encode("utf-8", "replace")


def as_json(value: object) -> bytes:
    """A document as bytes; ASCII, so that nothing in it can surprise a parser."""
    return json.dumps(value, separators=(",", ":")).encode()


__all__ = ["as_json", "environment", "render", "short", "static_file", "version"]
