"""`rollout worker`: run what is queued."""

from __future__ import annotations

from pathlib import Path

import click

from rollout_local.cli.on_end import on_end_flag, tell
from rollout_local.cli.options import common, database, print_json
from rollout_local.cli.watching import interruptible, shown


@click.command()
@click.option("--once", is_flag=True, help="Stop when nothing waits.")
@click.option("--project", help="Only runs of this project.")
@click.option("--max-attempts", type=int, default=3, show_default=True, help="Restarts of a run whose worker died.")
@click.option("--trust", is_flag=True, help="Also run what was made on another machine; what each contacts is said.")
@on_end_flag
@common
def worker(
    *, once: bool, project: str | None, max_attempts: int, trust: bool, on_end: str | None, db_path: Path,
    as_json: bool, quiet: bool, no_color: bool,
) -> int:  # fmt: skip
    """Claim queued runs and run them, one after another; carry out what pages asked for (retry, promote).

    Several workers may share one file. A run that was not made or confirmed on this machine is paused, not run.
    """
    from rollout_local.capabilities import promote_as_asked
    from rollout_local.runs import worker as library
    from rollout_local.stop import StopFlag

    stop = StopFlag()
    with database(db_path, create=True):
        pass
    with shown(quiet=quiet or as_json, color=not no_color) as watch, interruptible(stop):
        done = library.work(
            db_path, Path.cwd(), stop, once=once, project=project, most_restarts=max_attempts, watch=watch,
            heeds={"promote": promote_as_asked}, trusted=trust, ended=lambda store, run: tell(on_end, store, run),
        )  # fmt: skip
    if as_json:
        print_json(
            [{"run_id": outcome.run_id, "status": outcome.status, "message": outcome.message} for outcome in done]
        )
    else:
        for outcome in done:
            click.echo(f"{outcome.run_id}: {outcome.status}: {outcome.message}")
    if once and not (done or quiet or as_json):
        click.echo("Nothing is queued.", err=True)
    return 130 if stop.reason is not None else 0
