"""A folder for an experiment: an empty one to fill in, or one laid out from any past run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rollout_local import capabilities
from rollout_local.datasets.harbor import write_folder
from rollout_local.domain.dataset import Split
from rollout_local.domain.run import RunConfig, RunStatus
from rollout_local.errors import InputError
from rollout_local.experiments.manifest import MANIFEST
from rollout_local.store import catalog, reads
from rollout_local.store.row_types import RunRow
from rollout_local.store.schema import Store
from rollout_local.store.stored_run import StoredRun
from rollout_local.targets.source import files_of

LEFT_OUT = frozenset({
    "modules", "target", "capability", "agent", "reward", "dataset", "val_dataset", "verifiers", "splits_file",
    "recording", "record_mode", "log_dir", "no_recording", "offline", "allow_hosts", "name", "project", "run_ref",
    "tags", "simulated", "max_tasks", "prices",
})  # fmt: skip
"""Fields of a run's config that a manifest says otherwise, or that belong to one machine."""

VAL = "val"
"""The folder of a val dataset of its own."""

EMPTY = """\
name = "{name}"
description = ""
module = "target"                 # target.py in this folder
target = "{name}"                 # the id given to @rollout.optimize
dataset = "datasets/{name}"       # a Harbor folder
verifier = "verifier.json"
splits = "splits.json"
recording = "recording.yaml"
simulated = false                 # true where the models are the simulator's

[run]                             # any flag of `rollout optimize run`
max_metric_calls = 200
reflection_model = ""
"""


@contextmanager
def drafted(folder: Path) -> Iterator[Path]:
    """A hidden folder beside `folder` to fill; it becomes `folder` when the block ends, and is gone where it fails.

    So a folder of an experiment is whole or not there. Raises `InputError` where the folder is taken.
    """
    if folder.exists():
        msg = f"{folder} exists; give a folder that does not"
        raise InputError(msg)
    draft = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(draft, ignore_errors=True)  # of one that was killed
    try:
        draft.mkdir(parents=True)
        yield draft
        draft.rename(folder)
    except BaseException as error:
        shutil.rmtree(draft, ignore_errors=True)
        if isinstance(error, OSError):
            msg = f"{folder} cannot be written ({error.strerror or error}); give another folder with --out"
            raise InputError(msg) from error
        raise


def listing(folder: Path) -> list[str]:
    """The files of an experiment, relative to its folder."""
    found = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return sorted(path.relative_to(folder).as_posix() for path in found)


def empty(folder: Path, name: str) -> None:
    """Write an experiment to fill in."""
    (folder / MANIFEST).write_text(EMPTY.format(name=json.dumps(name, ensure_ascii=False)[1:-1]), encoding="utf-8")


def from_run(store: Store, reference: str, folder: Path, name: str, root: Path) -> None:
    """Lay a completed, recorded run out as an experiment: target, datasets, verifiers, splits, recording.

    `root` is the folder that the run was made in. The lock is written by a replay.
    """
    run = reads.run(store, reference)
    recording = root / run["recording"] if run["recording"] else None
    if run["status"] != RunStatus.COMPLETED or recording is None or not recording.exists():
        msg = f"run {run['id']} cannot become an experiment: it has to be completed, and its recording to be there"
        raise InputError(msg)
    stored = StoredRun(run)
    config, split = stored.config, stored.split
    parts = {
        "name": name, "description": f"Laid out from run {run['id']}.", **_target(store, run, config, folder),
        **_datasets(store, run, split, folder), **_grading(store, run, config, folder), "splits": "splits.json",
        "recording": "recording.yaml", "simulated": config.simulated,
    }  # fmt: skip
    val = () if run["val_dataset_id"] is not None else split.val  # a val dataset is val as a whole
    _write_json(folder / "splits.json", {"train": split.train, "val": val, "holdout": split.holdout})
    shutil.copyfile(recording, folder / "recording.yaml")
    settings = {"val_dataset": f"datasets/{VAL}"} if run["val_dataset_id"] is not None else {}
    (folder / MANIFEST).write_text(_manifest(parts, config, settings), encoding="utf-8")


def _target(store: Store, run: RunRow, config: RunConfig, folder: Path) -> dict[str, object]:
    """Write the target's source, or the capability's files; returns what the manifest says of it."""
    if config.capability is not None:
        capabilities.export(capabilities.get(store, config.capability), folder / "capability")
        return {"capability": "capability", **({"agent": config.agent} if config.agent else {})}
    for path, source in files_of(reads.target(store, run["target_row_id"])["source"]).items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source, encoding="utf-8")
    return {**({"module": config.modules[0]} if config.modules else {}), "target": run["target_id"]}


def _datasets(store: Store, run: RunRow, split: Split, folder: Path) -> dict[str, object]:
    """Write the datasets; of one that is val as a whole, the tasks that the run had."""
    dataset = catalog.load_dataset(store, run["dataset_id"])
    write_folder(dataset, folder / "datasets" / dataset.slug)
    if run["val_dataset_id"] is not None:
        val = catalog.load_dataset(store, run["val_dataset_id"])
        tasks = tuple(task for task in val.tasks if task.name in split.val)
        write_folder(val.model_copy(update={"tasks": tasks}), folder / "datasets" / VAL)
    return {"dataset": f"datasets/{dataset.slug}"}


def _grading(store: Store, run: RunRow, config: RunConfig, folder: Path) -> dict[str, object]:
    """Write the verifiers; a reward, which is the last of them, is named by its recipe."""
    specs = StoredRun(run).verifiers(store)
    named = specs[:-1] if config.reward is not None else specs
    files = ["verifier.json" if number == 1 else f"verifier-{number}.json" for number in range(1, len(named) + 1)]
    for file, spec in zip(files, named, strict=True):
        _write_json(folder / file, spec.model_dump(mode="json"))
    reward = {} if config.reward is None else {"reward": config.reward}
    return {"verifier": files[0] if len(files) == 1 else files, **reward}


def _manifest(parts: Mapping[str, object], config: RunConfig, settings: Mapping[str, object]) -> str:
    lines = [f"{name} = {_toml(value)}" for name, value in parts.items()]
    lines += ["", "[run]", *(f"{name} = {_toml(value)}" for name, value in settings.items())]
    defaults = RunConfig().model_dump(mode="json")
    for field, value in config.model_dump(mode="json").items():
        if field not in LEFT_OUT and value != defaults[field]:
            lines.append(f"{field} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)


def _write_json(path: Path, document: object) -> None:
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
