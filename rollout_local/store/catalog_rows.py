"""The rows of the tables that runs share, as types: datasets, verifiers, targets, capabilities, promotions."""

from __future__ import annotations

from typing import TypedDict


class DatasetRow(TypedDict):
    """A version of a dataset."""

    id: int
    slug: str
    version: int
    name: str
    content_hash: str
    task_count: int
    created_at: str
    confirmed: str | None


class TaskRow(TypedDict):
    """A task of a dataset."""

    id: int
    dataset_id: int
    position: int
    name: str
    instruction: str
    input_json: str
    metadata_json: str
    expected_output_json: str | None
    expected_output_schema_json: str | None


class VerifierRow(TypedDict):
    """A registered verifier."""

    id: int
    name: str
    content_hash: str
    spec_json: str
    created_at: str
    confirmed: str | None


class TargetRow(TypedDict):
    """A synced target: one row per source and baseline."""

    row_id: int
    id: str
    kind: str
    description: str
    baseline: str
    baseline_json: str
    source: str
    source_hash: str
    modules_json: str
    synced_at: str


class CapabilityRow(TypedDict):
    """A capability."""

    name: str
    description: str
    created_at: str


class CapabilityVersionRow(TypedDict):
    """A published version of a capability."""

    id: int
    name: str
    version: str
    major: int
    minor: int
    patch: int
    description: str
    content_hash: str
    manifest_json: str
    agents_json: str
    files_json: str
    promoted_from_run: str | None
    created_at: str


class NewPromotion(TypedDict):
    """A promotion before it has a row of its own."""

    run_id: str
    attempt: int
    target_id: str
    capability: str | None
    agent: str | None
    from_version: str | None
    to_version: str | None
    to_path: str | None
    text: str
    text_hash: str
    former_text: str
    former_hash: str
    forced: int
    reason: str | None
    unmet_json: str
    actor: str
    at: str
    reverts: int | None
    pending: str | None


class PromotionRow(NewPromotion):
    """A text that took its place."""

    id: int
    reverted_by: int | None


CATALOG_TABLES: dict[str, type] = {
    "datasets": DatasetRow,
    "tasks": TaskRow,
    "verifiers": VerifierRow,
    "targets": TargetRow,
    "capabilities": CapabilityRow,
    "capability_versions": CapabilityVersionRow,
    "promotions": PromotionRow,
}
"""The type of a row, by table."""
