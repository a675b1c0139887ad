"""`rollout optimize`: create, look at, run and report runs."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from rollout_local.cli.flags import config_of, given, run_flags
from rollout_local.cli.options import common, console, database, json_columns, print_json, print_table
from rollout_local.cli.watching import interruptible, shown
from rollout_local.errors import InputError


@click.group()
def optimize() -> None:
    """Create, run, look at and report optimization runs."""


@optimize.command()
@common
@run_flags
def create(*, db_path: Path, as_json: bool, quiet: bool, no_color: bool, **flags: Any) -> None:  # noqa: ARG001
    """Sync the target, import dataset and verifiers, create a run; say what it may take and how to run it."""
    from rollout_local.runs import setup

    prepared = _prepared(given(flags), db_path)
    with database(db_path, create=True) as store:
        row = setup.insert(store, prepared)
    command = f"rollout optimize run {row['id']}{_db_flag(db_path)}"
    if as_json:
        print_json({"run_id": row["id"], "calls": prepared.executions, "command": command})
        return
    _say_created(row["id"], prepared, command)


@optimize.command("dry-run")
@click.argument("run", required=False)
@common
@run_flags
def dry_run(*, run: str | None, db_path: Path, as_json: bool, quiet: bool, no_color: bool, **flags: Any) -> int:  # noqa: ARG001
    """Check everything that a run needs, and say what its budget buys. Calls no model."""
    from rollout_local.runs import checks

    fields = given(flags)
    if run is None:
        findings = checks.of_config(config_of(fields), Path.cwd(), _store_to_read(db_path))
    else:
        with database(db_path) as store:
            findings = checks.of_run(store, run, Path.cwd(), _operational(fields, run))
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
        setup.require_runnable(prepared.config, Path.cwd())
    with database(db_path, create=run is None) as store:
        reference = _new_or_rebuilt(store, prepared, fields, accepted) if run is None else run
        changes = _operational(fields, run) if run is not None else _rebuilt_changes(prepared, fields)
        with shown(quiet=quiet, color=not no_color) as watch, interruptible(stop):
            outcome = execute(
                store, reference, folder=Path.cwd(), watch=watch, changes=changes, fresh=fresh, accepted=accepted,
                stop=stop,
            )  # fmt: skip
        _say_outcome(store, outcome, as_json=as_json, color=not no_color, db_path=db_path)
    return outcome.exit_code


@optimize.command()
@click.argument("run")
@click.option("--recording", help="Another file than the one the run recorded.")
@click.option("--concurrency", type=int, help="Trials at once in the replay.")
@common
def reproduce(
    *,
    run: str,
    recording: str | None,
    concurrency: int | None,
    db_path: Path,
    as_json: bool,
    quiet: bool,
    no_color: bool,
) -> int:
    """Replay a completed run from its recording, offline, in a scratch database, and compare digests."""
    from rollout_local.runs import reproduction

    with database(db_path) as store, shown(quiet=quiet or as_json, color=not no_color) as watch:
        found = reproduction.reproduce(
            store, run, folder=Path.cwd(), recording=recording, concurrency=concurrency, watch=watch
        )
    _say_reproduced(found, as_json=as_json)
    return int(not found.identical)


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


def _say_reproduced(found: Any, *, as_json: bool) -> None:
    if as_json:
        print_json({"run_id": found.run_id, "identical": found.identical, "digest": found.digest,
                    "replayed_digest": found.replayed_digest, "difference": found.difference,
                    "reexecuted": found.reexecuted})  # fmt: skip
        return
    if found.identical:
        click.echo(f"{found.run_id}: identical, digest {found.digest}")
    else:
        click.echo(f"{found.run_id}: different: {found.difference}")
    if found.reexecuted:
        click.echo(f"{found.reexecuted} trials made no recorded call; they were executed again.")


def _requested(action: str, run: str, db_path: Path, *, as_json: bool) -> None:
    from rollout_local.runs import requests

    with database(db_path) as store:
        said = requests.ask(store, run, action)
    if as_json:
        print_json(said)
    else:
        click.echo(said["message"])


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

    with database(db_path) as store:
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

    with database(db_path) as store:
        row = reads.run(store, run)
        candidates = reads.candidates(store, row["id"], row["attempt"])
        calls = reads.phase_calls(store, row["id"], row["attempt"])
    if as_json:
        document = {**json_columns(row), "candidates": [json_columns(c) for c in candidates], "calls": calls}
        print_json(document)
        return
    shown_fields = ("id", "name", "status", "phase", "stop_reason", "message", "target_id", "optimizer", "seed",
                    "attempt", "metric_calls", "metric_call_budget", "cost_usd", "degraded", "created_at", "started_at",
                    "finished_at", "log_dir", "recording")  # fmt: skip
    print_table(["field", "value"], [[name, str(row[name])] for name in shown_fields if row[name] is not None])
    columns = ["number", "status", "train_mean", "train_n", "val_mean", "val_n", "holdout_mean", "holdout_n"]
    print_table(columns, [[c[column] for column in columns] for c in candidates], color=not no_color)


@optimize.command()
@click.argument("run")
@click.option("--format", "form", type=click.Choice(["text", "md", "json", "html"]), default="text", show_default=True)
@click.option("--check", is_flag=True, help="Exit 1 if the gate is not passed.")
@common
def report(
    *, run: str, form: str, check: bool, db_path: Path, as_json: bool, quiet: bool, no_color: bool  # noqa: ARG001
) -> int:  # fmt: skip
    """The promotion report: best against baseline on the holdout."""
    from rollout_local.store import reads

    with database(db_path) as store:
        row = reads.run(store, run)
        text = reads.newest_report(store, row["id"], row["attempt"])
    if text is None:
        command = f"rollout optimize run {row['id']}{_db_flag(db_path)}"
        msg = f"run {row['id']} has no report yet (status {row['status']}); finish it with `{command}`"
        raise InputError(msg)
    document = json.loads(text)
    _print_report(document, "json" if as_json else form, color=not no_color)
    return int(check and not document["verdict"]["promote"])


@optimize.command()
@click.argument("run")
@common
def digest(*, run: str, db_path: Path, as_json: bool, quiet: bool, no_color: bool) -> None:  # noqa: ARG001
    """A hash over all that the newest attempt found; equal digests are the same run."""
    from rollout_local.reports.digest import digest as digest_of
    from rollout_local.store import reads

    with database(db_path) as store:
        result = digest_of(store, reads.run(store, run))
    if as_json:
        print_json({"digest": result.digest, "tables": result.tables})
    else:
        click.echo(result.digest)


def _prepared(fields: Mapping[str, Any], db_path: Path) -> Any:
    """The checked setup of a new run; nothing is written."""
    from rollout_local.runs import environment, setup

    config = config_of(fields)
    with environment.for_target(config, offline_keys=config.record_mode == "none"):
        return setup.prepare(config, Path.cwd(), _store_to_read(db_path))


def _only_log_dir(fields: Mapping[str, Any]) -> bool:
    """`optimize run --log-dir DIR` alone: the run in that folder goes on, with or without its database."""
    from rollout_local.domain.run import OPERATIONAL

    return "log_dir" in fields and not (_by_hand(fields) - OPERATIONAL)


def _new_or_rebuilt(store: Any, prepared: Any, fields: Mapping[str, Any], accepted: tuple[str, ...]) -> str:
    """The run that goes on in --log-dir, or a new one."""
    from rollout_local.runs import rebuild, setup

    log_dir = Path(fields["log_dir"]) if "log_dir" in fields else None
    if log_dir is not None and (prepared is None or rebuild.matching(log_dir, prepared)):
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


def _db_flag(path: Path) -> str:
    return "" if path == Path("rollout.db") else f" --db {shlex.quote(str(path))}"


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


def _say_outcome(store: Any, outcome: Any, *, as_json: bool, color: bool, db_path: Path) -> None:
    from rollout_local.reports.digest import digest as digest_of
    from rollout_local.store import reads

    row = reads.run(store, outcome.run_id)
    text = reads.newest_report(store, outcome.run_id, row["attempt"])
    document = json.loads(text) if text is not None and outcome.status == "completed" else None
    result = digest_of(store, row) if document is not None else None
    if as_json:
        print_json({
            "run_id": outcome.run_id, "status": outcome.status, "stop_reason": outcome.stop_reason,
            "message": outcome.message, "executed": outcome.executed, "digest": result.digest if result else None,
            "report": document,
        })  # fmt: skip
        return
    if document is not None:
        _print_report(document, "text", color=color)
    click.echo(f"Run {outcome.run_id} is {outcome.status}: {outcome.message}.")
    if document is not None and outcome.executed == 0:
        click.echo("It was served from its journal: 0 calls.")
    if result is not None:
        click.echo(f"Digest {result.digest}")
    elif outcome.status == "paused":
        click.echo(f"Go on with:\n  rollout optimize run {outcome.run_id}{_db_flag(db_path)}")


def _line_of(row: Mapping[str, Any]) -> list[str]:
    """One run as a line: calls of budget, baseline → best on val and on the holdout."""
    return [
        row["id"], row["status"], row["target_id"], f"{row['metric_calls']}/{row['metric_call_budget']}",
        _change(row["baseline_val"], row["best_val"]), _change(row["baseline_holdout"], row["best_holdout"]),
        row["created_at"][:16].replace("T", " "),
    ]  # fmt: skip


def _change(before: float | None, after: float | None) -> str:
    return " → ".join("–" if mean is None else f"{mean:.3f}" for mean in (before, after))


def _print_report(document: Mapping[str, Any], form: str, *, color: bool) -> None:
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
