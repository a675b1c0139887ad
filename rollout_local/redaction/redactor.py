"""The redactor: what it knows, and how it takes that out of bytes, texts, documents, URLs and headers.

Invariant: every byte that goes into a recording, a key, an `Exchange`, a row or a file of a run has passed through one
`Redactor`. Headers pass by allow-list. Where a secret stood, `[redacted]` stands, so cleaning twice is cleaning once.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from rollout_local.domain.identity import canonical_json
from rollout_local.redaction import named, secret_patterns, streams
from rollout_local.redaction.known import (
    MARK,
    SHORTEST,
    WIDE,
    environment_secrets,
    forms,
    is_plain,
    is_secret_name,
    wide_forms,
)

Headers = tuple[tuple[str, str], ...]
REQUEST_HEADERS = frozenset({"content-type", "accept", "anthropic-version", "anthropic-beta", "openai-beta"})
RESPONSE_HEADERS = frozenset({
    "content-type", "retry-after", "retry-after-ms", "x-request-id", "request-id", "location", "openai-model",
    "openai-processing-ms", "openai-version", "x-amzn-requestid", "x-amzn-errortype",
})  # fmt: skip
AUTH_HEADERS = frozenset({
    "authorization", "proxy-authorization", "api-key", "x-api-key", "x-goog-api-key", "x-auth-token", "cookie",
    "openai-organization", "openai-project", "x-amz-security-token", "x-access-token", "ocp-apim-subscription-key",
})  # fmt: skip
_ORDINARY = re.compile(
    r"(?i)accept.*|user-agent|host|date|range|referer|origin|content-.*|transfer-encoding|connection|cache-control|te"
    r"|if-.*|etag|x-stainless-.*|x-b3-.*|traceparent|tracestate|baggage|(?:x-)?(?:client-)?(?:request|correlation|trace)"
    r"-id|idempotency-key|anthropic-.*|openai-beta|helicone-(?:session|user|property).*|sec-.*"
)
"""Headers whose values may look random and are no credentials."""
_RANDOM = re.compile(r"(?=[^\s]*[0-9])(?=[^\s]*[A-Za-z])[A-Za-z0-9_.~+/=-]{16,512}")
_UUID = re.compile(r"(?i)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MOST_SEEN = 64
"""Credentials of requests that are known at a time: clients renew theirs now and then, not with each request."""


class Redactor:
    """Takes secrets out of URLs, headers and bodies, and learns new ones from the requests it sees.

    `environ` gives the values to know; `keep` texts whose pieces may look like keys and are none (a dataset that is
    about keys): such a piece stays wherever it stands, unless it is a value that is known.
    Safe under threads: readers see a tuple that is replaced, never changed; learning takes turns.
    """

    def __init__(self, environ: Mapping[str, str], *, keep: Iterable[str] = ()) -> None:
        self._learning = threading.Lock()
        self._given: dict[str, list[tuple[int, bytes, bytes]]] = {}
        self._seen: dict[str, list[tuple[int, bytes, bytes]]] = {}
        self._forms: tuple[tuple[bytes, bytes], ...] = ()
        self._kept = frozenset(form for text in keep for piece in lookalikes(text) for form in _written(piece))
        self.learn(environment_secrets(environ))

    def learn(self, secrets: Iterable[str]) -> None:
        """Take these values out from now on, whatever they look like."""
        self._learn(secrets, given=True)

    def _learn(self, secrets: Iterable[str], *, given: bool) -> None:
        new = {secret: _marks(secret) for secret in secrets if not self.knows(secret) and len(secret) >= SHORTEST}
        if not new:
            return
        with self._learning:
            if given:
                self._given = {**self._given, **new}
            else:  # what was only seen may be forgotten, the oldest first
                self._seen = dict(list({**self._seen, **new}.items())[-MOST_SEEN:])
            marks = {mark for marks in (*self._given.values(), *self._seen.values()) for mark in marks}
            self._forms = tuple((form, mark) for _, form, mark in sorted(marks))

    def knows(self, secret: str) -> bool:
        """Whether this value is taken out already."""
        return secret in self._given or secret in self._seen

    def finds(self, text: str) -> bool:
        """Whether a value that is known stands in `text`, in any spelling."""
        data = text.encode("utf-8", "surrogatepass")
        return any(form in data for form, _ in self._forms)

    def clean(self, data: bytes) -> bytes:
        """Return `data` without secrets; the same object where there was none."""
        for form, mark in self._forms:
            if form in data:
                data = data.replace(form, mark)
        return secret_patterns.remove(data, MARK, self._kept)

    def text(self, value: str) -> str:
        """`clean`, for text; the same object where there was none."""
        data = value.encode("utf-8", "surrogatepass")
        cleaned = self.clean(data)
        return value if cleaned is data else cleaned.decode("utf-8", "surrogatepass")

    def document(self, value: object, *, by_name: bool = False) -> Any:
        """A JSON value with clean texts and names; `by_name` also without what stands under names of credentials."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {
                self.text(name) if isinstance(name, str) else name: MARK.decode()
                if by_name and self._is_secret(name, item)
                else self.document(item, by_name=by_name)
                for name, item in value.items()
            }
        if isinstance(value, list | tuple):
            items = [self.document(item, by_name=by_name) for item in value]
            return items if isinstance(value, list) else tuple(items)
        return value

    def json_text(self, text: str) -> str:
        """A canonical JSON text whose value is clean; the same object where it was, and `text` where it is no JSON."""
        if self.text(text) is text:
            return text
        try:
            return canonical_json(self.document(json.loads(text)))
        except ValueError:
            return self.text(text)

    def body(self, data: bytes) -> bytes:
        """`clean`, after taking out what is named like a credential, and what a stream gave in pieces."""
        for value in named.values(data):
            if value not in self._kept:
                data = data.replace(value, MARK)
        return self.clean(streams.without(named.without_parts(data), self._spans))

    def _spans(self, data: bytes) -> list[tuple[int, int]]:
        """Where secrets stand in `data`, in order and apart from one another."""
        found = [(start, end) for _, start, end in secret_patterns.find(data) if data[start:end] not in self._kept]
        for form, _ in self._forms:
            at = data.find(form)
            while at >= 0:
                found.append((at, at + len(form)))
                at = data.find(form, at + len(form))
        apart: list[tuple[int, int]] = []
        for start, end in sorted(found):
            if apart and start < apart[-1][1]:
                apart[-1] = (apart[-1][0], max(end, apart[-1][1]))
            else:
                apart.append((start, end))
        return apart

    def _is_secret(self, name: object, value: object) -> bool:
        if not (isinstance(name, str) and isinstance(value, str)) or value.encode("utf-8", "replace") in self._kept:
            return False
        return named.is_secret_field(name) and not is_plain(value)

    def watch(self, headers: Iterable[tuple[str, str]]) -> Headers:
        """Learn the credentials in a request's headers; return those that may be written, lower-case."""
        kept: list[tuple[str, str]] = []
        for name, value in headers:
            lower = name.lower()
            if lower in REQUEST_HEADERS:
                kept.append((lower, self.text(value)))
            elif _is_credential(lower, value) and not self.knows(value):
                self._learn(_credentials(lower, value), given=False)
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
            self._learn((unquote(piece) for piece in user.split(":", 1)[1:]), given=False)
        query = parts.query
        if query:
            query = self._query(query)
        return self.text(urlunsplit((parts.scheme, netloc, parts.path, query, parts.fragment)))

    def _query(self, query: str) -> str:
        pairs = parse_qsl(query, keep_blank_values=True)
        secret = [value for name, value in pairs if named.is_secret_param(name, value)]
        if not secret:
            return query
        self._learn((value for value in secret if not is_plain(value, 12)), given=False)
        return urlencode([(n, "REDACTED" if named.is_secret_param(n, v) else v) for n, v in pairs])


def lookalikes(text: str) -> set[bytes]:
    """The pieces of `text` that are shaped like keys, or stand in it under names of credentials."""
    data = text.encode("utf-8", "surrogatepass")
    return {data[start:end] for _, start, end in secret_patterns.find(data)} | named.values(data)


def _marks(secret: str) -> list[tuple[int, bytes, bytes]]:
    """Each spelling of `secret` with what stands in its place, in an order that takes the longest out first."""
    wide = dict(zip(wide_forms(secret), (MARK.decode().encode(code) for code in WIDE), strict=True))
    return [(-len(form), form, wide.get(form, MARK)) for form in forms(secret)]


def _written(piece: bytes) -> tuple[bytes, bytes]:
    """A piece as it is, and as it stands inside JSON."""
    return piece, json.dumps(piece.decode("utf-8", "replace"))[1:-1].encode()


def _is_credential(name: str, value: str) -> bool:
    """Whether a header is a credential: by its name, or because its value is of no word that a header says."""
    if name in AUTH_HEADERS or is_secret_name(name):
        return True
    return not _ORDINARY.fullmatch(name) and _RANDOM.fullmatch(value) is not None and not _UUID.fullmatch(value)


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
