"""`optimize rename`, `tag`, `note`, `archive`, `delete`: runs are kept like things one owns."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollout_local.cli.optimize.group import optimize
from rollout_local.cli.options import common, database, print_json
from rollout_local.errors import InputError
from rollout_local.reports.escape import visible

if TYPE_CHECKING:
    from rollout_local.afterwards.deleting import Going


@optimize.command()
@click.argument("run")
@click.argument("name")
@common
def rename(run: str, name: str, db_path: Path, as_json: bool, **_options: object) -> None:
    """Give a run another name, by which it can be called too where no other run has it."""
    from rollout_local.store import marks, reads

    with database(db_path) as store:
        run_id = reads.run(store, run)["id"]
        named = marks.rename(store, run_id, name)
    _say({"run_id": run_id, "name": named}, f"{run_id} is {named!r}.", as_json=as_json)


@optimize.command()
@click.argument("run")
@click.option("--add", multiple=True, metavar="T", help="A tag to add; may be given several times.")
@click.option("--remove", multiple=True, metavar="T", help="A tag to take away; may be given several times.")
@common
def tag(
    run: str, add: tuple[str, ...], remove: tuple[str, ...], db_path: Path, as_json: bool, **_options: object
) -> None:
    """Add tags to a run and take some away; without options, say which it has."""
    from rollout_local.store import marks, reads
    from rollout_local.store.stored_run import StoredRun

    with database(db_path, reads=not (add or remove)) as store:
        row = reads.run(store, run)
        tags = marks.tag(store, row["id"], add, remove) if add or remove else StoredRun(row).tags
    _say({"run_id": row["id"], "tags": tags}, f"{row['id']}: {', '.join(tags) or 'no tags'}", as_json=as_json)


@optimize.command()
@click.argument("run")
@click.argument("text", required=False)
@common
def note(run: str, text: str | None, db_path: Path, as_json: bool, **_options: object) -> None:
    """Say something of a run, in place of what was said before ('' takes it away); without TEXT, say what was said."""
    from rollout_local.store import marks, reads

    with database(db_path, reads=text is None) as store:
        run_id = reads.run(store, run)["id"]
        if text is not None:
            marks.note(store, run_id, text)
        said = reads.run(store, run_id)["note"]
    _say({"run_id": run_id, "note": said}, said or f"{run_id} has no note.", as_json=as_json)


@optimize.command()
@click.argument("run")
@click.option("--undo", is_flag=True, help="Let lists show it again.")
@common
def archive(run: str, undo: bool, db_path: Path, as_json: bool, **_options: object) -> None:
    """Put a run away: `list` and the page of jobs leave it out (`--archived` shows it). Nothing is lost."""
    from rollout_local.clock import now
    from rollout_local.store import marks, reads

    with database(db_path) as store:
        run_id = reads.run(store, run)["id"]
        changed = marks.take_out(store, run_id) if undo else marks.archive(store, run_id, now())
    said = f"{run_id} is {'listed' if undo else 'put away'}{' again' if undo and changed else ''}"
    _say({"run_id": run_id, "archived": not undo, "changed": changed},
         said + ("." if changed else " already."), as_json=as_json)  # fmt: skip


@optimize.command()
@click.argument("run")
@click.option("--yes", "sure", is_flag=True, help="Do not ask.")
@click.option("--with-log-dir", "with_folder", is_flag=True, help="Its log_dir, with the recording in it, goes too.")
@click.option("--force", is_flag=True, help="Although its text is promoted.")
@common
def delete(
    run: str, sure: bool, with_folder: bool, force: bool, db_path: Path, as_json: bool, **_options: object
) -> None:
    """Delete a run and what goes with it: candidates, trials, traces, reports, its log. It says what before it asks.

    Datasets, verifiers and what was published stay, and so does its log_dir unless --with-log-dir is given. Bytes of
    its rows are in the file until `rollout db vacuum`. Runs that write to the file wait meanwhile: some seconds for
    100,000 trials.
    """
    from rollout_local.afterwards import deleting
    from rollout_local.clock import now

    with database(db_path) as store:
        found = deleting.going(store, run, Path.cwd())
        _ask(found, sure=sure, with_folder=with_folder, quiet=as_json)
        left = deleting.delete(
            store, found, actor=getpass.getuser(), at=now(), force=force, with_folder=with_folder
        )  # fmt: skip
    done = {"run_id": found.run_id, "deleted": found.rows, "folder": found.folder and str(found.folder), "left": left}
    _say(done, f"{found.run_id} is deleted." + (f" {left}." if left else ""), as_json=as_json)


def _ask(found: Going, *, sure: bool, with_folder: bool, quiet: bool) -> None:
    """Say what goes and what stays; go on with a yes."""
    if not quiet:
        rows = ", ".join(f"{n:,} {table}" for table, n in found.rows.items() if n)
        lines = [f"{found.run_id} ({found.name}, {found.status}) goes, with {rows or 'no rows yet'}."]
        if found.promoted:
            lines.append(f"Its text stands in {found.promoted}, and stays there.")
        if found.folder:
            lines.append(f"{found.folder} {'goes' if with_folder else 'stays (--with-log-dir takes it along)'}.")
        if found.recording:
            lines.append(f"Its recording {found.recording} stays.")
        click.echo(visible("\n".join(lines)), err=True)
    if not sure:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            msg = f"nothing was deleted: say --yes to delete run {found.run_id}, which cannot be undone"
            raise InputError(msg)
        click.confirm("Delete it? This cannot be undone.", abort=True, err=True)


def _say(document: object, sentence: str, *, as_json: bool) -> None:
    if as_json:
        print_json(document)
    else:
        click.echo(visible(sentence))
