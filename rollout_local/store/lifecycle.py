"""The row of a run and its moves: every change names the state it starts from and says whether it happened."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping

from rollout_local.domain.run import MOVES, Phase, RunStatus, StopReason
from rollout_local.store import chain
from rollout_local.store.row_types import CommandRow
from rollout_local.store.schema import Store


def insert_run(store: Store, row: Mapping[str, object]) -> None:
    """Write a new run."""
    columns, marks = ", ".join(row), ", ".join("?" * len(row))
    with store.write() as db:
        db.execute(f"INSERT INTO runs ({columns}) VALUES ({marks})", tuple(row.values()))
        chain.append(db, str(row["id"]), "runs")


def move(store: Store, run_id: str, expected: Collection[RunStatus], to: RunStatus, **changes: object) -> bool:
    """Change a run's status if it is one of `expected`; other columns change with it. True if it happened."""
    legal = [status for status in expected if to in MOVES[status]]
    assert legal, f"nothing in {expected} may become {to}"
    if changes.get("message"):
        changes["message"] = store.redactor.text(str(changes["message"]))
    assignments = "".join(f", {column} = ?" for column in changes)
    marks = ", ".join("?" * len(legal))
    with store.write() as db:
        changed = db.execute(
            f"UPDATE runs SET status = ?, rev = rev + 1{assignments} WHERE id = ? AND status IN ({marks})",
            (to, *changes.values(), run_id, *legal),
        ).rowcount
    return bool(changed)


def begin_attempt(store: Store, run_id: str, *, pid: int, host: str, at: str) -> int:
    """Open the next attempt and clear what the run shows of the last one; its rows are kept. Returns its number."""
    with store.write() as db:
        number = int(db.execute("SELECT attempt + 1 FROM runs WHERE id = ?", (run_id,)).fetchone()[0])
        db.execute(
            "UPDATE runs SET attempt = ?, metric_calls = 0, trial_count = 0, error_count = 0, cost_usd = NULL,"
            " degraded = 0, baseline_candidate_id = NULL, best_candidate_id = NULL, stop_reason = NULL,"
            " message = NULL, phase = NULL, finished_at = NULL, wants_fresh = 0, rev = rev + 1 WHERE id = ?",
            (number, run_id),
        )
        db.execute(
            "INSERT INTO attempts (run_id, number, pid, host, started_at) VALUES (?, ?, ?, ?, ?)",
            (run_id, number, pid, host, at),
        )
    return number


def take(store: Store, run_id: str, attempt: int, *, pid: int, host: str, at: str) -> None:
    """Mark a run as running in this process, whatever it was: the caller holds its lease. It is listed again."""
    with store.write() as db:
        db.execute(
            "UPDATE runs SET status = 'running', started_at = coalesce(started_at, ?1), heartbeat_at = ?1,"
            " stop_reason = NULL, message = NULL, finished_at = NULL, archived_at = NULL, rev = rev + 1 WHERE id = ?2",
            (at, run_id),
        )
        db.execute(
            "UPDATE attempts SET pid = ?, host = ?, ended_at = NULL, outcome = NULL WHERE run_id = ? AND number = ?",
            (pid, host, run_id, attempt),
        )


def end_attempt(store: Store, run_id: str, number: int, outcome: RunStatus, at: str) -> None:
    """Say how an attempt stands when its runner leaves it."""
    with store.write() as db:
        db.execute(
            "UPDATE attempts SET outcome = ?, ended_at = ? WHERE run_id = ? AND number = ?",
            (outcome, at, run_id, number),
        )


def set_phase(store: Store, run_id: str, phase: Phase) -> None:
    """Say what a running run is doing."""
    with store.write() as db:
        db.execute("UPDATE runs SET phase = ?, rev = rev + 1 WHERE id = ?", (phase, run_id))


def set_candidates(store: Store, run_id: str, *, baseline: int | None = None, best: int | None = None) -> None:
    """Name the baseline and the best candidate, as the runner says."""
    with store.write() as db:
        db.execute(
            "UPDATE runs SET baseline_candidate_id = coalesce(?, baseline_candidate_id),"
            " best_candidate_id = coalesce(?, best_candidate_id), rev = rev + 1 WHERE id = ?",
            (baseline, best, run_id),
        )


def set_recording(store: Store, run_id: str, name: str | None) -> None:
    """Say where the calls of the present attempt are recorded."""
    with store.write() as db:
        db.execute("UPDATE runs SET recording = ? WHERE id = ?", (name, run_id))


