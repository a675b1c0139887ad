"""What a provider's failure is, whether asking again may help, and how long to wait before.

A failure is not a zero. Of everything that can go wrong on the wire, only what the candidate itself brought
about (a prompt that is too long, or that a content filter refuses) may end in a score. The wire is believed
before the exception, and the body before the status: a gateway may say 200 and send an error, and a target may catch an
error and answer as if nothing had happened.
"""

from __future__ import annotations

import json
import random
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from rollout_local.dialects import asks_about_models, asks_model, events_of, refusal_in
from rollout_local.errors import ProviderError
from rollout_local.models import key_state
from rollout_local.providers.refusals import asked_to_wait, kind_of_refusal, kind_of_status
from rollout_local.recordings import Exchange


@dataclass(frozen=True)
class Kind:
    """What to do about one kind of failure. `candidates_doing`: it is graded as the candidate's own failure.

    In `says`, `{who}` stands for who did not answer.
    """

    says: str
    retried: bool = False
    candidates_doing: bool = False


KINDS: dict[str, Kind] = {
    "rate_limit": Kind("{who} limits the rate of requests", retried=True),
    "overload": Kind("{who} is overloaded or failed", retried=True),
    "timeout": Kind("{who} did not answer in time", retried=True),
    "connection": Kind("the connection to {who} failed", retried=True),
    "malformed": Kind("the answer of {who} was not readable", retried=True),
    "auth": Kind("{who} refused the key"),
    "quota": Kind("{who}'s quota is spent"),
    "model_not_found": Kind("{who} does not know the model"),
    "bad_request": Kind("{who} refused the request"),
    "missing_package": Kind("a package that the client of {who} needs is not installed"),
    "context_length": Kind("the request was longer than the model's context", candidates_doing=True),
    "content_filter": Kind("the provider's content filter refused the request", candidates_doing=True),
}
"""Every kind of provider failure. One that is neither retried nor the candidate's doing stops the run at once."""


@dataclass(frozen=True)
class ProviderFailure:
    """One failed request: its kind, the words of `who` failed, and the wait that it asked for, in seconds."""

    kind: str
    message: str
    retry_after: float | None = None
    who: str = "the provider"
    url: str = ""
    """What was asked, where it was seen on the wire."""

    @property
    def policy(self) -> Kind:
        """What to do about it."""
        return KINDS[self.kind]

    @property
    def words(self) -> str:
        """All of it in a phrase."""
        return f"{self.policy.says.format(who=self.who)} ({self.message})"

    def told(self, model: str | None) -> str:
        """The same to a person: which server was asked and, where the key is the trouble, what it is read from.

        Not for what is stored with a trial: a replay may be given another address.
        """
        parts = urlsplit(self.url)
        where = f"; {parts.scheme}://{parts.netloc.rpartition('@')[2]} was asked" if parts.netloc else ""
        key = f"; {key_state(model)}" if self.kind == "auth" and model is not None else ""
        return f"{self.words}{where}{key}"


def failure_on_the_wire(exchanges: Sequence[Exchange]) -> ProviderFailure | None:
    """The last failure that no later success made good, or None.

    Made good: the same question was answered later, be it by a retry or by another model. What a client asks about
    models beside is its own affair: litellm looks for an Ollama on this machine whatever server it was given.
    """
    answered: set[str] = set()
    for exchange in reversed([one for one in exchanges if not asks_about_models(one.method, one.url)]):
        failure = failure_of(exchange)
        if failure is None:
            answered.add(exchange.question)
        elif exchange.question not in answered:
            return replace(failure, url=exchange.url)
    return None


def of_models(exchanges: Sequence[Exchange]) -> ProviderFailure | None:
    """The same of requests to models alone: a 404 of another server may be just what was looked for."""
    return failure_on_the_wire([one for one in exchanges if asks_model(one.request_body, one.url)])


