"""Targets behind one URL, in any language: protocol `rollout-target/1`, JSON over POST.

    {"protocol": "rollout-target/1", "op": "describe"}
        → {"targets": [{"id", "kind", "baseline", "description"?}]}
    {"protocol": "rollout-target/1", "op": "run", "target", "task": {"name", "instruction", "input", "metadata",
     "split"}, "candidate": {"text"}, "trace_id"}
        → an AgentResult: {"output", "trace_id"?, "latency_ms"?, "cost_usd"?, "metadata"?}
    either → {"error": {"type", "message", "retryable"}}

Invariant: a failure is not a zero. Only what the target itself calls its own failure (`retryable` false, with a status
of 2xx, 400, 422 or 500) or an answer that is JSON but no AgentResult is scored, as for a function that raises. Every
other status, `retryable` true, an answer that cannot be read, a time-out and a lost connection are trouble on the
way: `ProviderError`. The protocol is ours; nothing is claimed about the hosted SDK's wire.

Behaviour behind a URL cannot be hashed. `source` is what the target said of itself, so a change of code behind the
URL is not noticed; put a version into the description to make it count.
"""

from __future__ import annotations

import ipaddress
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from typing import Any, Literal, NoReturn

import httpx
from pydantic import BaseModel, Field, StrictBool, ValidationError, field_validator

from rollout_local.documents import parse_json
from rollout_local.domain.dataset import Task, Value
from rollout_local.domain.identity import content_hash, text_hash, well_formed
from rollout_local.domain.target import AgentResult, Candidate, TargetDefaults, TargetKind, as_result
from rollout_local.domain.validation import first_problem
from rollout_local.errors import InputError, ProviderError, TargetError

PROTOCOL: Literal["rollout-target/1"] = "rollout-target/1"
TIMEOUT = 300.0
"""Seconds that an answer may take, where nothing else is said: agents are slow."""
CONNECT_TIMEOUT = 10.0
WHO = "the target's endpoint"
OWN_FAULT = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.INTERNAL_SERVER_ERROR})
"""Statuses beside 2xx under which `retryable` false is the target's word on itself; others speak of the way to it."""
PASSING: Mapping[int, str] = {
    HTTPStatus.REQUEST_TIMEOUT: "timeout", HTTPStatus.GATEWAY_TIMEOUT: "timeout",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit", HTTPStatus.CONFLICT: "overload", HTTPStatus.TOO_EARLY: "overload",
}  # fmt: skip
"""Statuses that say: later (with all others from 500 on)."""
REFUSED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


class Described(Value):
    """What a target says of itself."""

    id: str
    kind: TargetKind
    baseline: str
    description: str = ""

    @property
    def source(self) -> str:
        """All of it and the protocol, as JSON with sorted keys."""
        said = {"protocol": PROTOCOL, **self.model_dump(mode="json")}
        return json.dumps(said, indent=2, sort_keys=True, ensure_ascii=False)

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


@dataclass(frozen=True)
class Endpoint:
    """A URL that speaks the protocol. `headers` go with every question, `timeout` (seconds) bounds an answer.

    `clean` takes secrets out of an answer before anything else sees it.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float = TIMEOUT
    clean: Callable[[bytes], bytes] = bytes

    def target(self, id: str | None = None) -> HttpTarget:
        """The target with this id, or the only one there is, as it describes itself now.

        Raises `InputError` (what is wrong, where, what to do), or `ProviderError` where it cannot be asked at present.
        """
        with self.client() as client:
            found = _described(self, client)
        known = ", ".join(target.id for target in found)
        chosen = [target for target in found if id in (None, target.id)]
        if len(chosen) == 1:
            return HttpTarget(self, chosen[0])
        if chosen:
            msg = f"{self.url} describes {known}; name one with --target"
        else:
            msg = f"{self.url} describes no target {id!r} (it describes: {known}); check --target"
        raise InputError(msg)

    def as_described(self, source: str) -> HttpTarget:
        """The target as it described itself before (`HttpTarget.source`); nobody is asked."""
        said = {name: value for name, value in json.loads(source).items() if name != "protocol"}
        return HttpTarget(self, Described.model_validate(said))

    def client(self) -> httpx.Client:
        """A client without a limit on connections: how many trials run at once is the run's to say."""
        return httpx.Client(
            headers=dict(self.headers),
            timeout=httpx.Timeout(self.timeout, connect=min(self.timeout, CONNECT_TIMEOUT)),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
            trust_env=not _is_loopback(httpx.URL(self.url).host),  # no proxy stands between this machine and itself
        )

    def ask(self, client: httpx.Client, question: Mapping[str, object]) -> EndpointReply:
        """One question and its answer. Raises `ProviderError` where there is none."""
        body = json.dumps({"protocol": PROTOCOL, **question}, ensure_ascii=False, allow_nan=False).encode()
        try:
            response = client.post(self.url, content=body, headers={"Content-Type": "application/json"})
        except httpx.TimeoutException as error:
            raise _trouble("timeout", "no answer in time") from error
        except httpx.DecodingError as error:
            raise _trouble("malformed", f"it cannot be decompressed: {error}") from error
        except httpx.RequestError as error:
            raise _trouble("connection", str(error) or type(error).__name__) from error
        # JSON is UTF-8 (RFC 8259, 8.1), whatever the header says
        text = self.clean(response.content).decode("utf-8-sig", "replace")
        return EndpointReply(response.status_code, text, response.headers.get("location", ""))


