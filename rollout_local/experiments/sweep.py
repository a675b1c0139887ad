"""A grid of runs over any flags and seeds: each cell a run of its own, resumable; a table at the end.

A cell is named by its settings, so sweeping again goes on where it stopped and adds only what is new.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from rollout_local.domain.identity import content_hash
from rollout_local.errors import InputError
from rollout_local.experiments.live import Cell, run_cell
from rollout_local.experiments.manifest import read_manifest
from rollout_local.reports.statistics import mean, standard_deviation
from rollout_local.runs.progress import Watch
from rollout_local.stop import StopFlag
from rollout_local.store.schema import Store

MOST_CELLS = 500


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
    stop: StopFlag | None = None,
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
        name = f"{manifest.name}-{content_hash(dict(settings))[7:15]}"
        done.append(run_cell(folder, store, name, settings, changes, watch, stop))
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
