"""A stored run as one value: its row, and what its JSON columns hold, each parsed once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property

from rollout_local.domain.dataset import Split
from rollout_local.domain.run import RunConfig
from rollout_local.domain.verdict import VerifierSpec
from rollout_local.store import catalog
from rollout_local.store.row_types import RunRow
from rollout_local.store.schema import Store


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
        return RunConfig.model_validate_json(self.row["config_json"])

    @cached_property
    def split(self) -> Split:
        """Where its tasks are."""
        return Split.model_validate_json(self.row["split_json"])

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

    def verifiers(self, store: Store) -> list[VerifierSpec]:
        """The specs of its verifiers."""
        return catalog.load_verifiers(store, self.verifier_ids)
