"""kill -9 in a search over a DSPy program, its merges among the points: the same run comes of it, and is paid for once.

The program is that of experiments/multihop-qa, on fewer tasks and with a seed that merges early.
"""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rollout_local.simulator import Settings, Simulator, load_script
from tests.children import Nursery
from tests.conftest import ROOT, Project
from tests.faults.conftest import KILLED, checked, settled

EXPERIMENT = ROOT / "experiments" / "multihop-qa"
SMALL = ["--max-metric-calls", "60", "--max-tasks", "8", "--seed", "12"]


class Multihop(Project):
    """The experiment in a folder of its own."""

    @property
    def flags(self) -> list[str]:
        return [
            "--module", "target", "--target", "multihop-qa", "--dataset", "datasets/harrowmere",
            "--splits-file", "splits.json", *SMALL,
            "--reflection-model", "openai/sim-reflection", "--reflection-api-base", self.url,
            "--task-model", "openai/sim-student", "--task-api-base", self.url,
        ]  # fmt: skip


@dataclass(frozen=True)
class Whole:
    """What an undisturbed run gives; `merge` are the numbers of its calls that a merge made, as one thread counts."""

    digest: str
    calls: int
    merge: range
    seconds: float


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator(load_script(EXPERIMENT / "simulator.json"), Settings()) as running:
        yield running


@pytest.fixture
def project(tmp_path: Path, simulator: Simulator) -> Multihop:
    return laid_out(tmp_path / "project", simulator)


def laid_out(folder: Path, simulator: Simulator) -> Multihop:
    left = shutil.ignore_patterns("experiment.*", "README.md", "simulator.json", "__pycache__")
    shutil.copytree(EXPERIMENT, folder, ignore=left)
    return Multihop(folder, simulator.url)


@pytest.fixture(scope="module")
def whole(nursery: Nursery, simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    project = laid_out(tmp_path_factory.mktemp("whole") / "project", simulator)
    before = simulator.calls()["total"]
    done = nursery.run(project, "optimize", "run", *project.flags, "--concurrency", "1", "--json")
    assert done.code == 0, done.stderr
    recording = project.folder / ".rollout" / done.document["run_id"] / "recording.yaml"
    scopes = [json.loads(line[2:])["scope"] for line in recording.read_text().splitlines() if line.startswith("- {")]
    merged = [at for at, scope in enumerate(scopes, 1) if scope.startswith(f"trial/{accepted_merge(project)}")]
    assert merged, "the reference must merge"
    calls = simulator.calls()["total"] - before
    return Whole(done.document["digest"], calls, range(merged[0], merged[-1] + 1), done.seconds)


def accepted_merge(project: Project) -> str:
    """The candidate hash, as recordings abbreviate it, of the first merge that was accepted."""
    with closing(sqlite3.connect(project.folder / "rollout.db")) as db:
        (found,) = db.execute(
            "SELECT c.content_hash FROM candidates AS c JOIN candidate_parents AS e ON e.candidate_id = c.id"
            " WHERE c.status = 'accepted' GROUP BY c.id HAVING count(*) = 2 ORDER BY c.number"
        ).fetchone()
    return str(found).removeprefix("sha256:")[:16]


def points(count: int, whole: Whole) -> list[dict[str, Any]]:
    """The first while a merge is on its sample of val; then calls, before they leave or when answered; then times."""
    dice = random.Random(count)
    spread = [1 + n * whole.calls // (count // 2) for n in range(count // 2)]
    inside = [whole.merge[4], *(dice.choice(whole.merge) for _ in range(count // 10))]
    at_calls = [{"call": call, "when": ("before", "after")[n % 2]} for n, call in enumerate([*inside, *spread])]
    return at_calls + [{"seconds": dice.uniform(0.1, whole.seconds)} for _ in range(count - len(at_calls))]


def kill_and_go_on(nursery: Nursery, project: Project, simulator: Simulator, die: dict[str, Any], whole: Whole) -> bool:
    """Whether it was killed before it was done."""
    before = simulator.calls()["total"]
    run_id = nursery.create(project, "--concurrency", "1")
    killed = nursery.run(project, "optimize", "run", run_id, die=die)
    assert killed.code in (KILLED, 0), killed.stderr
    settled(simulator)
    checked(project)
    done = nursery.run(project, "optimize", "run", run_id, "--json")
    assert done.code == 0, done.stderr
    assert done.document["digest"] == whole.digest, die
    assert simulator.calls()["total"] - before <= whole.calls + 2, die  # the two calls of the trial in flight
    checked(project)
    return killed.code == KILLED


def killed_at(count: int, nursery: Nursery, folder: Path, simulator: Simulator, whole: Whole) -> list[bool]:
    return [
        kill_and_go_on(nursery, laid_out(folder / str(n), simulator), simulator, die, whole)
        for n, die in enumerate(points(count, whole))
    ]


def test_a_program_killed_at_4_points_and_in_a_merge_goes_on_to_the_same_digest(
    nursery: Nursery, tmp_path: Path, simulator: Simulator, whole: Whole
) -> None:
    killed = killed_at(4, nursery, tmp_path, simulator, whole)
    assert killed[0], "it died in the merge"
    assert sum(killed) >= 3


@pytest.mark.long
def test_a_program_killed_at_50_points_goes_on_to_the_same_digest(
    nursery: Nursery, tmp_path: Path, simulator: Simulator, whole: Whole
) -> None:
    assert sum(killed_at(50, nursery, tmp_path, simulator, whole)) >= 40


def test_a_program_gives_the_same_digest_with_8_threads(nursery: Nursery, project: Multihop, whole: Whole) -> None:
    done = nursery.run(project, "optimize", "run", *project.flags, "--concurrency", "8", "--json")
    assert done.document["digest"] == whole.digest


@pytest.mark.long
@pytest.mark.parametrize("seed", [str(seed) for seed in range(1, 9)])
def test_a_program_gives_the_same_digest_whatever_hash_seed_the_shell_sets(
    project: Multihop, whole: Whole, seed: str
) -> None:
    done = project.process("optimize", "run", *project.flags, "--concurrency", "4", "--json", PYTHONHASHSEED=seed)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["digest"] == whole.digest