def failure_of(exchange: Exchange) -> ProviderFailure | None:
    """What went wrong in one exchange, or None where it was answered."""
    if exchange.status is not None and exchange.status >= 400:
        body, wait = exchange.response_body, exchange.retry_after
        return ProviderFailure(
            kind_of_status(exchange.status, body), _words(exchange), asked_to_wait(body) if wait is None else wait
        )
    if exchange.status is None or exchange.error is not None:
        kind = "timeout" if exchange.error == "timeout" else "connection"
        return ProviderFailure(kind, exchange.error or "no answer")
    if _is_unreadable(exchange):
        body = str(exchange.response_body)[:200] if exchange.response_body else "an empty body"
        return ProviderFailure("malformed", f"HTTP {exchange.status}: {body}")
    refusal = refusal_in(exchange.request_body, exchange.response_body, exchange.url, cut=exchange.cut)
    if refusal is None:
        return None
    words = f"HTTP {exchange.status}, and in the body: {refusal.message[:200]}"
    return ProviderFailure(
        kind_of_refusal(refusal), words, exchange.retry_after or asked_to_wait(exchange.response_body)
    )


def _is_unreadable(exchange: Exchange) -> bool:
    """A model's answer that is neither JSON, nor lines of JSON, nor a stream of events: no client can read it."""
    request, body = exchange.request_body, exchange.response_body
    asks = asks_model(request, exchange.url) or (isinstance(request, Mapping) and "model" in request)
    if not asks or not isinstance(body, str | None) or events_of(body):
        return False
    lines = (body or "").strip().splitlines()
    return not any(line.startswith(_EVENTS) for line in lines[:3]) and not (lines and all(map(_is_json, lines)))


_EVENTS = ("data:", "event:", "id:", ":")


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def failure_in(error: BaseException) -> ProviderFailure | None:
    """What an exception says about a provider, for models that are not reached over a recorded wire; else None."""
    links = list(_chain(error))
    for link in links:
        if any(isinstance(cause, ImportError) and str(cause) in str(link) for cause in links) and _is_client(link):
            return ProviderFailure("missing_package", _first_line(link))
        if isinstance(link, ProviderError):
            kind = link.kind if link.kind in KINDS else "bad_request"  # a target may raise it, too, and say anything
            return ProviderFailure(kind, _first_line(link), link.retry_after, link.who)
    # litellm says of a lost connection that the server failed
    return _of_class(links, ("timeout", "connection")) or _of_status(links) or _of_class(links, tuple(_CLASS_NAMES))


def _of_status(links: Sequence[BaseException]) -> ProviderFailure | None:
    for link in links:
        status = getattr(link, "status_code", None)
        if isinstance(status, int) and status >= 400:
            return ProviderFailure(kind_of_status(status, str(link)), _first_line(link))
    return None


def _of_class(links: Sequence[BaseException], kinds: Sequence[str]) -> ProviderFailure | None:
    for link in filter(_is_client, links):
        for kind in kinds:
            if any(cls.__name__ in _CLASS_NAMES[kind] for cls in type(link).__mro__):
                return ProviderFailure(kind, _first_line(link))
    return None


_CLASS_NAMES: Mapping[str, frozenset[str]] = {
    "timeout": frozenset({"APITimeoutError", "TimeoutException", "Timeout", "LMTimeoutError", "ReadTimeout"}),
    "rate_limit": frozenset({"RateLimitError", "LMRateLimitError"}),
    "auth": frozenset({"AuthenticationError", "LMAuthError", "PermissionDeniedError"}),
    "connection": frozenset({"APIConnectionError", "TransportError", "ConnectionError", "ClientConnectionError"}),
    "malformed": frozenset({"APIResponseValidationError"}),
    "overload": frozenset({"InternalServerError", "ServiceUnavailableError", "LMServerError"}),
}
_CLIENTS = frozenset({"openai", "anthropic", "litellm", "dspy", "httpx", "httpcore", "requests", "aiohttp", "urllib3"})