class HttpTarget(TargetDefaults):
    """One target behind a URL. Safe to run from many threads; `close` ends its connections."""

    def __init__(self, endpoint: Endpoint, described: Described) -> None:
        self.endpoint = endpoint
        self.id = described.id
        self.kind = described.kind
        self.description = described.description
        self.baseline = Candidate(text=described.baseline)  # type: ignore[call-arg]
        self.source = described.source
        self.source_hash = text_hash(self.source)
        self._client = endpoint.client()

    def run(self, task: Task, candidate: Candidate) -> AgentResult:
        """Execute once. The trace id is the hash of what is asked, so that a replay asks the same.

        Raises `TargetError` (the target's own failure), `ProviderError` (trouble on the way), `InputError` where the
        answer is no AgentResult.
        """
        question: dict[str, Any] = well_formed({
            "target": self.id,
            "task": task.model_dump(include={"name", "instruction", "input", "metadata", "split"}),
            "candidate": {"text": candidate.text},
        })  # fmt: skip
        trace_id = content_hash(question).removeprefix("sha256:")[:32]
        return _result(self.endpoint.ask(self._client, {"op": "run", **question, "trace_id": trace_id}))

    def now(self) -> HttpTarget:
        """The target as it describes itself now. Raises as `Endpoint.target` does."""
        return self.endpoint.target(self.id)

    def close(self) -> None:
        """End the connections."""
        self._client.close()


class _Description(Value):
    protocol: Literal["rollout-target/1"] = PROTOCOL
    targets: tuple[Described, ...] = Field(min_length=1)


class _Error(BaseModel):
    """An error of the protocol. `retryable` has to be there: it tells one from the error of a proxy or a provider."""

    type: str
    message: str
    retryable: StrictBool

    @property
    def words(self) -> str:
        return f"{self.type}: {self.message}"


@dataclass(frozen=True)
class EndpointReply:
    """An answer: its status, its text, and where a redirect leads."""

    status: int
    text: str
    location: str = ""

    @property
    def shown(self) -> str:
        """Status and the beginning of the text, in one line."""
        return f"HTTP {self.status}: {' '.join(self.text.split())[:200] or 'an empty body'}"

    @property
    def is_success(self) -> bool:
        """A status of 2xx."""
        return 200 <= self.status < 300

    @cached_property
    def said(self) -> dict[str, Any] | None:
        """The JSON object, or None. Half a surrogate pair, as models' replies have them, is let pass."""
        try:
            said = well_formed(json.loads(self.text, parse_constant=_refuse_constant))
        except (ValueError, RecursionError):
            return None
        return said if isinstance(said, dict) else None

    @cached_property
    def error(self) -> _Error | None:
        """The error, where the answer is one in the protocol's shape."""
        try:
            return _Error.model_validate((self.said or {}).get("error"))
        except ValidationError:
            return None

    def trouble(self, words: str, *, retryable: bool) -> ProviderError:
        """Trouble on the way, by the status; `retryable`: asking again may help, whatever the status."""
        lasting = "auth" if self.status in REFUSED else "bad_request"
        failed = retryable or self.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        return _trouble(PASSING.get(self.status, "overload" if failed else lasting), words)


def _trouble(kind: str, words: str) -> ProviderError:
    return ProviderError(words, kind=kind, who=WHO)


def _refuse_constant(name: str) -> NoReturn:
    msg = f"{name} has no place in JSON"
    raise ValueError(msg)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _described(endpoint: Endpoint, client: httpx.Client) -> Sequence[Described]:
    reply, url = endpoint.ask(client, {"op": "describe"}), endpoint.url
    _require_success(reply, url)
    found = _description(reply.text, url)
    twice = [name for name, count in Counter(target.id for target in found).items() if count > 1]
    if twice:
        msg = f"{url} describes two targets with the id {twice[0]!r}; give one of them another id"
        raise InputError(msg)
    return found


def _require_success(reply: EndpointReply, url: str) -> None:
    """Refuse a status that is no success, and an error under one that is."""
    error = reply.error
    if reply.is_success and error is None:
        return
    words = error.words if error else reply.shown
    if reply.status in PASSING or reply.status > HTTPStatus.INTERNAL_SERVER_ERROR or (error and error.retryable):
        raise reply.trouble(words, retryable=True)
    if reply.location:
        msg = f"{url} answers with a redirect to {reply.location}; give that as --target-url"
    elif reply.status in REFUSED:
        msg = f"{url} refuses (HTTP {reply.status}); give its token with --target-bearer-env VARIABLE"
    else:
        msg = f"{url} does not describe its targets ({words}); see whether it speaks {PROTOCOL} at this path"
    raise InputError(msg)


def _description(text: str, url: str) -> Sequence[Described]:
    try:
        return _Description.model_validate(parse_json(text, f"{url} (op describe)")).targets
    except ValidationError as error:
        place, problem = first_problem(error)
        msg = f"{url} (op describe): {place or 'the answer'}: {problem}; correct what it answers ({PROTOCOL})"
        raise InputError(msg) from None


def _result(reply: EndpointReply) -> AgentResult:
    said, error = reply.said, reply.error
    if error is not None:
        if not error.retryable and (reply.is_success or reply.status in OWN_FAULT):
            raise TargetError(error.words)
        raise reply.trouble(error.words, retryable=error.retryable)
    if not reply.is_success:
        raise reply.trouble(reply.shown, retryable=False)
    if said is None or said.get("error") is not None or said.get("protocol", PROTOCOL) != PROTOCOL:
        raise _trouble("malformed", f"not one of {PROTOCOL}: {reply.shown}")
    return as_result({name: value for name, value in said.items() if name not in ("protocol", "error")})
