"""A run's log_dir: the recording, and in JSON all that is needed to rebuild the run without its database.

`run.json` holds the set-up (config, fingerprint, versions, dataset, verifiers, splits, target source),
`checkpoint.json` where the run stands, `candidates/NNN.json` each proposal with its scores, accepted or not. Files
are replaced in one move, so a reader never sees half of one, and are their owner's alone. A credential that is
written into the target's source is not in the copy of it; `source_hash` is that of the source as it is. Nothing
here is ever executed.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NotRequired, TypedDict, cast

from pydantic import ValidationError

from rollout_local.documents import parse_json, read_text
from rollout_local.domain.dataset import Dataset, Split
from rollout_local.domain.run import RunConfig
from rollout_local.domain.verdict import VerifierSpec
from rollout_local.errors import InputError, Paused
from rollout_local.planning import trust
from rollout_local.planning.fingerprint import versions
from rollout_local.planning.setup import Setup
from rollout_local.redaction import Redactor
from rollout_local.store import reads
from rollout_local.store.row_types import RunRow
from rollout_local.store.schema import Store
from rollout_local.store.stored_run import StoredRun
from rollout_local.whole_file import replaced

FORMAT = 1
RUN, CHECKPOINT, CANDIDATES = "run.json", "checkpoint.json", "candidates"


class TargetDocument(TypedDict):
    """The target in a `run.json`; `source` without credentials."""

    id: str
    kind: str
    source: str
    source_hash: str
    baseline: Mapping[str, str]


class RunDocument(TypedDict):
    """A `run.json`, as far as it is whole: what was dumped of a value is checked where it becomes one again."""

    format: int
    run_id: str
    attempt: int
    created_at: str
    confirmed: NotRequired[str | None]
    fingerprint: str
    inputs: dict[str, object]
    versions: Mapping[str, str]
    config: object
    dataset: object
    val_dataset: object
    split: object
    budget: int
    verifiers: list[object]
    target: TargetDocument


@dataclass(frozen=True)
class StoredParts:
    """What a `run.json` says of a run beside its target."""

    config: RunConfig
    dataset: Dataset
    val_dataset: Dataset | None
    split: Split
    specs: list[VerifierSpec]
    budget: int


class LogDir:
    """The folder of one run; writes are whole files. Safe to use from many threads: their drafts have one name."""

    def __init__(self, path: Path, redactor: Redactor | None = None) -> None:
        self.path = path
        self._redactor = redactor or Redactor({})
        self._writing = threading.Lock()
        self._folder: tuple[int, int] | None = None
        """The folder that `write_run` wrote to: who removes or renames it stops the run, and no other one is made."""

    def write_run(self, run: RunRow, setup: Setup, attempt: int) -> None:
        """Everything that the run was set up with."""
        self._make()
        document: RunDocument = {
            "format": FORMAT, "run_id": run["id"], "attempt": attempt, "created_at": run["created_at"],
            "confirmed": trust.seal_of(run["id"], setup.config, setup.specs, None),
            "fingerprint": run["fingerprint"], "inputs": StoredRun(run).inputs, "versions": versions(),
            "config": setup.config.model_dump(mode="json"), "dataset": _dataset_document(setup.dataset),
            "val_dataset": _dataset_document(setup.val_dataset) if setup.val_dataset else None,
            "split": setup.split.model_dump(mode="json"), "budget": setup.budget,
            "verifiers": [spec.model_dump(mode="json") for spec in setup.specs],
            "target": {"id": setup.target.id, "kind": setup.target.kind,
                       "source": self._redactor.text(setup.target.source), "source_hash": setup.target.source_hash,
                       "baseline": setup.target.baseline.components},
        }  # fmt: skip
        self._write(self.path / RUN, document)

    def write_checkpoint(self, position: Mapping[str, object]) -> None:
        """Where the run stands: phase, step, executions, best so far."""
        self._write(self.path / CHECKPOINT, {"format": FORMAT, **position})

    def write_candidate(self, store: Store, candidate_id: int) -> None:
        """One candidate as it is known now."""
        row = reads.candidate(store, candidate_id)
        document = {
            "number": row["number"], "status": row["status"], "content_hash": row["content_hash"],
            "train_mean": row["train_mean"], "train_n": row["train_n"], "val_mean": row["val_mean"],
            "val_n": row["val_n"], "holdout_mean": row["holdout_mean"], "holdout_n": row["holdout_n"],
            "created_at": row["created_at"], "components": json.loads(row["components_json"]),
        }  # fmt: skip
        self._write(self.path / CANDIDATES / f"{row['number']:03d}.json", document)

    def _write(self, path: Path, document: Mapping[str, object]) -> None:
        text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
        self._require_same_folder()
        try:
            path.parent.mkdir(parents=self._folder is None, exist_ok=True)
            with self._writing, replaced(path) as draft, open(draft, "x", encoding="utf-8", opener=_for_owner) as file:
                file.write(text + "\n")
        except OSError as error:
            msg = f"{path} cannot be written ({error.strerror or error}); mend that and go on"
            raise Paused(msg, reason="error") from error

    def _make(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = f"{self.path} cannot be made ({error.strerror or error}); mend that and go on"
            raise Paused(msg, reason="error") from error
        self._folder = _identity(self.path)

    def _require_same_folder(self) -> None:
        if self._folder is not None and self._folder != _identity(self.path):
            msg = (
                f"{self.path} was removed, renamed or replaced while its run ran; put it back and go on (without it, "
                "the run goes on from the database, and cannot be replayed as a whole)"
            )
            raise Paused(msg, reason="error")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _for_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def read_run(path: Path) -> RunDocument:
    """The `run.json` of a log_dir; raises `InputError` where there is none or it is not one of ours."""
    file = path / RUN
    if not file.exists():
        msg = f"{path} has no {RUN}, so it is not the log_dir of a run; `rollout optimize show RUN` names it"
        raise InputError(msg)
    found = parse_json(read_text(file), file)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        msg = f"{file} is not a run of this version of rollout-local (format {FORMAT})"
        raise InputError(msg)
    document: RunDocument = cast("RunDocument", found)
    return document


def stored_parts(document: RunDocument, where: Path) -> StoredParts:
    """Config, dataset, val dataset, split, verifiers and budget of a `run.json`, as values."""
    try:
        val = document["val_dataset"]
        return StoredParts(
            config=RunConfig.model_validate(document["config"]),
            dataset=Dataset.model_validate(document["dataset"]),
            val_dataset=Dataset.model_validate(val) if val else None,
            split=Split.model_validate(document["split"]),
            specs=[VerifierSpec.model_validate(spec) for spec in document["verifiers"]],
            budget=int(document["budget"]),
        )
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        msg = f"{where / RUN} is damaged ({str(error).splitlines()[0]}); the run cannot be rebuilt from it"
        raise InputError(msg) from error


def _dataset_document(dataset: Dataset) -> dict[str, object]:
    tasks = [task.model_dump(mode="json", exclude={"split"}) for task in dataset.tasks]
    return {"name": dataset.name, "slug": dataset.slug, "tasks": tasks}
