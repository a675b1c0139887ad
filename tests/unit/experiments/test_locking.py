"""What an experiment keeps: its lock, its rows cut and hashed, the folder that is whole or not there, its grid."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from rollout_local.domain.experiment import LOCK_SCHEMA, Lock
from rollout_local.errors import InputError
from rollout_local.experiments import layout, live, locking, sweep
from rollout_local.reports.digest import FORMAT, Rows
from rollout_local.reports.report import Report

LONG = "word " * 40


def rows(text: str = "short") -> Rows:
    mean: Any = {"mean": 0.5, "n": 2}
    return {
        "candidates": [{
            "number": 0, "status": "baseline", "components": {"text": text}, "content_hash": "sha256:0", "train": mean,
            "val": mean, "holdout": mean,
        }],
        "parents": [{"child": 1, "parent": 0}],
        "proposals": [],
        "trials": [{
            "candidate": 0, "split": "val", "task": "a", "occurrence": 0, "phase": "baseline", "outcome": "scored",
            "score": 0.5, "passed": False, "feedback": text, "output": text, "output_kind": "text", "checks": None,
        }],
        "report": [{"verdict": {"promote": True}}],
    }  # fmt: skip


def lock(**changes: Any) -> Lock:
    fields: dict[str, Any] = {
        "schema": LOCK_SCHEMA, "inputs": {"dataset": "sha256:1"}, "versions": {}, "digest_format": FORMAT,
        "digest": "sha256:2", "tables": {"trials": "sha256:3"}, "result": {"lift": 0.25},
    }  # fmt: skip
    return Lock(**fields | changes)


def test_a_lock_and_its_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    locking.write_lock(tmp_path, lock(), rows())
    assert locking.read_lock(tmp_path) == lock()
    assert locking.read_rows(tmp_path) == {**rows(), "report": []}
    assert [json.loads(line)["table"] for line in (tmp_path / "experiment.rows").read_text().splitlines()] == [
        "candidates", "parents", "trials",
    ]  # fmt: skip


def test_a_long_text_is_cut_and_still_told_from_another(tmp_path: Path) -> None:
    locking.write_lock(tmp_path, lock(), rows(LONG))
    found = locking.read_rows(tmp_path)
    assert found == locking.abridged(rows(LONG))
    assert found is not None
    assert found["trials"][0]["feedback"].startswith("word word")
    assert len(found["trials"][0]["feedback"]) < 80
    assert found != locking.abridged(rows(LONG + "else"))


def test_there_is_no_lock_before_the_first(tmp_path: Path) -> None:
    assert locking.read_lock(tmp_path) is None
    assert locking.read_rows(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"table": "trials"', '{"table": "others"}', '{"no": "table"}'])
def test_damaged_rows_are_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "experiment.rows").write_text(text)
    assert locking.read_rows(tmp_path) in (None, {key: [] for key in rows()})
    assert (locking.read_rows(tmp_path) is None) == bool(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is damaged"),
        ('{"schema": 1}', "is damaged"),
        (json.dumps(lock().model_dump(by_alias=True) | {"schema": 99}), "has schema 99"),
        (json.dumps(lock().model_dump(by_alias=True) | {"digest_format": 99}), "digests of format 99"),
    ],
)
def test_a_lock_that_cannot_be_used_says_so_and_what_to_do(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "experiment.lock").write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        locking.read_lock(tmp_path)
    assert "rollout experiments lock" in str(caught.value)


def test_the_headline_is_of_the_report() -> None:
    holdout = {"holdout": {"mean": 0.5, "n": 4, "sd": 0.1}}
    report: Any = {
        "baseline": holdout, "best": {**holdout, "number": 3}, "holdout": {"lift": 0.0}, "verdict": {"promote": False},
        "stop_reason": "budget_spent",
    }  # fmt: skip
    found: Report = report
    assert locking.headline(found) == {
        "baseline_holdout": 0.5, "best_candidate": 3, "best_holdout": 0.5, "lift": 0.0, "promote": False,
        "stop_reason": "budget_spent",
    }  # fmt: skip


def test_two_locked_experiments_are_compared_by_all_that_a_lock_says(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for folder, found in ((first, lock()), (second, lock(result={"lift": 0.5}, tables={"trials": "sha256:4"}))):
        folder.mkdir()
        locking.write_lock(folder, found, rows())
    names = [name for name, _, _ in locking.compare(first, second)]
    assert any("lift" in name for name in names)
    assert any("trials" in name for name in names)
    assert list(locking.compare(first, first)) == []
    with pytest.raises(InputError):
        list(locking.compare(first, tmp_path / "nobody"))


# -- the folder


def test_a_folder_becomes_whole_or_is_not_there(tmp_path: Path) -> None:
    place = tmp_path / "made"
    with layout.drafted(place) as draft:
        (draft / "file").write_text("x")
        assert not place.exists()
    assert layout.listing(place) == ["file"]
    with pytest.raises(InputError, match="exists"), layout.drafted(place):
        pass
    with pytest.raises(InputError, match="cannot be written"), layout.drafted(tmp_path / "other") as draft:
        (draft / "no folder" / "file").write_text("x")
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


@pytest.mark.parametrize("name", ["plain", 'with "quotes"', "ünïcode"])
def test_an_empty_experiment_is_toml_whatever_its_name(tmp_path: Path, name: str) -> None:
    layout.empty(tmp_path, name)
    written = tomllib.loads((tmp_path / "experiment.toml").read_text(encoding="utf-8"))
    assert written["name"] == name
    assert written["run"]["max_metric_calls"] == 200


@pytest.mark.parametrize("value", [1, 0.5, True, 'a "b"', ["x", 1], {"a": {"b": [1.5]}, "c d": "é"}])
def test_a_setting_is_written_as_toml_reads_it(value: Any) -> None:
    assert tomllib.loads(f"x = {layout._toml(value)}") == {"x": value}


# -- the grid


def test_a_grid_is_every_combination_in_the_order_written() -> None:
    assert list(sweep.cells({"seed": [0, 1], "auto": ["light", "heavy"]})) == [
        {"seed": 0, "auto": "light"}, {"seed": 0, "auto": "heavy"},
        {"seed": 1, "auto": "light"}, {"seed": 1, "auto": "heavy"},
    ]  # fmt: skip
    assert list(sweep.cells({})) == [{}]


def test_a_summary_is_over_seeds_and_leaves_out_what_did_not_complete() -> None:
    def cell(seed: int, auto: str, best: float | None) -> live.Cell:
        lift = None if best is None else best - 0.25
        return live.Cell({"seed": seed, "auto": auto}, f"opt_{seed}", "completed", 0.25, best, lift)

    found = sweep.summary(
        [cell(0, "light", 0.5), cell(1, "light", 1.0), cell(2, "light", None), cell(0, "heavy", None)]
    )
    assert [(row["settings"], row["n"], row["best_mean"], row["lift_mean"]) for row in found] == [
        ({"auto": "light"}, 2, 0.75, 0.5), ({"auto": "heavy"}, 0, None, None),
    ]  # fmt: skip
    assert found[0]["best_sd"] == pytest.approx(0.3535533905932738)
