"""`rollout recordings`: what is in a recording, whether it can be trusted, and whether it may be shared.

Nothing here sends or replays. A secret that was found is told by its kind and its place, never by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict
from urllib.parse import urlsplit

import click

from rollout_local.cli.options import plain, print_json, print_table
from rollout_local.errors import InputError
from rollout_local.reports.escape import visible

if TYPE_CHECKING:
    from rollout_local.recordings import Leak, RecordingReport, RecordingSummary, Shown
    from rollout_local.recordings.lines import Interaction

PATH = click.Path(path_type=Path)
PLACES = (Path("recordings"), Path(".rollout"))
"""Where recordings are looked for: those of tests and experiments, and those of runs."""
HEAD_LINES = 3
"""Lines of a recording before its first interaction."""


InteractionRow = TypedDict(
    "InteractionRow",
    {"line": int, "scope": str, "try": int, "key": str, "method": str, "url": str, "model": str | None,
     "status": int | str, "tokens_in": int | None, "tokens_out": int | None, "seconds": float, "replays": bool},
)  # fmt: skip
"""An interaction as `show` tells of it."""


class ImportedRecording(TypedDict):
    """A recording that was made of a cassette."""

    path: str
    interactions: int
    request_bytes: int
    response_bytes: int


@click.group()
def recordings() -> None:
    """List, show, check, scan, import and export recordings of what models were asked and answered."""


@recordings.command("list")
@click.argument("folder", metavar="[DIR]", type=PATH, required=False)
@plain
def list_(folder: Path | None, as_json: bool, no_color: bool, **_options: object) -> None:
    """Show the recordings and cassettes under DIR (default: ./recordings and ./.rollout)."""
    found = _found(folder)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    columns = ("recording", "engine", "interactions", "scopes", "state", "answers", "bytes")
    print_table(columns, [_summary_cells(one) for one in found], color=not no_color)
    for one in found:
        if one.error is not None:
            click.echo(visible(one.error), err=True)


@recordings.command()
@click.argument("file", metavar="FILE", type=PATH)
@plain
def show(file: Path, as_json: bool, no_color: bool, **_options: object) -> None:
    """Show every interaction in FILE: who asked for what, how it was answered, and whether a replay serves it."""
    shown, rows = _shown(file)
    if as_json:
        print_json({**asdict(shown.summary), "manifest": shown.manifest, "rows": rows})
        return
    click.echo(visible(_headline(shown.summary, rows)))
    columns = ("line", "scope", "request", "model", "status", "tokens in", "out", "seconds", "replays")
    print_table(columns, [_interaction_cells(row) for row in rows], color=not no_color)


@recordings.command()
@click.argument("file", metavar="FILE", type=PATH)
@plain
def verify(file: Path, as_json: bool, **_options: object) -> int:
    """Check every line, key, the order and the redaction of FILE; exit 1 if a replay must not trust it."""
    found = _verified(file)
    if as_json:
        print_json({**asdict(found), "ok": found.ok})
    else:
        wrong = [*found.problems, *map(_leak_line, found.leaks)]
        click.echo(visible("\n".join(wrong) or _sound(found)))
    return int(not found.ok)


@recordings.command()
@click.argument("paths", metavar="FILE...", type=PATH, nargs=-1, required=True)
@plain
def scan(paths: Sequence[Path], as_json: bool, quiet: bool, **_options: object) -> int:
    """Look for keys and passwords in files, folders, databases, logs and bundles; exit 1 if there are any."""
    leaks = _leaks(paths)
    if as_json:
        print_json([asdict(leak) for leak in leaks])
    else:
        click.echo(visible("\n".join(map(_leak_line, leaks)) or "No secrets found."))
    if leaks and not quiet:
        click.echo(f"{len(leaks)} found: withdraw them where they were issued, then take them out.", err=True)
    return int(bool(leaks))


@recordings.command("import")
@click.argument("file", metavar="FILE", type=PATH)
@click.option("--out", type=PATH, required=True, metavar="FILE", help="The recording to write.")
@plain
def import_(file: Path, out: Path, as_json: bool, **_options: object) -> None:
    """Make a recording of FILE, another recorder's cassette, redacted on its way in.

    Read are the formats of vcrpy, Betamax, VCR (Ruby, R, Go), cassetter, pydantic-ai, LangChain, HAR, Polly, nock,
    httpmock and httprr, each whole or not at all: a field that is not known and holds something is refused by name.
    """
    made = _imported(file, out)
    if as_json:
        print_json(made)
        return
    bodies = f"{made['request_bytes']} bytes asked, {made['response_bytes']} bytes answered"
    click.echo(visible(f"Wrote {out}: {made['interactions']} interactions, {bodies}"))


@recordings.command()
@click.argument("file", metavar="FILE", type=PATH)
@click.option("--format", "form", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True)
@click.option("--out", type=PATH, metavar="FILE", help="The cassette to write (default: stdout).")
@plain
def export(file: Path, form: str, out: Path | None, as_json: bool, **_options: object) -> None:
    """Write what a replay of FILE would serve as a plain vcrpy cassette."""
    if as_json and out is None:
        msg = "--json tells what was written: name a file with --out"
        raise click.UsageError(msg)
    count, text = _exported(file, form, out)
    if as_json:
        print_json({"path": str(out), "format": form, "interactions": count})
        return
    click.echo(text, nl=out is not None)


def _found(folder: Path | None) -> list[RecordingSummary]:
    from rollout_local.recordings import list_recordings

    if folder is not None and not folder.is_dir():
        msg = f"{folder}: there is no such folder; name one that holds recordings"
        raise InputError(msg)
    places = [place for place in PLACES if place.is_dir()] if folder is None else [folder]
    return [summary for place in places for summary in list_recordings(place)]


def _summary_cells(one: RecordingSummary) -> tuple[object, ...]:
    answers = ", ".join(f"{outcome} ×{count}" for outcome, count in one.outcomes.items())
    return (one.path, one.engine, one.interactions, one.scopes, _state(one), answers, one.size)


def _state(one: RecordingSummary) -> str:
    """`whole` can be replayed; `open` is being made, or was broken off; `foreign` is another tool's cassette."""
    if one.error is not None:
        return "damaged"
    if not one.ours:
        return "foreign"
    return "whole" if one.closed else "open"


