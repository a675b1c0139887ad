"""Files → rows: sync the target, import dataset and verifiers, create the run. And rows → what a runner needs.

Everything is read and checked before the first row is written. After `create` the dataset, splits and
verifiers live in the database; only the target's module is still needed.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from rollout_local.clock import new_run_id, now
from rollout_local.datasets.rows import is_rows, read_dataset, read_rows
from rollout_local.datasets.sources import is_table, read_table, repeats, table_name
from rollout_local.datasets.splits import check_leakage, limit, make_split, read_splits, uneven
from rollout_local.domain.dataset import Columns, Dataset, Split, SplitName, Task
from rollout_local.domain.identity import canonical_json, content_hash
from rollout_local.domain.run import BUDGETS, DEFAULT_AUTO, RunConfig, RunStatus
from rollout_local.domain.target import Target
from rollout_local.domain.verdict import VerifierSpec
from rollout_local.errors import InputError, NotFound
from rollout_local.planning import model_server, readiness, secrets, trust
from rollout_local.planning.fingerprint import inputs, require_same, text_difference
from rollout_local.planning.module_import import importing
from rollout_local.planning.optimizer_fit import require_fit, require_scale
from rollout_local.planning.target import find_again, find_target, pinned
from rollout_local.planning.trackers import require_trackers
from rollout_local.redaction import Redactor
from rollout_local.redaction.known import MARK
from rollout_local.reports import doubts
from rollout_local.reports.forecast import calls_of_budget
from rollout_local.search.optimizers import optimizer_named
from rollout_local.store import catalog, reads
from rollout_local.store.lifecycle import insert_run, set_inputs
from rollout_local.store.row_types import RunRow
from rollout_local.store.schema import Store
from rollout_local.store.stored_run import StoredRun
from rollout_local.targets.capability import require_goals
from rollout_local.targets.program import ProgramTarget
from rollout_local.targets.program_examples import dataset_of
from rollout_local.targets.source import files_of
from rollout_local.verifiers.grade import read_spec, validate
from rollout_local.verifiers.named import names_check, spec_of_check
from rollout_local.verifiers.rewards import as_spec, require_dataset

KEPT_SOURCE = "target"
"""Where a log_dir has the target's source that came with an imported run: to be read, and imported on request only."""

Pass = Literal["baseline", "search", "best"]
"""What a run executes the target for."""


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
    warnings: Sequence[tuple[str, str]] = ()
    """What is odd, but may be meant, of a new run: `(what it is about, a sentence)`."""

    def tasks(self, split: SplitName) -> list[Task]:
        """The tasks of one split, in order, each knowing its split."""
        owner = self.val_dataset if split == "val" and self.val_dataset is not None else self.dataset
        return [owner.by_name[name].model_copy(update={"split": split}) for name in self.split.names(split)]

    @property
    def inputs(self) -> dict[str, object]:
        """What decides the search, by name."""
        return inputs(
            self.config, dataset=self.dataset, val_dataset=self.val_dataset, split=self.split, specs=self.specs,
            target=self.target, budget=self.budget,
        )  # fmt: skip

    def redactor(self, environ: Mapping[str, str]) -> Redactor:
        """What takes secrets out of everything that the run writes."""
        datasets = [self.dataset, *([self.val_dataset] if self.val_dataset else [])]
        return secrets.redactor_of(self.config, datasets, self.specs, self.target, environ)

    def alike(self) -> str:
        """A sentence where the search sees tasks that a holdout task nearly repeats; or empty."""
        return doubts.alike([*self.tasks("train"), *self.tasks("val")], self.tasks("holdout"))

    def lookalikes(self) -> list[str]:
        """A sentence where data of the run's own looks like a key, and is taken out of the recording."""
        datasets = [self.dataset, *([self.val_dataset] if self.val_dataset else [])]
        return [sentence for _, sentence in secrets.lookalike_data(self.config, datasets, self.specs)]

    @property
    def models(self) -> list[str]:
        """Every model that the run names."""
        return readiness.models_of(self.config, self.target, self.specs)

    @property
    def executions(self) -> dict[Pass, int]:
        """Executions by pass, at most: baseline (all splits), search (the budget), best (holdout)."""
        sizes = self.split.sizes()
        return {"baseline": sum(sizes.values()), "search": self.budget, "best": sizes["holdout"]}


