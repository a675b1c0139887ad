"""A table becomes a Harbor folder: `csv:`, `tsv:`, `json:`, `jsonl:`, `parquet:` or `hf:` and a map from its columns.

Every row becomes one task or the whole table is refused, naming the line: no row is dropped, filled in or
renamed in silence, and nothing is written before the last row is read. The cells of a csv are text; only a
cell for metadata or the expected output that is a JSON object or list is read as one, so that labels can
travel. The other sources keep their types, and a column may be a part of a nested one: `answers.text[0]`,
`messages[:-1]`.
"""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

from rollout_local.datasets.harbor import require_free, task_problem, write_folder
from rollout_local.datasets.names import name_problem, safe_name
from rollout_local.datasets.paths import part_of, root_of
from rollout_local.documents import kind_of, parse_json, read_text
from rollout_local.domain.dataset import TABLE_FILES, Columns, Dataset, Task
from rollout_local.domain.identity import content_hash
from rollout_local.errors import InputError


@dataclass(frozen=True)
class Row:
    """One row and where it stands (`file:line`)."""

    where: str
    cells: Mapping[str, object]


@dataclass(frozen=True)
class SourceType:
    """How rows are read, and whether their cells can only be text."""

    rows: Callable[[str, Columns], Iterator[Row]]
    text_only: bool = False


def pull(source: str, columns: Columns, out: Path | str) -> Dataset:
    """Read `source` (`csv:PATH`, `json:PATH`, `parquet:PATH`, `hf:REPO` …) and write it as a Harbor folder.

    Returns the dataset that was written, named after the folder. Raises `InputError`, with nothing written,
    for an occupied folder, missing columns, damaged or uneven rows, names that occur twice, no rows at all.
    """
    folder = Path(out)
    require_free(folder)
    dataset = read_table(source, columns, folder.resolve().name)
    write_folder(dataset, folder)
    return dataset


def is_table(reference: str) -> bool:
    """Whether a reference to a dataset is a source of rows: `csv:PATH`, or a file that has the suffix of one."""
    scheme, colon, _ = reference.partition(":")
    return (scheme in SOURCES and bool(colon)) or Path(reference).suffix.lower().removeprefix(".") in TABLE_FILES


def read_table(source: str, columns: Columns, name: str, folder: Path | None = None) -> Dataset:
    """The dataset called `name` that the rows of `source` make; a path in it is relative to `folder`.

    Raises `InputError` for missing columns, damaged or uneven rows, names that occur twice, no rows at all.
    """
    scheme, address = _parts(source)
    kind = SOURCES[scheme]
    place = str(folder / address) if folder is not None and scheme in TABLE_FILES else address
    _check_columns(kind, place, columns)
    rows = _some(islice(kind.rows(place, columns), columns.limit), address)
    slug = safe_name(name, "dataset")
    tasks = _tasks(rows, columns, text_only=kind.text_only)
    if columns.drop_duplicates:
        first = {content_hash(task.question): task for task in reversed(tasks)}
        tasks = tuple(task for task in tasks if first[content_hash(task.question)] is task)
    return Dataset(name=slug, slug=slug, tasks=tasks)


def rows_of(source: str) -> list[Row]:
    """The rows of a source as they are, each with the place where it stands. Raises `InputError` as `read_table`."""
    scheme, address = _parts(source)
    return _some(SOURCES[scheme].rows(address, Columns()), address)


def _some(rows: Iterator[Row], address: str) -> list[Row]:
    found = list(rows)
    if not found:
        msg = f"{address} has no rows; there is nothing to make tasks of"
        raise InputError(msg)
    return found


def _parts(source: str) -> tuple[str, str]:
    """Scheme and address; a file's suffix is its scheme where none is given."""
    scheme, _, address = source.partition(":")
    if scheme not in SOURCES or not address:
        scheme, address = Path(source).suffix.lower().removeprefix("."), source
    if scheme not in SOURCES:
        msg = f'the source "{source}" is not one of {", ".join(f"{name}:…" for name in SOURCES)}'
        raise InputError(msg)
    return scheme, address


def table_name(source: str) -> str:
    """What a dataset of this source is called where nobody says: its file's name without the suffix."""
    scheme, _, address = source.partition(":")
    return Path(address if scheme in SOURCES else source).stem