def set_inputs(store: Store, run_id: str, fingerprint: str, inputs_json: str, target_row: int) -> None:
    """The inputs that a run goes on with, where a change of one was accepted."""
    with store.write() as db:
        db.execute(
            "UPDATE runs SET fingerprint = ?, fingerprint_json = ?, target_row_id = ? WHERE id = ?",
            (fingerprint, inputs_json, target_row, run_id),
        )
        chain.append(db, run_id, "runs")


def set_confirmed(store: Store, run_id: str, seal: str) -> None:
    """Keep the seal of what the user has confirmed that a run reaches for."""
    with store.write() as db:
        db.execute("UPDATE runs SET confirmed = ?, rev = rev + 1 WHERE id = ?", (seal, run_id))


def set_stop_reason(store: Store, run_id: str, reason: StopReason) -> None:
    """Say why the search ended."""
    with store.write() as db:
        db.execute("UPDATE runs SET stop_reason = ?, rev = rev + 1 WHERE id = ?", (reason, run_id))


def set_degraded(store: Store, run_id: str, *, degraded: bool) -> None:
    """Say whether trials of the train and holdout passes ended without a score."""
    with store.write() as db:
        db.execute("UPDATE runs SET degraded = ? WHERE id = ?", (int(degraded), run_id))


def add_report(store: Store, run_id: str, attempt: int, report_json: str, created_at: str) -> None:
    """Append a promotion report; the newest one of an attempt is the one that is shown."""
    report_json = store.redactor.json_text(report_json)
    with store.write() as db:
        report_id = db.execute(
            "INSERT INTO reports (run_id, attempt, report_json, created_at) VALUES (?, ?, ?, ?)",
            (run_id, attempt, report_json, created_at),
        ).lastrowid
        chain.append(db, run_id, "reports", report_id or 0)


def add_command(store: Store, run_id: str, action: str, actor: str, at: str) -> int:
    """Ask something of whoever runs a run: `cancel`, `pause`, … Returns the request's id."""
    with store.write() as db:
        db.execute("UPDATE runs SET rev = rev + 1 WHERE id = ?", (run_id,))
        return int(
            db.execute(
                "INSERT INTO run_commands (run_id, action, actor, created_at) VALUES (?, ?, ?, ?)",
                (run_id, action, actor, at),
            ).lastrowid
            or 0
        )


def is_asked(store: Store, run_id: str, action: str) -> bool:
    """Whether this is asked of a run already, and nobody has heard it yet."""
    sql = "SELECT 1 FROM run_commands WHERE run_id = ? AND action = ? AND handled_at IS NULL"
    return store.has(sql, (run_id, action))


def waiting_commands(store: Store, actions: Collection[str], project: str | None = None) -> list[CommandRow]:
    """Requests of these kinds that nobody has heard yet (on runs of a project), oldest first."""
    marks = ", ".join("?" * len(actions))
    return store.select(
        CommandRow,
        f"SELECT k.* FROM run_commands k JOIN runs r ON r.id = k.run_id WHERE k.handled_at IS NULL"
        f" AND k.action IN ({marks}) AND coalesce(?, r.project) = r.project ORDER BY k.id",
        (*actions, project),
    )


def handle_command(store: Store, command_id: int, at: str, note: str) -> bool:
    """Mark a request as heard; True if nobody had before."""
    with store.write() as db:
        return mark_handled(db, command_id, at, note)


def mark_handled(db: sqlite3.Connection, command_id: int, at: str, note: str) -> bool:
    """The same inside the transaction that carries it out: done and marked, or neither."""
    changed = db.execute(
        "UPDATE run_commands SET handled_at = ?, note = ? WHERE id = ? AND handled_at IS NULL", (at, note, command_id)
    ).rowcount
    if changed:
        db.execute(
            "UPDATE runs SET rev = rev + 1 WHERE id = (SELECT run_id FROM run_commands WHERE id = ?)", (command_id,)
        )
    return bool(changed)


def add_active_time(store: Store, run_id: str, seconds: float) -> None:
    """Count time in which a run was really running; waits between pause and resume do not count."""
    with store.write() as db:
        db.execute("UPDATE runs SET active_s = active_s + ? WHERE id = ?", (seconds, run_id))


def set_concurrency(store: Store, run_id: str, now: int) -> None:
    """Show how many trials may run at once at present."""
    with store.write() as db:
        db.execute("UPDATE runs SET concurrency_now = ?, rev = rev + 1 WHERE id = ?", (now, run_id))
