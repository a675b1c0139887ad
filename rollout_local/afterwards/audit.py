"""`rollout db check`: the file by itself, and what outside it a run left behind: its log_dir, its target's source.

A chain does not notice that its end was cut off. `checkpoint.json` in the log_dir names how many entries the journal
had at the last step of the search, and the chain after them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rollout_local.afterwards import journal_heads
from rollout_local.afterwards.journal_heads import Heads
from rollout_local.domain.run import RunStatus
from rollout_local.runs.log_dir import CHECKPOINT
from rollout_local.store import chain, check, reads
from rollout_local.store.schema import Store


@dataclass(frozen=True)
class Audit:
    """`problems` are sentences for what is not as it should be; `notes` for what may be so for a good reason."""

    problems: Sequence[str]
    notes: Sequence[str]


def audit(store: Store, folder: Path, sealed: Heads | None = None) -> Audit:
    """Look at everything; log_dirs are looked for below `folder`, journals compared with what `db seal` wrote of them.

    A journal that is shorter than its log_dir says has lost its end where the run had ended. Of a run that had not, the
    file may be a copy that was made on the way. All of it is one state of the file, which a run may be writing to.
    """
    with store.snapshot():
        return _audit(store, folder, sealed)


def _audit(store: Store, folder: Path, sealed: Heads | None) -> Audit:
    problems: list[str] = list(check.problems(store))
    if sealed is not None:
        problems += journal_heads.problems(store, sealed)
    notes: list[str] = []
    for run in [] if problems else reads.runs_with_log_dirs(store):
        checkpoint = _checkpoint(folder / run["log_dir"])
        lost = _end_of(store, run["id"], checkpoint)
        if lost is not None:
            ended = RunStatus(run["status"]).is_terminal() and checkpoint.get("attempt") == run["attempt"]
            (problems if ended else notes).append(f"run {run['id']}: {lost}")
    return Audit(problems, notes)


def _checkpoint(log_dir: Path) -> Mapping[str, object]:
    """What the checkpoint of a log_dir says; empty where there is none, or none that can be read."""
    try:
        found = json.loads((log_dir / CHECKPOINT).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _end_of(store: Store, run_id: str, checkpoint: Mapping[str, object]) -> str | None:
    """What is wrong with the end of a journal, or None."""
    entries, head = checkpoint.get("entries"), checkpoint.get("chain")
    if not isinstance(entries, int) or not isinstance(head, str):
        return None
    seen, _ = chain.head(store, run_id)
    if seen < entries:
        return (
            f"its journal has {seen} entries, its log_dir knows of {entries}: its end is lost, or the file is older"
            " than the log_dir; `rollout optimize run --log-dir` goes on from the recording"
        )
    if entries and chain.at(store, run_id, entries) != head:
        return f"its journal is another one than its log_dir knows of (journal entry {entries})"
    return None
