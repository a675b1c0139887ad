"""A disk that is full at any write, a folder that cannot be written: the run waits, no score is made up."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rollout_local.simulator import Simulator
from tests.children import BUDGET, Ended, Make, Nursery, until
from tests.conftest import Project
from tests.faults.conftest import Calm, Simulate, settled

KB = 1024
ROOM = 100 * KB
PLACES = ["--db", "disk/rollout.db", "--log-dir", "disk/log"]
DB = ["--db", "disk/rollout.db"]


@contextmanager
def disk(folder: Path, size: int) -> Iterator[Callable[[int], None]]:
    """A file system of `size` bytes at a folder; the function it gives changes its size."""

    def mount(options: str) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], check=True, capture_output=True)

    folder.mkdir()
    mount(f"size={size}")
    try:
        yield lambda bytes_: mount(f"remount,size={bytes_}")
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def mountable(tmp_path_factory: pytest.TempPathFactory) -> bool:
    if shutil.which("mount") is None:
        return False
    try:
        with disk(tmp_path_factory.mktemp("mount") / "disk", 64 * KB):
            return True
    except (subprocess.CalledProcessError, OSError):
        return False


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory, mountable: bool) -> int:
    """Bytes that an empty database takes, with what goes beside it while it is open."""
    from rollout_local.store.schema import open_store

    folder = tmp_path_factory.mktemp("migrated")
    with open_store(folder / "rollout.db"):
        return sum(path.stat().st_size for path in folder.iterdir())


def truthful(project: Project) -> None:
    """Every score in the file came from an answer: the trial has one, and the call that gave it is there too."""
    db = sqlite3.connect(project.folder / "disk/rollout.db")
    made_up = "SELECT count(*) FROM trials t WHERE score IS NOT NULL AND (output IS NULL OR output = '' OR NOT EXISTS"
    traced = " (SELECT 1 FROM spans s WHERE s.trace_id = t.trace_id AND s.output IS NOT NULL))"
    assert db.execute(made_up + traced).fetchone() == (0,)
    db.close()


def fills_up(nursery: Nursery, make_one: Make, simulate: Simulate, calm: Calm, size: int, room: int) -> bool:
    """Run on a disk that takes so much beyond the created run; True where it was full. Then mend it and go on."""
    simulator = simulate()
    project = make_one(simulator.url)
    with disk(project.folder / "disk", size + 4_000_000) as resize:
        run_id = nursery.create(project, *BUDGET, *PLACES)
        used = sum(path.stat().st_blocks * 512 for path in (project.folder / "disk").rglob("*"))
        resize(used + room)
        full = nursery.run(project, "optimize", "run", run_id, *DB)
        says_why(full, simulator)
        paid = settled(simulator)
        resize(size + 4_000_000)
        truthful(project)
        done = nursery.run(project, "optimize", "run", run_id, *DB, "--json")
        assert done.code == 0, done.stderr
        assert done.document["digest"] == calm.digest
        assert simulator.calls()["total"] <= calm.calls + 4, (paid, calm.calls)
        assert project.rollout("db", "check", *DB).returncode == 0
    return full.code != 0


def says_why(full: Ended, simulator: Simulator) -> None:
    """Paused (3); or, where the database could not even be opened, refused (2) before any call."""
    said = full.stdout + full.stderr
    assert full.code in (0, 2, 3), said
    assert "Traceback" not in said
    if full.code:
        assert any(words in said for words in ("full", "No space", "disk I/O error", "too large")), said
    if full.code == 2:
        assert simulator.calls()["total"] == 0


def test_a_full_disk_at_6_sizes_pauses_and_the_run_goes_on(
    nursery: Nursery, make_one: Make, simulate: Simulate, calm: Calm, migrated: int, mountable: bool
) -> None:
    if not mountable:
        pytest.skip("no tmpfs can be mounted here; the limit on file sizes below stands in")
    rooms = [8 * KB, 36 * KB, 64 * KB, ROOM, 160 * KB, 240 * KB]
    full = [fills_up(nursery, make_one, simulate, calm, migrated, room) for room in rooms]
    assert all(full[:4])


@pytest.mark.long
def test_a_full_disk_at_every_write_pauses_and_the_run_goes_on(
    nursery: Nursery, make_one: Make, simulate: Simulate, calm: Calm, migrated: int, mountable: bool
) -> None:
    if not mountable:
        pytest.skip("no tmpfs can be mounted here; the limit on file sizes below stands in")
    room, complete = 0, 0
    while complete < 3:
        complete += not fills_up(nursery, make_one, simulate, calm, migrated, room)
        room += 12 * KB  # less than any one transaction writes
    assert room > ROOM


def limited(nursery: Nursery, make_one: Make, simulate: Simulate, calm: Calm, beyond: int) -> bool:
    """The same by a limit on the size of files, where nothing can be mounted; True where it was hit."""
    simulator = simulate()
    project = make_one(simulator.url)
    (project.folder / "disk").mkdir()
    run_id = nursery.create(project, *BUDGET, *PLACES)
    full = nursery.run(project, "optimize", "run", run_id, *DB, limit=beyond)
    says_why(full, simulator)
    truthful(project)
    done = nursery.run(project, "optimize", "run", run_id, *DB, "--json")
    assert done.code == 0, done.stderr
    assert done.document["digest"] == calm.digest
    assert settled(simulator) <= calm.calls + 4
    assert project.rollout("db", "check", *DB).returncode == 0
    return full.code != 0


def test_a_limit_on_file_sizes_pauses_and_the_run_goes_on(
    nursery: Nursery, make_one: Make, simulate: Simulate, calm: Calm
) -> None:
    assert all(limited(nursery, make_one, simulate, calm, size) for size in (20 * KB, 60 * KB, 120 * KB))


def test_a_log_dir_that_cannot_be_written_pauses_and_the_run_goes_on(
    nursery: Nursery, make_one: Make, simulate: Simulate, calm: Calm
) -> None:
    project = make_one(simulate().url)
    (project.folder / "log").write_text("a file where the folder should be")
    run_id = nursery.create(project, *BUDGET, "--log-dir", "log")
    refused = nursery.run(project, "optimize", "run", run_id)
    assert refused.code == 3, refused.stderr
    assert "cannot be written" in refused.stderr
    (project.folder / "log").unlink()
    assert nursery.run(project, "optimize", "run", run_id, "--json").document["digest"] == calm.digest


def test_candidates_that_cannot_be_written_pause_the_run_in_the_search(
    make_one: Make, simulate: Simulate, calm: Calm
) -> None:
    project = make_one(simulate().url)
    (project.folder / "log").mkdir()
    (project.folder / "log/candidates").write_text("a file where the folder should be")
    paused = project.document("optimize", "run", *project.flags, *BUDGET, "--log-dir", "log", code=3)
    assert paused["status"] == "paused"
    assert "cannot be written" in paused["message"]
    (project.folder / "log/candidates").unlink()
    assert project.document("optimize", "run", paused["run_id"])["digest"] == calm.digest


def test_a_database_that_vanishes_while_a_run_writes_is_never_a_completed_run(
    nursery: Nursery, make_one: Make, simulate: Simulate, calm: Calm
) -> None:
    """Its log_dir still has every call: the run is rebuilt from it, and nothing is paid twice."""
    simulator = simulate(latency_ms=30)
    project = make_one(simulator.url)
    run_id = nursery.create(project, *BUDGET, "--log-dir", "log")
    running = nursery.start(project, "optimize", "run", run_id)
    until(lambda: simulator.calls()["total"] >= 14)
    for path in project.folder.glob("rollout.db*"):
        path.unlink()
    ended = running.wait()
    assert ended.code == 3, (ended.stdout, ended.stderr)
    rebuilt = nursery.run(project, "optimize", "run", "--log-dir", "log", "--json")
    assert rebuilt.code == 0, rebuilt.stderr
    assert rebuilt.document["digest"] == calm.digest
    assert settled(simulator) <= calm.calls + 4
