"""A Harbor folder, as Rollout uses it, is a Dataset, and back.

    datasets/refunds/
      dataset.toml              name = "…"  slug = "…"  and for each task [[tasks]] name = "…" path = "…"
      refund-in-window/
        task.json               instruction, input, metadata, expected_output, expected_output_schema

What is written and read again is an equal Dataset with the same content hash. Nothing outside the folder is
read, whatever its paths and links say; nothing half-written is left behind. (The Harbor framework's own
folders, with task.toml and instruction.md, are another format: hosted Rollout cannot read them either.)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rollout_local.datasets.names import is_slug, name_problem, safe_name, safe_names
from rollout_local.documents import json_problem, kind_of, parse_json, parse_toml, read_text, suggestion
from rollout_local.domain.dataset import TABLE_FILES, Dataset, Task
from rollout_local.errors import InputError

MANIFEST = "dataset.toml"
TASK_FILE = "task.json"
FIELDS: dict[str, type] = {
    "instruction": str,
    "input": dict,
    "metadata": dict,
    "expected_output": object,
    "expected_output_schema": dict,
}
"""The keys of a task.json and what they hold."""
ALIASES = {"expectedOutput": "expected_output", "expectedOutputSchema": "expected_output_schema"}

_FORMAT = f'a {MANIFEST} with name, slug and [[tasks]], and a {TASK_FILE} with "instruction" or "input" per task'
_FOREIGN = f"of the Harbor framework (task.toml, instruction.md), not Rollout's; needed is {_FORMAT}"


@dataclass(frozen=True)
class _Entry:
    """One `[[tasks]]` of a manifest."""

    name: str
    path: str


def read_folder(path: Path | str) -> Dataset:
    """The dataset of a Harbor folder.

    Raises `InputError`, naming file, line, task and key, for everything that is missing or malformed, leads
    out of the folder, or is not understood (unknown keys are refused, so that a misspelt one cannot be lost).
    """
    try:
        return _read(Path(path))
    except OSError as error:
        msg = f"the dataset folder {path} cannot be read: {error}"
        raise InputError(msg) from error


def _read(root: Path) -> Dataset:
    _require_manifest(root)
    manifest = parse_toml(read_text(root / MANIFEST), root / MANIFEST)
    name, slug = _read_head(manifest, root)
    entries = _read_entries(manifest.get("tasks"), root / MANIFEST)
    return Dataset(name=name, slug=slug, tasks=tuple(_read_task(root, entry) for entry in entries))


def write_folder(dataset: Dataset, path: Path | str) -> None:
    """Write `dataset` as a Harbor folder, all of it or nothing.

    `path` must not exist, or be an empty folder. Raises `InputError` where it is occupied or cannot be
    written, and for values that could not be read back as they are.
    """
    out = Path(path)
    _require_fit(dataset)
    require_free(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=out.parent, prefix=".rollout-") as scratch:
            staged = Path(scratch) / "dataset"
            _write_into(staged, dataset)
            staged.rename(out)
    except OSError as error:
        msg = f"{out} cannot be written: {error.strerror or error}"
        raise InputError(msg) from error


def require_free(out: Path) -> None:
    """Refuse a place that holds something already."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        msg = f"{out} exists and is not a folder; give another --out"
        raise InputError(msg)
    if out.is_dir() and any(out.iterdir()):
        msg = f"{out} is not empty; give another --out, or remove it first"
        raise InputError(msg)


def task_problem(task: Task) -> str:
    """Why `task` cannot be a task.json that is read back as it is, in words; empty where it can."""
    if not task.instruction.strip() and not task.input:
        return 'has neither "instruction" nor "input"; the agent would be asked nothing'
    return name_problem(task.name) or json_problem(_document(task))


