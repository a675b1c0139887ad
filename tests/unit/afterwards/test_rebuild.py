"""The run that a log_dir belongs to: found in the database, or written to it again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rollout_local.afterwards import rebuild
from rollout_local.errors import InputError
from rollout_local.planning import setup as setups
from rollout_local.planning.setup import Setup
from rollout_local.runs.log_dir import LogDir
from rollout_local.store import reads
from rollout_local.store.schema import Store
from tests.conftest import Project, fresh_targets


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    return make_project("http://127.0.0.1:9/v1")


def prepare(project: Project, **changes: object) -> Setup:
    from rollout_local.cli.flags import config_of

    fields = {"modules": ("target",), "dataset": "dataset", "verifiers": ("verifier.json",), "max_metric_calls": 9,
              "splits_file": "splits.json", "reflection_model": "openai/sim-reflection", "log_dir": "log"}  # fmt: skip
    return setups.prepare(config_of({**fields, **changes}), project.folder, None)


@pytest.fixture
def log_dir(project: Project, store: Store) -> Iterator[Path]:
    """The log_dir of a run that the database knows."""
    with fresh_targets(project.folder):
        setup = prepare(project)
        row = setups.insert(store, setup, run_id="opt_lost")
        LogDir(project.folder / "log").write_run(row, setup, 1)
        yield project.folder / "log"


def forget(store: Store) -> None:
    with store.write() as db:
        db.execute("DELETE FROM journal_entries")
        db.execute("DELETE FROM runs")


def change_target(project: Project, was: str, now: str) -> None:
    target = project.folder / "target.py"
    target.write_text(target.read_text().replace(was, now))


def test_a_run_that_the_database_knows_is_only_found(log_dir: Path, project: Project, store: Store) -> None:
    assert rebuild.run_of(store, log_dir, project.folder) == "opt_lost"
    assert len(store.rows("SELECT id FROM runs")) == 1


def test_a_run_that_is_lost_is_written_again_under_its_id(log_dir: Path, project: Project, store: Store) -> None:
    before = reads.run(store, "opt_lost")
    forget(store)
    assert rebuild.run_of(store, log_dir, project.folder) == "opt_lost"
    after = reads.run(store, "opt_lost")
    for column in ("fingerprint", "split_json", "metric_call_budget", "dataset_id", "seed", "target_id"):
        assert after[column] == before[column]
    assert (after["status"], after["attempt"], after["log_dir"]) == ("created", 0, str(log_dir))


def test_a_changed_target_is_refused_with_its_difference_unless_accepted(
    log_dir: Path, project: Project, store: Store
) -> None:
    forget(store)
    with fresh_targets(project.folder):
        change_target(project, "task.instruction", "task.name")
        with pytest.raises(InputError, match="the target changed since this run began") as refused:
            rebuild.run_of(store, log_dir, project.folder)
        assert "+        messages=" in str(refused.value)
        assert store.rows("SELECT id FROM runs") == []
        assert rebuild.run_of(store, log_dir, project.folder, ("target",)) == "opt_lost"


def test_a_folder_without_a_run_matches_nothing(project: Project, tmp_path: Path, log_dir: Path) -> None:
    assert not rebuild.matching(tmp_path, prepare(project))


def test_the_same_inputs_match_whatever_the_operational_settings(log_dir: Path, project: Project) -> None:
    assert rebuild.matching(log_dir, prepare(project))
    assert rebuild.matching(log_dir, prepare(project, concurrency=1, name="other", max_seconds=3.0))


def test_other_inputs_are_refused_naming_the_run_and_the_input(log_dir: Path, project: Project) -> None:
    with pytest.raises(
        InputError, match=r"belongs to run opt_lost, which differs: the seed changed.*another --log-dir"
    ):
        rebuild.matching(log_dir, prepare(project, seed=3))


def test_a_folder_that_is_no_log_dir_is_refused(project: Project, store: Store, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no run\.json"):
        rebuild.run_of(store, tmp_path, project.folder)
