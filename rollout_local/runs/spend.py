"""Limits of time and cost: money is reserved before a call is made and settled when it is answered.

What a call will cost is not known before; reserved is the most that a call to that model has cost so far, and
for the first one its input and 4,096 output tokens. A price that is not known is said once, and counts nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from rollout_local.errors import Paused
from rollout_local.models import price
from rollout_local.recordings import Exchange
from rollout_local.tracing import read_call

FIRST_OUTPUT_TOKENS = 4096
CHARACTERS_PER_TOKEN = 3
"""Fewer than any tokenizer gives for prose: a reservation errs to the high side."""

Prices = Mapping[str, tuple[float, float]]


class Spend:
    """What was spent and what is promised to calls in flight, in USD, against a limit."""

    def __init__(
        self, limit: float | None, spent: float, prices: Prices, on_unpriced: Callable[[str], None] = lambda _: None
    ) -> None:
        self.limit = limit
        self.spent = spent
        self._prices = prices
        self._on_unpriced = on_unpriced
        self._reserved = 0.0
        self._held: dict[str, list[float]] = {}
        self._largest: dict[str, float] = {}
        self._unpriced: set[str] = set()
        self._lock = threading.Lock()

    def reserve(self, scope: str, request: Any) -> None:
        """Before a call: raise `Paused` where it might pass the limit; otherwise set its cost aside."""
        model = read_call(request, None).model
        if model is None:
            return
        with self._lock:
            amount = self._expected(model, request)
            if self.limit is not None and self.spent + self._reserved + amount > self.limit:
                msg = (
                    f"the next call may pass --max-cost {self.limit:g} USD ({self.spent:.4f} spent, "
                    f"{self._reserved:.4f} in flight, {amount:.4f} wanted); raise it and go on"
                )
                raise Paused(msg, reason="cost_limit")
            self._reserved += amount
            self._held.setdefault(scope, []).append(amount)

    def settle(self, exchange: Exchange) -> None:
        """After a call: take back what was set aside, count what it cost."""
        if exchange.replayed:
            return
        call = read_call(exchange.request_body, exchange.response_body)
        with self._lock:
            held = self._held.get(exchange.scope)
            if held:
                self._reserved = max(0.0, self._reserved - held.pop())
            if call.model is None or call.tokens_in is None:
                return
            cost = price(call.model, call.tokens_in, call.tokens_out or 0, self._prices)
            if cost is None:
                self._say_unpriced(call.model)
                return
            self.spent += cost
            self._largest[call.model] = max(cost, self._largest.get(call.model, 0.0))

    def _expected(self, model: str, request: Any) -> float:
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
