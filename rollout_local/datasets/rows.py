"""A table of rows with a dataset.yaml is a Dataset: csv, json, jsonl or parquet, as capability jobs read them.

    support/
      dataset.yaml      name, version, summary, format, data_schema, row_count, splits (name: path) or files
      train.jsonl       goal, expected_output (or answer), reward, metadata

`goal` becomes `input.goal`; without it the only other column there is, or a map from columns to inputs that the caller
gives. `expected_output` falls back to `answer`. `reward` must be a number from 0 to 1 and becomes `metadata.reward`;
columns that are none of these go to `metadata`, which the agent does not see. Tasks are named `row-0001` … over all
files in order. Every row is read or the whole is refused, naming file and line.

(The hosted loader reads only the first file of a dataset without a chosen split; here the splits are kept.)
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from rollout_local.datasets.harbor import read_folder, task_problem
from rollout_local.datasets.names import is_slug, safe_name
from rollout_local.datasets.sources import SOURCES, Row
from rollout_local.datasets.yaml_text import parse_yaml
from rollout_local.documents import kind_of, parse_json, read_text, suggestion
from rollout_local.domain.dataset import Columns, Dataset, SplitName, Task
from rollout_local.errors import InputError

MANIFEST = "dataset.yaml"
KEYS = (
    "name", "version", "summary", "description", "format", "data_schema", "row_count", "splits", "files", "tags",
    "license", "pretty_name", "language", "task_categories", "size_category", "origin",
)  # fmt: skip
FORMATS = ("csv", "json", "jsonl", "parquet")
SPLIT_NAMES: dict[str, SplitName] = {
    "train": "train", "val": "val", "validation": "val", "dev": "val", "test": "holdout", "holdout": "holdout",
}  # fmt: skip
"""What a split may be called there, and what it is here."""
SCORING = ("expected_output", "answer", "reward", "metadata")
_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
_LEFT_OUT = {".git", "__pycache__"}


@dataclass(frozen=True)
class RowDataset:
    """A dataset of rows, its version as written, and the names of its tasks by split where it has splits."""

    dataset: Dataset
    version: str = "0.1.0"
    splits: Mapping[SplitName, Sequence[str]] = field(default_factory=dict)


def is_rows(path: Path) -> bool:
    """True for a folder with a dataset.yaml."""
    return (path / MANIFEST).is_file()


def read_dataset(path: Path | str) -> Dataset:
    """The dataset of a folder of either kind: with a dataset.yaml, or Harbor's. Raises as their readers do."""
    return read_rows(path).dataset if is_rows(Path(path)) else read_folder(path)


def read_rows(path: Path | str, inputs: Mapping[str, str] | None = None) -> RowDataset:
    """The dataset of a folder with a dataset.yaml; `inputs` maps columns to keys of a task's input.

    Raises `InputError`, naming file and line, for everything that is missing, malformed or leads out of the folder.
    """
    root = Path(path)
    where = root / MANIFEST
    raw = parse_yaml(read_text(where), where)
    _check_manifest(raw, where)
    files = _files(raw, root)
    form = _format(raw.get("format"), [file for _, file in files], where)
    rows = [(split, row) for split, file in files for row in SOURCES[form].rows(str(file), Columns())]
    if not rows:
        _refuse(f"{root} has no rows; there is nothing to make tasks of")
    _check_rows(raw, [row for _, row in rows], where)
    return _rows(raw, root, rows, inputs or {}, text_only=form == "csv")


def _rows(
    raw: Mapping[str, Any], root: Path, rows: list[tuple[str, Row]], inputs: Mapping[str, str], *, text_only: bool
) -> RowDataset:
    name = raw.get("name") or root.resolve().name
    tasks, splits = [], dict[SplitName, list[str]]()
    width = max(4, len(str(len(rows))))
    for number, (split, row) in enumerate(rows, 1):
        task = _task(f"row-{number:0{width}d}", row, inputs, text_only=text_only)
        tasks.append(task)
        if split:
            splits.setdefault(SPLIT_NAMES[split], []).append(task.name)
    slug = name if is_slug(name) else safe_name(name, "dataset")
    return RowDataset(Dataset(name=name, slug=slug, tasks=tuple(tasks)), raw.get("version", "0.1.0"), splits)


def _check_manifest(raw: Mapping[str, Any], where: Path) -> None:
    for key, value in raw.items():
        if key not in KEYS:
            _refuse(f'{where}: unknown key "{key}"; {suggestion(key, list(KEYS))}')
        if key in ("name", "version", "summary", "description", "format") and not isinstance(value, str):
            _refuse(f'{where}: "{key}" is {kind_of(value)}; it must be a text (quote it)')
    if "version" in raw and not _VERSION.fullmatch(raw["version"]):
        _refuse(f"{where}: the version {raw['version']!r} must be three numbers such as 1.0.0, without a suffix")
    if not isinstance(raw.get("data_schema", {}), dict):
        _refuse(f'{where}: "data_schema" must map columns to types')


def _files(raw: Mapping[str, object], root: Path) -> list[tuple[str, Path]]:
    """The data files in order, each with the name of its split (empty: none)."""
    splits, files = raw.get("splits"), raw.get("files")
    if splits is not None:
        return [(name, _inside(file, root)) for name, file in _named(splits, root).items()]
    if files is not None:
        if not isinstance(files, list) or not files:
            _refuse(f'{root / MANIFEST}: "files" must be a list of paths')
        return [("", _inside(file, root)) for file in files]
    found = sorted(path for path in root.rglob("*") if path.suffix[1:] in FORMATS and path.is_file())
    kept = [path for path in found if not _LEFT_OUT & set(path.relative_to(root).parts)]
    if not kept:
        _refuse(f"{root} has no data file ({', '.join(FORMATS)}); add one beside {MANIFEST}")
    return [("", _inside(path.relative_to(root).as_posix(), root)) for path in kept]


