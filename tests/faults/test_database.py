"""A store that tells the truth: what was changed behind its back is found, what can be mended is, a copy is whole."""

from __future__ import annotations

import contextlib
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rollout_local.simulator import Settings, Simulator, load_script
from tests.children import BUDGET, Make, Nursery, make_small, until
from tests.conftest import Project
from tests.faults.conftest import Calm, Simulate, checked


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    with Simulator(load_script(None), Settings()) as simulator:
        project = make_small(tmp_path_factory.mktemp("finished"))(simulator.url)
        assert project.rollout("optimize", "run", *project.flags, *BUDGET).returncode == 0
    return project


@pytest.fixture
def copy(finished: Project, tmp_path: Path) -> Project:
    for path in finished.folder.glob("rollout.db*"):
        shutil.copy(path, tmp_path)
    return Project(tmp_path, finished.url)


@contextmanager
def opened(project: Project) -> Iterator[sqlite3.Connection]:
    """The file without its triggers: someone else's editor."""
    db = sqlite3.connect(project.folder / "rollout.db")
    triggers = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        db.execute(f"DROP TRIGGER {name}")
    yield db
    for _, sql in triggers:
        db.execute(sql)
    db.commit()
    db.close()


def problems(project: Project) -> list[str]:
    document = project.document("db", "check", code=1)
    assert document["ok"] is False
    found: list[str] = document["problems"]
    return found


def test_a_finished_run_is_whole(copy: Project) -> None:
    checked(copy)
    assert copy.document("db", "check") == {"ok": True, "problems": [], "notes": []}


def flip(project: Project, mask: int) -> None:
    """Flip bits of one byte of a stored feedback, in the file itself."""
    path = project.folder / "rollout.db"
    with opened(project) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    words = b"mention the tracking number"
    whole, before = path.read_bytes(), feedbacks(path)
    for found in re.finditer(words, whole):  # other tables hold the words, too
        data = bytearray(whole)
        data[found.start() + 3] ^= mask
        path.write_bytes(data)
        if feedbacks(path) != before:
            return
    pytest.fail("no feedback has these words in one page")


def feedbacks(path: Path) -> list[bytes]:
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.text_factory = bytes
        return [row[0] for row in db.execute("SELECT feedback FROM trials ORDER BY id")]


@pytest.mark.parametrize("mask", [0x01, 0x80])
def test_a_byte_that_flipped_in_a_feedback_is_found(mask: int, copy: Project) -> None:
    flip(copy, mask)
    found = problems(copy)
    assert len(found) == 1, found
    assert "of trials is not what was written" in found[0] or "of trials cannot be read" in found[0]


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("UPDATE trials SET score = 0.25 WHERE id = 5", "row 5 of trials is not what was written"),
        ("DELETE FROM events WHERE id = 3", "row 3 of events is missing"),
        ("UPDATE reflections SET reply_json = replace(reply_json, 'e', 'E')", "of reflections is not what was written"),
        ("DELETE FROM journal_entries WHERE seq IN (7, 8)", "journal entries 7 to 8 are missing"),
        ("UPDATE journal_entries SET chain = row_hash WHERE seq = 9", "the chain is broken at journal entry 9"),
        ("UPDATE journal_entries SET kind = 'trialz' WHERE seq = 9", "journal entry 9"),
        ("UPDATE journal_entries SET row_hash = 'ü' WHERE seq = 9", "the chain is broken at journal entry 9"),
        ("INSERT INTO events (run_id, attempt, at, level, message) SELECT id, 1, '', 'info', 'never' FROM runs",
         "1 rows of events have no journal entry"),
        ("UPDATE candidates SET val_sum = val_sum + 0.25, val_mean = 1 WHERE number = 0", "(`rollout db rebuild`)"),
        ("UPDATE candidates SET holdout_n = holdout_n + 1 WHERE number = 0", "(`rollout db rebuild`)"),
        ("DELETE FROM traces WHERE id = (SELECT min(id) FROM traces)", "refers to a row of traces"),
    ],
)  # fmt: skip
def test_what_was_changed_behind_its_back_is_found(sql: str, words: str, copy: Project) -> None:
    with opened(copy) as db:
        assert db.execute(sql).rowcount
    assert any(words in problem for problem in problems(copy)), problems(copy)


def test_roll_ups_are_made_anew(copy: Project) -> None:
    with opened(copy) as db:
        before = db.execute("SELECT * FROM candidates").fetchall()
        db.execute("UPDATE candidates SET val_n = 0, val_sum = 0, val_mean = NULL, train_sum = 9, train_mean = 3")
    assert problems(copy)
    mended = copy.document("db", "rebuild")["mended"]
    assert mended >= 3
    checked(copy)
    with opened(copy) as db:
        assert db.execute("SELECT * FROM candidates").fetchall() == before
    assert copy.document("db", "rebuild")["mended"] == 0


def test_a_backup_taken_while_a_run_writes_is_whole_and_can_be_gone_on_with(
    nursery: Nursery, make_one: Make, simulate: Simulate, calm: Calm
) -> None:
    simulator = simulate(latency_ms=20)
    project = make_one(simulator.url)
    run_id = nursery.create(project, *BUDGET)
    child = nursery.start(project, "optimize", "run", run_id, "--json")
    for number in range(3):
        until(lambda n=number: simulator.calls()["total"] >= 4 + 4 * n)
        project.document("db", "backup", f"copy-{number}.db")
        assert project.document("db", "check", "--db", f"copy-{number}.db")["ok"]
    assert child.wait().document["digest"] == calm.digest
    checked(project)
    before = simulator.calls()["total"]
    for path in project.folder.glob("rollout.db*"):
        path.unlink()
    (project.folder / "copy-2.db").rename(project.folder / "rollout.db")
    restored = nursery.run(project, "optimize", "run", run_id, "--json")
    assert restored.code == 0, restored.stderr
    assert restored.document["digest"] == calm.digest
    assert simulator.calls()["total"] == before, "what came after the copy is in the recording"


def test_a_byte_that_flipped_in_the_wal_is_found_or_was_never_committed(
    nursery: Nursery, make_one: Make, simulate: Simulate, calm: Calm
) -> None:
    """SQLite drops the rest of a damaged WAL without a word; what it drops, the run asks its recording for again."""
    simulator = simulate()
    project = make_one(simulator.url)
    run_id = nursery.create(project, *BUDGET)
    nursery.run(project, "optimize", "run", run_id, die={"call": 20, "when": "after"})
    wal = project.folder / "rollout.db-wal"
    data = bytearray(wal.read_bytes())
    data[len(data) // 2] ^= 0x10
    wal.write_bytes(data)
    checked(project)
    done = nursery.run(project, "optimize", "run", run_id, "--json")
    assert done.code == 0, done.stderr
    assert done.document["digest"] == calm.digest
    assert simulator.calls()["total"] <= calm.calls + 4
