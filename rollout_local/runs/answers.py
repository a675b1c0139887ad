"""What is worth a line about answers as they come: one that was cut at a limit, a model or server that was changed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from urllib.parse import urlsplit

from rollout_local.dialects import ServedBy, asks_model, read_call, served_by, was_cut
from rollout_local.recordings import Exchange


class Answers:
    """Listens to all exchanges of a run; `say` is told once of each thing. Safe under threads."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._first: dict[tuple[str, str], ServedBy] = {}
        self._told: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def heard(self, exchange: Exchange) -> None:
        """Take one exchange."""
        if exchange.status != 200 or not asks_model(exchange.request_body, exchange.url):
            return
        asked = read_call(exchange.request_body, exchange.response_body, exchange.url).model or "a model"
        if was_cut(exchange.response_body):
            who = "a reflection" if exchange.scope.startswith("reflection/") else "an answer"
            self._once("cut", asked + who, f"{who} of {asked} was cut at its limit of tokens: what came was used")
        served, place = served_by(exchange.response_body), urlsplit(exchange.url).netloc.rpartition("@")[2]
        with self._lock:
            before = self._first.setdefault((place, asked), served)
        if served != before and served.model:
            both = f"{_named(before)} and then as {_named(served)}"
            told = f"{asked} at {place} answered as {both}: more than one model or build gives its answers"
            self._once("changed", place + asked, told)

    def _once(self, kind: str, about: str, sentence: str) -> None:
        with self._lock:
            told = (kind, about) in self._told
            self._told.add((kind, about))
        if not told:
            self._say(sentence)


def _named(served: ServedBy) -> str:
    return f"{served.model} ({served.fingerprint})" if served.fingerprint else served.model or "nameless"
