"""`rollout db`: check, rebuild, backup, vacuum, as text and as documents."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest

from rollout_local.cli.main import run
from rollout_local.errors import StoreError
from rollout_local.store import check, fixed, schema
from rollout_local.store.schema import Store, open_store
from tests.conftest import ROOT


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The database of a finished run."""
    with tarfile.open(ROOT / "tests/landed/0005_programs.tar.gz") as archive:
        archive.extract("./rollout.db", tmp_path, filter="data")
    return tmp_path / "rollout.db"


def break_roll_up(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("UPDATE candidates SET val_n = 4, val_sum = 2 WHERE number = 0")
    db.commit()
    db.close()


def test_a_whole_file_is_said_to_be_whole(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["db", "check", "--db", str(path)]) == 0
    assert capsys.readouterr().out == f"{path} is whole.\n"
    assert run(["db", "check", "--db", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"ok": True, "problems": [], "notes": []}


def test_a_problem_is_named_with_its_remedy_and_exit_1(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    break_roll_up(path)
    assert run(["db", "check", "--db", str(path)]) == 1
    assert "candidate 0 on val shows 4 trials with the sum 2, the mean" in (said := capsys.readouterr().out)
    assert "`rollout db rebuild`" in said
    assert run(["db", "check", "--db", str(path), "--json"]) == 1
    assert len(json.loads(capsys.readouterr().out)["problems"]) == 1


def test_rebuild_mends_roll_ups_and_says_how_many(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    break_roll_up(path)
    assert run(["db", "rebuild", "--db", str(path)]) == 0
    assert capsys.readouterr().out == "Mended 1 roll-ups.\n"
    assert run(["db", "rebuild", "--db", str(path)]) == 0
    assert capsys.readouterr().out == "All roll-ups were right.\n"
    assert run(["db", "rebuild", "--db", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"mended": 0}


def test_backup_copies_once_and_refuses_to_write_over(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = path.with_name("copy.db")
    assert run(["db", "backup", str(copy), "--db", str(path)]) == 0
    assert capsys.readouterr().out == f"Copied {path} to {copy} ({copy.stat().st_size} bytes).\n"
    assert run(["db", "backup", str(copy), "--db", str(path)]) == 2
    assert "exists" in capsys.readouterr().err
    other = path.with_name("other.db")
    assert run(["db", "backup", str(other), "--db", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": str(other), "bytes": other.stat().st_size}


def test_a_backup_is_whole_or_absent_wherever_it_is_killed(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = path.with_name("copy.db")
    for step in ("copy_into", "_sync", "replace"):
        child = os.fork()
        if child == 0:
            owner = {"copy_into": Store, "_sync": check, "replace": Path}[step]
            setattr(owner, step, lambda *_given: os._exit(9))
            run(["db", "backup", str(copy), "--db", str(path)])
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
        assert not copy.exists()
    path.with_name("copy.db.new").write_bytes(b"half of it")
    assert run(["db", "backup", str(copy), "--db", str(path)]) == 0
    assert run(["db", "check", "--db", str(copy)]) == 0
    assert f"{copy} is whole." in capsys.readouterr().out
    assert [found.name for found in path.parent.iterdir() if found.name.startswith("copy.db.new")] == []


READ_ONLY = """
import contextlib, io, os, sys
from pathlib import Path

from rollout_local.cli.main import run

path, copy, out = map(Path, sys.argv[1:4])
lines = sys.stdin.read().splitlines()
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    for line in lines:
        run([*line.split(), "--db", str(copy)])  # so that all is imported: who is not root may not be able to
for file in out.iterdir():
    file.unlink()
if os.getuid() == 0:
    os.setuid(65534)  # root may write everywhere
for line in lines:
    print("CODE", run([*line.split(), "--db", str(path)]), line)
"""
READING = ["optimize list", "optimize show latest", "optimize logs latest", "optimize report latest",
           "optimize digest latest", "optimize blame latest", "optimize export latest",
           "db check", "db backup {}/copy.db", "optimize export latest --bundle {}/run.zip",
           "datasets list", "verifiers list", "capabilities list"]  # fmt: skip
WRITING = ["optimize cancel latest", "db rebuild", "optimize retry latest"]


def as_nobody(path: Path, copy: Path, out: str, commands: list[str]) -> tuple[dict[str, str], str]:
    """Run commands as somebody who may write neither file nor folder: exit codes by command, and what was said."""
    done = subprocess.run(
        [sys.executable, "-B", "-c", READ_ONLY, str(path), str(copy), out],
        input="\n".join(commands), capture_output=True, text=True, timeout=120, check=False, cwd=path.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"},
    )  # fmt: skip
    codes = [line.split(" ", 2)[1:] for line in done.stdout.splitlines() if line.startswith("CODE")]
    return {command: code for code, command in codes}, done.stderr


@pytest.mark.parametrize("kind", ["file", "folder", "wal"])
def test_what_reads_works_on_a_database_that_nobody_may_write(kind: str, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name, tempfile.TemporaryDirectory(dir="/tmp") as out:
        folder, copy = Path(name), tmp_path / "copy.db"
        with tarfile.open(ROOT / "tests/landed/0005_programs.tar.gz") as archive:
            archive.extractall(folder, filter="data")
        for file in [folder, *folder.rglob("*")]:
            file.chmod(0o755 if file.is_dir() else 0o644)
        path = folder / "rollout.db"
        with open_store(path) as store:  # as it is now
            store.rows("SELECT 1")
            if kind == "wal":
                shutil.copy(path.with_name("rollout.db-wal"), tmp_path / "wal")
        if kind == "wal":
            shutil.copy(tmp_path / "wal", path.with_name("rollout.db-wal"))
        path.with_name("rollout.db.lock").unlink()
        before = path.read_bytes()
        copy.write_bytes(before)
        path.chmod(0o444 if kind == "file" else 0o666)
        folder.chmod(0o777 if kind == "file" else 0o555)
        Path(out).chmod(0o777)
        reading = [command.replace("{}", out) for command in READING]
        codes, said = as_nobody(path, copy, out, [*reading, *WRITING])
        assert [codes[command] for command in reading] == ["2" if kind == "wal" else "0"] * len(reading), said
        assert [codes[command] for command in WRITING] == ["2"] * len(WRITING)
        what = "it" if kind == "file" else "its folder"
        assert said.count(f"rollout.db cannot be written ({what} is read-only)") == len(WRITING), said
        assert said.count("part of it is in its -wal file") == (len(READING) if kind == "wal" else 0)
        assert path.read_bytes() == before
        assert (Path(out) / "copy.db").exists() == (kind != "wal")
        folder.chmod(0o777)


def test_a_file_of_an_earlier_version_that_cannot_be_written_says_so(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fixed, "can_write", lambda place: place != path)
    with pytest.raises(StoreError, match="is of an earlier version, and has to be brought up to date"):
        open_store(path, create=False, reads=True)


def test_vacuum_says_how_large_the_file_is(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["db", "vacuum", "--db", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}: {path.stat().st_size} bytes.\n"
    assert run(["db", "vacuum", "--db", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"bytes": path.stat().st_size}


@pytest.mark.parametrize("command", [["check"], ["rebuild"], ["backup", "x.db"], ["vacuum"]])
def test_a_database_that_is_not_there_is_not_made(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "none.db"
    assert run(["db", *command, "--db", str(missing)]) == 2
    assert "there is no database" in capsys.readouterr().err
    assert not missing.exists()


def test_index_is_built_said_and_taken_away(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["db", "index", "--off", "--db", str(path)]) == 0
    assert capsys.readouterr().out == "There was no index.\n"
    assert run(["db", "index", "--db", str(path)]) == 0
    assert capsys.readouterr().out.endswith(" trials can be searched by their words.\n")
    assert run(["db", "check", "--db", str(path)]) == 0
    assert run(["db", "index", "--db", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.partition("whole.\n")[2])["was_on"] is True
    assert run(["db", "index", "--off", "--db", str(path)]) == 0
    assert capsys.readouterr().out == "The index is gone.\n"


def test_an_index_that_this_sqlite_cannot_read_is_told_with_its_remedy(path: Path) -> None:
    said = schema._explain(path, sqlite3.OperationalError("no such module: fts5"))
    assert said.endswith("no such module: fts5, which its full-text index needs; `rollout db index --off` takes the"
                         " index away")  # fmt: skip
