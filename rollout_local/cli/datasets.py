"""`rollout datasets`: folders and tables in, versions by content, the split of their tasks.

What is read is checked whole before anything is written: a folder or a database that a command could not finish with
is left as it was.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NotRequired, TypedDict, Unpack

import click

from rollout_local.cli.flags import pairs_of_columns
from rollout_local.cli.options import common, database, json_columns, plain, print_json, print_table
from rollout_local.domain.dataset import SPLITS, TABLES
from rollout_local.errors import InputError
from rollout_local.reports.escape import visible

if TYPE_CHECKING:
    from rollout_local.domain.dataset import Dataset, Split, SplitName, Task
    from rollout_local.store.catalog_rows import DatasetRow
    from rollout_local.store.selected_types import AddedDataset

FOLDER = click.Path(path_type=Path)
PULL = f"""Make a dataset folder of a table: SOURCE is {", ".join(":".join(one) for one in TABLES.items())}.

COL is a column, or a part of a nested one: answers.text[0], messages[:-1].
"""
SHOWN = 60
"""Characters of a question or label that a table shows."""


class DatasetSummary(TypedDict):
    """A dataset without its tasks."""

    slug: str
    name: str
    task_count: int
    content_hash: str


class ValidatedSplits(TypedDict):
    """How many tasks a file of splits places where; `unused` are in none of them."""

    path: str
    train: int
    val: int
    holdout: int
    unused: int
    note: str


class ValidatedDataset(DatasetSummary):
    """What `validate` found."""

    with_expected_output: int
    with_expectations: int
    splits: NotRequired[ValidatedSplits]


class SplitOptions(TypedDict):
    """Options of `split`: shares, and what else decides whether and how the file is written."""

    train: float
    val: float
    holdout: float
    seed: int
    stratify: str | None
    force: bool
    quiet: bool
    no_color: bool


class PullOptions(TypedDict):
    """Options of `pull` that are one column, or say which part of a table is taken."""

    instruction: str | None
    name: str | None
    expected: str | None
    split: str | None
    config: str | None
    revision: str | None
    limit: int | None
    drop_duplicates: bool
    no_color: bool


@click.group()
def datasets() -> None:
    """Import, convert, split and check datasets: Harbor folders (dataset.toml, task.json each), or dataset.yaml."""


@datasets.command("import")
@click.argument("folder", metavar="DIR", type=FOLDER)
@common
def import_(folder: Path, db_path: Path, as_json: bool, **_options: object) -> None:
    """Keep the dataset in DIR in the database; the same content is one version."""
    row = _imported(folder, db_path)
    if as_json:
        print_json(row)
        return
    what = f"{row['slug']}@{row['version']} · {row['task_count']} tasks · {_short_hash(row)}"
    click.echo(f"Imported {what}" if row["is_new"] else f"{what} is imported already (unchanged)")


@datasets.command(help=PULL)
@click.argument("source", metavar="SOURCE")
@click.option("--instruction", metavar="COL", help="The column that becomes the instruction.")
@click.option("--input", "inputs", metavar="KEY=COL", multiple=True, help="A column that becomes input KEY.")
@click.option("--metadata", metavar="KEY=COL", multiple=True, help="A column that becomes metadata KEY.")
@click.option("--name", metavar="COL", help="The column that names the tasks (default: task-0001 …).")
@click.option("--expected", metavar="COL", help="The column that holds the expected output.")
@click.option("--split", help="hf: which split (default: train).")
@click.option("--config", help="hf: which configuration.")
@click.option("--revision", help="hf: which revision.")
@click.option("--limit", type=int, metavar="N", help="Take the first N rows.")
@click.option("--drop-duplicates", is_flag=True, help="Of rows that ask the same, keep the first.")
@click.option("--out", type=FOLDER, required=True, metavar="DIR", help="The folder to write.")
@plain
def pull(
    source: str,
    inputs: Sequence[str],
    metadata: Sequence[str],
    out: Path,
    as_json: bool,
    quiet: bool,
    **options: Unpack[PullOptions],
) -> None:
    """Make a dataset folder of a table; its help names every source."""
    from rollout_local.datasets import repeats

    dataset = _pulled(source, inputs, metadata, out, options)
    if as_json:
        print_json({**_summary(dataset), "path": str(out)})
        return
    click.echo(visible(f"Wrote {out}: {dataset.slug} · {len(dataset.tasks)} tasks"))
    if not quiet and (sentence := repeats(dataset)):
        click.echo(f"{sentence[:1].upper()}{sentence[1:]}.", err=True)
    if not quiet:
        click.echo(visible(f"Next: rollout datasets split {shlex.quote(str(out))}"), err=True)


@datasets.command("list")
@common
def list_(db_path: Path, as_json: bool, no_color: bool, **_options: object) -> None:
    """Show every dataset version in the database."""
    rows = _rows(db_path)
    if as_json:
        print_json(rows)
        return
    cells = [(r["slug"], r["version"], r["name"], r["task_count"], _short_hash(r), r["created_at"]) for r in rows]
    print_table(("slug", "version", "name", "tasks", "hash", "imported at"), cells, color=not no_color)


@datasets.command()
@click.argument("reference", metavar="REF")
@common
def show(reference: str, db_path: Path, as_json: bool, no_color: bool, **_options: object) -> None:
    """Show the tasks of an imported dataset; REF is SLUG (the newest version) or SLUG@VERSION."""
    row, dataset = _stored(reference, db_path)
    if as_json:
        print_json({**json_columns(row), "tasks": [task.content for task in dataset.tasks]})
        return
    click.echo(f"{row['slug']}@{row['version']} · {visible(row['name'])} · {row['task_count']} tasks")
    click.echo(f"{row['content_hash']}, imported at {row['created_at']}\n")
    print_table(("task", "question", "metadata", "expected"), _task_cells(dataset), color=not no_color)


@datasets.command()
@click.argument("reference", metavar="DIR|REF")
@click.option("--splits-file", type=FOLDER, metavar="FILE", help="Check this split of the tasks, too.")
@click.option("--seed", type=int, default=0, show_default=True, help="For a val that FILE does not name.")
@common
def validate(
    reference: str, splits_file: Path | None, seed: int, db_path: Path, as_json: bool, **_options: object
) -> None:
    """Check the dataset in DIR, or an imported one (SLUG, SLUG@VERSION), and say what it is; nothing is written."""
    found = _validated(load(reference, db_path), splits_file, seed)
    if as_json:
        print_json(found)
        return
    for line in _described(found):
        click.echo(visible(line))


@datasets.command()
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.option("--train", type=float, default=0.6, show_default=True, help="Share that the search learns from.")
@click.option("--val", type=float, default=0.2, show_default=True, help="Share that it selects on.")
@click.option("--holdout", type=float, default=0.2, show_default=True, help="Share that decides, unseen by the search.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed, another split.")
@click.option("--stratify", metavar="KEY", help="Same shares of each value of this metadata, or of expected.")
@click.option("--out", type=FOLDER, metavar="FILE", help="The file to write (default: DIR/splits.json).")
@click.option("--force", is_flag=True, help="Replace a file that says something else.")
@plain
def split(folder: Path, out: Path | None, as_json: bool, **options: Unpack[SplitOptions]) -> None:
    """Share the tasks in DIR out to train, val and holdout, and write that down for --splits-file.

    The seeded hash of their names decides the order, the shares how many go where: rounded down, at least one, and
    the rest to train. Another task may move others, unlike in a run without --splits-file; so it is written down.
    """
    file = out or folder / "splits.json"
    parts, is_new = _divided(folder, file, options)
    if as_json:
        print_json({"path": str(file), "is_new": is_new, **parts.model_dump(exclude={"note"})})
        return
    click.echo(visible(f"{'Wrote' if is_new else 'Unchanged:'} {file}: {_sizes(parts.sizes())}"))
    if not options["quiet"]:
        click.echo(visible(f"Next: rollout optimize create … --splits-file {shlex.quote(str(file))}"), err=True)


def _imported(folder: Path, db_path: Path) -> AddedDataset:
    from rollout_local.clock import now
    from rollout_local.store.catalog import import_dataset

    dataset = load(str(folder), db_path)  # what is in the database already is one of its versions
    with database(db_path, create=True) as store:
        return import_dataset(store, dataset, now())


def _pulled(source: str, inputs: Sequence[str], metadata: Sequence[str], out: Path, options: PullOptions) -> Dataset:
    from rollout_local.datasets import Columns
    from rollout_local.datasets import pull as pull_table

    columns = Columns(
        inputs=pairs_of_columns(inputs, "--input"),
        metadata=pairs_of_columns(metadata, "--metadata"),
        instruction=options["instruction"],
        name=options["name"],
        expected=options["expected"],
        limit=options["limit"],
        split=options["split"],
        config=options["config"],
        revision=options["revision"],
        drop_duplicates=options["drop_duplicates"],
    )
    return pull_table(source, columns, out)


def _rows(db_path: Path) -> list[DatasetRow]:
    from rollout_local.store.catalog import list_datasets

    with database(db_path, reads=True) as store:
        return list_datasets(store)


def _stored(reference: str, db_path: Path) -> tuple[DatasetRow, Dataset]:
    from rollout_local.store.catalog import find_dataset, load_dataset

    with database(db_path, reads=True) as store:
        row = find_dataset(store, reference)
        return row, load_dataset(store, row["id"])


def load(reference: str, db_path: Path) -> Dataset:
    """The dataset of a folder, or of an imported `slug[@version]`; a folder goes first, as it does in a run."""
    from rollout_local.datasets import read_dataset

    is_path = Path(reference).is_dir() or "/" in reference or not db_path.exists()
    return read_dataset(Path(reference)) if is_path else _stored(reference, db_path)[1]


def _validated(dataset: Dataset, splits_file: Path | None, seed: int) -> ValidatedDataset:
    from rollout_local.datasets import check_leakage, make_split, read_splits

    found: ValidatedDataset = {
        "slug": dataset.slug,
        "name": dataset.name,
        "task_count": len(dataset.tasks),
        "content_hash": dataset.content_hash,
        "with_expected_output": sum(task.expected_output is not None for task in dataset.tasks),
        "with_expectations": sum("expectations" in task.metadata for task in dataset.tasks),
    }
    if splits_file is not None:
        parts = make_split(dataset, seed, read_splits(splits_file))
        check_leakage(dataset, parts)
        placed = sum(parts.sizes().values())
        found["splits"] = {
            "path": str(splits_file),
            "train": len(parts.train),
            "val": len(parts.val),
            "holdout": len(parts.holdout),
            "unused": len(dataset.tasks) - placed,
            "note": parts.note,
        }
    return found


def _described(found: ValidatedDataset) -> list[str]:
    lines = [
        f"{found['slug']} · {found['name']} · {found['task_count']} tasks",
        found["content_hash"],
        f"{found['with_expected_output']} with an expected output, {found['with_expectations']} with expectations",
    ]
    if "splits" in found:
        splits = found["splits"]
        sizes = {name: splits[name] for name in SPLITS}
        unused = f", {splits['unused']} in none" if splits["unused"] else ""
        lines.append(f"{splits['path']}: {_sizes(sizes)}{unused}; no question stands in two splits")
        lines += [splits["note"]] if splits["note"] else []
    return lines


def _divided(folder: Path, file: Path, options: SplitOptions) -> tuple[Split, bool]:
    """The split, and whether the file was written: one that says the same is left alone."""
    from rollout_local.datasets import check_leakage, divide, read_dataset, write_splits

    dataset = read_dataset(folder)
    ratios = (options["train"], options["val"], options["holdout"])
    parts = divide(dataset, options["seed"], ratios, _label(dataset, options["stratify"]))
    check_leakage(dataset, parts)
    if _says(file, parts):
        return parts, False
    if file.exists() and not options["force"]:
        msg = f"{file} exists and says something else; give another --out, or --force to replace it"
        raise InputError(msg)
    write_splits(parts, file)
    return parts, True


def _label(dataset: Dataset, key: str | None) -> Callable[[Task], str] | None:
    """What a task is counted under: its expected output, or a value of its metadata."""
    if key is None:
        return None
    if key == "expected":
        return lambda task: str(task.expected_output)
    if not any(key in task.metadata for task in dataset.tasks):
        there = sorted({name for task in dataset.tasks for name in task.metadata})
        msg = f"no task has the metadata {key!r}; there is {', '.join(['expected', *there])}"
        raise InputError(msg)
    return lambda task: str(task.metadata.get(key))


def _says(file: Path, parts: Split) -> bool:
    from rollout_local.datasets import read_splits

    try:
        written = read_splits(file)
    except InputError:
        return False
    return {name: tuple(names) for name, names in written.items()} == parts.model_dump(exclude={"note"})


def _summary(dataset: Dataset) -> DatasetSummary:
    return {
        "slug": dataset.slug,
        "name": dataset.name,
        "task_count": len(dataset.tasks),
        "content_hash": dataset.content_hash,
    }


def _task_cells(dataset: Dataset) -> list[tuple[str, ...]]:
    return [
        (
            task.name,
            _cut(" · ".join(filter(None, [task.instruction, _brief(task.input)]))),
            _cut(", ".join(task.metadata)),
            _cut(_brief(task.expected_output)),
        )
        for task in dataset.tasks
    ]


def _brief(value: object) -> str:
    """A value on one line: a text as it is, an object with one text as that text, anything else as JSON."""
    if isinstance(value, dict) and len(value) == 1 and isinstance(next(iter(value.values())), str):
        value = next(iter(value.values()))
    if value in (None, {}):
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"


def _sizes(sizes: Mapping[SplitName, int]) -> str:
    return " · ".join(f"{name} {sizes[name]}" for name in SPLITS)


def _short_hash(row: DatasetRow) -> str:
    return str(row["content_hash"])[:19]