def _require_manifest(root: Path) -> None:
    if not root.exists():
        msg = f"the dataset folder {root} does not exist; check the path"
    elif not root.is_dir():
        table = (
            f", or make one: rollout datasets pull {kind}:{root}" if (kind := root.suffix[1:]) in TABLE_FILES else ""
        )
        msg = f"{root} is a file; give the folder that holds {MANIFEST}{table}"
    elif (root / MANIFEST).exists():
        return
    elif _looks_foreign(root) or any(_looks_foreign(child) for child in root.iterdir() if child.is_dir()):
        msg = f"{root} is a folder {_FOREIGN}"
    else:
        msg = f"{root} has no {MANIFEST}; a dataset is {_FORMAT}"
    raise InputError(msg)


def _looks_foreign(folder: Path) -> bool:
    return (folder / "task.toml").exists() or (folder / "instruction.md").exists()


def _read_head(manifest: Mapping[str, object], root: Path) -> tuple[str, str]:
    """Name and slug; the slug defaults to the folder's name, the name to the slug."""
    where = root / MANIFEST
    if isinstance(manifest.get("dataset"), dict):
        msg = f"{where} has a [dataset] table: it is {_FOREIGN}"
        raise InputError(msg)
    _refuse_unknown(manifest, ["name", "slug", "tasks"], f"{where}")
    slug = _text(manifest, "slug", f"{where}", safe_name(root.resolve().name, "dataset"))
    if not is_slug(slug):
        msg = f'{where}: the slug "{slug}" may hold letters, digits, "_", "." and "-" only; change it'
        raise InputError(msg)
    return _text(manifest, "name", f"{where}", slug), slug


def _read_entries(tables: object, where: Path) -> list[_Entry]:
    if not isinstance(tables, list) or not tables:
        msg = f"{where} lists no tasks; add a [[tasks]] table with name and path for each"
        raise InputError(msg)
    entries = [_read_entry(table, f"{where}: task {number}") for number, table in enumerate(tables, 1)]
    for field in ("name", "path"):
        values = [getattr(entry, field) for entry in entries]
        twice = sorted({value for value in values if values.count(value) > 1}) if len(set(values)) < len(values) else []
        if twice:
            msg = f"{where}: the task {field} {_listed(twice)} is given more than once; each needs its own"
            raise InputError(msg)
    return entries


def _read_entry(table: object, where: str) -> _Entry:
    if not isinstance(table, dict):
        msg = f"{where} is {kind_of(table)}; write a [[tasks]] table with name and path"
        raise InputError(msg)
    _refuse_unknown(table, ["name", "path"], where)
    if "name" not in table:
        msg = f"{where} has no name; give it one"
        raise InputError(msg)
    name = _text(table, "name", where, "")
    if problem := name_problem(name):
        msg = f"{where}: {problem}"
        raise InputError(msg)
    return _Entry(name, _text(table, "path", where, name))


def _read_task(root: Path, entry: _Entry) -> Task:
    file = _task_file(root, entry)
    where = f'task "{entry.name}": {file}'
    raw = parse_json(read_text(file), file)
    if not isinstance(raw, dict):
        msg = f"{where}: is {kind_of(raw)}; a task is an object with {', '.join(FIELDS)}"
        raise InputError(msg)
    task = Task(name=entry.name, **_fields(raw, where))
    if problem := task_problem(task):
        msg = f"{where}: {problem}"
        raise InputError(msg)
    return task


def _task_file(root: Path, entry: _Entry) -> Path:
    """The entry's task.json, which must lie inside the folder when links and `..` are followed."""
    file = root / entry.path / TASK_FILE
    if not entry.path or "\0" in entry.path or not _inside(file, root):
        msg = f'task "{entry.name}": the path "{ascii(entry.path)[1:-1]}" leads out of {root}; keep it inside'
        raise InputError(msg)
    folder = root / entry.path
    if not folder.is_dir():
        msg = f'task "{entry.name}": the folder {folder} does not exist; create it, or correct {root / MANIFEST}'
        raise InputError(msg)
    if not file.is_file():
        foreign = f"; the folder is {_FOREIGN}" if _looks_foreign(folder) else "; write it"
        msg = f'task "{entry.name}": {file} does not exist{foreign}'
        raise InputError(msg)
    return file


