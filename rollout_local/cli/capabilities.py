"""`rollout capabilities`: publish, list, show, diff, export. And `promote`, which stands under `rollout optimize`."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import click

from rollout_local.cli.options import common, database, print_json, print_table
from rollout_local.reports.escape import visible

if TYPE_CHECKING:
    from rollout_local.capabilities.loading import Loaded
    from rollout_local.capabilities.promotion import Promoted
    from rollout_local.capabilities.registry import Published
    from rollout_local.targets.agent_files import Capability

FOLDER = click.Path(path_type=Path)


class PromoteOptions(TypedDict):
    """Options of `promote`: what is published where, and who says so."""

    number: str | None
    to: Path | None
    force: bool
    reason: str | None
    back: bool
    dry_run: bool
    actor: str
    no_color: bool


@click.group()
def capabilities() -> None:
    """Publish, look at, compare and export capabilities: agents, tools and skills, in immutable versions."""


@capabilities.command()
@click.argument("folder", metavar="DIR", type=FOLDER)
@common
def publish(folder: Path, db_path: Path, as_json: bool, **_options: object) -> None:
    """Keep the capability in DIR as the version that its capability.yaml names; the same content is one version."""
    loaded, published = _published(folder, db_path)
    for warning in loaded.warnings:
        click.echo(visible(f"warning: {warning}"), err=True)
    if as_json:
        print_json({**vars(published), "warnings": list(loaded.warnings)})
        return
    what = f"{published.reference} · {_counts(loaded.capability)} · {published.content_hash[:19]}"
    click.echo(visible(f"Published {what}" if published.is_new else f"{what} is published already (unchanged)"))


@capabilities.command("list")
@common
def list_(db_path: Path, as_json: bool, no_color: bool, **_options: object) -> None:
    """Every capability with its newest version."""
    from rollout_local.capabilities import listing

    with database(db_path, reads=True) as store:
        found = listing(store)
    if as_json:
        print_json(found)
        return
    cells = [(c["name"], c["version"], len(c["versions"]), ", ".join(c["agents"]), c["created_at"]) for c in found]
    print_table(("name", "newest", "versions", "agents", "published at"), cells, color=not no_color)


@capabilities.command()
@click.argument("reference", metavar="NAME[@VERSION]")
@common
def show(reference: str, db_path: Path, as_json: bool, no_color: bool, **_options: object) -> None:
    """One version (the newest, where none is named): its agents, tools, skills and files."""
    capability = _stored(reference, db_path)
    if as_json:
        print_json(_document(capability))
        return
    click.echo(visible(f"{capability.reference} · {capability.description}"))
    click.echo(visible(f"{capability.content_hash}{f', by {capability.author}' if capability.author else ''}\n"))
    agents = [(a.name, a.model, _globs(a.tools), len(a.body), a.description) for a in capability.agents]
    print_table(("agent", "model", "tools", "characters", "description"), agents, color=not no_color)
    for kind, names in (("tools", capability.tools), ("skills", [skill.name for skill in capability.skills])):
        click.echo(visible(f"\n{kind}: {', '.join(names) or 'none'}"))
    click.echo()
    print_table(("file", "bytes"), [(path, len(raw)) for path, raw in capability.files.items()], color=not no_color)


@capabilities.command("diff")
@click.argument("before", metavar="NAME@A")
@click.argument("after", metavar="NAME@B")
@common
def diff_(before: str, after: str, db_path: Path, as_json: bool, **_options: object) -> None:
    """What differs between two versions, as a unified diff per file."""
    from rollout_local.capabilities import diff

    one, other = _stored(before, db_path), _stored(after, db_path)
    text = diff(one, other)
    if as_json:
        paths = sorted({*one.files, *other.files})
        changed = [path for path in paths if one.files.get(path) != other.files.get(path)]
        print_json({"before": one.reference, "after": other.reference, "changed": changed, "diff": text})
        return
    click.echo(visible(text) or f"{one.reference} and {other.reference} are equal", nl=not text)


@capabilities.command()
@click.argument("reference", metavar="NAME@VERSION")
@click.option("--out", type=FOLDER, required=True, metavar="DIR", help="The folder to write.")
@common
def export(reference: str, out: Path, db_path: Path, as_json: bool, **_options: object) -> None:
    """Write a version as a folder again, byte for byte."""
    from rollout_local.capabilities import export as write

    capability = _stored(reference, db_path)
    paths = write(capability, out)
    if as_json:
        print_json({"reference": capability.reference, "path": str(out), "files": paths})
        return
    click.echo(visible(f"Wrote {out}: {capability.reference} · {len(paths)} files"))


@click.command()
@click.argument("run")
@click.option("--version", "number", metavar="X.Y.Z", help="The new version (default: the next patch).")
@click.option("--to", type=FOLDER, metavar="FILE", help="For targets in code: the file that holds the prompt.")
@click.option("--force", is_flag=True, help="Go on although gates are not met; needs --reason.")
@click.option("--reason", metavar="TEXT", help="Why; goes on record.")
@click.option("--revert", "back", is_flag=True, help="Take the run's promotion back: the former text is published.")
@click.option("--dry-run", is_flag=True, help="Show and check; write nothing.")
@click.option("--actor", default=getpass.getuser, help="Who promotes (default: you).")
@common
def promote(run: str, db_path: Path, as_json: bool, quiet: bool, **options: Unpack[PromoteOptions]) -> None:
    """Publish the best text of RUN as the next version, or write it to FILE; shows the difference first."""
    shown, done = _promoted(run, db_path, options, say=not (as_json or quiet))
    if as_json:
        print_json({"preview": shown, **vars(done)})
        return
    verb = "Would publish" if done.promotion_id is None else "Published"
    click.echo(visible(f"{verb} {done.destination}" + (" (forced)" if done.forced else "")))


def _published(folder: Path, db_path: Path) -> tuple[Loaded, Published]:
    from rollout_local.capabilities import load, publish
    from rollout_local.clock import now

    loaded = load(folder)
    with database(db_path, create=True) as store:
        return loaded, publish(store, loaded.capability, now())


def _stored(reference: str, db_path: Path) -> Capability:
    from rollout_local.capabilities import get

    with database(db_path, reads=True) as store:
        return get(store, reference)


def _promoted(run: str, db_path: Path, options: PromoteOptions, *, say: bool) -> tuple[object, Promoted]:
    """The preview as a document (None for a revert), and what was done."""
    from rollout_local.capabilities import preview, revert
    from rollout_local.capabilities import promote as publish_text
    from rollout_local.store import reads

    actor, reason, dry_run = options["actor"], options["reason"], options["dry_run"]
    version, to = options["number"], options["to"]
    with database(db_path) as store:
        row = reads.run(store, run)
        if options["back"]:
            done = revert(store, row, actor=actor, reason=reason, dry_run=dry_run)
            _say([done.diff], say=say)
            return None, done
        shown = preview(store, row, version=version, to=to)
        _say([shown.diff, *(gate["sentence"] for gate in shown.gates), shown.luck], say=say)
        done = publish_text(
            store, row, force=options["force"], version=version, to=to, actor=actor, reason=reason, dry_run=dry_run
        )
        return shown.document(), done


def _say(lines: list[str], *, say: bool) -> None:
    for line in filter(None, lines if say else ()):
        click.echo(visible(line))


def _document(capability: Capability) -> dict[str, object]:
    return {
        **capability.model_dump(exclude={"files", "executable"}),
        "reference": capability.reference,
        "content_hash": capability.content_hash,
        "files": {path: len(raw) for path, raw in capability.files.items()},
    }


def _counts(capability: Capability) -> str:
    counts = {"agents": len(capability.agents), "tool files": len(capability.tools), "files": len(capability.files)}
    return " · ".join(f"{n} {what}" for what, n in counts.items())


def _globs(tools: tuple[tuple[str, bool], ...]) -> str:
    return ", ".join(f"{glob}: {'yes' if verdict else 'no'}" for glob, verdict in tools) or "all"