def prepare(config: RunConfig, folder: Path, store: Store | None) -> Setup:
    """Read and check everything that a new run needs; writes nothing (a tracker's local store aside).

    Raises `InputError` with what is wrong, where, and what to do.
    """
    given = pinned(with_arguments(config), store)
    config = model_server.fitted(given, folder)
    _require_table(config)
    target = find_target(config, folder, store)
    require_fit(config, target)
    if config.arguments:
        with importing(config, folder):
            optimizer_named(config.optimizer).table().loaded(config.arguments)  # what is named as code is there
    dataset, splits = _main_dataset(config, target, folder, store)
    val_dataset = _dataset(config, config.val_dataset, "--val-dataset", folder, store) if config.val_dataset else None
    if config.splits_file:
        splits = read_splits(folder / config.splits_file)
    readiness.require_recording(config, folder)
    named = [] if target.grades_itself else [find_spec(reference, folder, store) for reference in config.verifiers]
    with importing(config, folder):  # functions that verifiers name
        setup = assemble(config, target, dataset, val_dataset, splits, named)
        require_scale(setup.target, setup.specs, setup.tasks("train")[0])
    require_trackers(setup.config)
    fit = model_server.told_of_fit(given, config)
    return replace(setup, warnings=[*setup.warnings, ("reflection", fit)]) if fit else setup


def assemble(
    config: RunConfig,
    target: Target,
    dataset: Dataset,
    val_dataset: Dataset | None,
    splits: Mapping[str, Sequence[str]] | None,
    named: Sequence[VerifierSpec],
    *,
    load_functions: bool = True,
) -> Setup:
    """Place the tasks in their splits (by the seed, where no `splits` are given) and check that the parts fit.

    Reads no file. Without `load_functions` the user's own check functions are not imported to see whether they are
    there. Raises `InputError` with what does not fit.
    """
    split = make_split(dataset, config.seed, splits, val_dataset=val_dataset)
    if config.max_tasks is not None:
        split = limit(split, config.max_tasks)
    check_leakage(dataset, split, val_dataset)
    odd = _oddities(config, dataset, split) if splits is None else []
    if config.columns is not None and (sentence := repeats(dataset)):
        odd.append(("dataset", sentence))
    tasks = [*dataset.tasks, *(val_dataset.tasks if val_dataset else ())]
    specs = _specs(config, target, tasks, named)
    validate(specs, tasks, load_functions=load_functions)
    if config.capability is not None:
        require_goals(tasks)
    _require_reflection(config)
    secrets.require_named(config)
    every = [dataset, *([val_dataset] if val_dataset else [])]
    secrets.require_clean(config, every, specs, target, os.environ)
    odd += secrets.lookalike_data(config, every, specs)
    models = readiness.models_of(config, target, specs)
    readiness.require_callable(config, target, models)
    readiness.require_prices(config, models)
    odd += [("spend", sentence) for sentence in readiness.unasked_prices(config, models)]
    config = config.model_copy(update={"target": target.id, "simulated": config.simulated or _is_simulated(config)})
    setup = Setup(config, target, dataset, val_dataset, split, specs, _budget(config, split, target))
    odd += [("splits", sentence)] if (sentence := setup.alike()) else []
    return replace(setup, warnings=odd)


def with_arguments(config: RunConfig) -> RunConfig:
    """The config with the optimizer's arguments checked; raises `InputError` naming what is wrong with one."""
    optimizer = optimizer_named(config.optimizer)
    if not config.arguments:  # DSPy takes a while to load
        return config
    arguments = optimizer.table().check(config.arguments)
    return config.model_copy(update={"arguments": arguments})


def create(store: Store, config: RunConfig, folder: Path) -> RunRow:
    """Create a run from files (status `created`). Returns its row."""
    return insert(store, prepare(config, folder, store))


