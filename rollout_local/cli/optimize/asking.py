"""`optimize cancel`, `pause`: requests to whoever runs a run."""

from __future__ import annotations

from pathlib import Path

import click

from rollout_local.cli.optimize.group import optimize
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


def _requested(action: str, run: str, db_path: Path, *, as_json: bool) -> None:
    from rollout_local.runs import requests

    with database(db_path) as store:
        said = requests.ask(store, run, action)
    if as_json:
        print_json(said)
    else:
        click.echo(said["message"])
