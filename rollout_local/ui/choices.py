"""What one file has to build a job from: for the form, and for what it says is missing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from typing import Literal, TypedDict

from rollout_local.domain.verdict import VerifierSpec
from rollout_local.errors import RolloutError
from rollout_local.planning import trust
from rollout_local.store import catalog, releases
from rollout_local.store.row_types import RunRow
from rollout_local.store.schema import Store
from rollout_local.store.selected_types import ListedVersion
from rollout_local.store.stored_run import StoredConfig, StoredRun
from rollout_local.ui import queries
from rollout_local.verifiers.rewards import REWARDS, recipe_of

MOST = 200
LOOKED_AT = 20
"""Of so many runs the newest one of our own tells the names of models."""
REWARD_NAMES = tuple(name for name, recipe in REWARDS.items() if not recipe.constant)
"""Recipes by which candidates can differ."""

Choice = tuple[str, str]
"""The value of an option, and what it says."""


class Choices(TypedDict):
    """What a form for a new job offers."""

    targets: list[Choice]
    agents: list[Choice]
    left_out: list[str]
    datasets: list[Choice]
    verifiers: list[Choice]
    rewards: list[Choice]
    models: dict[str, str]
    projects: list[str]


def choices(store: Store) -> Choices:
    """Targets in code, agents, datasets, verifiers and rewards as options; names of targets that are left out; the
    models of the newest run.
    """
    targets = catalog.callable_targets(store)[:MOST]
    agents = list(_agents(store))
    listed = {row["id"] for row in targets} | {name for _, name in agents}
    return {
        "targets": [(str(row["row_id"]), f"{row['id'][:200]} (as of {row['used_at'][:10]})") for row in targets],
        "agents": agents[:MOST],
        "left_out": [name for name in queries.target_names(store) if name not in listed and not _is_agent(store, name)],
        "datasets": _datasets(store), "verifiers": list(_verifiers(store))[:MOST],
        "rewards": [(name, _reward(name)) for name in REWARD_NAMES], "models": _models(store),
        "projects": queries.projects(store),
    }  # fmt: skip


def _agents(store: Store) -> Iterator[Choice]:
    """Agents of every version of each capability, the newest version first, by `NAME@VERSION:AGENT`."""
    if not queries.has(store, "capability_versions"):
        return
    by_name: dict[str, list[ListedVersion]] = {}
    for row in releases.versions(store):
        by_name.setdefault(row["name"], []).insert(0, row)
    for row in chain.from_iterable(by_name.values()):
        for agent in json.loads(row["agents_json"]):
            name = f"{row['name']}@{row['version']}:{agent['name']}"
            yield name, name


def _is_agent(store: Store, name: str) -> bool:
    """An agent of some version: a newer one stands in the list, if it still has the agent."""
    return queries.has(store, "capability_versions") and releases.is_agent(store, name)


def _datasets(store: Store) -> list[Choice]:
    """Every version, the newest of each first."""
    rows = catalog.datasets_to_choose(store, MOST)
    return [(str(row["id"]), f"{row['slug'][:200]}@{row['version']}, {row['task_count']} tasks") for row in rows]


def _reward(name: str) -> str:
    """A recipe with the parameters that it needs."""
    needed = REWARDS[name].required
    return f"{name} (needs {', '.join(needed)})" if needed else name


def _verifiers(store: Store) -> Iterator[Choice]:
    """The newest of each id, the newest first; a reward without parameters stands among the rewards."""
    for row in catalog.newest_verifiers(store):
        spec = VerifierSpec.model_validate_json(row["spec_json"])
        if recipe_of(spec) not in REWARD_NAMES or len(spec.checks[0].params) > 1:
            name = spec.id if row["name"] == spec.id else f"{spec.id}, {row['name']}"
            yield str(row["id"]), name[:200]


def _models(store: Store) -> dict[str, str]:
    """How the newest run that was made or confirmed here named its models, for the fields to begin with."""
    row = next((row for row in catalog.newest_runs(store, LOOKED_AT) if _is_ours(store, row)), None)
    config = StoredRun(row).written if row else StoredConfig()
    names: tuple[Literal["reflection_model", "reflection_api_base", "task_model", "task_api_base"], ...] = (
        "reflection_model",
        "reflection_api_base",
        "task_model",
        "task_api_base",
    )
    return {name: config.get(name) or "" for name in names}


def _is_ours(store: Store, run: RunRow) -> bool:
    try:
        return not trust.unconfirmed(store, run)
    except (ValueError, KeyError, TypeError, RolloutError):  # a row that others made may hold anything
        return False