def insert(store: Store, setup: Setup, run_id: str | None = None) -> RunRow:
    """Write a checked setup as a new run (under an id that it had before, where one is given). Returns its row."""
    store.redactor, at = setup.redactor(os.environ), now()
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
        "confirmed": trust.seal_of(run_id, config, setup.specs, store),
    }  # fmt: skip
    insert_run(store, row)
    return reads.run(store, run_id)


def load(store: Store, run: RunRow, folder: Path, changes: Mapping[str, object], *, trusted: bool = False) -> Setup:
    """The setup of a stored run; `changes` replace operational settings of its config for this time.

    Raises `NotConfirmed` for a run from elsewhere, unless the caller knows that it is `trusted`.
    """
    stored = StoredRun(run)
    config = RunConfig.model_validate({**stored.written, **changes})
    if not trusted:
        trust.require(store, run, changes)
    source, val_id = reads.target(store, run["target_row_id"])["source"], run["val_dataset_id"]
    replayed = config if config.recording is not None else config.model_copy(update={"recording": run["recording"]})
    try:
        target = find_again(replayed, source, stored.written.get("target_url"), folder, store)
    except NotFound as error:
        raise _with_kept_source(error, run, folder) from error
    return Setup(
        config=config,
        target=target,
        dataset=catalog.load_dataset(store, run["dataset_id"]),
        val_dataset=catalog.load_dataset(store, val_id) if val_id is not None else None,
        split=stored.split,
        specs=stored.verifiers(store),
        budget=run["metric_call_budget"],
    )


def _with_kept_source(error: NotFound, run: RunRow, folder: Path) -> NotFound:
    """The same, and where the source is that came with an imported run. It is not imported unless that is asked for."""
    kept = Path(run["log_dir"] or ".") / KEPT_SOURCE
    if not (folder / kept).is_dir():
        return error
    problem = str(error).rpartition(";")[0]
    return NotFound(
        f"{problem}; the source that came with run {run['id']} is in {kept}: look at it, then copy it to where you "
        f"are, or reproduce the run with --source {shlex.quote(str(kept))}"
    )


def accept_inputs(store: Store, run_id: str, setup: Setup) -> None:
    """Write down that a run goes on with these inputs, so that the next start finds them unchanged."""
    target_row = catalog.sync_target(store, setup.target, setup.config.modules, now())
    fingerprint = setup.inputs
    set_inputs(store, run_id, content_hash(fingerprint), canonical_json(fingerprint), target_row)


def check_unchanged(store: Store, run: RunRow, setup: Setup, accepted: Sequence[str]) -> list[str]:
    """Refuse a setup that differs from what the run began with; returns the differences that were accepted."""
    stored = reads.target(store, run["target_row_id"])
    seen = json.loads(canonical_json(setup.inputs))
    explain = {"target": source_difference(stored["source"], setup) or "its baseline or description"}
    return require_same(StoredRun(run).inputs, seen, accepted, explain)


def source_difference(stored: str, setup: Setup) -> str:
    """How a stored source differs from the target's as it is now; both without secrets. Empty where they are equal.

    Where a credential is all that tells them apart, it was taken out of the stored one, or is another one now.
    """
    now_is = setup.redactor(os.environ).text(setup.target.source)
    if stored != now_is or MARK.decode() not in stored:
        return text_difference(stored, now_is)
    places = ", ".join(path for path, text in files_of(stored).items() if MARK.decode() in text) or "its source"
    return (
        f"a credential stood in {places}, of which the stored copy has only [redacted], so that the copy cannot be run "
        "for it, nor with another credential; give the source as it was (a key is better read from the environment)"
    )


def require_runnable(setup: Setup, folder: Path) -> None:
    """Refuse what cannot be run, or not within its limits: no recording to replay, no key, no price under a limit."""
    readiness.require_recording(setup.config, folder)
    readiness.require_prices(setup.config, setup.models)
    readiness.require_key(setup.config)
    secrets.require_variables(setup.config, setup.specs, os.environ)


