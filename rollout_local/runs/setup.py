"""Files → rows: sync the target, import dataset and verifiers, create the run. And rows → what a runner needs.

Everything is read and checked before the first row is written. After `create` the dataset, splits and
verifiers live in the database; only the target's module is still needed.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rollout_local.datasets.harbor import read_folder
from rollout_local.datasets.rows import is_rows, read_rows
from rollout_local.datasets.splits import check_leakage, limit, make_split, read_splits
from rollout_local.domain.dataset import Dataset, Split, SplitName, Task
from rollout_local.domain.identity import canonical_json, content_hash
from rollout_local.domain.run import RunConfig, RunStatus
from rollout_local.domain.target import Target
from rollout_local.domain.verdict import VerifierSpec
from rollout_local.errors import InputError
from rollout_local.models import key_of, key_variable
from rollout_local.reports.forecast import calls_of_budget
from rollout_local.runs.clock import new_run_id, now
from rollout_local.runs.fingerprint import inputs, require_same, text_difference
from rollout_local.runs.fitness import require_fit
from rollout_local.search.engines import arguments_of, require_known
from rollout_local.store import catalog, reads, releases
from rollout_local.store.lifecycle import insert_run
from rollout_local.store.schema import Store
from rollout_local.targets.agent_files import of_row
from rollout_local.targets.capability import CapabilityTarget
from rollout_local.targets.program import ProgramTarget
from rollout_local.targets.program_examples import dataset_of
from rollout_local.targets.registry import (
    get_optimization_target,
    list_optimization_targets,
    load_modules,
    program_named,
)
from rollout_local.verifiers.grade import read_spec, validate
from rollout_local.verifiers.rewards import as_spec, require_dataset


@dataclass(frozen=True)
class Setup:
    """Everything a run works with, checked: the target imported, the tasks placed in their splits."""

    config: RunConfig
    target: Target
    dataset: Dataset
    val_dataset: Dataset | None
    split: Split
    specs: Sequence[VerifierSpec]
    budget: int

    def tasks(self, split: SplitName) -> list[Task]:
        """The tasks of one split, in order, each knowing its split."""
        owner = self.val_dataset if split == "val" and self.val_dataset is not None else self.dataset
        return [owner.by_name[name].model_copy(update={"split": split}) for name in self.split.names(split)]

    @property
    def inputs(self) -> dict[str, Any]:
        """What decides the search, by name."""
        return inputs(
            self.config, dataset=self.dataset, val_dataset=self.val_dataset, split=self.split, specs=self.specs,
            target=self.target, budget=self.budget,
        )  # fmt: skip

    @property
    def executions(self) -> dict[str, int]:
        """Executions by pass, at most: baseline (all splits), search (the budget), best (holdout)."""
        sizes = self.split.sizes()
        return {"baseline": sum(sizes.values()), "search": self.budget, "best": sizes["holdout"]}


def prepare(config: RunConfig, folder: Path, store: Store | None) -> Setup:
    """Read and check everything that a new run needs; writes nothing.

    Raises `InputError` with what is wrong, where, and what to do.
    """
    config = _pinned(with_arguments(config), store)
    target = find_target(config, folder, store)
    require_fit(config, target)
    if config.arguments:
        arguments_of(config.optimizer).loaded(config.arguments)  # what is named as code is there
    dataset, splits = _main_dataset(config, target, folder, store)
    val_dataset = _dataset(config.val_dataset, "--val-dataset", folder, store) if config.val_dataset else None
    if config.splits_file:
        splits = read_splits(folder / config.splits_file)
    split = make_split(dataset, config.seed, splits, val_dataset=val_dataset)
    if config.max_tasks is not None:
        split = limit(split, config.max_tasks)
    check_leakage(dataset, split, val_dataset)
    tasks = [*dataset.tasks, *(val_dataset.tasks if val_dataset else ())]
    specs = _specs(config, target, tasks, folder, store)
    validate(specs, tasks)
    if isinstance(target, CapabilityTarget):
        target.check(tasks)
    _require_reflection(config)
    config = config.model_copy(update={"target": target.id, "simulated": config.simulated or _is_simulated(config)})
    return Setup(config, target, dataset, val_dataset, split, specs, _budget(config, split, target))


def with_arguments(config: RunConfig) -> RunConfig:
    """The config with the optimizer's arguments checked; raises `InputError` naming what is wrong with one."""
    require_known(config.optimizer)
    if not config.arguments:  # DSPy takes a while to load
        return config
    arguments = arguments_of(config.optimizer).check(config.arguments)
    for flag, package in (("use_wandb", "wandb"), ("use_mlflow", "mlflow")):
        if arguments.get(flag):
            _require_tracker(config, flag, package)
    return config.model_copy(update={"arguments": arguments})


