"""Provider trouble on purpose: which requests fail, and how.

SPEC is a comma-separated list of `KIND:RATE[:OPTION=VALUE]…`; the first entry that hits a request decides. Whether it
hits depends on the seed, the request and how often that request has come (so a retry may succeed), and nothing else;
`first`, `after` and `for` narrow it by order of arrival and time since start.

Options: `model=PATTERN` (fnmatch) · `first=N`, `after=N` (of all requests) · `for=SECONDS` · `retry-after=SECONDS`
(default 1 for 429 and 503; sent as a header) · `seconds=S` (how long `hang`, 600, and `drip`, 5, take).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from rollout_local.errors import InputError
from rollout_local.simulator.seeded_choice import fraction, pick

HUGE = 10_000_000


@dataclass(frozen=True)
class FaultReply:
    """An HTTP error as OpenAI words it."""

    status: int
    type: str
    code: str | None
    message: str


REFUSALS: dict[str, FaultReply] = {
    "401": FaultReply(401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    "403": FaultReply(403, "invalid_request_error", "permission_denied", "You have no access to this model."),
    "404": FaultReply(404, "invalid_request_error", "model_not_found", "The model does not exist."),
    "408": FaultReply(408, "server_error", "timeout", "The request took too long."),
    "429": FaultReply(429, "rate_limit_error", "rate_limit_exceeded", "Rate limit reached. Please try again later."),
    "500": FaultReply(500, "server_error", None, "The server had an error while processing your request."),
    "502": FaultReply(502, "server_error", None, "Bad gateway."),
    "503": FaultReply(503, "server_error", "overloaded", "The engine is currently overloaded."),
    "504": FaultReply(504, "server_error", None, "Gateway timeout."),
    "529": FaultReply(529, "overloaded_error", "overloaded", "Overloaded."),
    "quota": FaultReply(429, "insufficient_quota", "insufficient_quota", "You exceeded your current quota."),
    "context": FaultReply(
        400, "invalid_request_error", "context_length_exceeded", "This model's maximum context length is 8192 tokens."
    ),
    "filter": FaultReply(400, "invalid_request_error", "content_filter", "The response was filtered."),
}
DELIVERIES = ("hang", "reset", "drip", "malformed")
CONTENTS = ("empty", "garbage")
KNOWN = (*REFUSALS, *DELIVERIES, *CONTENTS)
GARBAGE = ("truncated", "nan", "deep", "surrogate", "nul", "rtl", "huge")
_SECONDS = {"hang": 600.0, "drip": 5.0}
_OPTIONS = ("model", "first", "after", "for", "retry-after", "seconds")


@dataclass(frozen=True)
class Fault:
    """One entry of a SPEC; times in seconds, counts in requests."""

    kind: str
    rate: float
    retry_after: float | None = None
    seconds: float = 0.0
    model: str = "*"
    first: float = math.inf
    after: int = 0
    until: float = math.inf

    def applies(self, model: str, arrival: int, age: float) -> bool:
        """Whether it can hit request number `arrival` (from 1) for `model`, `age` seconds after the start."""
        return self.after < arrival <= self.first and age <= self.until and fnmatchcase(model, self.model)


def parse_faults(spec: str) -> tuple[Fault, ...]:
    """Read a SPEC; the empty one has no faults. InputError names what is known."""
    return tuple(_fault(entry.strip()) for entry in spec.split(",") if entry.strip())


def choose(faults: Sequence[Fault], model: str, arrival: int, age: float, dice: tuple[int, str, int]) -> Fault | None:
    """The fault that hits a request, or None. `dice` is (seed, key of the request, times it came before)."""
    for number, fault in enumerate(faults):
        if fault.applies(model, arrival, age) and fraction("fault", number, fault.kind, *dice) < fault.rate:
            return fault
    return None


def spoil(text: str, *dice: object) -> str:
    """`text` as a model writes it that lost its way; one of `GARBAGE`, by hash."""
    kind = pick(GARBAGE, "garbage", *dice)
    spoiled: dict[str, Callable[[], str]] = {
        "truncated": lambda: '{"answer": "' + text[: max(len(text) // 2, 1)],
        "nan": lambda: '{"value": NaN, "other": -Infinity}',
        "deep": lambda: "[" * 1000 + "]" * 1000,
        "surrogate": lambda: text + "\ud800 \udfff",
        "nul": lambda: "\x00" + text + "\x00\x1b[31m\x07",
        "rtl": lambda: "\u202e" + text + "\u2066\u200b\ufeff",
        "huge": lambda: "x" * HUGE,
    }
    return spoiled[kind]()


def _fault(entry: str) -> Fault:
    kind, *rest = entry.split(":")
    if kind not in KNOWN:
        msg = f"faults: {kind!r} in {entry!r} is not a kind of fault. Known: {', '.join(KNOWN)}."
        raise InputError(msg)
    rate = _number(entry, "rate", rest[0] if rest else "")
    if rate > 1:
        msg = f"faults: the rate in {entry!r} must be between 0 and 1, as in {kind}:0.3."
        raise InputError(msg)
    options = _options(entry, rest[1:])
    numbers = {name: _number(entry, name, text) for name, text in options.items() if name != "model"}
    return Fault(
        kind,
        rate,
        retry_after=numbers.get("retry-after", 1.0 if kind in ("429", "503") else None),
        seconds=numbers.get("seconds", _SECONDS.get(kind, 0.0)),
        model=options.get("model", "*"),
        first=numbers.get("first", math.inf),
        after=int(numbers.get("after", 0)),
        until=numbers.get("for", math.inf),
    )


def _options(entry: str, texts: list[str]) -> dict[str, str]:
    options = dict(text.partition("=")[::2] for text in texts)
    unknown = [name for name in options if name not in _OPTIONS]
    if unknown:
        msg = f"faults: {unknown[0]!r} in {entry!r} is not an option. Known: {', '.join(_OPTIONS)}."
        raise InputError(msg)
    return options


def _number(entry: str, name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (number >= 0 and math.isfinite(number)):
        msg = f"faults: the {name} in {entry!r} must be a number of at least 0, as in 429:0.3:retry-after=2."
        raise InputError(msg)
    return number
