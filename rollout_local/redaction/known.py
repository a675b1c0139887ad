"""Values that are known to be secret, and every way in which one may be spelled in a body.

Spellings: plain, in capitals and small letters, JSON-escaped (as needed, punctuation only, every character),
URL-quoted once and twice, base64 at three alignments, hexadecimal, UTF-16.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import quote, quote_plus

MARK = b"[redacted]"
"""What stands where a secret stood: the same word for all, so that a body has one hash under every key."""
SHORTEST = 8
WIDE = ("utf-16-le", "utf-16-be")
_SECRET_NAME = re.compile(r"(?i)KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL")
_PLACE_NAME = re.compile(r"(?i)_(FILE|PATH|DIR|URL|URI)$")
_PLAIN = re.compile(r"[a-z]+(?:[-_ ][a-z]+)*|[A-Z]+|[A-Z][a-z]+|[\d\s.,:_+-]+|(?i:true|false)")
_LONGEST_WORD = 16


def is_plain(value: str, longest: int = _LONGEST_WORD) -> bool:
    """Whether `value` is too short or too ordinary to be a secret: a word, a number, `true`, `not-needed`."""
    return len(value) < SHORTEST or (len(value) < longest and _PLAIN.fullmatch(value) is not None)


def is_secret_name(name: str) -> bool:
    """Whether a variable or a header is named like a secret."""
    return _SECRET_NAME.search(name) is not None


def secret_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of `environ` whose names say that they are secret, without words, numbers and paths."""
    return {
        name: value.strip()
        for name, value in environ.items()
        if is_secret_name(name) and not (_PLACE_NAME.search(name) and "@" not in value) and not is_plain(value.strip())
    }


def environment_secrets(environ: Mapping[str, str]) -> list[str]:
    """The values of `secret_variables`."""
    return list(secret_variables(environ).values())


def forms(secret: str) -> set[bytes]:
    """Every way in which `secret` may be written inside a text body."""
    return {form for form in _spelled(secret) if len(form) >= SHORTEST} | set(wide_forms(secret))


def wide_forms(secret: str) -> Iterator[bytes]:
    """`secret` in UTF-16: two bytes a character, and so a mark of its own where it is taken out."""
    for encoding in WIDE:
        yield secret.encode(encoding, "surrogatepass")


def _spelled(secret: str) -> Iterator[bytes]:
    for text in (secret, secret.upper(), secret.lower()):
        yield _raw(text)
        yield from _escaped(text)
    once, plus = quote(secret, safe=""), quote_plus(secret)
    for quoted in (once, plus, once.lower() if once != secret else once):
        yield quoted.encode()
    yield quote(once, safe="").encode()
    yield quote_plus(plus).encode()
    raw = _raw(secret)
    yield raw.hex().encode()
    yield raw.hex().upper().encode()
    for shift in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            code = encode(b"\0" * shift + raw)
            yield code[(shift * 8 + 5) // 6 : (shift + len(raw)) * 8 // 6]


def _escaped(secret: str) -> Iterator[bytes]:
    raw = _raw(secret)
    yield json.dumps(secret)[1:-1].encode()
    yield _raw(json.dumps(secret, ensure_ascii=False)[1:-1])
    yield raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"/", b"\\/").replace(b"\n", b"\\n")
    is_some: Callable[[str], bool] = lambda char: not char.isalnum()  # noqa: E731 - one of a pair
    for digits in ("04x", "04X"):
        for wanted in (is_some, bool):
            yield _raw("".join(f"\\u{ord(char):{digits}}" if wanted(char) else char for char in secret))


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
