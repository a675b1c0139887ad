"""What a log_dir holds, and what is refused when it is read back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from rollout_local.errors import InputError, Paused
from rollout_local.planning import setup as setups
from rollout_local.planning.setup import Setup
from rollout_local.runs.log_dir import LogDir, read_run, stored_parts
from rollout_local.store.journal import Journal
from rollout_local.store.schema import Store
from tests.conftest import Project, fresh_targets
from tests.unit.runs.test_evaluation import given_run

MakeSetup = Callable[..., Setup]


@pytest.fixture
def setup(make_project: Callable[..., Project]) -> Any:
    """The setup of a small project that never calls anything."""
    from rollout_local.cli.flags import config_of

    project = make_project("http://127.0.0.1:9/v1")
    fields = {"modules": ("target",), "dataset": "dataset", "verifiers": ("verifier.json",), "max_metric_calls": 9,
              "splits_file": "splits.json", "reflection_model": "openai/sim-reflection"}  # fmt: skip
    with fresh_targets(project.folder):
        yield setups.prepare(config_of(fields), project.folder, None)


@pytest.fixture
def written(setup: Setup, store: Store, tmp_path: Path) -> Path:
    row = setups.insert(store, setup)
    LogDir(tmp_path / "log").write_run(row, setup, 1)
    return tmp_path / "log"


def test_what_is_written_reads_back_as_the_same_values(written: Path, setup: Setup) -> None:
    document = read_run(written)
    parts = stored_parts(document, written)
    assert parts.config == setup.config
    assert parts.split.names("val") == setup.split.names("val")
    assert parts.dataset.content_hash == setup.dataset.content_hash
    assert parts.val_dataset is None
    assert [spec.content_hash for spec in parts.specs] == [spec.content_hash for spec in setup.specs]
    assert parts.budget == 9
    assert "def answer" in document["target"]["source"]
    assert document["versions"]["dspy"]


@pytest.mark.parametrize("change", ["removed", "renamed", "replaced"])
def test_a_log_dir_that_goes_under_a_running_run_stops_it_and_none_is_made_in_its_place(
    setup: Setup, store: Store, tmp_path: Path, change: str
) -> None:
    log_dir = LogDir(tmp_path / "log")
    log_dir.write_run(setups.insert(store, setup), setup, 1)
    log_dir.write_checkpoint({"step": 1})
    if change == "removed":
        shutil.rmtree(log_dir.path)
    else:
        log_dir.path.rename(tmp_path / "elsewhere")
    if change == "replaced":
        log_dir.path.mkdir()
    with pytest.raises(Paused, match="was removed, renamed or replaced while its run ran; put it back"):
        log_dir.write_checkpoint({"step": 2})
    assert not log_dir.path.exists() or list(log_dir.path.iterdir()) == []


def test_a_val_dataset_reads_back_too(written: Path, setup: Setup) -> None:
    document = read_run(written)
    parts = stored_parts({**document, "val_dataset": document["dataset"]}, written)
    assert parts.val_dataset.content_hash == setup.dataset.content_hash


def test_a_file_is_replaced_whole_and_no_draft_stays(tmp_path: Path) -> None:
    log_dir = LogDir(tmp_path / "deep" / "log")
    for step in range(3):
        log_dir.write_checkpoint({"step": step, "phase": "searching"})
    files = [path.name for path in log_dir.path.iterdir()]
    assert files == ["checkpoint.json"]
    assert json.loads((log_dir.path / "checkpoint.json").read_text()) == {
        "format": 1, "step": 2, "phase": "searching",
    }  # fmt: skip


def test_a_candidate_is_written_as_it_is_known_now(store: Store, tmp_path: Path) -> None:
    journal: Journal = given_run(store)
    log_dir = LogDir(tmp_path)
    row_id = next(iter(journal._candidates.values()))
    log_dir.write_candidate(store, row_id)
    found = json.loads((tmp_path / "candidates/000.json").read_text())
    assert found["components"] == {"instructions": "Answer."}
    assert (found["number"], found["status"], found["val_n"]) == (0, "baseline", 0)


def test_a_folder_that_cannot_be_written_pauses_the_run(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("in the way")
    with pytest.raises(Paused, match=r"checkpoint.json cannot be written .*; mend that and go on"):
        LogDir(tmp_path / "log").write_checkpoint({})


def test_a_folder_without_run_json_is_no_log_dir(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no run\.json, so it is not the log_dir of a run"):
        read_run(tmp_path)


@pytest.mark.parametrize("text", ['{"format": 2}', "[]", '{"x": 1}'])
def test_another_format_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(InputError, match="is not a run of this version"):
        read_run(tmp_path)


def test_a_file_that_was_cut_off_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"format": 1,\n "run_id"')
    with pytest.raises(InputError, match=r"run.json:2"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda document: document.pop("budget"),
        lambda document: document.update(budget="many"),
        lambda document: document.update(config={"seed": "x"}),
        lambda document: document.update(dataset=None),
        lambda document: document.update(verifiers=5),
    ],
)
def test_a_document_that_was_damaged_is_refused(written: Path, damage: Callable[[dict[str, Any]], Any]) -> None:
    document = read_run(written)
    damage(document)
    with pytest.raises(InputError, match=r"run.json is damaged \(.*; the run cannot be rebuilt from it"):
        stored_parts(document, written)


def test_many_threads_write_the_checkpoint(tmp_path: Path) -> None:
    folder = LogDir(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        for written in [
            pool.submit(folder.write_checkpoint, {"step": step, "text": "x" * 9000}) for step in range(400)
        ]:
            written.result()
    assert json.loads((tmp_path / "checkpoint.json").read_text())["text"] == "x" * 9000
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.json"]
