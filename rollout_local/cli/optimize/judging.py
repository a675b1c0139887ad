"""`optimize report`, `digest`, `compare`, `blame`, `rescore`, `export`, `reproduce`: what a run is worth."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import click

from rollout_local.cli.aside import prints_aside
from rollout_local.cli.optimize.group import optimize
from rollout_local.cli.optimize.saying import db_flag, print_report
from rollout_local.cli.options import common, console, database, json_columns, print_json
from rollout_local.cli.watching import shown
from rollout_local.errors import InputError


@optimize.command()
@click.argument("run")
@click.option("--format", "form", type=click.Choice(["text", "md", "json", "html"]), default="text", show_default=True)
@click.option("--check", is_flag=True, help="Exit 1 if the gate is not passed.")
@common
def report(
    *, run: str, form: str, check: bool, db_path: Path, as_json: bool, quiet: bool, no_color: bool  # noqa: ARG001
) -> int:  # fmt: skip
    """The promotion report: best against baseline on the holdout."""
    from rollout_local.reports import blame as library
    from rollout_local.store import reads

    with database(db_path) as store:
        row = reads.run(store, run)
        text = reads.newest_report(store, row["id"], row["attempt"])
        origin = library.blame(store, row) if text is not None and (as_json or form == "json") else None
    if text is None:
        command = f"rollout optimize run {row['id']}{db_flag(db_path)}"
        msg = f"run {row['id']} has no report yet (status {row['status']}); finish it with `{command}`"
        raise InputError(msg)
    document = json.loads(text)
    if as_json or form == "json":
        document["blame"] = origin
    print_report(document, "json" if as_json else form, color=not no_color)
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


@optimize.command()
@click.argument("run")
@click.option("--recording", help="Another file than the one the run recorded.")
@click.option("--concurrency", type=int, help="Trials at once in the replay.")
@click.option("--source", type=click.Path(path_type=Path), metavar="DIR", help="Import the target from DIR.")
@common
def reproduce(
    *, run: str, recording: str | None, concurrency: int | None, source: Path | None, db_path: Path, as_json: bool,
    quiet: bool, no_color: bool,
) -> int:  # fmt: skip
    """Replay a completed run from its recording, offline, in a scratch database, and compare digests."""
    from rollout_local.runs import reproduction

    with database(db_path) as store, shown(quiet=quiet or as_json, color=not no_color) as watch:
        found = reproduction.reproduce(
            store, run, folder=Path.cwd(), recording=recording, concurrency=concurrency, source=source, watch=watch
        )
    _say_reproduced(found, as_json=as_json)
    return int(not found.identical)


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


@optimize.command()
@click.argument("runs", nargs=-1, required=True)
@common
def compare(*, runs: tuple[str, ...], db_path: Path, as_json: bool, quiet: bool, no_color: bool) -> None:  # noqa: ARG001
    """Runs side by side: what differs in their set-up, scores, tasks, prompts."""
    from rollout_local.reports import compare as library
    from rollout_local.store import reads

    with database(db_path) as store:
        found = library.compare(store, [reads.run(store, run) for run in runs])
    _print_found(found, library.as_text, as_json=as_json, no_color=no_color)


@optimize.command()
@click.argument("run")
@common
def blame(*, run: str, db_path: Path, as_json: bool, quiet: bool, no_color: bool) -> None:  # noqa: ARG001
    """Each line of the best prompt: the proposal that brought it in, the feedback and tasks behind it, the effect."""
    from rollout_local.reports import blame as library
    from rollout_local.store import reads

    with database(db_path) as store:
        found = library.blame(store, reads.run(store, run))
    _print_found(found, library.as_text, as_json=as_json, no_color=no_color)


@optimize.command()
@click.argument("run")
@click.option("--verifier", "verifiers", multiple=True, required=True, help="Verifier file or id (repeatable).")
@click.option("--splits-file", help="Another split of the same tasks.")
@click.option("--format", "form", type=click.Choice(["text", "md", "json", "html"]), default="text", show_default=True)
@common
def rescore(
    *, run: str, verifiers: tuple[str, ...], splits_file: str | None, form: str, db_path: Path, as_json: bool,
    quiet: bool, no_color: bool,  # noqa: ARG001
) -> None:  # fmt: skip
    """The recorded outputs under another verifier or split: a new report, no calls."""
    from rollout_local.runs import rescoring

    with database(db_path) as store, prints_aside():
        document = rescoring.rescore(store, run, verifiers, splits_file, Path.cwd())
    print_report(document, "json" if as_json else form, color=not no_color)


@optimize.command()
@click.argument("run")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "dspy"]),
    default="text",
    show_default=True,
    help="dspy: the JSON that `program.load` reads.",
)
@click.option("--bundle", type=click.Path(path_type=Path, dir_okay=False), help="The whole run in one file, to carry.")
@common
def export(
    *, run: str, form: str, bundle: Path | None, db_path: Path, as_json: bool, quiet: bool, no_color: bool  # noqa: ARG001
) -> None:  # fmt: skip
    """The winning text; or (--bundle FILE) rows, recording, target source and hashes of the run in one file."""
    from rollout_local.store import reads

    with database(db_path) as store:
        if bundle is not None:
            _export_bundle(store, run, bundle, as_json=as_json)
            return
        row = reads.run(store, run)
        if row["best_candidate_id"] is None:
            msg = f"run {row['id']} has no best candidate yet (status {row['status']})"
            raise InputError(msg)
        best = reads.candidate(store, row["best_candidate_id"])
        if form == "dspy":
            from rollout_local.runs.best import winning_program

            click.echo(winning_program(store, row, Path.cwd()))
            return
    if as_json or form == "json":
        print_json({"run_id": row["id"], "candidate": best["number"], **json_columns(best)})
    else:
        click.echo(best["text"])


def _export_bundle(store: Any, run: str, file: Path, *, as_json: bool) -> None:
    from rollout_local.bundle import export_bundle

    made = export_bundle(store, run, file, Path.cwd())
    if as_json:
        print_json({"run_id": made.run_id, "file": str(made.file), "bytes": made.size, "digest": made.digest})
    else:
        click.echo(f"{made.file}: {made.run_id}, {made.size} bytes, digest {made.digest}")
        click.echo(f"Read it elsewhere with:\n  rollout import bundle {shlex.quote(made.file.name)}")


def _print_found(found: Any, as_text: Any, *, as_json: bool, no_color: bool) -> None:
    if as_json:
        print_json(found)
    else:
        screen = console(color=not no_color)
        click.echo(as_text(found, width=min(screen.width, 100), color=not no_color and screen.is_terminal))
