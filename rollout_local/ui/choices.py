"""What one file has to build a job from: for the form, and for what it says is missing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from rollout_local.domain.verdict import VerifierSpec
from rollout_local.store import catalog, releases
from rollout_local.store.schema import Store
from rollout_local.ui.queries import Row, has, target_names
from rollout_local.verifiers.rewards import REWARDS, recipe_of

MOST = 200
REWARD_NAMES = tuple(name for name, recipe in REWARDS.items() if not recipe.required and not recipe.constant)
"""Recipes that need nothing but a dataset."""

Choice = tuple[str, str]
"""The value of an option, and what it says."""


def choices(store: Store) -> dict[str, Any]:
    """Targets in code, agents, datasets, verifiers and rewards as options; names of targets that are left out; the
    models of the newest run.
    """
    targets = catalog.callable_targets(store)[:MOST]
    agents = list(_agents(store))
    listed = {row["id"] for row in targets} | {name for _, name in agents}
    return {
        "targets": [(str(row["row_id"]), f"{row['id'][:200]} (as of {row['used_at'][:10]})") for row in targets],
        "agents": agents[:MOST],
        "left_out": [name for name in target_names(store) if name not in listed and not _is_agent(store, name)],
        "datasets": _datasets(store), "verifiers": list(_verifiers(store))[:MOST],
        "rewards": [(name, name) for name in REWARD_NAMES], "models": _models(store),
    }  # fmt: skip


def _agents(store: Store) -> Iterator[Choice]:
    """Agents of the newest version of each capability, by `NAME@VERSION:AGENT`."""
    if not has(store, "capability_versions"):
        return
    newest = {row["name"]: row for row in releases.versions(store)}
    for row in newest.values():
        for agent in json.loads(row["agents_json"]):
            name = f"{row['name']}@{row['version']}:{agent['name']}"
            yield name, name


def _is_agent(store: Store, name: str) -> bool:
    """An agent of some version: a newer one stands in the list, if it still has the agent."""
    return has(store, "capability_versions") and bool(
        store.row(
            "SELECT 1 AS yes FROM capability_versions WHERE ? LIKE name || '@' || version || ':%'",
            (name,),
        )
    )


def _datasets(store: Store) -> list[Choice]:
    rows = store.rows(
        "SELECT max(id) AS id, slug, max(version) AS version, task_count FROM datasets GROUP BY slug ORDER BY slug"
        " LIMIT ?",
        (MOST,),
    )
    return [(str(row["id"]), f"{row['slug'][:200]}@{row['version']}, {row['task_count']} tasks") for row in rows]


def _verifiers(store: Store) -> Iterator[Choice]:
    """The newest of each id, the newest first; a reward without parameters stands among the rewards."""
    sql = (
        "SELECT max(id) AS id, name, spec_json FROM verifiers GROUP BY json_extract(spec_json, '$.id') ORDER BY 1 DESC"
    )
    for row in store.rows(sql):
        spec = VerifierSpec.model_validate_json(row["spec_json"])
        if recipe_of(spec) not in REWARD_NAMES or len(spec.checks[0].params) > 1:
            name = spec.id if row["name"] == spec.id else f"{spec.id}, {row['name']}"
            yield str(row["id"]), name[:200]


def _models(store: Store) -> Row:
    """How the newest run named its models, for the fields to begin with."""
    row = store.row("SELECT config_json FROM runs ORDER BY created_at DESC, rowid DESC LIMIT 1")
    config = json.loads(row["config_json"]) if row else {}
    names = ("reflection_model", "reflection_api_base", "task_model", "task_api_base")
    return {name: config.get(name) or "" for name in names}
