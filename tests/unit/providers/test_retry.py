"""One loop of tries: how often, with which waits, and what ends it."""

from __future__ import annotations

import random

import pytest

from rollout_local.errors import Cancelled
from rollout_local.providers.failures import Health, Patience, ProviderFailure
from rollout_local.providers.retry import Retry, Tried
from rollout_local.stop import StopFlag

DOWN = ProviderFailure("rate_limit", "too many requests")
REFUSED = ProviderFailure("auth", "no such key")


class Flag(StopFlag):
    """Sleeps in no time."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def retry(flag: Flag, *, replaying: bool = False) -> Retry:
    return Retry(Patience(), Health(), random.Random(0), flag, replaying)


def test_a_failure_that_passes_is_waited_out() -> None:
    flag, seen = Flag(), []

    def once(number: int) -> Tried[str]:
        seen.append(number)
        return Tried(f"try {number}", DOWN if number < 3 else None, ())

    last, number = retry(flag).until_done(once)
    assert (last.result, last.failure, number, seen) == ("try 3", None, 3, [1, 2, 3])
    assert len(flag.slept) == 2
    assert all(pause > 0 for pause in flag.slept)


def test_a_failure_that_does_not_pass_is_given_back_at_once() -> None:
    flag = Flag()
    last, number = retry(flag).until_done(lambda _number: Tried("", REFUSED, ()))
    assert (last.failure, number, flag.slept) == (REFUSED, 1, [])


def test_patience_ends() -> None:
    flag = Flag()
    last, number = retry(flag).until_done(lambda _number: Tried("", DOWN, ()))
    assert last.failure is DOWN
    assert len(flag.slept) == number - 1 > 0


def test_a_replay_does_not_wait() -> None:
    flag = Flag()
    retry(flag, replaying=True).until_done(lambda number: Tried("", DOWN if number < 3 else None, ()))
    assert flag.slept == [0.0, 0.0]


def test_what_does_not_count_is_tried_again_at_once() -> None:
    flag = Flag()
    last, number = retry(flag).until_done(
        lambda number: Tried(number, DOWN, (), at_once=True) if number == 1 else Tried(number, None, ())
    )
    assert (last.result, number, flag.slept) == (2, 2, [])


def test_a_stop_ends_the_tries() -> None:
    flag = Flag()

    def once(_number: int) -> Tried[str]:
        flag.stop(Cancelled("cancelled"))
        return Tried("", DOWN, ())

    with pytest.raises(Cancelled):
        retry(flag).until_done(once)
    assert flag.slept == []
