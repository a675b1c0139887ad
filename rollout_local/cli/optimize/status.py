"""`optimize list`, `show`, `logs`: where runs stand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import click

from rollout_local.cli.optimize.group import optimize
from rollout_local.cli.optimize.output import candidate_flag
from rollout_local.cli.options import common, console, database, json_columns, print_json, print_table
from rollout_local.domain.dataset import SPLITS
from rollout_local.reports.escape import visible
from rollout_local.reports.wording import words

if TYPE_CHECKING:
    from rollout_local.store.row_types import CandidateRow, RunRow
    from rollout_local.store.selected_types import ListedRun


class Wanted(TypedDict):
    """Which runs are listed."""

    status: str | None
    target: str | None
    tag: str | None
    project: str | None
    search: str | None
    archived: bool
    limit: int


@optimize.command("list")
@click.option("--status", help="Only runs with this status.")
@click.option("--target", help="Only runs of this target.")
@click.option("--tag", help="Only runs with this tag.")
@click.option("--project", help="Only runs of this project.")
@click.option("--search", metavar="TEXT", help="Only runs with these words in name, id, tags, note or a prompt.")
@click.option("--archived", is_flag=True, help="Those that were put away, too.")
@click.option("--limit", type=int, default=100, show_default=True)
@common
def list_(db_path: Path, as_json: bool, quiet: bool, no_color: bool, **wanted: Unpack[Wanted]) -> None:  # noqa: ARG001
    """Runs, newest first."""
    from rollout_local.store import reads

    with database(db_path, reads=True) as store:
        rows = reads.runs(store, **wanted)
    if as_json:
        print_json([json_columns(row) for row in rows])
        return
    wide = console().width >= WIDE
    columns = ["id", "name", "status", *(["calls"] if wide else []), "val", "holdout", "verdict"]
    columns += ["created"] if wide else []
    print_table(columns, [_line_of(row, wide=wide) for row in rows], color=not no_color, whole=("id", "val", "holdout"))


WIDE = 110
"""Columns of a terminal from which all of a run is shown in a line."""


@optimize.command()
@click.argument("run")
@candidate_flag
@common
def show(
    *, run: str, candidate: int | None, db_path: Path, as_json: bool, quiet: bool, no_color: bool  # noqa: ARG001
) -> None:  # fmt: skip
    """One run: set-up, status, candidates, calls by phase; or (--candidate N) one candidate with its text."""
    from rollout_local.store import reads

    with database(db_path, reads=True) as store:
        row = reads.run(store, run)
        if candidate is not None:
            one = reads.candidate_numbered(store, row, candidate)
            _print_candidate(one, as_json=as_json, color=not no_color)
            return
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
    print_table(_CANDIDATE, [_cells(candidate) for candidate in candidates], color=not no_color)


_CANDIDATE = ("number", "status", "train_mean", "train_n", "val_mean", "val_n", "holdout_mean", "holdout_n")


def _print_candidate(row: CandidateRow, *, as_json: bool, color: bool) -> None:
    if as_json:
        print_json(json_columns(row))
        return
    print_table(_CANDIDATE, [_cells(row)], color=color)
    click.echo(f"\n{row['text']}")


_SHOWN = (
    "id", "name", "note", "project", "tags", "run_ref", "archived_at",
    "status", "phase", "stop_reason", "message", "target_id", "target_url",
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


def _line_of(row: ListedRun, *, wide: bool) -> list[str]:
    """One run as a line: baseline → best (so far) on val and on the holdout, and what its report concludes."""
    calls = [f"{row['metric_calls']}/{row['metric_call_budget']}"] if wide else []
    created = [row["created_at"][:16].replace("T", " ")] if wide else []
    status = f"{row['status']}, archived" if row["archived_at"] else row["status"]
    return [
        row["id"], row["name"] or row["target_id"], status, *calls,
        _change(row["baseline_val"], row["best_val"]), _change(row["baseline_holdout"], row["best_holdout"]),
        words(row["verdict"] or "–"), *created,
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