def repeats(dataset: Dataset) -> str:
    """How many tasks ask what an earlier one asks, in a sentence; empty where none does."""
    first: dict[str, Task] = {}
    others = [task for task in dataset.tasks if first.setdefault(content_hash(task.question), task) is not task]
    if not others:
        return ""
    apart = sum(task.expected_output != first[content_hash(task.question)].expected_output for task in others)
    differ = f", {apart} of them with another expected output" if apart else ""
    return (
        f"{len(others)} of {len(dataset.tasks)} tasks ask what an earlier one asks{differ}; a split keeps them "
        "together, and --drop-duplicates keeps the first of each"
    )


def _check_columns(kind: SourceType, address: str, columns: Columns) -> None:
    if columns.instruction is None and not columns.inputs:
        first = next(kind.rows(address, columns), None)
        there = f"; the columns are {', '.join(first.cells)}" if first is not None else ""
        msg = f"nothing becomes the question; give --instruction COLUMN or --input key=column{there}"
        raise InputError(msg)
    if columns.limit is not None and columns.limit < 1:
        msg = f"--limit {columns.limit} leaves no rows; give at least 1"
        raise InputError(msg)


def _tasks(rows: list[Row], columns: Columns, *, text_only: bool) -> tuple[Task, ...]:
    width = max(4, len(str(len(rows))))
    seen: dict[str, str] = {}
    tasks = []
    for number, row in enumerate(rows, 1):
        name = _name(row, columns.name) if columns.name else f"task-{number:0{width}d}"
        if name in seen:
            msg = f'{row.where}: the name "{name}" is that of {seen[name]} too; name tasks by a column of unique values'
            raise InputError(msg)
        seen[name] = row.where
        tasks.append(_task(name, row, columns, text_only=text_only))
    return tuple(tasks)


def _task(name: str, row: Row, columns: Columns, *, text_only: bool) -> Task:
    def structured(column: str) -> Any:
        value = _cell(row, column)
        return _label(value) if text_only else value

    expected = structured(columns.expected) if columns.expected else None
    task = Task(
        name=name,
        instruction=_text(row, columns.instruction) if columns.instruction else "",
        input={key: _cell(row, column) for key, column in columns.inputs.items()},
        metadata={key: structured(column) for key, column in columns.metadata.items()},
        expected_output=None if text_only and expected == "" else expected,
    )
    if problem := task_problem(task):
        msg = f"{row.where}: {problem}"
        raise InputError(msg)
    return task


def _name(row: Row, column: str) -> str:
    name = " ".join(_text(row, column).split())
    if problem := name_problem(name):
        msg = f'{row.where}: column "{column}": {problem}'
        raise InputError(msg)
    return name


def _text(row: Row, column: str) -> str:
    value = _cell(row, column)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        msg = f'{row.where}: the column "{column}" holds {kind_of(value)}; it must be a text'
        raise InputError(msg)
    return value


def _cell(row: Row, column: str) -> Any:
    _require_columns([column], row.cells, row.where)
    return part_of(row.cells, column, row.where)


def _require_columns(wanted: list[str], there: Mapping[str, object] | list[str], where: str) -> None:
    missing = [column for column in wanted if column not in there and root_of(column) not in there]
    if missing:
        shown = ", ".join(f'"{column}"' for column in missing)
        have = ", ".join(f'"{column}"' for column in list(there)[:30])
        msg = f"{where} has no column {shown}; it has {have}"
        raise InputError(msg)


def _label(cell: str) -> object:
    """A csv cell that is a JSON object or list, as that; any other as the text that it is."""
    if not cell.lstrip().startswith(("{", "[")):
        return cell
    try:
        return parse_json(cell, "cell")
    except InputError:
        return cell


