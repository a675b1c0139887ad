"""A new run from rows that the file holds already: for a page, whose process must not run anybody's code.

What `prepare` reads from modules and files is here taken from the rows that earlier commands left: the target as its
newest run knew it (its source, not its module), a dataset, a verifier; or an agent of a published capability, whose
tools are not loaded. Everything else is `setup.assemble` and `setup.insert`, as on the command line, so the
fingerprint is over the same inputs: the worker that imports the module finds them unchanged, or says what changed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from rollout_local.domain.dataset import SPLITS, Task
from rollout_local.domain.run import RunConfig
from rollout_local.domain.target import AgentResult, Candidate, TargetDefaults, TargetKind
from rollout_local.domain.validation import first_problem
from rollout_local.domain.verdict import VerifierSpec
from rollout_local.errors import InputError, Refused
from rollout_local.planning import setup, trust
from rollout_local.store import catalog, releases
from rollout_local.store.catalog_rows import DatasetRow
from rollout_local.store.row_types import RunRow
from rollout_local.store.schema import Store
from rollout_local.store.stored_run import StoredConfig, StoredRun
from rollout_local.targets import capability as agents
from rollout_local.targets.agent_files import of_row
from rollout_local.verifiers.rewards import recipe_of

SETTINGS = (
    "name", "reflection_model", "reflection_api_base", "task_model", "task_api_base", "max_metric_calls", "seed",
    "objective", "project", "run_ref", "tags", "allow_constant_score",
)  # fmt: skip
"""Fields that are those of a `RunConfig`."""
LAST_SPLITS = "last"
_CALLED_BY: tuple[Literal["modules", "target_url"], ...] = ("modules", "target_url")
"""Fields of a run's config that say how its target is reached."""


@dataclass(frozen=True)
class StoredTarget(TargetDefaults):
    """A target as a row keeps it: all that a fingerprint is over, and nothing that can be executed."""

    id: str
    kind: TargetKind
    description: str
    baseline: Candidate
    source: str
    source_hash: str
    grades_itself: bool = False

    def run(self, task: Task, candidate: Candidate) -> AgentResult:  # noqa: ARG002 - the protocol's
        """Raises `Refused`: only a process that imports the target executes it."""
        msg = f"{self.id} is known here by its row only; a worker executes it"
        raise Refused(msg)


def insert_from_rows(store: Store, fields: Mapping[str, object]) -> RunRow:
    """Create a run (status `created`) from rows. Returns its row.

    `fields` hold `target_row_id` or `agent` (`NAME@VERSION:AGENT`), `dataset_id` and perhaps `val_dataset_id`,
    `verifier_id` or `reward` (a recipe) with `reward_params`, any of `SETTINGS`, and `splits`: "last" places the tasks
    as the newest run of the dataset did, where there is one; otherwise the seed does. Raises `InputError` in a
    sentence; nothing is written then.
    """
    return setup.insert(store, prepare_from_rows(store, fields))


def prepare_from_rows(store: Store, fields: Mapping[str, Any]) -> setup.Setup:
    """The checked setup of that run; writes nothing."""
    dataset, val = catalog.kept(store, "dataset", _required(fields, "dataset_id")), _val_dataset(store, fields)
    own_metric = not fields.get("agent") and _grades_itself(store, _required(fields, "target_row_id"))
    named, graded_by = ([], {}) if own_metric else _verifier(store, fields)
    settings = {name: fields[name] for name in SETTINGS if fields.get(name) is not None}
    asked = {"allow_constant_score": True, **settings}  # nobody sits before a job to be asked; its report says it
    given = {**asked, **graded_by, "dataset": _pinned(dataset), "val_dataset": val and _pinned(val)}
    if fields.get("agent"):
        config, target = _agent(store, fields["agent"], given)
    else:
        config, target = _stored_target(store, _required(fields, "target_row_id"), given)
    return setup.assemble(
        config, target, catalog.load_dataset(store, dataset["id"]),
        None if val is None else catalog.load_dataset(store, val["id"]),
        _splits(store, fields, dataset["id"]), named, load_functions=False,
    )  # fmt: skip


