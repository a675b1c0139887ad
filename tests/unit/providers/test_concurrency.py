"""Concurrency that adapts: half after a limit, a little more after each success."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from rollout_local.errors import Paused
from rollout_local.providers.concurrency import SLOWED_BY, Pace
from rollout_local.providers.failures import KINDS
from rollout_local.stop import StopFlag


def test_it_halves_down_to_one_and_never_below() -> None:
    pace = Pace(8)
    seen = []
    for _ in range(5):
        pace.slow_down()
        seen.append(pace.allowed)
    assert seen == [4, 2, 1, 1, 1]


def test_it_gains_one_after_as_many_successes_as_there_are_places_and_stops_at_the_limit() -> None:
    said: list[int] = []
    pace = Pace(4, said.append)
    pace.slow_down()
    pace.slow_down()
    for _ in range(40):
        pace.speed_up()
    assert said == [2, 1, 2, 3, 4]
    assert pace.allowed == 4


def test_no_more_run_at_once_than_are_allowed() -> None:
    pace, stop, lock = Pace(6), StopFlag(), threading.Lock()
    running, most = [0], [0]
    pace.slow_down()

    def work(_: int) -> None:
        with pace.turn(stop):
            with lock:
                running[0] += 1
                most[0] = max(most[0], running[0])
            threading.Event().wait(0.002)
            with lock:
                running[0] -= 1

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(30)))
    assert most[0] == 3


def test_who_waits_for_a_place_hears_of_a_stop() -> None:
    pace, stop = Pace(1), StopFlag()
    threading.Timer(0.05, stop.stop, [Paused("enough")]).start()
    with pace.turn(stop), pytest.raises(Paused, match="enough"), pace.turn(stop):
        pass
    with pace.turn(StopFlag()):
        assert pace.allowed == 1


def test_what_slows_it_down_is_what_is_asked_again() -> None:
    assert {kind for kind in KINDS if KINDS[kind].retried} - SLOWED_BY == {"malformed"}
