"""`optimize list`, `show`, `logs`: where runs stand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollout_local.cli.optimize.group import optimize
from rollout_local.cli.options import common, database, json_columns, print_json, print_table
from rollout_local.domain.dataset import SPLITS
from rollout_local.reports.escape import visible

if TYPE_CHECKING:
    from rollout_local.store.row_types import CandidateRow, RunRow
    from rollout_local.store.selected_types import ListedRun


@optimize.command("list")
@click.option("--status", help="Only runs with this status.")
@click.option("--target", help="Only runs of this target.")
@click.option("--tag", help="Only runs with this tag.")
@click.option("--project", help="Only runs of this project.")
@click.option("--limit", type=int, default=100, show_default=True)
@common
def list_(
    *, status: str | None, target: str | None, tag: str | None, project: str | None, limit: int, db_path: Path,
    as_json: bool, quiet: bool, no_color: bool,  # noqa: ARG001
) -> None:  # fmt: skip
    """Runs, newest first."""
    from rollout_local.store import reads

    with database(db_path, reads=True) as store:
        rows = reads.runs(store, status=status, target=target, tag=tag, project=project, limit=limit)
    if as_json:
        print_json([json_columns(row) for row in rows])
        return
    columns = ["id", "status", "target", "calls", "val", "holdout", "created"]
    print_table(columns, [_line_of(row) for row in rows], color=not no_color)


@optimize.command()
@click.argument("run")
@common
def show(*, run: str, db_path: Path, as_json: bool, quiet: bool, no_color: bool) -> None:  # noqa: ARG001
    """One run: set-up, status, candidates, calls by phase."""
    from rollout_local.store import reads

    with database(db_path, reads=True) as store:
        row = reads.run(store, run)
        candidates = reads.candidates(store, row["id"], row["attempt"])
        calls = reads.phase_calls(store, row["id"], row["attempt"])
        frontier = len(reads.frontier(store, row["id"], row["attempt"]))
    if as_json:
        document = {
            **json_columns(row),
            "frontier": frontier,
            "candidates": [json_columns(c) for c in candidates],
            "calls": calls,
        }
        print_json(document)
        return
    said = _said(row, frontier)
    print_table(["field", "value"], [[name, str(said[name])] for name in _SHOWN if said[name] is not None])
    columns = ["number", "status", "train_mean", "train_n", "val_mean", "val_n", "holdout_mean", "holdout_n"]
    print_table(columns, [_cells(candidate) for candidate in candidates], color=not no_color)


_SHOWN = (
    "id", "name", "project", "tags", "run_ref", "status", "phase", "stop_reason", "message", "target_id", "target_url",
    "tasks", "optimizer", "seed", "attempt", "metric_calls", "metric_call_budget", "cost_usd", "frontier", "degraded",
    "created_at", "started_at", "heartbeat_at", "last_event_at", "finished_at", "log_dir", "recording",
)  # fmt: skip


def _said(row: RunRow, frontier: int) -> dict[str, object]:
    """A run's fields as they are printed."""
    from rollout_local.store.stored_run import StoredRun

    run = StoredRun(row)
    sizes = run.split.sizes()
    return {
        **row,
        "target_url": run.config.target_url, "frontier": frontier,
        "tags": ", ".join(run.tags) or None, "tasks": ", ".join(f"{sizes[name]} {name}" for name in SPLITS),
        "cost_usd": "unknown" if row["cost_usd"] is None else row["cost_usd"],
    }  # fmt: skip


def _cells(row: CandidateRow) -> list[object]:
    return [
        row["number"], row["status"], row["train_mean"], row["train_n"], row["val_mean"], row["val_n"],
        row["holdout_mean"], row["holdout_n"],
    ]  # fmt: skip


def _line_of(row: ListedRun) -> list[str]:
    """One run as a line: calls of budget, baseline → best on val and on the holdout."""
    return [
        row["id"], row["status"], row["target_id"], f"{row['metric_calls']}/{row['metric_call_budget']}",
        _change(row["baseline_val"], row["best_val"]), _change(row["baseline_holdout"], row["best_holdout"]),
        row["created_at"][:16].replace("T", " "),
    ]  # fmt: skip


def _change(before: float | None, after: float | None) -> str:
    return " → ".join("–" if mean is None else f"{mean:.3f}" for mean in (before, after))


@optimize.command()
@click.argument("run")
@click.option("--limit", type=int, default=1000, show_default=True)
@common
def logs(*, run: str, limit: int, db_path: Path, as_json: bool, quiet: bool, no_color: bool) -> None:  # noqa: ARG001
    """The run's log, oldest first."""
    from rollout_local.store import reads

    with database(db_path, reads=True) as store:
        rows = reads.events(store, reads.run(store, run)["id"], limit=limit)
    if as_json:
        print_json([json_columns(row) for row in rows])
    for row in [] if as_json else rows:
        click.echo(visible(f"{row['at']}  {row['level']:<7}  {row['message']}"))