def _require_tracker(config: RunConfig, flag: str, package: str) -> None:
    if flag == "use_wandb" and (config.offline or config.record_mode == "none"):
        msg = "--arg use_wandb is refused while offline: it sends the run to a server; leave it out of a replay"
        raise InputError(msg)
    if importlib.util.find_spec(package) is None:
        msg = f"--arg {flag} needs the package {package}, which is not installed; `pip install {package}`"
        raise InputError(msg)


def create(store: Store, config: RunConfig, folder: Path) -> dict[str, Any]:
    """Create a run from files (status `created`). Returns its row."""
    return insert(store, prepare(config, folder, store))


def insert(store: Store, setup: Setup, run_id: str | None = None) -> dict[str, Any]:
    """Write a checked setup as a new run (under an id that it had before, where one is given). Returns its row."""
    at = now()
    dataset = catalog.import_dataset(store, setup.dataset, at)
    val = catalog.import_dataset(store, setup.val_dataset, at) if setup.val_dataset else None
    verifier_ids = [catalog.add_verifier(store, spec, at)["id"] for spec in setup.specs]
    target_row = catalog.sync_target(store, setup.target, setup.config.modules, at)
    run_id, config, fingerprint = run_id or new_run_id(), setup.config, setup.inputs
    row = {
        "id": run_id, "name": config.name, "project": config.project, "run_ref": config.run_ref,
        "tags_json": json.dumps(list(config.tags)), "status": RunStatus.CREATED, "target_id": setup.target.id,
        "target_row_id": target_row, "dataset_id": dataset["id"], "val_dataset_id": val["id"] if val else None,
        "verifier_ids_json": json.dumps(verifier_ids), "split_json": canonical_json(setup.split.model_dump()),
        "optimizer": config.optimizer, "seed": config.seed, "config_json": canonical_json(config.model_dump()),
        "fingerprint": content_hash(fingerprint), "fingerprint_json": canonical_json(fingerprint),
        "metric_call_budget": setup.budget, "created_at": at,
        "log_dir": config.log_dir or f".rollout/{run_id}",
    }  # fmt: skip
    insert_run(store, row)
    return reads.run(store, run_id)


def load(store: Store, run: Mapping[str, Any], folder: Path, changes: Mapping[str, Any]) -> Setup:
    """The setup of a stored run; `changes` replace operational settings of its config for this time."""
    config = RunConfig.model_validate({**json.loads(run["config_json"]), **changes})
    val_id = run["val_dataset_id"]
    return Setup(
        config=config,
        target=find_target(config, folder, store),
        dataset=catalog.load_dataset(store, run["dataset_id"]),
        val_dataset=catalog.load_dataset(store, val_id) if val_id is not None else None,
        split=Split.model_validate_json(run["split_json"]),
        specs=catalog.load_verifiers(store, json.loads(run["verifier_ids_json"])),
        budget=run["metric_call_budget"],
    )


def check_unchanged(store: Store, run: Mapping[str, Any], setup: Setup, accepted: Sequence[str]) -> list[str]:
    """Refuse a setup that differs from what the run began with; returns the differences that were accepted."""
    stored = reads.target(store, run["target_row_id"])
    seen = json.loads(canonical_json(setup.inputs))
    explain = {"target": text_difference(stored["source"], setup.target.source) or "its baseline or description"}
    return require_same(json.loads(run["fingerprint_json"]), seen, accepted, explain)


def find_target(config: RunConfig, folder: Path, store: Store | None = None) -> Target:
    """The agent of a capability; or import the modules and pick the target that is named, or the only one."""
    if config.capability is not None:
        return _agent(config, store)
    if not config.modules and not list_optimization_targets():
        msg = "no module is named; give --module as in `import app.targets`"
        raise InputError(msg)
    load_modules(config.modules, folder)
    if config.target is not None:
        return _named_target(config)
    targets = list_optimization_targets()
    if len(targets) == 1:
        return targets[0]
    known = ", ".join(target.id for target in targets)
    modules = ", ".join(config.modules) or "this process"
    msg = f"{modules} registers {known or 'no target'}; " + (
        "name one with --target" if targets else "decorate a function with @rollout.optimize(id=…, baseline=…)"
    )
    raise InputError(msg)


def _named_target(config: RunConfig) -> Target:
    assert config.target is not None
    if config.target not in [target.id for target in list_optimization_targets()]:
        program = program_named(config.target, config.modules)
        if program is not None:
            return program
    return get_optimization_target(config.target)


def reflection_key_problem(config: RunConfig) -> str | None:
    """A sentence where the reflection model's key is missing and needed, or None."""
    model = config.reflection_model
    if model is None or config.reflection_api_base is not None or key_of(model) is not None:
        return None
    return (
        f"{key_variable(model)} is not set, and --reflection-model {model} needs it; "
        "set it, or give --reflection-api-base for a local server"
    )