def _specs(
    config: RunConfig, target: Target, tasks: Sequence[Task], named: Sequence[VerifierSpec]
) -> list[VerifierSpec]:
    """The verifiers that are named, and the reward as one more; a program with a metric of its own needs none."""
    if target.grades_itself:
        if config.verifiers or config.reward is not None:
            msg = f"target {target.id!r} has a metric of its own; leave out --verifier and --reward"
            raise InputError(msg)
        return []
    if config.reward is None:
        return list(_required(named, "--verifier"))
    require_dataset(
        config.reward, config.reward_params, tasks, target.kind, allow_constant=config.allow_constant_reward
    )
    return [*named, as_spec(config.reward, config.reward_params)]


def _main_dataset(
    config: RunConfig, target: Target, folder: Path, store: Store | None
) -> tuple[Dataset, dict[str, list[str]] | None]:
    """The dataset that is named, or the examples that a program brings; and the splits that it names itself."""
    if config.dataset is None and isinstance(target, ProgramTarget) and target.examples is not None:
        return dataset_of(target.examples, target.id)
    return _dataset(config, config.dataset, "--dataset", folder, store), _own_splits(config, folder)


def _require_table(config: RunConfig) -> None:
    if config.columns is not None and not any(is_table(name) for name in (config.dataset, config.val_dataset) if name):
        msg = "columns are named, but --dataset is no table; give a file such as tickets.csv, or leave the columns out"
        raise InputError(msg)


def _own_splits(config: RunConfig, folder: Path) -> dict[str, list[str]] | None:
    """The splits that a dataset.yaml names, where it names a train and a holdout."""
    if config.dataset is None or not is_rows(folder / config.dataset):
        return None
    splits = {str(name): list(rows) for name, rows in read_rows(folder / config.dataset).splits.items()}
    return splits if {"train", "holdout"} <= set(splits) else None


def _oddities(config: RunConfig, dataset: Dataset, split: Split) -> list[tuple[str, str]]:
    """What is odd about a split that the hash made; one that was cut for a smoke test is meant."""
    parts: Sequence[SplitName] = ("val", "holdout") if config.val_dataset is None else ("holdout",)
    sentence = "" if config.max_tasks is not None else uneven(split, len(dataset.tasks), parts)
    return [("splits", sentence)] if sentence else []


def _required(values: Sequence[VerifierSpec], flag: str) -> Sequence[VerifierSpec]:
    if not values:
        msg = f"{flag} is missing"
        raise InputError(msg)
    return values


def _dataset(config: RunConfig, reference: str | None, flag: str, folder: Path, store: Store | None) -> Dataset:
    if reference is None:
        msg = (
            f"{flag} is missing: give a table such as tickets.csv, a Harbor folder, or the slug of an imported dataset"
        )
        raise InputError(msg)
    if (folder / reference).is_dir():
        return read_dataset(folder / reference)
    if is_table(reference):
        return read_table(reference, config.columns or Columns(), table_name(reference), folder)
    if store is None or "/" in reference:
        return read_dataset(folder / reference)
    return catalog.load_dataset(store, catalog.find_dataset(store, reference)["id"])


def find_spec(reference: str, folder: Path, store: Store | None) -> VerifierSpec:
    """The verifier that a file, the type of a check with its parameters, or an id in the database names."""
    if (folder / reference).is_file() or reference.endswith(".json"):
        return read_spec(folder / reference)
    if names_check(reference):
        return spec_of_check(reference)
    if store is None:
        return read_spec(folder / reference)
    return trust.require_verifier(catalog.find_verifier(store, reference))


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
    nothing_given = all(getattr(config, budget) is None for budget in BUDGETS)
    return calls_of_budget(
        auto=DEFAULT_AUTO if nothing_given else config.auto,
        max_full_evals=config.max_full_evals,
        max_metric_calls=config.max_metric_calls,
        train_n=sizes["train"],
        val_n=sizes["val"],
        components=len(target.baseline.components),
    )
