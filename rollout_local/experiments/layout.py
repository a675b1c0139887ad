"""A folder for an experiment: an empty one to fill in, or one laid out from any past run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rollout_local.datasets.harbor import write_folder
from rollout_local.domain.run import RunConfig, RunStatus
from rollout_local.errors import InputError
from rollout_local.experiments.manifest import MANIFEST
from rollout_local.store import catalog, reads
from rollout_local.store.schema import Store
from rollout_local.targets.source import files_of

LEFT_OUT = frozenset({
    "modules", "target", "dataset", "val_dataset", "verifiers", "splits_file", "recording", "record_mode", "log_dir",
    "no_recording", "offline", "allow_hosts", "name", "project", "run_ref", "tags", "simulated", "max_tasks",
    "prices",
})  # fmt: skip
"""Fields of a run's config that a manifest says otherwise, or that belong to one machine."""

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
    """Lay a completed, recorded run out as an experiment: target source, dataset, verifiers, splits, recording.

    `root` is the folder that the run was made in. The lock is written by a replay.
    """
    run = reads.run(store, reference)
    recording = root / run["recording"] if run["recording"] else None
    if run["status"] != RunStatus.COMPLETED or recording is None or not recording.exists():
        msg = f"run {run['id']} cannot become an experiment: it has to be completed, and its recording to be there"
        raise InputError(msg)
    config = RunConfig.model_validate_json(run["config_json"])
    if config.capability is not None:
        msg = f"run {run['id']} is of a capability; lay its experiment out by hand, with capability = FOLDER"
        raise InputError(msg)
    _fill(store, run, config, folder, name, recording)


def _fill(store: Store, run: Mapping[str, Any], config: RunConfig, folder: Path, name: str, recording: Path) -> None:
    if run["val_dataset_id"] is not None:
        msg = f"run {run['id']} has a val dataset of its own; an experiment holds one dataset"
        raise InputError(msg)
    target = reads.target(store, run["target_row_id"])
    for path, source in files_of(target["source"]).items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source, encoding="utf-8")
    dataset = catalog.load_dataset(store, run["dataset_id"])
    write_folder(dataset, folder / "datasets" / dataset.slug)
    verifiers = []
    for number, spec in enumerate(catalog.load_verifiers(store, json.loads(run["verifier_ids_json"])), 1):
        verifiers.append("verifier.json" if number == 1 else f"verifier-{number}.json")
        _write_json(folder / verifiers[-1], spec.model_dump(mode="json"))
    split = json.loads(run["split_json"])
    _write_json(folder / "splits.json", {part: split[part] for part in ("train", "val", "holdout")})
    shutil.copyfile(recording, folder / "recording.yaml")
    (folder / MANIFEST).write_text(_manifest(run, config, name, dataset.slug, verifiers), encoding="utf-8")


def _manifest(run: Mapping[str, Any], config: RunConfig, name: str, slug: str, verifiers: list[str]) -> str:
    lines = [
        f"name = {json.dumps(name)}", f'description = "Laid out from run {run["id"]}."',
        *(f"module = {json.dumps(name)}" for name in config.modules[:1]), f"target = {json.dumps(run['target_id'])}",
        f'dataset = "datasets/{slug}"',
        f"verifier = {json.dumps(verifiers[0] if len(verifiers) == 1 else verifiers)}", 'splits = "splits.json"',
        'recording = "recording.yaml"', f"simulated = {json.dumps(config.simulated)}", "", "[run]",
    ]  # fmt: skip
    defaults = RunConfig().model_dump(mode="json")
    for field, value in config.model_dump(mode="json").items():
        if field not in LEFT_OUT and value != defaults[field]:
            lines.append(f"{field} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)


def _write_json(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
