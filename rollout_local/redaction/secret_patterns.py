"""The shapes of keys that providers hand out, in one table.

Invariant: the redactor removes exactly what `scan` looks for, because both read this table. A shape names the
substrings that must be present before its pattern is tried, so that clean text costs a few `in` checks.

Sources: the providers' own key formats, as GitHub's secret scanning documents them
(docs.github.com, "Supported secret scanning patterns").
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from typing import NamedTuple


class Shape(NamedTuple):
    """A kind of key: what to say, what must be there, what it looks like. Group 1, if any, is the secret."""

    name: str
    marks: tuple[bytes, ...]
    pattern: re.Pattern[bytes]


_EDGE = rb"(?<![A-Za-z0-9])"

SHAPES: tuple[Shape, ...] = (
    Shape("OpenAI, Anthropic or OpenRouter key", (b"sk-",), re.compile(_EDGE + rb"sk-[A-Za-z0-9_-]{16,}")),
    Shape("Stripe key", (b"sk_", b"rk_"), re.compile(_EDGE + rb"[sr]k_(?:live|test)_[A-Za-z0-9]{16,}")),
    Shape("AWS access key", (b"AKIA", b"ASIA"), re.compile(_EDGE + rb"A[KS]IA[A-Z0-9]{16}(?![A-Za-z0-9])")),
    Shape(
        "GitHub token",
        (b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_", b"github_pat_"),
        re.compile(_EDGE + rb"(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{40,})"),
    ),
    Shape("GitLab token", (b"glpat-",), re.compile(_EDGE + rb"glpat-[A-Za-z0-9_-]{16,}")),
    Shape("Google API key", (b"AIza",), re.compile(_EDGE + rb"AIza[A-Za-z0-9_-]{30,}")),
    Shape("Google OAuth token", (b"ya29.",), re.compile(_EDGE + rb"ya29\.[A-Za-z0-9_-]{20,}")),
    Shape("Hugging Face token", (b"hf_",), re.compile(_EDGE + rb"hf_[A-Za-z0-9]{24,}")),
    Shape("Groq key", (b"gsk_",), re.compile(_EDGE + rb"gsk_[A-Za-z0-9]{24,}")),
    Shape("xAI key", (b"xai-",), re.compile(_EDGE + rb"xai-[A-Za-z0-9]{24,}")),
    Shape("Perplexity key", (b"pplx-",), re.compile(_EDGE + rb"pplx-[A-Za-z0-9]{24,}")),
    Shape("Replicate token", (b"r8_",), re.compile(_EDGE + rb"r8_[A-Za-z0-9]{30,}")),
    Shape("Slack token", (b"xox",), re.compile(_EDGE + rb"xox[abeoprs]-[A-Za-z0-9-]{10,}")),
    Shape("npm token", (b"npm_",), re.compile(_EDGE + rb"npm_[A-Za-z0-9]{30,}")),
    Shape("PyPI token", (b"pypi-",), re.compile(_EDGE + rb"pypi-[A-Za-z0-9_-]{40,}")),
    Shape("SendGrid key", (b"SG.",), re.compile(_EDGE + rb"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}")),
    Shape("Rollout key", (b"rl_",), re.compile(_EDGE + rb"rl_[A-Za-z0-9]{24,}")),
    Shape(
        "JSON web token",
        (b"eyJ",),
        re.compile(_EDGE + rb"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"),
    ),
    Shape(
        "private key",
        (b"PRIVATE KEY-----",),
        re.compile(rb"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----.{1,8000}?-----END [A-Z ]{0,20}PRIVATE KEY", re.DOTALL),
    ),
    Shape(
        "bearer credential",
        (b"earer ", b"EARER "),
        re.compile(rb"(?i:bearer) ([A-Za-z0-9_.~+/-]*[0-9][A-Za-z0-9_.~+/-]{19,}=*)"),
    ),
    Shape(
        "credential in a query",
        (b"ey=", b"EY=", b"oken=", b"ecret=", b"assword=", b"ignature="),
        re.compile(
            rb"(?i)[?&](?:(?:api|access|subscription)[-_]?key|key|(?:\w+[-_])?token|(?:client[-_]?)?secret|password"
            rb"|(?:x-(?:amz|goog)-)?signature)=(?=[^&\s\"'<>]*[0-9])([A-Za-z0-9_.~%+/=-]{12,})"
        ),
    ),
    Shape(
        "password in a URL",
        (b"://",),
        re.compile(rb"[a-z][a-z0-9+.-]{1,20}://[^\s/:@\"'\\<>]{1,64}:([^\s/@\"'\\<>\[\]{}]{4,128})@[A-Za-z0-9]"),
    ),
)


def find(data: bytes) -> Iterator[tuple[str, int, int]]:
    """Yield (name, start, end) for every key-shaped piece of `data`; offsets are in bytes."""
    for shape in SHAPES:
        if any(mark in data for mark in shape.marks):
            for hit in shape.pattern.finditer(data):
                group = 1 if shape.pattern.groups else 0
                yield shape.name, hit.start(group), hit.end(group)


def remove(data: bytes, mark: bytes, kept: Set[bytes] = frozenset()) -> bytes:
    """Return `data` with every key-shaped piece that is not `kept` replaced by `mark`; the same object if none."""
    spans = sorted((start, end) for _, start, end in find(data) if data[start:end] not in kept)
    if not spans:
        return data
    pieces: list[bytes] = []
    at = 0
    for start, end in spans:
        if start >= at:
            pieces += (data[at:start], mark)
        at = max(at, end)
    return b"".join([*pieces, data[at:]])
