"""What `rollout optimize` says at the end of a run, and how a report is printed."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollout_local.cli.options import console, print_json

if TYPE_CHECKING:
    from rollout_local.reports.report import Report
    from rollout_local.runs.runner import Outcome
    from rollout_local.store.row_types import RunRow
    from rollout_local.store.schema import Store


candidate_flag = click.option("--candidate", type=int, metavar="N", help="This candidate in place of the best.")


def db_flag(path: Path) -> str:
    """The flag that a printed command needs to find the same database."""
    return "" if path == Path("rollout.db") else f" --db {shlex.quote(str(path))}"


def say_outcome(store: Store, outcome: Outcome, *, as_json: bool, color: bool, db_path: Path) -> None:
    """The report, how the run stands, and what to type next."""
    from rollout_local.reports.digest import digest as digest_of
    from rollout_local.reports.standing import standing
    from rollout_local.store import reads
    from rollout_local.store.stored_run import StoredRun

    document = result = None
    if outcome.status == "completed":  # else nothing is read: it may have ended because that cannot be done any more
        row = reads.run(store, outcome.run_id)
        document = standing(store, row["id"], row["attempt"], StoredRun(row).config)
        result = None if document is None else digest_of(store, row)
    if as_json:
        print_json({
            "run_id": outcome.run_id, "status": outcome.status, "stop_reason": outcome.stop_reason,
            "message": outcome.message, "executed": outcome.executed, "digest": result.digest if result else None,
            "report": document,
        })  # fmt: skip
        return
    if document is not None:
        print_report(document, "text", color=color)
    click.echo(f"Run {outcome.run_id} is {outcome.status}: {outcome.message}.")
    if document is not None and outcome.executed == 0:
        click.echo("It was served from its journal: 0 calls.")
    if result is not None:
        click.echo(f"Digest {result.digest}")
    elif outcome.status == "paused":
        click.echo(f"Go on with:\n  rollout optimize run {outcome.run_id}{db_flag(db_path)}")


def print_report(document: Report, form: str, *, color: bool) -> None:
    """A promotion report as text, Markdown, HTML or JSON."""
    from rollout_local.reports import render

    if form == "json":
        print_json(document)
    elif form == "md":
        click.echo(render.as_markdown(document))
    elif form == "html":
        click.echo(render.as_html(document))
    else:
        screen = console(color=color)
        click.echo(render.as_text(document, width=min(screen.width, 100), color=color and screen.is_terminal))


def follow(store: Store, run_id: str, *, quiet: bool) -> str:
    """Show a run's moves, made by whoever runs it, until it has ended or waits."""
    from rollout_local.runs.worker import wait_for

    def show(row: RunRow) -> None:
        if not quiet:
            calls = f"{row['metric_calls']}/{row['metric_call_budget']} calls"
            click.echo(f"{run_id} {row['status']} {row['phase'] or ''} {calls}", err=True)

    return wait_for(store, run_id, show, None)
