"""kill -9 anywhere: the run that goes on is the run that would have been, and nothing is paid for twice."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.faults.conftest import BUDGET, KILLED, Calm, Make, Nursery, Simulate, checked, settled


def points(count: int, calm: Calm) -> list[dict[str, Any]]:
    """Half at the Nth call (before it leaves, or when it is answered), half at random times."""
    dice = random.Random(count)
    at_calls = [
        {"call": 1 + (n * calm.calls) // (count // 2), "when": ("before", "after")[n % 2]} for n in range(count // 2)
    ]
    return at_calls + [{"seconds": dice.uniform(0.05, calm.seconds)} for _ in range(count - count // 2)]


def kill_and_go_on(
    nursery: Nursery, make_one: Make, simulate: Simulate, calm: Calm, die: dict[str, Any], threads: int
) -> int:
    """Returns 1 where it was killed, 0 where it was done before."""
    simulator = simulate()
    project = make_one(simulator.url)
    run_id = nursery.create(project, *BUDGET, "--concurrency", str(threads))
    killed = nursery.run(project, "optimize", "run", run_id, die=die)
    assert killed.code in (KILLED, 0), killed.stderr
    paid = settled(simulator)
    checked(project)
    done = nursery.run(project, "optimize", "run", run_id, "--json")
    assert done.code == 0, done.stderr
    assert done.document["digest"] == calm.digest
    assert simulator.calls()["total"] <= calm.calls + threads, (paid, simulator.calls()["total"], calm.calls)
    checked(project)
    return int(killed.code == KILLED)


@pytest.mark.parametrize("threads", [1, 4])
def test_killed_at_10_points_it_goes_on_to_the_same_digest(
    nursery: Nursery, make_one: Make, simulate: Simulate, calm: Calm, threads: int
) -> None:
    killed = [kill_and_go_on(nursery, make_one, simulate, calm, die, threads) for die in points(10, calm)]
    assert sum(killed) >= 6


@pytest.mark.long
@pytest.mark.parametrize("threads", [1, 4])
def test_killed_at_100_points_it_goes_on_to_the_same_digest(
    nursery: Nursery, make_one: Make, simulate: Simulate, calm: Calm, threads: int
) -> None:
    killed = [kill_and_go_on(nursery, make_one, simulate, calm, die, threads) for die in points(100, calm)]
    assert sum(killed) >= 75


def test_killed_every_5_calls_it_still_ends_and_is_equal(
    nursery: Nursery, make_one: Make, simulate: Simulate, calm: Calm
) -> None:
    simulator = simulate()
    project = make_one(simulator.url)
    run_id = nursery.create(project, *BUDGET)
    kills = 0
    while True:
        done = nursery.run(project, "optimize", "run", run_id, "--json", die={"call": 5, "when": "after"})
        checked(project)
        if done.code == 0:
            break
        assert done.code == KILLED, done.stderr
        kills += 1
        assert kills < calm.calls, "it gets nowhere"
    assert done.document["digest"] == calm.digest
    assert kills >= 3
    assert settled(simulator) <= calm.calls + 4 * kills
