"""Live reruns of an experiment: how far its lift is the text's, and how far the draw's.

A replay is equal to the byte; a live run of a model is another draw. So the same experiment is run again, each time
as a run of its own, and what came out is held against the lock.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from rollout_local.errors import InputError
from rollout_local.experiments.live import Cell, run_cell
from rollout_local.experiments.locking import abridged, read_lock, read_rows
from rollout_local.experiments.manifest import read_manifest
from rollout_local.reports.digest import Rows, rows
from rollout_local.runs.progress import Watch
from rollout_local.stop import StopFlag
from rollout_local.store import reads
from rollout_local.store.schema import Store

MOST = 100


@dataclass(frozen=True)
class Rerun:
    """One rerun. Of its `texts` (candidates beside the baseline) `shared` were proposed in the locked run, too."""

    cell: Cell
    texts: int
    shared: int


class Spread(TypedDict):
    """The lift over completed reruns, beside the lock's; None of nothing."""

    n: int
    lift_mean: float | None
    lift_sd: float | None
    lift_least: float | None
    lift_most: float | None
    locked_lift: float | None


def rerun(
    folder: Path,
    store: Store,
    times: int,
    changes: Mapping[str, object],
    watch: Watch | None = None,
    stop: StopFlag | None = None,
) -> list[Rerun]:
    """Run the experiment live until `times` reruns of it are in the database; one that is there is gone on with.

    Raises `InputError` where the number or a setting is wrong.
    """
    if not 1 <= times <= MOST:
        msg = f"--times {times} is not from 1 to {MOST}; 3 to 5 show a spread"
        raise InputError(msg)
    name = read_manifest(folder).name
    locked = read_rows(folder)
    known = _texts(locked) if locked is not None else set()
    found = []
    for number in range(1, times + 1):
        cell = run_cell(folder, store, f"{name}-rerun-{number}", {}, changes, watch, stop)
        texts = _texts(abridged(rows(store, reads.run(store, cell.run_id))))
        found.append(Rerun(cell, len(texts), len(texts & known)))
    return found


def spread(folder: Path, found: Sequence[Rerun]) -> Spread:
    """The spread of the lift over the reruns that completed."""
    lifts = [one.cell.lift for one in found if one.cell.lift is not None]
    lock = read_lock(folder)
    return {
        "n": len(lifts),
        "lift_mean": statistics.fmean(lifts) if lifts else None,
        "lift_sd": statistics.stdev(lifts) if len(lifts) > 1 else None,
        "lift_least": min(lifts, default=None),
        "lift_most": max(lifts, default=None),
        "locked_lift": None if lock is None else _lift(lock.result.get("lift")),
    }


def _lift(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _texts(abridged_rows: Rows) -> set[str]:
    return {row["content_hash"] for row in abridged_rows["candidates"] if row["number"]}
