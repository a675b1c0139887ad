"""`optimize create`, `dry-run`, `run`: from flags to runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from rollout_local.cli.aside import prints_aside
from rollout_local.cli.flags import config_of, given, run_flags
from rollout_local.cli.optimize.group import optimize
from rollout_local.cli.optimize.saying import db_flag, follow, say_outcome
from rollout_local.cli.options import common, database, print_json, print_table, printable
from rollout_local.cli.watching import interruptible, shown
from rollout_local.errors import InputError


@optimize.command()
@common
@run_flags
def create(*, db_path: Path, as_json: bool, quiet: bool, no_color: bool, **flags: Any) -> None:  # noqa: ARG001
    """Sync the target, import dataset and verifiers, create a run; say what it may take and how to run it."""
    from rollout_local.runs import setup

    prepared = _prepared(given(flags), db_path)
    with database(db_path, create=True) as store:
        row = setup.insert(store, prepared)
    command = f"rollout optimize run {row['id']}{db_flag(db_path)}"
    if as_json:
        print_json({"run_id": row["id"], "calls": prepared.executions, "command": command})
        return
    _say_created(row["id"], prepared, command)


@optimize.command()
@click.option("--wait", "waiting", is_flag=True, help="Follow it to its end; exit by the outcome.")
@common
@run_flags
def submit(*, waiting: bool, db_path: Path, as_json: bool, quiet: bool, no_color: bool, **flags: Any) -> int:  # noqa: ARG001
    """Create a run and queue it for a worker."""
    from rollout_local.runs import setup, worker

    prepared = _prepared(given(flags), db_path)
    with database(db_path, create=True) as store:
        run_id = setup.insert(store, prepared)["id"]
        worker.submit(store, run_id)
        status = follow(store, run_id, quiet=quiet or as_json) if waiting else "queued"
    if as_json:
        print_json({"run_id": run_id, "status": status})
    else:
        click.echo(f"{run_id} is {status}" + ("." if waiting else f"; `rollout worker{db_flag(db_path)}` runs it."))
    return 0 if status in ("queued", "completed") else 3 if status == "paused" else 1


@optimize.command("dry-run")
@click.argument("run", required=False)
@common
@run_flags
def dry_run(*, run: str | None, db_path: Path, as_json: bool, quiet: bool, no_color: bool, **flags: Any) -> int:  # noqa: ARG001
    """Check everything that a run needs, and say what its budget buys. Calls no model."""
    fields = given(flags)
    with prints_aside():
        findings = _checked(run, fields, db_path)
    if as_json:
        print_json(findings)
    else:
        print_table(["check", "", "detail"], [[f["check"], f["status"], f["detail"]] for f in findings["checks"]])
    return 0 if findings["ok"] else 2


@optimize.command("run")
@click.argument("run", required=False)
@click.option("--fresh", is_flag=True, help="Start a new attempt; the old one's evidence is kept.")
@click.option("--accept-changed", "accepted", multiple=True, metavar="INPUT", help="Go on although INPUT changed.")
@common
@run_flags
def run_(
    *, run: str | None, fresh: bool, accepted: tuple[str, ...], db_path: Path, as_json: bool, quiet: bool,
    no_color: bool, **flags: Any,
) -> int:  # fmt: skip
    """Run it: baseline, search, best on the holdout, report. Without RUN: create it from the flags first."""
    from rollout_local.runs import setup
    from rollout_local.runs.lifecycle import execute
    from rollout_local.runs.stop import StopFlag

    fields, stop = given(flags), StopFlag()
    prepared = None
    if run is None and not _only_log_dir(fields):
        prepared = _prepared(fields, db_path)
        setup.require_runnable(prepared, Path.cwd())
    with database(db_path, create=run is None) as store:
        reference = _new_or_rebuilt(store, prepared, fields, accepted) if run is None else run
        changes = _operational(fields, run) if run is not None else _rebuilt_changes(prepared, fields)
        with shown(quiet=quiet, color=not no_color) as watch, interruptible(stop):
            outcome = execute(
                store, reference, folder=Path.cwd(), watch=watch, changes=changes, fresh=fresh, accepted=accepted,
                stop=stop,
            )  # fmt: skip
        say_outcome(store, outcome, as_json=as_json, color=not no_color, db_path=db_path)
    return outcome.exit_code


def _checked(run: str | None, fields: Mapping[str, Any], db_path: Path) -> dict[str, Any]:
    """What a dry run finds of the flags, or of a stored run."""
    from rollout_local.runs import checks

    if run is None:
        return checks.of_config(config_of(fields), Path.cwd(), _store_to_read(db_path))
    with database(db_path) as store:
        return checks.of_run(store, run, Path.cwd(), _operational(fields, run))


def _prepared(fields: Mapping[str, Any], db_path: Path) -> Any:
    """The checked setup of a new run; nothing is written."""
    from rollout_local.runs import environment, setup

    config = config_of(fields)
    with prints_aside(), environment.for_target(config, offline_keys=config.record_mode == "none"):
        prepared = setup.prepare(config, Path.cwd(), _store_to_read(db_path))
    for _, sentence in prepared.warnings:
        click.echo(printable(f"warning: {sentence}"), err=True)
    return prepared


def _only_log_dir(fields: Mapping[str, Any]) -> bool:
    """`optimize run --log-dir DIR` alone: the run in that folder goes on, with or without its database."""
    from rollout_local.domain.run import OPERATIONAL

    return "log_dir" in fields and not (_by_hand(fields) - OPERATIONAL)


def _new_or_rebuilt(store: Any, prepared: Any, fields: Mapping[str, Any], accepted: tuple[str, ...]) -> str:
    """The run that goes on in --log-dir, or a new one."""
    from rollout_local.runs import rebuild, setup

    log_dir = Path(fields["log_dir"]) if "log_dir" in fields else None
    if log_dir is not None and (prepared is None or rebuild.matching(log_dir, prepared)):
        with prints_aside():
            return rebuild.run_of(store, log_dir, Path.cwd(), accepted)
    return str(setup.insert(store, prepared)["id"])


def _rebuilt_changes(prepared: Any, fields: Mapping[str, Any]) -> dict[str, Any]:
    return _operational(fields, "in --log-dir") if prepared is None else {}


def _store_to_read(path: Path) -> Any:
    """The database for look-ups by name while flags are checked, or None where there is none yet."""
    from rollout_local.store.schema import open_store

    return open_store(path, create=False) if path.exists() else None


def _operational(fields: Mapping[str, Any], run: str) -> dict[str, Any]:
    """The flags that may accompany the id of a run; any other is refused by name."""
    from rollout_local.domain.run import OPERATIONAL

    for name in sorted(_by_hand(fields) - OPERATIONAL):
        msg = f"--{name.replace('_', '-')} is part of what decides run {run}; create another run with it"
        raise InputError(msg)
    changes = {name: value for name, value in fields.items() if name in OPERATIONAL}
    return config_of(changes).model_dump(include=set(changes))


def _by_hand(fields: Mapping[str, Any]) -> set[str]:
    """The fields that were given as flags, not through the environment."""
    context = click.get_current_context()
    environment = click.core.ParameterSource.ENVIRONMENT
    return {name for name in fields if context.get_parameter_source(name) is not environment}


def _say_created(run_id: str, prepared: Any, command: str) -> None:
    calls = prepared.executions
    click.echo(f"Created {run_id}: target {prepared.target.id}, {_sizes(prepared)}.")
    if prepared.split.note:
        click.echo(prepared.split.note)
    click.echo(
        f"It may execute the target {calls['baseline']} times for the baseline, at most {calls['search']} times in "
        f"the search, and {calls['best']} times for the best candidate's holdout."
    )
    click.echo(f"\nRun it:\n  {command}")


def _sizes(prepared: Any) -> str:
    return ", ".join(f"{n} {split}" for split, n in prepared.split.sizes().items()) + " tasks"