def require_runnable(config: RunConfig, folder: Path) -> None:
    """Refuse a replay without its recording, and a live run whose reflection model has no key."""
    if config.record_mode == "none":
        if config.recording is not None and not (folder / config.recording).exists():
            msg = f"there is no recording {config.recording}; give the file of an earlier run, or run live"
            raise InputError(msg)
        return
    problem = reflection_key_problem(config)
    if problem is not None:
        raise InputError(problem)


def _pinned(config: RunConfig, store: Store | None) -> RunConfig:
    """The config with the capability's version in it: a run is of one version, whatever is published later."""
    if config.capability is None:
        return config
    if config.modules or config.target is not None:
        msg = "--capability is a target of its own; leave out --module and --target, and name its agent with --agent"
        raise InputError(msg)
    row = releases.find_version(_database(store), config.capability)
    return config.model_copy(update={"capability": f"{row['name']}@{row['version']}"})


def _agent(config: RunConfig, store: Store | None) -> CapabilityTarget:
    assert config.capability is not None
    capability = of_row(releases.find_version(_database(store), config.capability))
    return CapabilityTarget(
        capability, config.agent, task_model=config.task_model, api_base=config.task_api_base,
        params=config.task_params,
    )  # fmt: skip


def _database(store: Store | None) -> Store:
    if store is None:
        msg = "there is no database to find a capability in; `rollout capabilities publish DIR` first"
        raise InputError(msg)
    return store


def _specs(
    config: RunConfig, target: Target, tasks: Sequence[Task], folder: Path, store: Store | None
) -> list[VerifierSpec]:
    """The verifiers that are named, and the reward as one more; a program with a metric of its own needs none."""
    if isinstance(target, ProgramTarget) and target.metric is not None:
        if config.verifiers or config.reward is not None:
            msg = f"target {target.id!r} has a metric of its own; leave out --verifier and --reward"
            raise InputError(msg)
        return []
    if config.reward is None:
        return [find_spec(reference, folder, store) for reference in _required(config.verifiers, "--verifier")]
    require_dataset(
        config.reward, config.reward_params, tasks, target.kind, allow_constant=config.allow_constant_reward
    )
    named = [find_spec(reference, folder, store) for reference in config.verifiers]
    return [*named, as_spec(config.reward, config.reward_params)]


def _main_dataset(
    config: RunConfig, target: Target, folder: Path, store: Store | None
) -> tuple[Dataset, dict[str, list[str]] | None]:
    """The dataset that is named, or the examples that a program brings; and the splits that it names itself."""
    if config.dataset is None and isinstance(target, ProgramTarget) and target.examples is not None:
        return dataset_of(target.examples, target.id)
    return _dataset(config.dataset, "--dataset", folder, store), _own_splits(config, folder)


def _own_splits(config: RunConfig, folder: Path) -> dict[str, list[str]] | None:
    """The splits that a dataset.yaml names, where it names a train and a holdout."""
    if config.dataset is None or not is_rows(folder / config.dataset):
        return None
    splits = {str(name): list(rows) for name, rows in read_rows(folder / config.dataset).splits.items()}
    return splits if {"train", "holdout"} <= set(splits) else None


def _required(values: Sequence[str], flag: str) -> Sequence[str]:
    if not values:
        msg = f"{flag} is missing"
        raise InputError(msg)
    return values


def _dataset(reference: str | None, flag: str, folder: Path, store: Store | None) -> Dataset:
    if reference is None:
        msg = f"{flag} is missing: give a Harbor folder, or the slug of an imported dataset"
        raise InputError(msg)
    if (folder / reference).is_dir() or store is None or "/" in reference:
        place = folder / reference
        return read_rows(place).dataset if is_rows(place) else read_folder(place)
    return catalog.load_dataset(store, catalog.find_dataset(store, reference)["id"])


def find_spec(reference: str, folder: Path, store: Store | None) -> VerifierSpec:
    """The verifier that a file, or an id in the database, names."""
    if (folder / reference).is_file() or store is None or reference.endswith(".json"):
        return read_spec(folder / reference)
    return VerifierSpec.model_validate_json(catalog.find_verifier(store, reference)["spec_json"])


def _require_reflection(config: RunConfig) -> None:
    if config.reflection_model is None:
        msg = "no reflection model is named; give --reflection-model, or set ROLLOUT_GEPA_REFLECTION_MODEL"
        raise InputError(msg)


def _is_simulated(config: RunConfig) -> bool:
    """The simulator's models are named `sim-…`."""
    return any(
        (model or "").rpartition("/")[2].startswith("sim-") for model in (config.task_model, config.reflection_model)
    )


def _budget(config: RunConfig, split: Split, target: Target) -> int:
    sizes = split.sizes()
    nothing_given = config.auto is None and config.max_metric_calls is None and config.max_full_evals is None
    return calls_of_budget(
        auto="light" if nothing_given else config.auto,
        max_full_evals=config.max_full_evals,
        max_metric_calls=config.max_metric_calls,
        train_n=sizes["train"],
        val_n=sizes["val"],
        components=len(target.baseline.components),
    )