def _named(splits: object, root: Path) -> dict[str, object]:
    if not isinstance(splits, dict) or not splits:
        _refuse(f'{root / MANIFEST}: "splits" must map the names of splits to paths')
    for name in splits:
        if name not in SPLIT_NAMES:
            _refuse(f'{root / MANIFEST}: the split "{name}" is not known; {suggestion(name, list(SPLIT_NAMES))}')
    here = [SPLIT_NAMES[name] for name in splits]
    if len(set(here)) < len(here):
        _refuse(f"{root / MANIFEST}: two of the splits {', '.join(splits)} are the same one; keep one")
    return splits


def _inside(path: object, root: Path) -> Path:
    """A data file, which must lie inside the folder when links and `..` are followed."""
    if not isinstance(path, str) or not path:
        _refuse(f"{root / MANIFEST}: a data file is given as {kind_of(path)}; it must be a path inside the folder")
    file = root / path
    try:
        within = "\0" not in path and file.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # a loop of links
        within = False
    if not within:
        _refuse(f"{root / MANIFEST}: the path {path!a} leads out of {root}; keep it inside")
    if not file.is_file():
        _refuse(f"{root / MANIFEST}: the data file {file} does not exist; create it, or correct the path")
    return file


def _format(given: str | None, files: list[Path], where: Path) -> str:
    """The one format of all files, by what the manifest says or else by their endings."""
    found = {given} if given is not None else {file.suffix[1:] for file in files}
    if len(found) > 1:
        _refuse(f"{where}: the files are of several formats ({', '.join(sorted(found))}); a dataset has one")
    form = str(found.pop())
    if form not in FORMATS:
        _refuse(f'{where}: the format "{form}" is not read; use one of {", ".join(FORMATS)}')
    for file in files:
        if file.suffix[1:] in FORMATS and file.suffix[1:] != form:
            _refuse(f"{where}: {file.name} is no {form} file; correct the format, or the file")
    return form


def _check_rows(raw: Mapping[str, Any], rows: list[Row], where: Path) -> None:
    count = raw.get("row_count")
    if count is not None and count != len(rows):
        _refuse(f"{where}: row_count is {count}, and the files have {len(rows)} rows; correct one of them")
    for column in raw.get("data_schema", {}):
        if not any(column in row.cells for row in rows):
            _refuse(f'{where}: data_schema names the column "{column}", which no row has')


def _task(name: str, row: Row, inputs: Mapping[str, str], *, text_only: bool) -> Task:
    cells = {column: value for column, value in row.cells.items() if value is not None and not _empty(value, text_only)}
    mapped = _inputs(row, inputs)
    expected = "expected_output" if "expected_output" in cells else "answer"
    used = {*mapped, expected, "reward", "metadata"}
    task = Task(
        name=name,
        input={key: cells[column] for column, key in mapped.items() if column in cells},
        expected_output=cells.get(expected),
        metadata=_metadata(row, cells, used, text_only=text_only),
    )
    if problem := task_problem(task):
        _refuse(f"{row.where}: {problem}")
    return task


def _empty(value: object, text_only: bool) -> bool:
    """An empty cell of a csv says nothing; an empty text elsewhere is one."""
    return text_only and value == ""


def _inputs(row: Row, inputs: Mapping[str, str]) -> Mapping[str, str]:
    """Column → key of the input."""
    missing = [column for column in inputs if column not in row.cells]
    if missing:
        _refuse(f'{row.where} has no column "{missing[0]}"; it has {", ".join(row.cells)}')
    if inputs:
        return inputs
    if "goal" in row.cells:
        return {"goal": "goal"}
    others = [column for column in row.cells if column not in SCORING]
    if len(others) != 1:
        there = f"several columns ({', '.join(others)})" if others else "no column"
        _refuse(f"{row.where} has {there} and none is named goal; rename the one that the agent is asked")
    return {others[0]: others[0]}


def _metadata(row: Row, cells: Mapping[str, object], used: set[str], *, text_only: bool) -> dict[str, object]:
    metadata = cells.get("metadata", {})
    if text_only and isinstance(metadata, str):
        metadata = parse_json(metadata, f"{row.where}: metadata")
    if not isinstance(metadata, dict):
        _refuse(f"{row.where}: metadata is {kind_of(metadata)}; it must be an object")
    others = {column: value for column, value in cells.items() if column not in used}
    if "reward" in cells:
        others["reward"] = _reward(row, cells["reward"], text_only=text_only)
    twice = sorted(set(others) & set(metadata))
    if twice:
        _refuse(f'{row.where}: "{twice[0]}" is a column and stands in metadata too; keep one')
    return {**metadata, **others}


def _reward(row: Row, value: Any, *, text_only: bool) -> float:
    try:
        number = float(value) if text_only or not isinstance(value, bool | str) else math.nan
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not 0 <= number <= 1:
        _refuse(f"{row.where}: the reward is {value!r}; it must be a number from 0 to 1: scale it")
    return number


def _refuse(message: str) -> NoReturn:
    raise InputError(message) from None
