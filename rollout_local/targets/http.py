"""Targets behind one URL, in any language: protocol `rollout-target/1`, JSON over POST.

    {"protocol": "rollout-target/1", "op": "describe"}
        → {"targets": [{"id", "kind", "baseline", "description"?}]}
    {"protocol": "rollout-target/1", "op": "run", "target", "task": {"name", "instruction", "input", "metadata",
     "split"}, "candidate": {"text"}, "trace_id"}
        → an AgentResult: {"output", "trace_id"?, "latency_ms"?, "cost_usd"?, "metadata"?}
    either → {"error": {"type", "message", "retryable"}}

Invariant: a failure is not a zero. Only what the target itself calls its own failure (`retryable` false, with a status
of 2xx, 400 or 422) or an answer that is JSON but no AgentResult is scored, as for a function that raises. Every other
status, `retryable` true, an answer that cannot be read, a time-out and a lost connection are trouble on the way: they
reach the caller as what `runs/provider.py` knows. The protocol is ours; nothing is claimed about the hosted SDK's wire.

Behaviour behind a URL cannot be hashed. `source` is what the target said of itself, so a change of code behind the
URL is not noticed; put a version into the description to make it count.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Literal, NoReturn

import httpx
from pydantic import Field, StrictBool, ValidationError, field_validator

from rollout_local.documents import parse_json
from rollout_local.domain.dataset import Task, Value
from rollout_local.domain.identity import canonical_json, content_hash, text_hash, well_formed
from rollout_local.domain.target import AgentResult, Candidate, TargetKind, as_result
from rollout_local.errors import InputError, ProviderError, RolloutError

PROTOCOL: Literal["rollout-target/1"] = "rollout-target/1"
TIMEOUT = 300.0
"""Seconds that an answer may take, where nothing else is said: agents are slow."""
CONNECT_TIMEOUT = 10.0
OWN_FAULT = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY})
"""Statuses beside 2xx under which `retryable` false is the target's word on itself; others speak of the way to it."""

_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e]*?)[ \t]*")
_SECRET = re.compile(r"(?i)authorization|cookie|key|token|secret|passw|credential")
_OURS = frozenset({"content-type", "content-length", "transfer-encoding", "host", "accept-encoding"})


class TargetFailed(RolloutError):
    """The target's own failure, in its words: the trial is scored 0 with them as feedback."""


class TargetUnavailable(ProviderError):
    """The target gave no answer that counts; the trial has no score. `status_code` says which failure it is."""

    def __init__(self, message: str, status_code: int) -> None:
        super().__init__(message, kind="overload")
        self.status_code = status_code


class HttpTarget:
    """One target behind a URL. Safe to run from many threads; `close` ends its connections."""

    def __init__(
        self, url: str, described: Described, *, headers: Mapping[str, str] | None = None, timeout: float = TIMEOUT
    ) -> None:
        self.url = url
        self.id = described.id
        self.kind = described.kind
        self.description = described.description
        self.baseline = Candidate(text=described.baseline)  # type: ignore[call-arg]
        self.source = described.source
        self.source_hash = text_hash(self.source)
        self._client = _client(url, headers or {}, timeout)

    def run(self, task: Task, candidate: Candidate) -> AgentResult:
        """Execute once. The trace id is the hash of what is asked, so that a replay asks the same.

        Raises `TargetFailed` (the target's own failure), `TargetUnavailable` or httpx's errors (trouble on the way),
        `InputError` where the answer is no AgentResult.
        """
        question: dict[str, Any] = well_formed({
            "target": self.id,
            "task": task.model_dump(include={"name", "instruction", "input", "metadata", "split"}),
            "candidate": {"text": candidate.text},
        })  # fmt: skip
        trace_id = content_hash(question).removeprefix("sha256:")[:32]
        try:
            response = _ask(self._client, self.url, {"op": "run", **question, "trace_id": trace_id})
        except httpx.DecodingError as error:
            msg = f"the target's answer cannot be decompressed: {error}"
            raise TargetUnavailable(msg, HTTPStatus.BAD_GATEWAY) from error
        return _result(response)

    def describe_again(self) -> None:
        """Ask for the description once more, so that a recording that is open holds it for its replays.

        Raises `InputError` where the target no longer says of itself what it said.
        """
        if self.source in [described.source for described in _described(self._client, self.url)]:
            return
        msg = f"{self.url}: target {self.id!r} no longer says of itself what it said before; start the command again"
        raise InputError(msg)

    def close(self) -> None:
        """End the connections."""
        self._client.close()


