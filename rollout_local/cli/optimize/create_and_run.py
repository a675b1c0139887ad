"""`optimize create`, `dry-run`, `run`: from flags to runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rollout_local.cli.flags import RunCommand, config_of, given, run_flags
from rollout_local.cli.on_end import on_end_flag, tell
from rollout_local.cli.optimize.group import optimize
from rollout_local.cli.optimize.output import candidate_flag, db_flag, follow, say_outcome
from rollout_local.cli.optimize.set_up_flags import by_hand, changes_for, module_flag
from rollout_local.cli.optimize.trusting import confirmed, trust_flag
from rollout_local.cli.options import common, database, print_json, print_table
from rollout_local.cli.stdout import prints_aside
from rollout_local.cli.watching import interruptible, shown
from rollout_local.reports.escape import visible

if TYPE_CHECKING:
    from rollout_local.planning.setup import Setup
    from rollout_local.runs.dry_run import Checked
    from rollout_local.store.schema import Store


@optimize.command(cls=RunCommand)
@common
@run_flags
def create(*, db_path: Path, as_json: bool, quiet: bool, no_color: bool, **flags: object) -> None:  # noqa: ARG001
    """Sync the target, import dataset and verifiers, create a run; say what it may take and how to run it."""
    from rollout_local.planning import setup

    prepared = _prepared(given(flags), db_path)
    with database(db_path, create=True) as store:
        row = setup.insert(store, prepared)
    command = f"rollout optimize run {row['id']}{db_flag(db_path)}"
    if as_json:
        print_json({"run_id": row["id"], "calls": prepared.executions, "command": command})
        return
    _say_created(row["id"], prepared, command)


@optimize.command(cls=RunCommand)
@click.option("--wait", "waiting", is_flag=True, help="Follow it to its end; exit by the outcome.")
@common
@run_flags
def submit(*, waiting: bool, db_path: Path, as_json: bool, quiet: bool, no_color: bool, **flags: object) -> int:  # noqa: ARG001
    """Create a run and queue it for a worker."""
    from rollout_local.planning import setup
    from rollout_local.runs import worker

    prepared = _prepared(given(flags), db_path)
    with database(db_path, create=True) as store:
        run_id = setup.insert(store, prepared)["id"]
        worker.submit(store, run_id, Path.cwd())
        status = follow(store, run_id, quiet=quiet or as_json) if waiting else "queued"
    if as_json:
        print_json({"run_id": run_id, "status": status})
    else:
        click.echo(f"{run_id} is {status}" + ("." if waiting else f"; `rollout worker{db_flag(db_path)}` runs it."))
    return 0 if status in ("queued", "completed") else 3 if status == "paused" else 1


@optimize.command("dry-run", cls=RunCommand)
@click.argument("run", required=False)
@click.option(
    "--connect",
    is_flag=True,
    help="Ask the run's models a few short questions, too: are they there, how "
    "much can they read, how fast are they, do they keep to JSON, do they say the same thing twice.",
)
@trust_flag
@common
@run_flags
def dry_run(
    *, run: str | None, connect: bool, trust: bool, db_path: Path, as_json: bool, quiet: bool, no_color: bool,  # noqa: ARG001
    **flags: object,
) -> int:  # fmt: skip
    """Check everything that a run needs, and say what its budget buys. Calls no model but with --connect.

    The target is executed twice on one task, its model's answers made up, to see whether it asks the same each time,
    and in a way that a recording sees.
    """
    fields = given(flags)
    if run is not None:
        with database(db_path, reads=True) as store:
            confirmed(store, run, trusted=trust, changes=changes_for(fields, store, run))
    with prints_aside():
        findings = _checked(run, fields, db_path, connect=connect)
    if as_json:
        print_json(findings)
    else:
        print_table(["check", "", "detail"], [[f["check"], f["status"], f["detail"]] for f in findings["checks"]])
    return 0 if findings["ok"] else 2


@optimize.command("run", cls=RunCommand)
@click.argument("run", required=False)
@click.option("--fresh", is_flag=True, help="Start a new attempt; the old one's evidence is kept.")
@click.option("--accept-changed", "accepted", multiple=True, metavar="INPUT", help="Go on although INPUT changed.")
@on_end_flag
@trust_flag
@common
@run_flags
def run_(
    *, run: str | None, fresh: bool, accepted: tuple[str, ...], on_end: str | None, trust: bool, db_path: Path,
    as_json: bool, quiet: bool, no_color: bool, **flags: object,
) -> int:  # fmt: skip
    """Run it: baseline, search, best on the holdout, report. Without RUN: create it from the flags first.

    A RUN that came from elsewhere (import bundle, another's database) is run once you have said yes to the servers,
    models and modules that it names.
    """
    from rollout_local.planning import setup
    from rollout_local.runs.runner import execute
    from rollout_local.stop import StopFlag

    fields, stop = given(flags), StopFlag()
    prepared = None
    if run is None and not _only_log_dir(fields):
        prepared = _prepared(fields, db_path)
        setup.require_runnable(prepared, Path.cwd())
    with database(db_path, create=run is None) as store:
        reference = _new_or_rebuilt(store, prepared, fields, accepted, trust=trust) if run is None else run
        changes = {} if prepared is not None else changes_for(fields, store, reference)
        confirmed(store, reference, trusted=trust, changes=changes)
        with shown(quiet=quiet, color=not no_color) as watch, interruptible(stop):
            outcome = execute(
                store, reference, folder=Path.cwd(), watch=watch, changes=changes, fresh=fresh, accepted=accepted,
                stop=stop,
            )  # fmt: skip
        say_outcome(store, outcome, as_json=as_json, color=not no_color, db_path=db_path)
        tell(on_end, store, outcome.run_id)
    return outcome.exit_code


@optimize.command()
@click.argument("run")
@candidate_flag
@click.option("--no-reuse", is_flag=True, help="Execute and record all anew, so that it can be reproduced by itself.")
@module_flag
@trust_flag
@common
def judge(
    *, run: str, candidate: int | None, no_reuse: bool, modules: tuple[str, ...], trust: bool, db_path: Path,
    as_json: bool, quiet: bool, no_color: bool,
) -> int:  # fmt: skip
    """The best candidate so far (or --candidate N) against the baseline on the holdout, as a run of its own.

    RUN may be running, paused, cancelled or failed: it stays as it is, and what it has executed is not paid again.
    """
    from rollout_local.afterwards.judge import judgement
    from rollout_local.runs.runner import execute
    from rollout_local.stop import StopFlag
    from rollout_local.store import reads

    stop = StopFlag()
    with database(db_path) as store:
        changes = changes_for(given({"modules": modules}), store, run)
        confirmed(store, run, trusted=trust, changes=changes)
        made = judgement(store, reads.run(store, run), Path.cwd(), candidate, reuse=not no_reuse)
        with shown(quiet=quiet or as_json, color=not no_color) as watch, interruptible(stop):
            outcome = execute(store, made["id"], folder=Path.cwd(), watch=watch, changes=changes, stop=stop)
        say_outcome(store, outcome, as_json=as_json, color=not no_color, db_path=db_path)
    return outcome.exit_code


def _checked(run: str | None, fields: Mapping[str, object], db_path: Path, *, connect: bool) -> Checked:
    """What a dry run finds of the flags, or of a stored run."""
    from rollout_local.runs import dry_run

    if run is None:
        return dry_run.of_config(config_of(fields), Path.cwd(), _store_to_read(db_path), connect=connect)
    with database(db_path, reads=True) as store:
        return dry_run.of_run(store, run, Path.cwd(), changes_for(fields, store, run), connect=connect)


def _prepared(fields: Mapping[str, object], db_path: Path) -> Setup:
    """The checked setup of a new run; nothing is written."""
    from rollout_local.planning import environment, setup
    from rollout_local.planning.practice_warnings import cautions

    config, store = config_of(fields), _store_to_read(db_path)
    with prints_aside(), environment.for_target(config, offline_keys=config.record_mode == "none"):
        prepared = setup.prepare(config, Path.cwd(), store)
    if config.columns is not None:
        made = prepared.dataset
        said = f"{config.dataset}: {len(made.tasks)} tasks, kept in the database as dataset {made.slug}"
        click.echo(visible(said), err=True)
    for _, sentence in [*prepared.warnings, *cautions(prepared, store)]:
        click.echo(visible(f"warning: {sentence}"), err=True)
    return prepared


def _only_log_dir(fields: Mapping[str, object]) -> bool:
    """`optimize run --log-dir DIR` alone: the run in that folder goes on, with or without its database."""
    from rollout_local.domain.run import OPERATIONAL

    return "log_dir" in fields and not (by_hand(fields) - OPERATIONAL)


def _new_or_rebuilt(
    store: Store, prepared: Setup | None, fields: Mapping[str, Any], accepted: tuple[str, ...], *, trust: bool
) -> str:
    """The run that goes on in --log-dir, or a new one."""
    from rollout_local.afterwards import rebuild
    from rollout_local.planning import setup

    log_dir = Path(fields["log_dir"]) if "log_dir" in fields else None
    if log_dir is not None and (prepared is None or rebuild.matching(log_dir, prepared)):
        with prints_aside():
            return rebuild.run_of(store, log_dir, Path.cwd(), accepted, trusted=trust)
    assert prepared is not None, "without a log_dir to go on with, the flags are those of a new run"
    return setup.insert(store, prepared)["id"]


def _store_to_read(path: Path) -> Store | None:
    """The database for look-ups by name while flags are checked, or None where there is none yet."""
    from rollout_local.store.schema import open_store

    return open_store(path, create=False) if path.exists() else None


def _say_created(run_id: str, prepared: Setup, command: str) -> None:
    calls = prepared.executions
    click.echo(f"Created {run_id}: target {prepared.target.id}, {_sizes(prepared)}.")
    if prepared.split.note:
        click.echo(prepared.split.note)
    click.echo(
        f"It may execute the target {calls['baseline']} times for the baseline, at most {calls['search']} times in "
        f"the search, and {calls['best']} times for the best candidate's holdout."
    )
    click.echo(f"\nRun it:\n  {command}")


def _sizes(prepared: Setup) -> str:
    return ", ".join(f"{n} {split}" for split, n in prepared.split.sizes().items()) + " tasks"
