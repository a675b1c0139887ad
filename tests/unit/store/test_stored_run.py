"""A stored run as one value."""

from __future__ import annotations

from typing import Any

import pytest

from rollout_local.domain.run import RunConfig
from rollout_local.errors import StoreError
from rollout_local.store.row_types import RunRow
from rollout_local.store.stored_run import StoredConfig, StoredRun


def row(**columns: Any) -> RunRow:
    fields: Any = {"id": "opt_1", **columns}
    found: RunRow = fields
    return found


def test_what_its_columns_hold_is_parsed_once() -> None:
    split = '{"train":["a"],"val":["b"],"holdout":["c"],"note":""}'
    run = StoredRun(row(
        config_json='{"target":"support","seed":3}', split_json=split, verifier_ids_json="[2, 1]",
        fingerprint_json='{"budget":7}',
    ))  # fmt: skip
    assert run.id == "opt_1"
    assert run.config == RunConfig(target="support", seed=3)
    assert run.config is run.config
    assert run.split.names("holdout") == ("c",)
    assert run.split is run.split
    assert (run.verifier_ids, run.inputs) == ([2, 1], {"budget": 7})


def test_what_cannot_be_read_is_raised_when_it_is_asked_for() -> None:
    run = StoredRun(row(config_json="{", split_json="[]", tags_json="3"))
    assert run.id == "opt_1"
    for what, name in (("settings", "config"), ("split", "split"), ("tags", "tags")):
        with pytest.raises(StoreError, match=f"the {what} of run opt_1 cannot be read; `rollout db check`"):
            getattr(run, name)


def test_what_is_read_of_a_config_as_it_was_written_are_fields_of_a_config() -> None:
    assert set(StoredConfig.__annotations__) <= set(RunConfig.model_fields)


def test_an_older_config_is_read_as_it_was_written() -> None:
    run = StoredRun(row(config_json='{"modules":["m"]}', split_json='{"train":["a"]}', tags_json='["x"]'))
    assert run.written == {"modules": ["m"]}
    assert run.written.get("simulated") is None
    assert (run.written_split, run.tags) == ({"train": ["a"]}, ["x"])
