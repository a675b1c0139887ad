"""`rollout import`: a log of plain GEPA, or a run that travelled in one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollout_local.cli.options import common, database_to_fill, print_json, signed_by
from rollout_local.reports.escape import visible

if TYPE_CHECKING:
    from rollout_local.bundle import Imported


@click.group("import")
def import_() -> None:
    """Read what comes from elsewhere: a log_dir of plain dspy.GEPA, a run in a bundle."""


@import_.command("gepa-log")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--scale", type=float, default=1.0, show_default=True, help="The metric's maximum; scores become 0 to 1.")
@common
def gepa_log(folder: Path, scale: float, db_path: Path, as_json: bool, **_options: object) -> None:
    """Read the log_dir DIR that plain dspy.GEPA left as a completed run, to browse and compare. Unpickles no code."""
    from rollout_local.bundle import import_gepa_log

    with database_to_fill(db_path) as store:
        found = import_gepa_log(store, folder, scale=scale)
    _say(found, as_json=as_json)


@import_.command()
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@signed_by
@common
def bundle(
    file: Path, public: Path | None, db_path: Path, as_json: bool, quiet: bool, **_options: object
) -> None:  # fmt: skip
    """Read the run that `rollout optimize export RUN --bundle FILE` wrote; every hash is compared before a row is."""
    from rollout_local.bundle import import_bundle
    from rollout_local.cli.optimize.output import db_flag

    if public is not None:
        from rollout_local import signatures

        signatures.require_signature(file, public)
    with database_to_fill(db_path) as store:
        found = import_bundle(store, file, Path.cwd())
    _say(found, as_json=as_json)
    if found.source is not None and not (as_json or quiet):
        click.echo(visible(f"The source of its target is in {found.source}; nothing of it was imported."), err=True)
        command = f"rollout optimize reproduce {found.run_id} --source {found.source}{db_flag(db_path)}"
        click.echo(visible(f"Once you have read it, this runs it: {command}"), err=True)


def _say(found: Imported, *, as_json: bool) -> None:
    if as_json:
        print_json(vars(found))
        return
    what = f"{found.run_id} · {found.status} · {found.candidates} candidates · {found.trials} trials"
    click.echo(visible(f"Imported {what}" if found.is_new else f"{what} is here already (unchanged)"))
    click.echo(f"digest {found.digest}")