@contextmanager
def _wide_fields() -> Iterator[None]:
    """Lift the csv module's limit of 131,072 characters a field, which is one for the whole process."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _csv_rows(address: str, columns: Columns) -> Iterator[Row]:
    path = Path(address)
    text = read_text(path)
    lines = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=_delimiter(text))
    header = _csv_header(lines, path)
    _require_columns(columns.used(), header, f"{path}")
    while True:
        line = lines.line_num + 1
        cells = _next_cells(lines, path, line)
        if cells is None:
            return
        if cells and len(cells) != len(header):
            msg = f"{path}:{line}: {len(cells)} cells where the header has {len(header)}; quote cells with separators"
            raise InputError(msg)
        if cells:
            yield Row(f"{path}:{line}", dict(zip(header, cells, strict=True)))


def _delimiter(text: str) -> str:
    """What separates the cells: a comma, or what a header without one has instead (as spreadsheets write it)."""
    header = text.lstrip("\ufeff\r\n").partition("\n")[0]
    return "," if "," in header else next((mark for mark in "\t;|" if mark in header), ",")


def _csv_header(lines: Any, path: Path) -> list[str]:
    header: list[str] | None = []
    while header is not None and not header:
        header = _next_cells(lines, path, lines.line_num + 1)
    if header is None:
        msg = f"{path} is empty; the first row must name the columns"
        raise InputError(msg)
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        msg = f'{path}:1: the column "{twice[0]}" occurs twice; rename one'
        raise InputError(msg)
    return header


def _next_cells(lines: Any, path: Path, line: int) -> list[str] | None:
    """The next row's cells, `[]` for a blank line, None at the end."""
    try:
        with _wide_fields():
            cells: list[str] | None = next(lines, None)
    except csv.Error as error:
        msg = f"{path}:{line}: not readable as csv: {error}; check the quotes of this row"
        raise InputError(msg) from error
    return cells


def _json_rows(address: str, columns: Columns) -> Iterator[Row]:
    """The objects of a list; of an object that has one list of objects, those."""
    path = Path(address)
    document = parse_json(read_text(path), path)
    lists = [value for value in document.values() if _are_rows(value)] if isinstance(document, dict) else [document]
    if len(lists) != 1 or not isinstance(lists[0], list):
        msg = f"{path} is {kind_of(document)}; give a list of objects, or an object with one such list in it"
        raise InputError(msg)
    for number, cells in enumerate(lists[0], 1):
        yield _row(cells, f"{path}: row {number}", columns)


def _are_rows(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _row(cells: object, where: str, columns: Columns) -> Row:
    if not isinstance(cells, dict):
        msg = f"{where}: is {kind_of(cells)}; each row must be an object"
        raise InputError(msg)
    _require_columns(columns.used(), cells, where)
    return Row(where, cells)


def _jsonl_rows(address: str, columns: Columns) -> Iterator[Row]:
    path = Path(address)
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        yield _row(parse_json(line, path, number), f"{path}:{number}", columns)


def _parquet_rows(address: str, columns: Columns) -> Iterator[Row]:
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        _refuse_extra("parquet")
    if not Path(address).is_file():
        msg = f"{address} does not exist; check the path"
        raise InputError(msg)
    try:
        table = parquet.read_table(address)
    except (OSError, ValueError) as error:  # pyarrow.ArrowInvalid is a ValueError
        msg = f"{address} is not readable as parquet: {error}"
        raise InputError(msg) from error
    _require_columns(columns.used(), table.column_names, address)
    for number, cells in enumerate(table.to_pylist(), 1):
        yield Row(f"{address}: row {number}", _plain(cells))


def _hub_rows(address: str, columns: Columns) -> Iterator[Row]:
    try:
        import datasets
    except ImportError:
        _refuse_extra("hf")
    split = columns.split or "train"
    try:
        table = datasets.load_dataset(address, columns.config, split=split, revision=columns.revision)
    except Exception as error:
        msg = f"hf:{address} (split {split}) could not be loaded: {_first_line(error)}"
        raise InputError(msg) from error
    _require_columns(columns.used(), table.column_names, f"hf:{address}")
    for number, cells in enumerate(table, 1):
        yield Row(f"hf:{address}: row {number}", _plain(cells))


def _plain(cells: Mapping[str, object]) -> dict[str, object]:
    """Dates and times as ISO-8601 text; everything else as it came, for the rules of JSON to judge."""
    return {key: value.isoformat() if hasattr(value, "isoformat") else value for key, value in cells.items()}


def _first_line(error: Exception) -> str:
    return re.split(r"[\r\n]", str(error).strip() or type(error).__name__)[0]


def _refuse_extra(extra: str) -> NoReturn:
    msg = f"{extra}: sources need the extra rollout-local[{extra}]; pip install 'rollout-local[{extra}]'"
    raise InputError(msg) from None


SOURCES: dict[str, SourceType] = {
    "csv": SourceType(_csv_rows, text_only=True),
    "tsv": SourceType(_csv_rows, text_only=True),
    "json": SourceType(_json_rows),
    "jsonl": SourceType(_jsonl_rows),
    "parquet": SourceType(_parquet_rows),
    "hf": SourceType(_hub_rows),
}
"""Scheme of `domain.dataset.TABLES` → how its rows are read."""
