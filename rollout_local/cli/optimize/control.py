"""`optimize cancel`, `pause`, `retry`, `watch`: requests to whoever runs a run."""

from __future__ import annotations

from pathlib import Path

import click

from rollout_local.cli.on_end import on_end_flag, tell
from rollout_local.cli.optimize.group import optimize
from rollout_local.cli.optimize.output import db_flag, follow, next_steps
from rollout_local.cli.optimize.trusting import confirmed, trust_flag
from rollout_local.cli.options import common, database, print_json


@optimize.command()
@click.argument("run")
@common
def cancel(*, run: str, db_path: Path, as_json: bool, quiet: bool, no_color: bool) -> None:  # noqa: ARG001
    """End a run: at once where it only waits, within one call in flight where it runs."""
    _requested("cancel", run, db_path, as_json=as_json)


@optimize.command()
@click.argument("run")
@common
def pause(*, run: str, db_path: Path, as_json: bool, quiet: bool, no_color: bool) -> None:  # noqa: ARG001
    """Let a running run wait; `optimize run RUN` goes on with it."""
    _requested("pause", run, db_path, as_json=as_json)


@optimize.command()
@click.argument("run")
@trust_flag
@common
def retry(
    *, run: str, trust: bool, db_path: Path, as_json: bool, quiet: bool, no_color: bool,  # noqa: ARG001
) -> None:  # fmt: skip
    """Queue a new attempt of a run that has ended; the old one's evidence is kept."""
    from rollout_local.runs import worker

    with database(db_path) as store:
        confirmed(store, run, trusted=trust, changes={})
        run_id = worker.retry(store, run)
    if as_json:
        print_json({"run_id": run_id, "status": "queued"})
    else:
        click.echo(f"{run_id} is queued for a new attempt; `rollout worker{db_flag(db_path)}` runs it.")


@optimize.command()
@click.argument("run")
@on_end_flag
@common
def watch(*, run: str, on_end: str | None, db_path: Path, as_json: bool, quiet: bool, no_color: bool) -> int:  # noqa: ARG001
    """Follow a run, made by whoever runs it, until it has ended or waits; exit by the outcome."""
    from rollout_local.reports.standing import standing
    from rollout_local.store import reads
    from rollout_local.store.stored_run import StoredRun

    with database(db_path) as store:
        run_id = reads.run(store, run)["id"]
        status = follow(store, run_id, quiet=quiet or as_json)
        row = reads.run(store, run_id)
        report = standing(store, run_id, row["attempt"], StoredRun(row).config)
        tell(on_end, store, run_id)
    if as_json:
        print_json({"run_id": run_id, "status": status})
    else:
        click.echo(f"{run_id} is {status}.")
    if report is not None and not as_json:
        click.echo(report["verdict"]["sentence"])
        click.echo(next_steps(run_id, report, db_flag(db_path)), err=True)
    return 0 if status == "completed" else 3 if status == "paused" else 1


def _requested(action: str, run: str, db_path: Path, *, as_json: bool) -> None:
    from rollout_local.runs import requests

    with database(db_path) as store:
        said = requests.ask(store, run, action)
    if as_json:
        print_json(said)
    else:
        click.echo(said["message"])
