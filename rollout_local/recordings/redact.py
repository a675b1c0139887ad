"""Secrets never reach a disk.

Invariant: every byte that goes into a recording, a key or an `Exchange` has passed through one `Redactor`.
Headers pass by allow-list; credentials in queries, in URLs and in named JSON fields are taken out by name;
every credential that was seen on a request and every secret-named environment value is taken out by value,
in all the forms it may have inside a body (plain, JSON-escaped, URL-quoted, base64 at three alignments); and
key-shaped pieces (`shapes`) go wherever they stand. Where it stood, `[redacted]` stands: the same word for
all, so that a body which echoes a key has one hash under every key.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlencode, urlsplit, urlunsplit

from rollout_local.recordings import shapes
from rollout_local.recordings.exchange import Headers

MARK = b"[redacted]"
REQUEST_HEADERS = frozenset({"content-type", "accept", "anthropic-version", "anthropic-beta", "openai-beta"})
RESPONSE_HEADERS = frozenset({
    "content-type", "retry-after", "retry-after-ms", "x-request-id", "request-id", "location", "openai-model",
    "openai-processing-ms", "openai-version", "x-amzn-requestid", "x-amzn-errortype",
})  # fmt: skip
AUTH_HEADERS = frozenset({
    "authorization", "proxy-authorization", "api-key", "x-api-key", "x-goog-api-key", "x-auth-token", "cookie",
    "openai-organization", "openai-project", "x-amz-security-token", "x-access-token", "ocp-apim-subscription-key",
})  # fmt: skip
SECRET_PARAMS = re.compile(
    r"(?i)key|api[-_]?key|subscription-key|(?:access|auth|id|refresh|api|session|bearer)[-_]?token|token|sig|signature"
    r"|password|passwd|(?:client[-_]?)?secret|x-amz-(?:credential|signature|security-token)|x-goog-signature"
)
_SECRET_NAME = re.compile(r"(?i)KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL")
_PLACE_NAME = re.compile(r"(?i)_(FILE|PATH|DIR|URL|URI)$")
_PLAIN = re.compile(r"[a-z]+(?:[-_ ][a-z]+)*|[A-Z]+|[A-Z][a-z]+|[\d\s.,:_+-]+|(?i:true|false)")
_FIELD_MARKS = (b"key", b"Key", b"KEY", b"oken", b"OKEN", b"ecret", b"ECRET", b"assw", b"ASSW", b"uthorization",
                b"redential")  # fmt: skip
_FIELD = re.compile(
    rb"(?i)\"(?:(?:[\w-]*[_-])?(?:api|access|private|secret|subscription|signing|encryption)[-_]?key(?:[-_]id)?"
    rb"|(?:[\w-]*[_-])?(?:access|auth|refresh|session|bearer|api|id)[-_]?token|(?:[\w-]*[_-])?(?:secret|password|passwd)"
    rb"|(?:x-)?api-?key|authorization|credentials?)\\?\"\s*:\s*\\?\"((?:[^\"\\]|\\[^\"])+)"
)
_LONGEST_WORD = 16
_MOST_SEEN = 512


def is_plain(value: str, longest: int = _LONGEST_WORD) -> bool:
    """Whether `value` is too short or too ordinary to be a secret: a word, a number, `true`, `not-needed`."""
    return len(value) < 8 or (len(value) < longest and _PLAIN.fullmatch(value) is not None)


def environment_secrets(environ: Mapping[str, str]) -> list[str]:
    """The values in `environ` whose names say that they are secret, without words, numbers and paths."""
    return [
        value.strip()
        for name, value in environ.items()
        if _SECRET_NAME.search(name)
        and not (_PLACE_NAME.search(name) and "@" not in value)
        and not is_plain(value.strip())
    ]


def forms(secret: str) -> set[bytes]:
    """Every way in which `secret` may be written inside a text body."""
    raw = secret.encode("utf-8", "surrogateescape")
    found = {raw, json.dumps(secret)[1:-1].encode(), quote(secret, safe="").encode(), quote_plus(secret).encode()}
    found.add(raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"/", b"\\/").replace(b"\n", b"\\n"))
    found.add(json.dumps(secret, ensure_ascii=False)[1:-1].encode("utf-8", "surrogateescape"))
    for shift in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            code = encode(b"\0" * shift + raw)
            found.add(code[(shift * 8 + 5) // 6 : (shift + len(raw)) * 8 // 6])
    return {form for form in found if len(form) >= 8}


class Redactor:
    """Takes secrets out of URLs, headers and bodies, and learns new ones from the requests it sees.

    Safe under threads: readers see a tuple that is replaced, never changed; learning takes turns.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._learning = threading.Lock()
        self._known: dict[str, None] = {}
        self._forms: tuple[bytes, ...] = ()
        self.learn(environment_secrets(environ))

    def learn(self, secrets: Iterable[str]) -> None:
        """Take these values out from now on, whatever they look like."""
        new = [secret for secret in secrets if secret not in self._known and len(secret) >= 8]
        if not new:
            return
        with self._learning:
            known = {**self._known, **dict.fromkeys(new)}
            known = dict(list(known.items())[-_MOST_SEEN:])
            every = {form for secret in known for form in forms(secret)}
            self._forms = tuple(sorted(every, key=lambda form: (-len(form), form)))
            self._known = known

    def clean(self, data: bytes) -> bytes:
        """Return `data` without secrets; the same object where there was none."""
        for form in self._forms:
            if form in data:
                data = data.replace(form, MARK)
        return shapes.remove(data, MARK)

    def text(self, value: str) -> str:
        """`clean`, for text."""
        return self.clean(value.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    def body(self, data: bytes) -> bytes:
        """`clean`, after taking out what stands in JSON fields that are named like credentials."""
        if any(mark in data for mark in _FIELD_MARKS):
            for value in _named_secrets(data):
                data = data.replace(value, MARK)
        return self.clean(data)

    def watch(self, headers: Iterable[tuple[str, str]]) -> Headers:
        """Learn the credentials in a request's headers; return those that may be written, lower-case."""
        kept: list[tuple[str, str]] = []
        for name, value in headers:
            lower = name.lower()
            if lower in REQUEST_HEADERS:
                kept.append((lower, self.text(value)))
            elif (lower in AUTH_HEADERS or _SECRET_NAME.search(lower)) and value not in self._known:
                self.learn(_credentials(lower, value))
        return tuple(kept)

    def response_headers(self, headers: Iterable[tuple[str, str]]) -> Headers:
        """Those of a response's headers that may be written, lower-case and clean."""
        return tuple(
            (name.lower(), self.url(value) if name.lower() == "location" else self.text(value))
            for name, value in headers
            if name.lower() in RESPONSE_HEADERS
        )

    def url(self, url: str) -> str:
        """Return `url` without user, password and secret parameters; learn those."""
        parts = urlsplit(url)
        netloc = parts.netloc
        if "@" in netloc:
            user, netloc = netloc.rsplit("@", 1)
            self.learn(unquote(piece) for piece in user.split(":", 1)[1:])
        query = parts.query
        if query:
            query = self._query(query)
        return self.text(urlunsplit((parts.scheme, netloc, parts.path, query, parts.fragment)))

    def _query(self, query: str) -> str:
        pairs = parse_qsl(query, keep_blank_values=True)
        secret = [(name, value) for name, value in pairs if SECRET_PARAMS.fullmatch(name)]
        if not secret:
            return query
        self.learn(value for _, value in secret if not is_plain(value, 12))
        return urlencode([(n, "REDACTED" if SECRET_PARAMS.fullmatch(n) else v) for n, v in pairs])


def _named_secrets(data: bytes) -> set[bytes]:
    """Values of JSON fields named like credentials. Not learned: a key must not depend on what came before."""
    found = {hit.group(1) for hit in _FIELD.finditer(data)}
    return {value for value in found if MARK not in value and not is_plain(value.decode("utf-8", "replace"))}


def _credentials(name: str, value: str) -> list[str]:
    """The secret parts of an authorization-like header's value."""
    if name == "cookie":
        found = [pair.partition("=")[2].strip() for pair in value.split(";")]
    elif value.startswith("AWS4-"):
        found = re.findall(r"Credential=([^/,\s]+)", value)
    else:
        scheme, _, rest = value.partition(" ")
        found = [rest.strip() or scheme]
        if scheme.lower() == "basic":
            found += _basic(rest.strip())
    return [secret for secret in found if not is_plain(secret, 12)]


def _basic(code: str) -> list[str]:
    try:
        pair = base64.b64decode(code, validate=True).decode()
    except ValueError:
        return []
    return [pair, pair.partition(":")[2]]