def _val_dataset(store: Store, fields: Mapping[str, Any]) -> DatasetRow | None:
    named = fields.get("val_dataset_id")
    return None if named is None else catalog.kept(store, "dataset", int(named))


def _pinned(dataset: DatasetRow) -> str:
    return f"{dataset['slug']}@{dataset['version']}"


def _required(fields: Mapping[str, Any], name: str) -> int:
    if fields.get(name) is None:
        msg = f"no {name.removesuffix('_row_id').removesuffix('_id')} is chosen; choose one of those that are there"
        raise InputError(msg)
    return int(fields[name])


def _stored_target(store: Store, row_id: int, given: Mapping[str, object]) -> tuple[RunConfig, StoredTarget]:
    row, last = catalog.kept(store, "target", row_id), catalog.last_call(store, row_id)
    if last is not None:
        trust.require(store, last)
    stored = StoredRun(last).written if last else StoredConfig(modules=json.loads(row["modules_json"]))
    called_by: dict[str, object] = {name: stored[name] for name in _CALLED_BY if stored.get(name)}
    if not called_by:
        msg = f"no run says how target {row['id']} is reached; type `rollout optimize submit` with its --module"
        raise InputError(msg)
    target = StoredTarget(
        row["id"], TargetKind(row["kind"]), row["description"],
        Candidate(components=json.loads(row["baseline_json"])), row["source"], row["source_hash"],
        _grades_itself(store, row_id),
    )  # fmt: skip
    return _config({**given, **called_by, "target": target.id}), target


def _grades_itself(store: Store, row_id: int) -> bool:
    """A program with a metric of its own: its runs had neither verifier nor reward."""
    last = catalog.last_call(store, row_id)
    if last is None:
        return False
    stored = StoredRun(last).written
    return not stored.get("verifiers") and not stored.get("reward")


def _agent(store: Store, reference: str, given: Mapping[str, object]) -> tuple[RunConfig, StoredTarget]:
    version, _, name = reference.rpartition(":")
    capability = of_row(releases.find_version(store, version))
    agent = capability.agent(name)
    config = _config({**given, "capability": capability.reference, "agent": agent.name})
    target_id = agents.target_id(capability, agent)
    agents.model_of(target_id, agent, config.task_model, config.task_api_base)
    target = StoredTarget(
        target_id, TargetKind.AGENT, agents.description_of(capability, agent), agents.baseline_of(capability, agent),
        agents.source_of(capability, agent), agents.source_hash_of(capability, agent),
    )  # fmt: skip
    return config, target


def _config(values: Mapping[str, object]) -> RunConfig:
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        place, problem = first_problem(error)
        what = place.partition(".")[0].replace("_", " ") or "the settings"
        msg = f"{what} {error.errors()[0]['input']!r}: {problem}"
        raise InputError(msg) from error


def _verifier(store: Store, fields: Mapping[str, object]) -> tuple[list[VerifierSpec], dict[str, object]]:
    """The verifier that is named by its row, and how the config names it; a reward is named by its recipe."""
    if fields.get("reward"):
        return [], {"reward": fields["reward"], "reward_params": fields.get("reward_params") or {}}
    if fields.get("reward_params"):
        msg = "the parameters are for a reward; a verifier has its own"
        raise InputError(msg)
    row = catalog.kept(store, "verifier", _required(fields, "verifier_id"))
    spec = trust.require_verifier(row)
    recipe = recipe_of(spec)
    if recipe is not None:
        params = {name: value for name, value in spec.checks[0].params.items() if name != "recipe"}
        return [], {"reward": recipe, "reward_params": params}
    is_newest = catalog.find_verifier(store, spec.id)["id"] == row["id"]
    return [spec], {"verifiers": [spec.id if is_newest else spec.content_hash]}


def _splits(store: Store, fields: Mapping[str, object], dataset_id: int) -> dict[str, list[str]] | None:
    """The tasks as the newest run of the dataset placed them; None where the seed is to place them."""
    last = catalog.last_split(store, dataset_id) if fields.get("splits") == LAST_SPLITS else None
    return None if last is None else {name: last[name] for name in SPLITS}
