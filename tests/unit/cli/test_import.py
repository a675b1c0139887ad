from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from rollout_local.bundle import export_bundle
from rollout_local.cli.import_ import import_
from rollout_local.errors import InputError
from rollout_local.store.schema import open_store

STATE = {
    "program_candidates": [{"a": "one"}, {"a": "two"}],
    "parent_program_for_candidate": [[None], [0]],
    "prog_candidate_val_subscores": [{0: 5.0}, {0: 10.0}],
    "num_metric_calls_by_discovery": [0, 8],
    "total_num_evals": 12,
}


@pytest.fixture(autouse=True)
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "gepa_state.bin").write_bytes(pickle.dumps(STATE))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(import_, arguments)


def document(*arguments: str) -> Any:
    result = run(*arguments, "--json")
    assert result.exception is None, result.output
    return json.loads(result.stdout)


def test_a_log_of_gepa_is_imported_once_and_says_so() -> None:
    first = run("gepa-log", "log", "--scale", "10")
    run_id = first.stdout.split()[1]
    assert first.stdout.startswith(f"Imported {run_id} · completed · 2 candidates · 2 trials\ndigest sha256:")
    again = run("gepa-log", "log", "--scale", "10")
    assert again.stdout.startswith(f"{run_id} · completed · 2 candidates · 2 trials is here already (unchanged)\n")


def test_a_bundle_is_imported_into_the_database_that_is_named() -> None:
    found = document("gepa-log", "log", "--scale", "10")
    with open_store(Path("rollout.db")) as store:
        export_bundle(store, found["run_id"], Path("run.bundle"), Path())
    carried = document("bundle", "run.bundle", "--db", "other.db")
    assert carried == found
    assert document("bundle", "run.bundle", "--db", "other.db") == found | {"is_new": False}
    assert Path(".rollout", found["run_id"], "target.py").exists()


def test_a_bundle_that_is_cut_off_leaves_no_database(tmp_path: Path) -> None:
    found = document("gepa-log", "log", "--scale", "10")
    with open_store(Path("rollout.db")) as store:
        export_bundle(store, found["run_id"], Path("run.bundle"), Path())
    data = Path("run.bundle").read_bytes()
    for size in (0, len(data) // 2, len(data) - 1):
        Path("cut.bundle").write_bytes(data[:size])
        before = sorted(tmp_path.rglob("*"))
        result = run("bundle", "cut.bundle", "--db", "other.db")
        assert isinstance(result.exception, InputError)
        assert sorted(tmp_path.rglob("*")) == before
    document("bundle", "run.bundle", "--db", "other.db")
    assert isinstance(run("bundle", "cut.bundle", "--db", "other.db").exception, InputError)
    assert Path("other.db").exists()


@pytest.mark.parametrize(
    "arguments", [("gepa-log", "log"), ("gepa-log", "nowhere"), ("bundle", "log"), ("bundle", "no")]
)
def test_what_cannot_be_read_is_wrong_input(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert isinstance(result.exception, InputError)
    assert result.exception.exit_code == 2
    assert result.stdout == ""
    assert not Path("rollout.db").exists()
