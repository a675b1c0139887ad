"""kill -9 anywhere: the run that goes on is the run that would have been, and nothing is paid for twice."""

from __future__ import annotations

import contextlib
import random
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.children import BUDGET, Make, Nursery, until
from tests.conftest import Project
from tests.faults.conftest import KILLED, Calm, Simulate, checked, settled


def points(count: int, calm: Calm) -> list[dict[str, Any]]:
    """Half at the Nth call (before it leaves, or when it is answered), half at random times."""
    dice = random.Random(count)
    at_calls = [
        {"call": 1 + (n * calm.calls) // (count // 2), "when": ("before", "after")[n % 2]} for n in range(count // 2)
    ]
    return at_calls + [{"seconds": dice.uniform(0.05, calm.seconds)} for _ in range(count - count // 2)]


FORK = """
import time

_helpers = []


def _fork():
    if not _helpers:
        pid = os.fork()
        if pid == 0:
            time.sleep(30)
            os._exit(0)
        _helpers.append(pid)
"""
"""What a target does that starts a helper once, which outlives the run."""


def make_forking(project: Project) -> None:
    file = project.folder / "target.py"
    file.write_text(file.read_text().replace("    base = ", "    _fork()\n    base = ", 1) + FORK)


def kill_and_go_on(
    nursery: Nursery, make_one: Make, simulate: Simulate, calm: Calm, die: dict[str, Any], threads: int, forks: bool
) -> int:
    """Returns 1 where it was killed, 0 where it was done before."""
    simulator = simulate()
    project = make_one(simulator.url)
    if forks:
        make_forking(project)
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


TARGETS = pytest.mark.parametrize(("threads", "forks"), [(1, False), (4, True)], ids=["plain", "forking"])


@TARGETS
def test_killed_at_6_points_it_goes_on_to_the_same_digest(
    nursery: Nursery, make_one: Make, simulate: Simulate, calm: Calm, threads: int, forks: bool
) -> None:
    killed = [kill_and_go_on(nursery, make_one, simulate, calm, die, threads, forks) for die in points(6, calm)]
    assert sum(killed) >= 3, "those at a call, whatever the machine's speed"


@pytest.mark.long
@TARGETS
def test_killed_at_100_points_it_goes_on_to_the_same_digest(
    nursery: Nursery, make_one: Make, simulate: Simulate, calm: Calm, threads: int, forks: bool
) -> None:
    killed = [kill_and_go_on(nursery, make_one, simulate, calm, die, threads, forks) for die in points(100, calm)]
    assert sum(killed) >= 30, "those at a call, whatever the machine's speed"


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


def test_killed_with_its_trials_in_child_processes_it_leaves_none_and_goes_on_to_the_same_digest(
    nursery: Nursery, make_one: Make, simulate: Simulate, calm: Calm
) -> None:
    simulator = simulate()
    project = make_one(simulator.url)
    run_id = nursery.create(project, *BUDGET, "--isolate", "--concurrency", "2")
    runner = nursery.start(project, "optimize", "run", run_id)
    until(lambda: simulator.calls()["total"] >= 5, 60)
    started = children_of(runner.pid)
    assert len(started) == 2
    runner.signal(signal.SIGKILL)
    assert runner.wait().code == KILLED
    until(lambda: not [child for child in started if Path(f"/proc/{child}").exists()])
    paid = settled(simulator)
    checked(project)
    done = nursery.run(project, "optimize", "run", run_id, "--json")
    assert done.document["digest"] == calm.digest, done.stderr
    assert paid <= simulator.calls()["total"] <= calm.calls + 2


def children_of(pid: int) -> list[int]:
    found = [int(stat.parent.name) for stat in Path("/proc").glob("[0-9]*/stat") if f") S {pid} " in read(stat)]
    return [child for child in found if b"isolation" in Path(f"/proc/{child}/cmdline").read_bytes()]


def read(stat: Path) -> str:
    with contextlib.suppress(OSError):
        return stat.read_text().replace(") R ", ") S ").replace(") D ", ") S ")
    return ""