def _headline(one: RecordingSummary, rows: Sequence[InteractionRow]) -> str:
    made = f" · engine {one.engine}" if one.engine else ""
    hosts = ", ".join(sorted({urlsplit(row["url"]).netloc for row in rows}))
    counts = f"{one.interactions} interactions · {one.scopes} scopes"
    return f"{one.path} · {_state(one)}{made} · {counts}\nasked of {hosts or 'nobody'}\n"


def _shown(file: Path) -> tuple[Shown, list[InteractionRow]]:
    from rollout_local.recordings import show as read
    from rollout_local.recordings.playback import Cassette, ListShelf
    from rollout_local.recordings.vcr_formats import entries

    shown = read(file)
    items = shown.interactions
    served = {one.line for one in Cassette(entries(items), ListShelf(items)).unplayed()}
    before = HEAD_LINES if shown.summary.ours else 0
    return shown, [_row(item, before + n, replays=n in served) for n, item in enumerate(items, 1)]


def _row(item: Interaction, line: int, *, replays: bool) -> InteractionRow:
    from rollout_local.dialects import read_call

    call = read_call(_readable(item.body), _readable(item.answer.body), item.url)
    return {
        "line": line,
        "scope": item.scope,
        "try": item.attempt,
        "key": item.key,
        "method": item.method,
        "url": item.url,
        "model": call.model,
        "status": item.answer.outcome,
        "tokens_in": call.tokens_in,
        "tokens_out": call.tokens_out,
        "seconds": item.seconds,
        "replays": replays,
    }


def _readable(body: bytes | None) -> object:
    """Parsed JSON, or text, or None."""
    import orjson

    try:
        return orjson.loads(body or b"null")
    except orjson.JSONDecodeError:
        return (body or b"").decode("utf-8", "replace")


def _interaction_cells(row: InteractionRow) -> tuple[object, ...]:
    request = f"{row['method']} {urlsplit(row['url']).path or '/'}"
    tokens = (row["tokens_in"], row["tokens_out"])
    replays = "yes" if row["replays"] else "no"
    return (row["line"], row["scope"] or None, request, row["model"], row["status"], *tokens, row["seconds"], replays)


def _verified(file: Path) -> RecordingReport:
    from rollout_local.recordings import verify as check
    from rollout_local.recordings.opening import start_of

    start_of(file)  # a file that is not there is wrong input, not an unsound recording
    report = check(file)
    return replace(report, leaks=[_told(leak) for leak in report.leaks])


def _sound(found: RecordingReport) -> str:
    kept = "in order, unchanged" if found.ours else "readable (another tool's cassette)"
    return f"{found.path}: {found.interactions} interactions, {kept}, without a secret"


def _leaks(paths: Sequence[Path]) -> list[Leak]:
    import os

    from rollout_local.recordings import scan as search

    return [_told(leak) for leak in search(paths, os.environ)]


def _told(leak: Leak) -> Leak:
    """A leak as it is told: two letters tell which of one's keys it is, and give nothing away."""
    return replace(leak, shown=leak.shown[:2] + "…")


def _leak_line(leak: Leak) -> str:
    where = f"{leak.path}!{leak.member}" if leak.member else str(leak.path)
    return f"{where}:{leak.line}: {leak.kind} ({leak.shown}, at byte {leak.offset})"


def _imported(file: Path, out: Path) -> ImportedRecording:
    from rollout_local.recordings import import_cassette
    from rollout_local.recordings import show as read

    try:
        count = import_cassette(file, out)
    except OSError as error:
        raise _cannot_write(out, error) from None
    items = read(out).interactions
    return {
        "path": str(out),
        "interactions": count,
        "request_bytes": sum(len(item.body or b"") for item in items),
        "response_bytes": sum(len(item.answer.body) for item in items),
    }


def _exported(file: Path, form: str, out: Path | None) -> tuple[int, str]:
    """How many interactions, and what to print: the cassette itself, or where it went."""
    from tempfile import TemporaryDirectory

    from rollout_local.recordings import export_cassette

    if out is None:
        with TemporaryDirectory() as folder:
            written = Path(folder) / "cassette"
            return export_cassette(file, written, form), written.read_text(encoding="utf-8")
    if out.exists():
        msg = f"{out}: is there already; name another file"
        raise InputError(msg)
    try:
        count = export_cassette(file, out, form)
    except OSError as error:
        raise _cannot_write(out, error) from None
    return count, visible(f"Wrote {out}: {count} interactions")


def _cannot_write(out: Path, error: OSError) -> InputError:
    return InputError(f"{out}: cannot be written ({error.strerror}); name another --out")
