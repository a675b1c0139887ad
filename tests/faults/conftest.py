"""What a whole run of a small project gives, to compare with what comes of one that was disturbed."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from rollout_local.simulator import Settings, Simulator, load_script
from tests.children import BUDGET, Make, Nursery, make_small, nursery
from tests.conftest import Project

__all__ = ["nursery"]

Simulate = Callable[..., Simulator]


@pytest.fixture
def make_one(tmp_path: Path) -> Make:
    return make_small(tmp_path)


@dataclass(frozen=True)
class Calm:
    """What an undisturbed run of the small project gives."""

    digest: str
    calls: int
    seconds: float


@pytest.fixture(scope="session")
def calm(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Calm:
    with Simulator(load_script(None), Settings()) as simulator:
        project = make_small(tmp_path_factory.mktemp("calm"))(simulator.url)
        done = nursery.run(project, "optimize", "run", *project.flags, *BUDGET, "--json")
        assert done.code == 0, done.stderr
        assert done.document["report"]["best"]["number"] > 0, "the reference must find something"
        return Calm(done.document["digest"], simulator.calls()["total"], done.seconds)


def settled(simulator: Simulator) -> int:
    """Calls that came in, once those of a dead client are through."""
    before = -1
    while before != (now := simulator.calls()["total"]):
        before = now
        time.sleep(0.02)
    return now


def checked(project: Project) -> None:
    """`rollout db check` finds nothing."""
    done = project.rollout("db", "check")
    assert done.returncode == 0, done.stdout + done.stderr


KILLED = -signal.SIGKILL