def _inside(file: Path, root: Path) -> bool:
    try:
        return file.resolve().is_relative_to(root.resolve()) and file.resolve().parent != root.resolve()
    except (OSError, RuntimeError):  # a loop of links; which of the two depends on the Python version
        return False


def _fields(raw: Mapping[str, object], where: str) -> dict[str, object]:
    """The values of a task.json under their snake_case names, types checked; null means absent."""
    _refuse_unknown(raw, [*FIELDS, *ALIASES], where, shown=list(FIELDS))
    for alias, name in ALIASES.items():
        if alias in raw and name in raw:
            msg = f'{where}: both "{alias}" and "{name}" are given; keep one'
            raise InputError(msg)
    values = {ALIASES.get(key, key): value for key, value in raw.items() if value is not None}
    for key, value in values.items():
        if not isinstance(value, FIELDS[key]):
            need = "a text" if FIELDS[key] is str else 'an object, such as {"text": "…"}'
            msg = f'{where}: "{key}" is {kind_of(value)}; it must be {need}'
            raise InputError(msg)
    return values


def _text(table: Mapping[str, object], key: str, where: str, default: str) -> str:
    value = table.get(key, default)
    if not isinstance(value, str) or not value.strip():
        found = "empty" if isinstance(value, str) else kind_of(value)
        msg = f'{where}: "{key}" is {found}; it must be a text'
        raise InputError(msg)
    return value


def _refuse_unknown(table: Mapping[str, object], known: list[str], where: str, shown: list[str] | None = None) -> None:
    for key in table:
        if key not in known:
            msg = f'{where}: unknown key "{key}"; {suggestion(key, shown or known)}'
            raise InputError(msg)


def _listed(values: list[str]) -> str:
    more = f" and {len(values) - 5} more" if len(values) > 5 else ""
    return ", ".join(f'"{value}"' for value in values[:5]) + more


def _require_fit(dataset: Dataset) -> None:
    """Refuse what could not be read back: the same rules as reading, over values that were made in Python."""
    if not dataset.tasks:
        msg = f'the dataset "{dataset.slug}" has no tasks'
        raise InputError(msg)
    if not is_slug(dataset.slug) or not dataset.name.strip():
        msg = f'the dataset slug "{dataset.slug}" or name "{dataset.name}" is not usable; use letters, digits and "-"'
        raise InputError(msg)
    names = [task.name for task in dataset.tasks]
    if len(set(names)) < len(names):
        msg = f"the task name {_listed(sorted({n for n in names if names.count(n) > 1}))} is given more than once"
        raise InputError(msg)
    for task in dataset.tasks:
        if problem := task_problem(task):
            msg = f'task "{ascii(task.name)[1:-1]}": {problem}'
            raise InputError(msg)


def _write_into(folder: Path, dataset: Dataset) -> None:
    folder.mkdir()
    paths = safe_names(task.name for task in dataset.tasks)
    lines = [f"name = {_toml_text(dataset.name)}", f"slug = {_toml_text(dataset.slug)}"]
    for task, path in zip(dataset.tasks, paths, strict=True):
        lines += ["", "[[tasks]]", f"name = {_toml_text(task.name)}", f"path = {_toml_text(path)}"]
        (folder / path).mkdir()
        text = json.dumps(_document(task), ensure_ascii=False, indent=2, allow_nan=False)
        (folder / path / TASK_FILE).write_bytes(f"{text}\n".encode())
    (folder / MANIFEST).write_bytes(("\n".join(lines) + "\n").encode())


def _document(task: Task) -> dict[str, object]:
    """What task.json says: the fields that say something."""
    values = {key: getattr(task, key) for key in FIELDS}
    return {key: value for key, value in values.items() if value is not None and (key != "metadata" or value)}


def _toml_text(text: str) -> str:
    """A TOML basic string; its escapes are JSON's, and it allows no raw DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
