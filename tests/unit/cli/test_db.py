"""`rollout db`: check, rebuild, backup, vacuum, as text and as documents."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from rollout_local.cli.main import run
from rollout_local.store.schema import Store
from tests.unit.runs.test_evaluation import given_run


@pytest.fixture
def path(store: Store) -> Path:
    given_run(store)
    return store.path


def break_roll_up(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("UPDATE candidates SET val_n = 4, val_sum = 2")
    db.commit()
    db.close()


def test_a_whole_file_is_said_to_be_whole(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["db", "check", "--db", str(path)]) == 0
    assert capsys.readouterr().out == f"{path} is whole.\n"
    assert run(["db", "check", "--db", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"ok": True, "problems": []}


def test_a_problem_is_named_with_its_remedy_and_exit_1(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    break_roll_up(path)
    assert run(["db", "check", "--db", str(path)]) == 1
    assert "candidate 0 shows 4 trials on val with the sum 2; there are 0 with 0" in (said := capsys.readouterr().out)
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
