"""A grid of runs over any flags and seeds: each cell a run of its own, resumable; a table at the end.

A cell is named by its settings, so sweeping again goes on where it stopped and adds only what is new.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from rollout_local.domain.identity import content_hash
from rollout_local.domain.run import RunStatus
from rollout_local.errors import InputError, NotFound
from rollout_local.experiments.manifest import config_of, read_manifest
from rollout_local.planning import environment
from rollout_local.planning.setup import insert, prepare
from rollout_local.reports.statistics import mean, standard_deviation
from rollout_local.runs.progress import Watch
from rollout_local.runs.runner import execute
from rollout_local.store import reads
from rollout_local.store.schema import Store

MOST_CELLS = 500


@dataclass(frozen=True)
class Cell:
    """One run of a sweep. Scores are means in [0, 1], None where the run did not complete."""

    settings: Mapping[str, object]
    run_id: str
    status: str
    baseline: float | None
    best: float | None
    lift: float | None


class Group(TypedDict):
    """Cells that differ in their seeds alone: mean and spread, None of nothing."""

    settings: dict[str, object]
    n: int
    best_mean: float | None
    best_sd: float | None
    lift_mean: float | None
    lift_sd: float | None


def cells(grid: Mapping[str, Sequence[object]]) -> Iterator[dict[str, object]]:
    """Every combination of the grid, in the order in which it is written."""
    names = list(grid)
    for values in itertools.product(*(grid[name] for name in names)):
        yield dict(zip(names, values, strict=True))


def sweep(
    folder: Path,
    store: Store,
    changes: Mapping[str, object],
    watch: Watch | None = None,
    on_cell: Callable[[Cell], None] = lambda _: None,
) -> list[Cell]:
    """Run every cell of an experiment's `[sweep]`, live; `changes` name servers and other operational settings.

    Raises `InputError` where there is no grid, it is too large, or a setting is wrong.
    """
    manifest = read_manifest(folder)
    grid = list(cells({name.replace("-", "_"): values for name, values in manifest.sweep.items()}))
    if not manifest.sweep or len(grid) > MOST_CELLS:
        size = "no [sweep] table" if not manifest.sweep else f"a grid of {len(grid)} cells (at most {MOST_CELLS})"
        msg = f"{folder}: the manifest has {size}; write e.g. [sweep] with seed = [0, 1, 2]"
        raise InputError(msg)
    done = []
    for settings in grid:
        done.append(_run(folder, store, settings, changes, watch))
        on_cell(done[-1])
    return done


def summary(found: Sequence[Cell]) -> list[Group]:
    """Mean and spread over seeds for every other setting: `{settings, n, best_mean, best_sd, lift_mean, lift_sd}`."""
    groups: dict[str, list[Cell]] = {}
    for cell in found:
        others = {name: value for name, value in cell.settings.items() if name != "seed"}
        groups.setdefault(json.dumps(others, sort_keys=True), []).append(cell)
    return [_group(json.loads(key), group) for key, group in groups.items()]


def _group(settings: Mapping[str, object], group: Sequence[Cell]) -> Group:
    best = [cell.best for cell in group if cell.best is not None]
    lift = [cell.lift for cell in group if cell.lift is not None]
    return {
        "settings": dict(settings), "n": len(best), "best_mean": mean(best), "best_sd": standard_deviation(best),
        "lift_mean": mean(lift), "lift_sd": standard_deviation(lift),
    }  # fmt: skip


def _run(
    folder: Path, store: Store, settings: Mapping[str, object], changes: Mapping[str, object], watch: Watch | None
) -> Cell:
    manifest = read_manifest(folder)
    name = f"{manifest.name}-{content_hash(dict(settings))[7:15]}"
    varied = manifest.model_copy(update={"run": {**manifest.run, **settings}})
    update = {"record_mode": "new_episodes", "recording": None, "name": name, **changes}
    config = config_of(varied, folder).model_copy(update=update)
    try:
        run_id = reads.run(store, name)["id"]
    except NotFound:
        with environment.for_target(config, offline_keys=False):
            run_id = insert(store, prepare(config, folder, store))["id"]
    if reads.run(store, run_id)["status"] != RunStatus.COMPLETED:
        execute(store, run_id, folder=folder, watch=watch, changes=dict(changes))
    return _cell(store, run_id, settings)


def _cell(store: Store, run_id: str, settings: Mapping[str, object]) -> Cell:
    row = reads.run(store, run_id)
    baseline, best = (_holdout(store, one) for one in (row["baseline_candidate_id"], row["best_candidate_id"]))
    if row["status"] != RunStatus.COMPLETED or baseline is None or best is None:
        return Cell(dict(settings), run_id, row["status"], baseline, None, None)
    return Cell(dict(settings), run_id, row["status"], baseline, best, best - baseline)


def _holdout(store: Store, candidate_id: int | None) -> float | None:
    return None if candidate_id is None else reads.candidate(store, candidate_id)["holdout_mean"]
