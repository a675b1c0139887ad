"""One runner per run: races, a runner that is stopped and wakes up, one that is gone."""

from __future__ import annotations

import hashlib
import signal
import socket
import sqlite3
import time
from pathlib import Path

import pytest

from rollout_local.store.lease import STOPPED_S
from tests.children import BUDGET, Make, Nursery, until
from tests.conftest import Project
from tests.faults.conftest import KILLED, Calm, Simulate, checked, settled

SLOW = {"latency_ms": 40}


def race(nursery: Nursery, make_one: Make, simulate: Simulate, calm: Calm) -> None:
    simulator = simulate(latency_ms=20)
    project = make_one(simulator.url)
    run_id = nursery.create(project, *BUDGET)
    runners = [nursery.start(project, "optimize", "run", run_id, "--json") for _ in range(2)]
    ended = [runner.wait() for runner in runners]
    codes = [done.code for done in ended]
    assert sorted(codes) == [0, 1], [done.stderr for done in ended]
    loser = codes.index(1)
    assert ended[loser].seconds < ended[1 - loser].seconds
    assert f"is being run by process {runners[1 - loser].pid} on {socket.gethostname()}" in ended[loser].stderr
    assert len(ended[loser].stderr.strip().splitlines()) <= 2
    assert ended[1 - loser].document["digest"] == calm.digest
    assert simulator.calls()["total"] == calm.calls
    checked(project)


def test_of_two_runners_one_wins_3_races(nursery: Nursery, make_one: Make, simulate: Simulate, calm: Calm) -> None:
    for _ in range(3):
        race(nursery, make_one, simulate, calm)


@pytest.mark.long
def test_of_two_runners_one_wins_50_races(nursery: Nursery, make_one: Make, simulate: Simulate, calm: Calm) -> None:
    for _ in range(50):
        race(nursery, make_one, simulate, calm)


def everything(project: Project) -> dict[str, str]:
    """All rows of the database, and all bytes of the log_dir."""
    db = sqlite3.connect(project.folder / "rollout.db")
    found = {"rollout.db": "\n".join(db.iterdump())}
    db.close()
    for path in sorted((project.folder / "log").rglob("*")):
        if path.is_file():
            found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def test_a_stopped_runner_that_wakes_up_writes_nothing(
    nursery: Nursery, make_one: Make, simulate: Simulate, calm: Calm
) -> None:
    simulator = simulate(latency_ms=40)
    project = make_one(simulator.url)
    flags = [*project.flags, *BUDGET, "--log-dir", "log"]
    run_id = project.document("optimize", "create", *flags)["run_id"]
    first = nursery.start(project, "optimize", "run", run_id)
    until(lambda: simulator.calls()["total"] >= 12)
    first.stop(project)
    try:
        early = nursery.run(project, "optimize", "run", run_id)
        assert early.code == 1
        assert f"process {first.pid} on" in early.stderr
        time.sleep(STOPPED_S + 0.2)
        second = nursery.run(project, "optimize", "run", run_id, "--json")
        assert second.code == 0, second.stderr
        assert second.document["digest"] == calm.digest
        before = everything(project)
    finally:
        first.signal(signal.SIGCONT)
    woken = first.wait()
    assert woken.code == 1, woken.stderr
    assert "another runner has taken over" in woken.stderr
    assert everything(project) == before
    assert settled(simulator) <= calm.calls + 4
    checked(project)


def test_a_runner_that_was_killed_is_followed_at_once(
    nursery: Nursery, make_one: Make, simulate: Simulate, calm: Calm
) -> None:
    simulator = simulate()
    project = make_one(simulator.url)
    run_id = nursery.create(project, *BUDGET)
    assert nursery.run(project, "optimize", "run", run_id, die={"call": 9, "when": "after"}).code == KILLED
    assert project.document("optimize", "show", run_id)["status"] == "running"
    assert nursery.run(project, "optimize", "run", run_id, "--json").document["digest"] == calm.digest


def test_a_clock_that_jumps_changes_nothing(
    nursery: Nursery, make_one: Make, simulate: Simulate, calm: Calm, tmp_path: Path
) -> None:
    """Leases and limits are judged by monotonic time: a wall clock that is days off ends nothing early."""
    simulator = simulate()
    project = make_one(simulator.url)
    (project.folder / "target.py").write_text(
        "import random\nimport time\n_true = time.time\n"
        "time.time = lambda: _true() + random.choice([-86400.0, -3600.0, 0.0, 3600.0, 86400.0])\n"
        + (project.folder / "target.py").read_text()
    )
    flags = [*project.flags, *BUDGET, "--max-seconds", "60", "--json"]
    done = nursery.run(project, "optimize", "run", *flags)
    assert done.code == 0, done.stderr
    assert done.document["digest"] == calm.digest
    db = sqlite3.connect(project.folder / "rollout.db")
    assert db.execute("SELECT count(*) FROM traces WHERE duration_s < 0").fetchone() == (0,)
    assert db.execute("SELECT count(*) FROM spans WHERE duration_s < 0").fetchone() == (0,)
    assert db.execute("SELECT active_s BETWEEN 0 AND 60 FROM runs").fetchone() == (1,)
    db.close()