class Described(Value):
    """What a target says of itself."""

    id: str
    kind: TargetKind
    baseline: str
    description: str = ""

    @property
    def source(self) -> str:
        """All of it and the protocol, as canonical JSON."""
        return canonical_json({"protocol": PROTOCOL, **self.model_dump()})

    @field_validator("id")
    @classmethod
    def _is_a_name(cls, id: str) -> str:
        if id and id == id.strip() and id.isprintable():
            return id
        msg = f"{id!r} is no name; use a non-empty one without surrounding spaces"
        raise ValueError(msg)

    @field_validator("baseline")
    @classmethod
    def _is_a_text(cls, baseline: str) -> str:
        if baseline.strip():
            return baseline
        msg = "it is empty; GEPA needs a text to start from"
        raise ValueError(msg)


class _Description(Value):
    protocol: Literal["rollout-target/1"] = PROTOCOL
    targets: tuple[Described, ...] = Field(min_length=1)


class _Error(Value):
    type: str
    message: str
    retryable: StrictBool

    @property
    def words(self) -> str:
        return f"{self.type}: {self.message}"


def describe(url: str, headers: Mapping[str, str] | None = None, timeout: float = TIMEOUT) -> list[HttpTarget]:
    """The targets behind a URL, in their order. Raises `InputError`: what is wrong, where, what to do."""
    _require_address(url, headers or {})
    with _client(url, headers or {}, timeout) as client:
        found = _described(client, url)
    return [HttpTarget(url, described, headers=headers, timeout=timeout) for described in found]


def as_described(url: str, source: str) -> HttpTarget:
    """The target as it was described before (`HttpTarget.source`): in a replay nobody is asked."""
    said = {name: value for name, value in json.loads(source).items() if name != "protocol"}
    return HttpTarget(url, Described.model_validate(said))


def headers_of(
    given: Sequence[str], bearer_env: str | None, environ: Mapping[str, str], *, required: bool = True
) -> dict[str, str]:
    """Headers from `--target-header "Name: value"` and `--target-bearer-env VARIABLE`.

    A value `$VARIABLE` is read from the environment, and a header that is named like a credential must be one: what
    is given on the command line is stored with the run. In a replay nothing is sent, so nothing is `required`.
    """
    headers: dict[str, str] = {}
    for text in given:
        name, value = _parted(text)
        if value.startswith("$"):
            value = _variable(value[1:], f"--target-header {name}", environ, required=required)
        elif _SECRET.search(name):
            msg = f"--target-header {name} looks like a credential, and the flag is stored with the run; write " + (
                "--target-bearer-env VARIABLE" if name.lower() == "authorization" else f'"{name}: $VARIABLE"'
            )
            raise InputError(msg)
        headers[name] = value
    if bearer_env is not None:
        token = _variable(bearer_env, "--target-bearer-env", environ, required=required)
        headers["Authorization"] = f"Bearer {token}"
    return headers


def _parted(text: str) -> tuple[str, str]:
    found = _HEADER.fullmatch(text)
    if found is None:
        msg = f'--target-header takes "Name: value" in plain ASCII, not {text!r}'
        raise InputError(msg)
    if found[1].lower() in _OURS:
        msg = f"--target-header {found[1]} is set by the client itself; leave it out"
        raise InputError(msg)
    return found[1], found[2]


def _variable(name: str, flag: str, environ: Mapping[str, str], *, required: bool) -> str:
    value = environ.get(name, "").strip()
    if not value and required:
        msg = f"{flag} reads the environment variable {name}, which is not set; set it"
        raise InputError(msg)
    if not value.isascii() or not value.isprintable():
        msg = f"{flag} reads the environment variable {name}, whose value no HTTP header can hold; correct it"
        raise InputError(msg)
    return value


def _require_address(url: str, headers: Mapping[str, str]) -> None:
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL as error:
        msg = f"--target-url {url} is no URL ({error}); give one such as http://127.0.0.1:3000/rollout"
        raise InputError(msg) from error
    if parts.scheme not in ("http", "https") or not parts.host:
        msg = f"--target-url {url} is no http or https URL; give one such as http://127.0.0.1:3000/rollout"
        raise InputError(msg)
    if parts.userinfo:
        msg = f"--target-url for {parts.host} holds a password, and is stored with the run; use --target-bearer-env"
        raise InputError(msg)
    if parts.scheme == "http" and not _is_loopback(parts.host) and any(map(_SECRET.search, headers)):
        msg = f"--target-url {url} would send a credential unencrypted to {parts.host}; use https, or loopback"
        raise InputError(msg)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _client(url: str, headers: Mapping[str, str], timeout: float) -> httpx.Client:
    """A client without a limit on connections: how many trials run at once is the run's to say."""
    return httpx.Client(
        headers=dict(headers),
        timeout=httpx.Timeout(timeout, connect=min(timeout, CONNECT_TIMEOUT)),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
        trust_env=not _is_loopback(httpx.URL(url).host),  # no proxy stands between this machine and itself
    )