def _is_client(error: BaseException) -> bool:
    return any(cls.__module__.split(".")[0] in _CLIENTS for cls in type(error).__mro__)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _words(exchange: Exchange) -> str:
    body = exchange.response_body
    error = body.get("error") if isinstance(body, Mapping) else None
    message = error.get("message") if isinstance(error, Mapping) else error or body
    return f"HTTP {exchange.status}: {str(message)[:200]}"


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]


@dataclass(frozen=True)
class Patience:
    """How often a failed trial is tried again, and how long to wait before: exponential, with jitter, in seconds.

    `tries` holds where the provider answers nobody or takes its time to fail, `tries_while_it_answers` where it
    refuses at once and answers others meanwhile. One that answered before and is away now (a server that is started
    again loads its model for a while) is waited for until `outage` seconds of waiting are spent.
    """

    tries: int = 5
    tries_while_it_answers: int = 15
    first_wait: float = 0.5
    longest_wait: float = 60.0
    outage: float = 60.0

    def wait(
        self, tried: int, failure: ProviderFailure, dice: random.Random, *, answers: bool = False,
        away: float | None = None,
    ) -> float | None:  # fmt: skip
        """Seconds to wait before try number `tried + 1`, or None to give up. A Retry-After is obeyed.

        `tried` counts the tries in a row that got no further; `answers` says that the provider answers others, and
        `away` how many seconds were waited already for one that answered before.
        """
        asked = failure.retry_after or 0.0
        quick = failure.kind in ("rate_limit", "overload")
        most = max(self.tries, self.tries_while_it_answers) if answers and quick else self.tries
        awaited = failure.kind in ("connection", "overload") and away is not None and away < self.outage
        if not failure.policy.retried or (tried >= most and not awaited) or asked > 5 * self.longest_wait:
            return None
        exponent = min(tried, self.tries) - 1  # a provider that answers now and then needs no longer waits
        backoff: float = min(self.longest_wait, self.first_wait * 2**exponent)
        return max(asked, backoff * (0.5 + dice.random() / 2))


class Health:
    """Whether a provider answered any of the last requests that were put to it, from any thread."""

    def __init__(self, window: int = 20) -> None:
        self._lately: deque[bool] = deque(maxlen=window)
        self.has_answered = False
        """It answered at all, now or earlier."""

    def heard(self, exchanges: Sequence[Exchange]) -> None:
        """Take note of new answers and failures."""
        answered = [failure_of(exchange) is None for exchange in exchanges if not exchange.replayed]
        self._lately.extend(answered)
        self.has_answered = self.has_answered or any(answered)

    @property
    def answers(self) -> bool:
        """It answered at least one of them."""
        return any(self._lately.copy())


class Tries:
    """The tries of one piece of work, a trial or a reflection: whether and when there is another."""

    def __init__(self, patience: Patience, health: Health, dice: random.Random) -> None:
        self._patience = patience
        self._health = health
        self._dice = dice
        self._fruitless = 0
        self._furthest = 0
        self._waited = 0.0

    def ended(self, failure: ProviderFailure | None, exchanges: Sequence[Exchange]) -> float | None:
        """Take note of a try. Seconds to wait before the next one, or None where there is none.

        Only tries that got no further than one before them are counted: a program makes several calls a trial, and
        what was answered once is recorded.
        """
        self._health.heard(exchanges)
        answered = sum(failure_of(exchange) is None for exchange in exchanges)
        self._fruitless = 1 if answered > self._furthest else self._fruitless + 1
        self._furthest = max(self._furthest, answered)
        if failure is None:
            return None
        is_back_soon = self._health.has_answered or "loading" in failure.message.lower()  # as llama.cpp says it
        pause = self._patience.wait(
            self._fruitless, failure, self._dice, answers=self._health.answers,
            away=self._waited if is_back_soon else None,
        )  # fmt: skip
        self._waited = self._waited + (pause or 0.0) if self._fruitless > 1 else pause or 0.0
        return pause
