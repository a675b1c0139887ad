"""One loop for all that is tried again while a provider is in the way: a trial, its grading, a reflection."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from rollout_local.providers.failures import Health, Patience, ProviderFailure, Tries
from rollout_local.recordings import Exchange
from rollout_local.stop import StopFlag

Result = TypeVar("Result")


@dataclass(frozen=True)
class Tried(Generic[Result]):
    """One try: what it gave, what a provider did to it, what crossed the wire. `at_once`: it does not count."""

    result: Result
    failure: ProviderFailure | None
    exchanges: Sequence[Exchange]
    at_once: bool = False


@dataclass(frozen=True)
class Retry:
    """How a run tries again: how long it is patient, and what may end the wait. A replay does not wait."""

    patience: Patience
    health: Health
    dice: random.Random
    stop: StopFlag
    replaying: bool = False

    def until_done(self, once: Callable[[int], Tried[Result]]) -> tuple[Tried[Result], int]:
        """Call `once` with the number of the try, from 1, until there is no next one. Returns the last, and its number.

        The last has a failure where the provider was not worth asking again. Raises what ends the run meanwhile.
        """
        number, tries = 0, Tries(self.patience, self.health, self.dice)
        while True:
            number += 1
            tried = once(number)
            if tried.at_once:
                continue
            pause = tries.ended(tried.failure, tried.exchanges)
            if pause is None:
                return tried, number
            self.stop.check()
            self.stop.sleep(0.0 if self.replaying else pause)