def _ask(client: httpx.Client, url: str, question: Mapping[str, Any]) -> httpx.Response:
    body = json.dumps({"protocol": PROTOCOL, **question}, ensure_ascii=False, allow_nan=False).encode()
    return client.post(url, content=body, headers={"Content-Type": "application/json"})


def _described(client: httpx.Client, url: str) -> Sequence[Described]:
    try:
        response = _ask(client, url, {"op": "describe"})
    except httpx.TimeoutException as error:
        msg = f"{url} did not answer in time; see whether the target's server is up"
        raise InputError(msg) from error
    except httpx.HTTPError as error:
        msg = f"{url} cannot be asked ({error}); start the target's server, or correct --target-url"
        raise InputError(msg) from error
    _require_success(response, url)
    found = _description(_text(response), url)
    twice = [name for name, count in Counter(target.id for target in found).items() if count > 1]
    if twice:
        msg = f"{url} describes two targets with the id {twice[0]!r}; give one of them another id"
        raise InputError(msg)
    return found


def _require_success(response: httpx.Response, url: str) -> None:
    """Refuse a status that is no success, and an error under one that is."""
    error = _error_in(_object(response))
    if response.is_success and error is None:
        return
    if response.has_redirect_location:
        msg = f"{url} answers with a redirect to {response.headers['location']}; give that as --target-url"
    elif response.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        msg = f"{url} refuses (HTTP {response.status_code}); give its token with --target-bearer-env VARIABLE"
    else:
        what = error.words if error else f"it answers {_shown(response)}"
        msg = f"{url} does not describe its targets: {what}; see whether it speaks {PROTOCOL} at this path"
    raise InputError(msg)


def _description(text: str, url: str) -> Sequence[Described]:
    try:
        return _Description.model_validate(parse_json(text, f"{url} (op describe)")).targets
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the answer"
        what = str(first["msg"]).removeprefix("Value error, ")
        msg = f"{url} (op describe): {place}: {what[0].lower()}{what[1:]}; correct what it answers ({PROTOCOL})"
        raise InputError(msg) from None


def _result(response: httpx.Response) -> AgentResult:
    said = _object(response)
    error = _error_in(said)
    status = response.status_code
    if error is not None and not error.retryable and (response.is_success or status in OWN_FAULT):
        raise TargetFailed(error.words)
    if status >= HTTPStatus.BAD_REQUEST:
        raise TargetUnavailable(error.words if error else _shown(response), status)
    if error is not None:
        raise TargetUnavailable(error.words, HTTPStatus.SERVICE_UNAVAILABLE)
    if said is None or "error" in said or not response.is_success:
        msg = f"the target's answer is not one of {PROTOCOL}: {_shown(response)}"
        raise TargetUnavailable(msg, HTTPStatus.BAD_GATEWAY)
    if said.get("protocol", PROTOCOL) != PROTOCOL:
        msg = f"the target answers in protocol {said['protocol']!r}, not {PROTOCOL}"
        raise TargetUnavailable(msg, HTTPStatus.BAD_GATEWAY)
    return as_result({name: value for name, value in said.items() if name != "protocol"})


def _object(response: httpx.Response) -> dict[str, Any] | None:
    """The JSON object of an answer, or None. Half a surrogate pair, as models' replies have them, is let pass."""
    try:
        said = well_formed(json.loads(_text(response), parse_constant=_refuse_constant))
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def _refuse_constant(name: str) -> NoReturn:
    msg = f"{name} has no place in JSON"
    raise ValueError(msg)


def _error_in(said: Mapping[str, Any] | None) -> _Error | None:
    """The error of an answer that is one in the protocol's shape, or None."""
    if said is None or not set(said) <= {"protocol", "error"}:
        return None
    try:
        return _Error.model_validate(said.get("error"))
    except ValidationError:
        return None


def _text(response: httpx.Response) -> str:
    """JSON is UTF-8 (RFC 8259, 8.1), whatever the header says."""
    return response.content.decode("utf-8-sig", "replace")


def _shown(response: httpx.Response) -> str:
    said = " ".join(_text(response).split())
    return f"HTTP {response.status_code}: {said[:200] or 'an empty body'}"
