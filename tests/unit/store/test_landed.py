"""A file of every schema that ever landed: it opens, migrates, is whole, and its run can be reproduced.

Each archive in `tests/landed` is the starter's project after `optimize run --max-metric-calls 30` against the
simulator, made by checking out the commit that brought the migration that it is named after.

0006 to 0010 landed together with 0011, so no file ends with one of them.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database

from rollout_local.afterwards.audit import audit
from rollout_local.afterwards.reproduce import reproduce
from rollout_local.domain.run import RunStatus
from rollout_local.planning import trust
from rollout_local.reports.digest import digest
from rollout_local.store import queue, reads, schema
from rollout_local.store.migrations import migrations
from rollout_local.store.schema import open_store
from tests.conftest import ROOT, fresh_targets

LANDED = sorted((ROOT / "tests/landed").glob("*.tar.gz"), key=lambda path: path.name)
NAMES = [path.name.removesuffix(".tar.gz") for path in LANDED]
DIGESTS = {  # as the version that made the file said it
    "0001_the_whole_path": "sha256:f70d44af1353bbf1799ad1a281add25c295f8e0815d70654c8ffd34add6b7f09",
    "0002_durable_runs": "sha256:f70d44af1353bbf1799ad1a281add25c295f8e0815d70654c8ffd34add6b7f09",
    "0003_releases": "sha256:f70d44af1353bbf1799ad1a281add25c295f8e0815d70654c8ffd34add6b7f09",
    "0004_reuse": "sha256:f70d44af1353bbf1799ad1a281add25c295f8e0815d70654c8ffd34add6b7f09",
    "0005_programs": "sha256:3e8cfaa6727f98db439302c91c62ecab4d7163cf5bc4f61faa4b75359a23a4df",
    "0011_unknown_costs": "sha256:3e8cfaa6727f98db439302c91c62ecab4d7163cf5bc4f61faa4b75359a23a4df",
    "0012_kept_runs": "sha256:9df6a1edd0989f185ee3edce54245d95b7bfe0f38af71c0892acc16a61393242",
}
NEVER_LAST = ("0006", "0007", "0008", "0009", "0010")


@pytest.fixture(params=LANDED, ids=NAMES)
def landed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The name of a migration, and a folder with the project that its version left."""
    with tarfile.open(request.param) as archive:
        archive.extractall(tmp_path, filter="data")
    with fresh_targets(tmp_path):
        yield request.param.name.removesuffix(".tar.gz"), tmp_path


def test_every_migration_that_landed_last_left_a_file() -> None:
    names = [migration.name for migration in migrations._migrations]
    landed_last = [name for name in names if not name.startswith(NEVER_LAST)]
    assert NAMES == sorted(DIGESTS) == [name for name in landed_last if name <= NAMES[-1]]
    assert len([name for name in names if name > NAMES[-1]]) <= 1, "one that has landed needs its file before the next"


def test_it_was_made_by_the_version_it_is_named_after(landed: tuple[str, Path]) -> None:
    name, folder = landed
    db = Database(sqlite3.connect(folder / "rollout.db"))
    assert [applied.name for applied in migrations.applied(db)][-1] == name
    db.close()


def test_it_migrates_is_whole_and_reproduces(landed: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    name, folder = landed
    monkeypatch.chdir(folder)
    with open_store(folder / "rollout.db", create=False) as store:
        assert audit(store, folder).problems == []
        assert digest(store, reads.run(store, "latest")).digest == DIGESTS[name]
        trust.confirm(store, reads.run(store, "latest"))  # it cannot be told from a file of somebody else's
        found = reproduce(store, "latest", folder=folder)
        assert found.identical, found.difference
        assert found.digest == DIGESTS[name]
        run_id = reads.run(store, "latest")["id"]
        assert queue.enqueue(store, run_id, RunStatus.COMPLETED, "2026", fresh=True)
        assert queue.claim(store) is not None
        assert ("is of format 0" in found.note) == (name < "0006")


@pytest.mark.parametrize("after", range(0, 60, 4))
def test_a_migration_that_is_killed_leaves_a_file_that_migrates(after: int, tmp_path: Path) -> None:
    with tarfile.open(LANDED[0]) as archive:
        archive.extract("./rollout.db", tmp_path, filter="data")
    path = tmp_path / "rollout.db"
    child = os.fork()
    if child == 0:
        _migrate_until_killed(path, after)
    os.waitpid(child, 0)
    with open_store(path, create=False) as store:
        assert audit(store, tmp_path).problems == []
        assert digest(store, reads.run(store, "latest")).digest == DIGESTS[NAMES[0]]


def _migrate_until_killed(path: Path, statements: int) -> Any:
    """Never returns: the process is killed at one of its statements, or ends when there are no more."""
    connect = schema._connect

    def watched(path: Path) -> sqlite3.Connection:
        connection, count = connect(path), iter(range(statements))

        def seen(_statement: str) -> None:
            if next(count, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)

        connection.set_trace_callback(seen)
        return connection

    schema._connect = watched
    try:
        open_store(path, create=False).close()
    finally:
        os._exit(0)


def test_a_newer_schema_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "rollout.db"
    open_store(path).close()
    db = sqlite3.connect(path)
    db.execute("UPDATE _sqlite_migrations SET name = '9999_x' WHERE name = '0008_seals'")
    db.commit()
    db.close()
    with pytest.raises(schema.StoreError, match="newer rollout-local"):
        open_store(path)
