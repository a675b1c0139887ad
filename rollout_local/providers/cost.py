"""Limits of time and cost: money is reserved before a call is made and settled when it is answered.

What a call will cost is not known before; reserved is the most that a call to that model has cost so far, and
for the first one its input and 4,096 output tokens. An answer that gives no usage counts by an estimate of its
characters, and that is said; unknown is never nothing. What a target reports of its own cost counts where it is more
than what was seen of its calls. A price that is not known is said once: a limit is refused without it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rollout_local.dialects import read_call
from rollout_local.errors import Paused
from rollout_local.models import price
from rollout_local.recordings import Exchange

FIRST_OUTPUT_TOKENS = 4096
CHARACTERS_PER_TOKEN = 3
"""Fewer than any tokenizer gives for prose: a reservation and an estimate err to the high side."""

Prices = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Cost:
    """What an answered call cost in USD, None where the price is not known. `estimated`: no usage was given."""

    usd: float | None
    estimated: bool = False


def cost_of(exchange: Exchange, prices: Prices) -> Cost:
    """The cost of one exchange; nothing where no model was asked, it failed without tokens, or it was replayed."""
    call = read_call(exchange.request_body, exchange.response_body, exchange.url)
    if call.model is None or exchange.replayed:
        return Cost(0.0)
    if call.tokens_in is not None or call.tokens_out is not None:
        return Cost(price(call.model, call.tokens_in or 0, call.tokens_out or 0, prices))
    if exchange.status is None or exchange.status >= 400:
        return Cost(0.0)
    characters = len(str(exchange.request_body)), max(call.written, len(call.output or ""))
    tokens_in, tokens_out = (count // CHARACTERS_PER_TOKEN for count in characters)
    return Cost(price(call.model, tokens_in, tokens_out, prices), estimated=True)


class Spend:
    """What was spent and what is promised to calls in flight, in USD, against a limit."""

    def __init__(
        self,
        limit: float | None,
        spent: float,
        prices: Prices,
        on_unpriced: Callable[[str], None] = lambda _: None,
        on_estimated: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.limit = limit
        self.spent = spent
        self._prices = prices
        self._on_unpriced = on_unpriced
        self._on_estimated = on_estimated
        self._reserved = 0.0
        self._held: dict[str, list[float]] = {}
        self._largest: dict[str, float] = {}
        self._unpriced: set[str] = set()
        self._estimated: set[str] = set()
        self._seen: dict[str, float] = {}
        self._largest_report = 0.0
        self._lock = threading.Lock()

    def reserve(self, scope: str, request: object, url: str = "") -> None:
        """Before a call: raise `Paused` where it might pass the limit; otherwise set its cost aside."""
        model = read_call(request, None, url).model
        if model is None:
            return
        with self._lock:
            self._set_aside(scope, self._expected(model, request), "call")

    def begin(self, scope: str) -> None:
        """Before an execution of a target that reports its own cost: the same, for the most that one has reported."""
        with self._lock:
            self._seen[scope] = 0.0
            if self._largest_report:
                self._set_aside(f"{scope}/report", self._largest_report, "execution")

    def report(self, scope: str, usd: float | None) -> None:
        """After an execution: count what the target reports beyond what was seen of its calls."""
        with self._lock:
            self._take_back(f"{scope}/report")
            more = max(0.0, (usd or 0.0) - self._seen.pop(scope, 0.0))
            self.spent += more
            self._largest_report = max(self._largest_report, more)

    def _set_aside(self, scope: str, amount: float, what: str) -> None:
        if self.limit is not None and self.spent + self._reserved + amount > self.limit:
            msg = (
                f"the next {what} may pass --max-cost {self.limit:g} USD ({self.spent:.4f} spent, "
                f"{self._reserved:.4f} in flight, {amount:.4f} wanted); raise it and go on"
            )
            raise Paused(msg, reason="cost_limit")
        self._reserved += amount
        self._held.setdefault(scope, []).append(amount)

    def _take_back(self, scope: str) -> None:
        held = self._held.get(scope)
        if held:
            self._reserved = max(0.0, self._reserved - held.pop())

    def settle(self, exchange: Exchange) -> None:
        """After a call: take back what was set aside, count what it cost."""
        if exchange.replayed:
            return
        model = read_call(exchange.request_body, exchange.response_body, exchange.url).model
        cost = cost_of(exchange, self._prices)
        with self._lock:
            self._take_back(exchange.scope)
            if model is None:
                return
            if cost.usd is None:
                self._say_unpriced(model)
                return
            if cost.estimated and model not in self._estimated:
                self._estimated.add(model)
                self._on_estimated(model)
            self.spent += cost.usd
            self._seen[exchange.scope] = self._seen.get(exchange.scope, 0.0) + cost.usd
            self._largest[model] = max(cost.usd, self._largest.get(model, 0.0))

    def _expected(self, model: str, request: object) -> float:
        if model in self._largest:
            return self._largest[model]
        tokens = len(str(request)) // CHARACTERS_PER_TOKEN
        cost = price(model, tokens, FIRST_OUTPUT_TOKENS, self._prices)
        if cost is None:
            self._say_unpriced(model)
        return cost or 0.0

    def _say_unpriced(self, model: str) -> None:
        if model not in self._unpriced:
            self._unpriced.add(model)
            self._on_unpriced(model)
