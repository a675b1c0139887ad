r"""Model text is data wherever it is shown: characters that would act on a terminal or a page are spelled out.

Escape sequences, carriage returns, bidirectional overrides, invisible format characters, odd line separators
and lone surrogates become `\x1b`, `\u202e` and the like. Newlines and tabs stay; so do the joiners that
emoji and some scripts are written with.
"""

from __future__ import annotations

import unicodedata

_KEPT = frozenset("\n\t\u200c\u200d")
_SPELLED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def visible(text: str) -> str:
    """`text` with nothing in it that acts instead of being read."""
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return "".join(_spelled(char) if _acts(char) else char for char in text)


def one_line(text: str, limit: int | None = None) -> str:
    """`text` on one line, every run of white space one blank, cut to `limit` characters."""
    line = " ".join(visible(text).split())
    return line if limit is None or len(line) <= limit else line[: limit - 1] + "…"


def first_line(text: str, limit: int | None = None) -> str:
    """The first line of `text` that is not blank, cut to `limit` characters."""
    lines = (line for line in text.split("\n") if line.strip())
    return one_line(next(lines, ""), limit)


def _acts(char: str) -> bool:
    return char not in _KEPT and unicodedata.category(char) in _SPELLED


def _spelled(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
