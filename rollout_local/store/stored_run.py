"""A stored run as one value: its row, and what its JSON columns hold, each parsed once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypedDict, TypeVar, cast

from pydantic import TypeAdapter

from rollout_local.domain.dataset import Split, SplitName
from rollout_local.domain.run import RunConfig
from rollout_local.domain.verdict import VerifierSpec
from rollout_local.errors import StoreError
from rollout_local.store import catalog
from rollout_local.store.row_types import RunRow
from rollout_local.store.schema import Store

Value = TypeVar("Value")
_TAGS = TypeAdapter(list[str])
_OBJECT = TypeAdapter(dict[str, object])


class StoredConfig(TypedDict, total=False):
    """A `RunConfig` as it was written: the fields that are read without the rest of it.

    An older run may lack a field, and a row that others made may hold anything.
    """

    modules: list[str]
    target_url: str | None
    capability: str | None
    reward: str | None
    verifiers: list[str]
    reflection_model: str | None
    task_model: str | None
    reflection_api_base: str | None
    task_api_base: str | None
    objective: str | None
    confidence: float | None
    min_holdout_improvement: float | None
    log_dir: str | None
    recording: str | None
    simulated: bool


@dataclass(frozen=True)
class StoredRun:
    """A row of `reads.run()` with its set-up. What a column holds is read when it is asked for, and raises then."""

    row: RunRow

    @property
    def id(self) -> str:
        """The run's id."""
        return self.row["id"]

    @cached_property
    def config(self) -> RunConfig:
        """The settings that it was created with."""
        return self._read("settings", RunConfig.model_validate_json, self.row["config_json"])

    @cached_property
    def written(self) -> StoredConfig:
        """The same as they were written, unchecked."""
        return cast("StoredConfig", self._read("settings", _OBJECT.validate_json, self.row["config_json"]))

    @cached_property
    def split(self) -> Split:
        """Where its tasks are."""
        return self._read("split", Split.model_validate_json, self.row["split_json"])

    @cached_property
    def tags(self) -> list[str]:
        """Its tags."""
        return self._read("tags", _TAGS.validate_json, self.row["tags_json"])

    @cached_property
    def written_split(self) -> dict[SplitName, list[str]]:
        """The same as it was written, unchecked."""
        found = self._read("split", _OBJECT.validate_json, self.row["split_json"])
        return cast("dict[SplitName, list[str]]", found)

    @cached_property
    def verifier_ids(self) -> list[int]:
        """The rows of its verifiers, in order."""
        found: list[int] = json.loads(self.row["verifier_ids_json"])
        return found

    @cached_property
    def inputs(self) -> dict[str, object]:
        """What decides its search, by name, as it was when the run began."""
        found: dict[str, object] = json.loads(self.row["fingerprint_json"])
        return found

    def _read(self, what: str, read: Callable[[str], Value], text: str) -> Value:
        """What a column holds; raises `StoreError` where it was changed to what no run has."""
        try:
            return read(text)
        except ValueError as error:
            msg = f"the {what} of run {self.id} cannot be read; `rollout db check` says what else is not as it was"
            raise StoreError(msg) from error

    def verifiers(self, store: Store) -> list[VerifierSpec]:
        """The specs of its verifiers."""
        return catalog.load_verifiers(store, self.verifier_ids)
