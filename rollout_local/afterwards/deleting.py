"""A run is deleted: what goes with it is said before, the rows go in one transaction, and its folder on request.

Of the folder only what a run writes there is removed, file by file, and only where its `run.json` names the run: a
log_dir is a path that somebody has typed, and other things may stand beside it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rollout_local.errors import RolloutError
from rollout_local.planning.setup import KEPT_SOURCE
from rollout_local.runs.log_dir import CANDIDATES, CHECKPOINT, RUN, read_run
from rollout_local.store import deletion, reads, releases
from rollout_local.store.lease import require_free
from rollout_local.store.row_types import RunRow
from rollout_local.store.schema import Store

_OURS = re.compile(r"recording(-\d+)?\.yaml(\..+)?")


@dataclass(frozen=True)
class Going:
    """What goes with a run: `folder` is its log_dir where it is there and its own, `recording` a file elsewhere."""

    run_id: str
    name: str
    status: str
    rows: dict[str, int]
    folder: Path | None
    recording: Path | None
    promoted: str | None


def going(store: Store, reference: str, folder: Path) -> Going:
    """What deleting a run would take away; places are relative to `folder`. Raises `Refused` while somebody runs it."""
    run = reads.run(store, reference)
    require_free(store, run["id"])
    standing = releases.standing(store, run["id"])
    home = _home(run, folder)
    recording = folder / run["recording"] if run["recording"] else None
    elsewhere = recording is not None and recording.is_file() and (home is None or home not in recording.parents)
    return Going(
        run["id"], run["name"] or run["target_id"], run["status"], deletion.counts(store, run["id"]), home,
        recording if elsewhere else None,
        standing and (standing["to_path"] or f"{standing['capability']}@{standing['to_version']}"),
    )  # fmt: skip


def delete(store: Store, found: Going, *, actor: str, at: str, force: bool, with_folder: bool) -> str | None:
    """Delete it. Returns a sentence on what of its folder is left, or None where nothing is.

    Raises `Refused` where somebody runs it by now, or its promotion stands and `force` is not given.
    """
    deletion.delete(store, found.run_id, actor=actor, at=at, force=force)
    if found.folder is None:
        return None
    if not with_folder:
        return f"{found.folder} stays; `rollout optimize run --log-dir {found.folder}` makes the run anew from it"
    return _remove(found.folder)


def _home(run: RunRow, folder: Path) -> Path | None:
    """The log_dir of a run, where it is there and says that it is that of this run."""
    if run["log_dir"] is None:
        return None
    home = folder / run["log_dir"]
    try:
        is_its_own = not home.is_symlink() and read_run(home).get("run_id") == run["id"]
    except (RolloutError, OSError):
        return None
    return home if is_its_own else None


def _remove(home: Path) -> str | None:
    try:
        for path in list(_written(home)):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        if not any(home.iterdir()):
            home.rmdir()
            return None
    except OSError as error:
        return f"{error.filename or home} cannot be removed ({error.strerror or error})"
    return f"{home} stays: it holds what the run has not written"


def _written(home: Path) -> Iterator[Path]:
    """What a run writes to its log_dir; `run.json`, which says whose it is, last."""
    yield from (path for path in home.iterdir() if _OURS.fullmatch(path.name))
    candidates = home / CANDIDATES
    if candidates.is_dir() and not candidates.is_symlink():
        yield from candidates.glob("[0-9]*.json")
        if all(re.fullmatch(r"\d+\.json", path.name) for path in candidates.iterdir()):
            yield candidates
    yield from (path for name in (KEPT_SOURCE, CHECKPOINT, RUN) if (path := home / name).exists())
