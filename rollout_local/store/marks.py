"""What the owner of a run says of it: its name, its tags, a note, whether it is put away.

Marks are no part of what happened: no chain, no fingerprint and no digest covers them, and they may change at any time.
"""

from __future__ import annotations

from collections.abc import Sequence

from rollout_local.domain.identity import canonical_json
from rollout_local.domain.run import RunStatus
from rollout_local.errors import InputError, Refused
from rollout_local.store import reads
from rollout_local.store.schema import Store
from rollout_local.store.stored_run import StoredRun

LONGEST_NAME, LONGEST_NOTE = 200, 20_000
"""Characters."""


def rename(store: Store, run_id: str, name: str) -> str:
    """Give a run another name; returns it without white space around it."""
    name = _word(name, "a name")
    if name == "latest":
        msg = "`latest` always means the newest run; give another name"
        raise InputError(msg)
    _set(store, run_id, "name", name)
    return name


def tag(store: Store, run_id: str, add: Sequence[str] = (), remove: Sequence[str] = ()) -> list[str]:
    """Add and take away tags of a run; returns those that it has then. Raises `InputError` for one it has not."""
    run = StoredRun(reads.run(store, run_id))
    added, gone = [_word(one, "a tag") for one in add], [one.strip() for one in remove]
    strange = [one for one in gone if one not in run.tags]
    if strange:
        msg = f"run {run_id} has no tag {strange[0]!r}; it has {', '.join(run.tags) or 'none'}"
        raise InputError(msg)
    tags = [one for one in dict.fromkeys([*run.tags, *added]) if one not in gone]
    _set(store, run_id, "tags_json", canonical_json(tags))
    return tags


def note(store: Store, run_id: str, text: str) -> None:
    """Say something of a run, in place of what was said before; nothing takes the note away."""
    if len(text) > LONGEST_NOTE:
        msg = f"a note has at most {LONGEST_NOTE:,} characters, this one has {len(text):,}"
        raise InputError(msg)
    _set(store, run_id, "note", text.strip() or None)


def archive(store: Store, run_id: str, at: str) -> bool:
    """Put a run away: lists leave it out. False where it was already; raises `Refused` while somebody runs it."""
    with store.write() as db:
        changed = db.execute(
            "UPDATE runs SET archived_at = ?, rev = rev + 1 WHERE id = ? AND archived_at IS NULL"
            " AND status NOT IN (?, ?)",
            (at, run_id, RunStatus.RUNNING, RunStatus.QUEUED),
        ).rowcount
    run = reads.run(store, run_id)
    if not changed and run["archived_at"] is None:
        msg = f"run {run_id} is {run['status']}; `rollout optimize cancel {run_id}` ends it, then put it away"
        raise Refused(msg)
    return bool(changed)


def take_out(store: Store, run_id: str) -> bool:
    """Let lists show a run again; False where they do."""
    with store.write() as db:
        changed = db.execute(
            "UPDATE runs SET archived_at = NULL, rev = rev + 1 WHERE id = ? AND archived_at IS NOT NULL", (run_id,)
        ).rowcount
    return bool(changed)


def _word(text: str, what: str) -> str:
    text = text.strip()
    if not text or len(text) > LONGEST_NAME:
        msg = f"{what} has 1 to {LONGEST_NAME} characters, this one has {len(text)}"
        raise InputError(msg)
    return text


def _set(store: Store, run_id: str, column: str, value: str | None) -> None:
    with store.write() as db:
        db.execute(f"UPDATE runs SET {column} = ?, rev = rev + 1 WHERE id = ?", (value, run_id))
