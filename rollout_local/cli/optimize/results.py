"""`optimize report`, `digest`, `compare`, `blame`, `rescore`, `export`, `reproduce`: what a run is worth."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollout_local.cli.flags import given
from rollout_local.cli.optimize.group import optimize
from rollout_local.cli.optimize.output import candidate_flag, print_report
from rollout_local.cli.optimize.set_up_flags import changes_for, module_flag
from rollout_local.cli.optimize.trusting import confirmed, trust_flag
from rollout_local.cli.options import common, console, database, json_columns, print_json, sign_with
from rollout_local.cli.stdout import prints_aside
from rollout_local.cli.watching import shown
from rollout_local.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rollout_local.afterwards.reproduce import Reproduced
    from rollout_local.store.row_types import CandidateRow, RunRow
    from rollout_local.store.schema import Store


@optimize.command()
@click.argument("run")
@click.option("--format", "form", type=click.Choice(["text", "md", "json", "html"]), default="text", show_default=True)
@click.option("--check", is_flag=True, help="Exit 1 if the gate is not passed.")
@common
def report(
    *, run: str, form: str, check: bool, db_path: Path, as_json: bool, quiet: bool, no_color: bool  # noqa: ARG001
) -> int:  # fmt: skip
    """The promotion report: best against baseline on the holdout. Of a run that has not ended, what it has so far."""
    from rollout_local.reports import blame as library
    from rollout_local.reports import promotion
    from rollout_local.reports.standing import standing
    from rollout_local.store import reads
    from rollout_local.store.stored_run import StoredRun

    with database(db_path, reads=True) as store:
        row = reads.run(store, run)
        written = standing(store, row["id"], row["attempt"], StoredRun(row).config)
        document = written if written is not None else promotion.build(store, row)
        origin = library.blame(store, row) if written is not None and (as_json or form == "json") else None
    if as_json or form == "json":
        print_json({**document, "blame": origin})
    else:
        print_report(document, form, color=not no_color)
    return int(check and not document["verdict"]["promote"])


@optimize.command()
@click.argument("run")
@common
def digest(*, run: str, db_path: Path, as_json: bool, quiet: bool, no_color: bool) -> None:  # noqa: ARG001
    """A hash over all that the newest attempt found; equal digests are the same run."""
    from rollout_local.reports.digest import digest as digest_of
    from rollout_local.store import reads

    with database(db_path, reads=True) as store:
        result = digest_of(store, reads.run(store, run))
    if as_json:
        print_json({"digest": result.digest, "format": result.format, "tables": result.tables})
    else:
        click.echo(result.digest)


@optimize.command()
@click.argument("run")
@click.option("--recording", help="Another file than the one the run recorded.")
@click.option("--concurrency", type=int, help="Trials at once in the replay.")
@click.option("--source", type=click.Path(path_type=Path), metavar="DIR", help="Import the target from DIR.")
@click.option("--ignore-field", "ignore_fields", multiple=True, help="As of `run`; in place of what the run had.")
@module_flag
@trust_flag
@common
def reproduce(
    *, run: str, recording: str | None, concurrency: int | None, source: Path | None, ignore_fields: tuple[str, ...],
    modules: tuple[str, ...], trust: bool, db_path: Path, as_json: bool, quiet: bool, no_color: bool,
) -> int:  # fmt: skip
    """Replay a completed run from its recording, offline, in a scratch database, and compare digests."""
    from rollout_local.afterwards import reproduce

    with database(db_path, reads=True) as store, shown(quiet=quiet or as_json, color=not no_color) as watch:
        named = changes_for(given({"modules": modules}), store, run)
        if source is None:
            confirmed(store, run, trusted=trust, changes={**named, "record_mode": "none"})
        found = reproduce.reproduce(
            store, run, folder=Path.cwd(), recording=recording, concurrency=concurrency, source=source,
            ignore_fields=ignore_fields, modules=named.get("modules", ()), watch=watch,
        )  # fmt: skip
    _say_reproduced(found, as_json=as_json)
    return int(not found.identical)


def _say_reproduced(found: Reproduced, *, as_json: bool) -> None:
    if as_json:
        print_json({"run_id": found.run_id, "identical": found.identical, "digest": found.digest,
                    "replayed_digest": found.replayed_digest, "difference": found.difference,
                    "reexecuted": found.reexecuted, "note": found.note})  # fmt: skip
        return
    if found.identical:
        click.echo(f"{found.run_id}: identical, digest {found.digest}")
    else:
        click.echo(f"{found.run_id}: different: {found.difference}")
    if found.note:
        click.echo(found.note)
    if found.reexecuted:
        click.echo(f"{found.reexecuted} trials made no recorded call; they were executed again.")


@optimize.command()
@click.argument("runs", nargs=-1, required=True)
@common
def compare(*, runs: tuple[str, ...], db_path: Path, as_json: bool, quiet: bool, no_color: bool) -> None:  # noqa: ARG001
    """Runs side by side: what differs in their set-up, scores, tasks, prompts."""
    from rollout_local.reports import compare as library
    from rollout_local.store import reads

    with database(db_path, reads=True) as store:
        found = library.compare(store, [reads.run(store, run) for run in runs])
    _print_found(found, library.as_text, as_json=as_json, no_color=no_color)


@optimize.command()
@click.argument("run")
@common
def blame(*, run: str, db_path: Path, as_json: bool, quiet: bool, no_color: bool) -> None:  # noqa: ARG001
    """Each line of the best prompt: the proposal that brought it in, the feedback and tasks behind it, the effect."""
    from rollout_local.reports import blame as library
    from rollout_local.store import reads

    with database(db_path, reads=True) as store:
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
    from rollout_local.afterwards import rescore

    with database(db_path, reads=True) as store, prints_aside():
        document = rescore.rescore(store, run, verifiers, splits_file, Path.cwd())
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
@candidate_flag
@sign_with
@module_flag
@common
def export(
    *, run: str, form: str, bundle: Path | None, candidate: int | None, key: Path | None, modules: tuple[str, ...],
    db_path: Path, as_json: bool, **_options: object,
) -> None:  # fmt: skip
    """The best text, or that of --candidate N; or (--bundle FILE) the whole run in one file.

    Of a run that has not ended, the best so far. A bundle has rows, recording, target source and hashes.
    """
    from rollout_local.store import reads

    _require_both(key, bundle)
    with database(db_path, reads=True) as store:
        if bundle is not None:
            _export_bundle(store, run, bundle, key, as_json=as_json)
            return
        row, named = reads.run(store, run), changes_for(given({"modules": modules}), store, run)
        best = _chosen(store, row, candidate)
        if form == "dspy":
            from rollout_local.afterwards.best import program_of

            click.echo(program_of(store, row, best, Path.cwd(), named.get("modules", ())))
            return
    if as_json or form == "json":
        print_json({"run_id": row["id"], "candidate": best["number"], **json_columns(best)})
    else:
        click.echo(best["text"])


def _chosen(store: Store, row: RunRow, number: int | None) -> CandidateRow:
    """A candidate by its number, or the best so far; says so where the run has not ended."""
    from rollout_local.store import reads

    if number is not None:
        return reads.candidate_numbered(store, row, number)
    best = reads.best_so_far(store, row)
    if best is None:
        msg = f"run {row['id']} has evaluated nothing yet (status {row['status']})"
        raise InputError(msg)
    found = reads.candidate(store, best)
    if row["best_candidate_id"] is None:
        said = f"provisional: run {row['id']} is {row['status']}; candidate {found['number']} is the best so far"
        click.echo(said, err=True)
    return found


def _require_both(key: Path | None, bundle: Path | None) -> None:
    if key is not None and bundle is None:
        msg = "--sign-with signs the file of --bundle; give both"
        raise InputError(msg)


def _export_bundle(store: Store, run: str, file: Path, key: Path | None, *, as_json: bool) -> None:
    from rollout_local import signatures
    from rollout_local.bundle import export_bundle

    signer = signatures.private_key(key) if key is not None else None
    made = export_bundle(store, run, file, Path.cwd())
    signature = signatures.sign(file, signer) if signer is not None else None
    if as_json:
        found = {"run_id": made.run_id, "file": str(made.file), "bytes": made.size, "digest": made.digest}
        print_json(found | ({"signature": str(signature)} if signature else {}))
        return
    click.echo(f"{made.file}: {made.run_id}, {made.size} bytes, digest {made.digest}")
    command = f"rollout import bundle {shlex.quote(made.file.name)}"
    if signature is not None:
        click.echo(f"{signature}: its signature; send both, and your public key by another way")
        command += " --signed-by YOUR-KEY.pub"
    click.echo(f"Read it elsewhere with:\n  {command}")


def _print_found(found: Mapping[str, object], as_text: Callable[..., str], *, as_json: bool, no_color: bool) -> None:
    if as_json:
        print_json(found)
    else:
        screen = console(color=not no_color)
        click.echo(as_text(found, width=min(screen.width, 100), color=not no_color and screen.is_terminal))
