"""`rollout.run(...)`: what `optimize run` calls, for Python."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from rollout_local.afterwards.result import RunResult, result_of
from rollout_local.documents import near, suggestion
from rollout_local.domain.run import OPERATIONAL, RunConfig
from rollout_local.domain.validation import first_problem
from rollout_local.errors import InputError
from rollout_local.planning import environment, trust
from rollout_local.planning.practice_warnings import cautions
from rollout_local.planning.setup import Setup, insert, prepare, require_runnable
from rollout_local.planning.target import find_target
from rollout_local.runs.progress import Watch
from rollout_local.runs.runner import execute
from rollout_local.search.arguments import by_name
from rollout_local.search.task_model import configured, connection_of, is_configured
from rollout_local.stop import StopFlag
from rollout_local.store import reads
from rollout_local.store.schema import Store, open_store
from rollout_local.targets.program import ProgramTarget
from rollout_local.targets.registry import modules_of, require_no_import
from rollout_local.watching.default import shown
from rollout_local.watching.interrupt import interruptible


def run(
    target: str,
    *,
    reflection_model: str | None = None,
    dataset: str | Path | None = None,
    verifier: str | Path | Sequence[str | Path] = (),
    db: str | Path = "rollout.db",
    module: str | Sequence[str] = (),
    splits_file: str | Path | None = None,
    folder: str | Path | None = None,
    watch: Watch | None = None,
    gepa: Mapping[str, Any] | None = None,
    **settings: Any,
) -> RunResult:
    """Create a run and execute it: baseline, search, best on the holdout, report.

    `target` is the id of a target that is registered already or by `module` (the module that registered it is
    stored where it lies in `folder`, so that the command line can take the run further); `settings` are the fields of
    `RunConfig` (`max_metric_calls=200`, `task_model=…`). `gepa` takes keyword arguments of `dspy.GEPA` as they are
    written for it: budget, seed, threads, `log_dir` and `reflection_lm` become the run's own settings. Paths are
    relative to `folder` (default: the working directory). A DSPy program with examples and a metric of its own
    needs neither `dataset` nor `verifier`.

    Without a `watch` its progress is a bar, in a notebook or on a terminal. Ctrl-C (a kernel's interrupt) pauses the
    run: the calls in flight are finished, and the message of the result says how to go on; a second one raises
    `KeyboardInterrupt` at once.

    Raises `InputError` with a sentence where something is wrong; nothing is written then. The search is the one that
    the command makes, whatever PYTHONHASHSEED this Python was started with.
    """
    require_no_import("rollout.run")
    root = Path(folder) if folder is not None else Path.cwd()
    verifiers = [verifier] if isinstance(verifier, str | Path) else list(verifier)
    settings = {**settings, **_of_gepa(gepa or {}, settings)}
    fields = {
        "modules": ([module] if isinstance(module, str) else list(module)) or modules_of(target, root),
        "target": target,
        "dataset": _text(dataset),
        "verifiers": [str(item) for item in verifiers],
        **({"reflection_model": reflection_model} if reflection_model is not None else {}),
        "splits_file": _text(splits_file),
        **settings,
        "arguments": {name: by_name(value) for name, value in settings.get("arguments", {}).items()},
    }
    config, not_stored = _with_configured(_config(fields), root)
    with environment.for_target(config, offline_keys=config.record_mode == "none"):
        setup = prepare(config, root, None)
    require_runnable(setup, root)
    _require_metric((gepa or {}).get("metric"), setup)
    with open_store(root / db) as store, shown(watch) as seen_by:
        for sentence in [*(said for _, said in [*setup.warnings, *cautions(setup, store)]), *not_stored]:
            seen_by.note("warning", sentence)
        return _executed(store, insert(store, setup)["id"], root, seen_by, _how_to_go_on(db, folder), {})


def resume(
    run: str,
    *,
    db: str | Path = "rollout.db",
    folder: str | Path | None = None,
    watch: Watch | None = None,
    **settings: Any,
) -> RunResult:
    """Go on with a run that was paused or interrupted, or begin one that was created; `optimize run RUN` for Python.

    `run` is an id, a unique prefix of one, a name, or `latest`; `folder` is the one that it was made in (default: the
    working directory). `settings` are those that do not decide the search, such as a limit to raise (`max_cost=5`).
    A completed run is served from its journal. Raises `NotFound` for a run that is not there, and `InputError` with a
    sentence where something is wrong, an input that changed among it; nothing is written then.
    """
    require_no_import("rollout.resume")
    root = Path(folder) if folder is not None else Path.cwd()
    changes = _operational(settings)
    with open_store(root / db, create=False) as store, shown(watch) as seen_by:
        row = reads.run(store, run)
        trust.require(store, row, changes)
        return _executed(store, row["id"], root, seen_by, _how_to_go_on(db, folder), changes)


def _executed(
    store: Store, run_id: str, root: Path, watch: Watch, how_to_go_on: str, changes: Mapping[str, Any]
) -> RunResult:
    stop = StopFlag()
    with interruptible(
        stop, signals=(signal.SIGINT,), advice=f"go on with rollout.resume({run_id!r}{how_to_go_on})",
        say=lambda words: print(f"rollout: {words}", file=sys.stderr), at_once=_interrupt,
    ):  # fmt: skip
        outcome = execute(store, run_id, folder=root, watch=watch, changes=changes, stop=stop)
    return replace(
        result_of(store, reads.run(store, run_id)),
        status=outcome.status, stop_reason=outcome.stop_reason, message=outcome.message,
    )  # fmt: skip


def _interrupt() -> NoReturn:
    raise KeyboardInterrupt


def _how_to_go_on(db: str | Path, folder: str | Path | None) -> str:
    """The arguments of `resume` after the run, as they are to be typed; those at their default are left out."""
    given = {"db": None if str(db) == "rollout.db" else str(db), "folder": _text(folder)}
    return "".join(f", {name}={value!r}" for name, value in given.items() if value is not None)


def _operational(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a run that goes on, checked."""
    config = _config(settings)
    for name in settings:
        if name not in OPERATIONAL:
            msg = f"{name} decides what the run finds, and stays as it was; for another {name} call rollout.run"
            raise InputError(msg)
    return config.model_dump(include=set(settings))


def _config(fields: Mapping[str, object]) -> RunConfig:
    try:
        return RunConfig.model_validate(fields)
    except ValidationError as error:
        place, problem = first_problem(error)
        if place in fields and place not in RunConfig.model_fields:
            problem = f"there is no such setting of a run; {_nearest(place)}"
        msg = f"{place or 'settings'}: {problem}"
        raise InputError(msg) from error


def _nearest(name: str) -> str:
    known = {*RunConfig.model_fields, *signature(run).parameters} - {"modules", "verifiers", "settings"}
    return (
        suggestion(name, known) if near(name, known) else "rollout.RunConfig and help(rollout.run) name those there are"
    )


def _with_configured(config: RunConfig, root: Path) -> tuple[RunConfig, list[str]]:
    """The config with the model of `dspy.configure(lm=…)` that a program asks; a sentence where it cannot be kept."""
    if config.task_model is not None or config.target_url is not None or config.capability is not None:
        return config, []
    with environment.for_target(config, offline_keys=config.record_mode == "none"):
        if not isinstance(find_target(config, root), ProgramTarget):
            return config, []
    own = configured()
    return _config({**config.model_dump(), **own}), [] if own or not is_configured() else [NOT_STORED]


NOT_STORED = (
    "the model of dspy.configure(lm=…) has settings, or a key, that a run does not keep, so that the command line "
    "cannot take this run further; name it with task_model (and task_params) instead"
)


SETTINGS_OF_GEPA = {
    "auto": "auto", "max_full_evals": "max_full_evals", "max_metric_calls": "max_metric_calls", "seed": "seed",
    "num_threads": "concurrency", "log_dir": "log_dir",
}  # fmt: skip
"""Arguments of `dspy.GEPA` that are settings of a run here, where they keep their promises."""


def _of_gepa(given: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, object]:
    """The settings that keyword arguments of `dspy.GEPA` mean."""
    if not isinstance(given, Mapping):
        msg = f"gepa is a dict of dspy.GEPA's keyword arguments, not {given!r}"
        raise InputError(msg)
    others = {name: value for name, value in given.items() if name != "metric"}
    lm = others.pop("reflection_lm", None)
    found = {} if lm is None else connection_of(lm)
    for name, setting in SETTINGS_OF_GEPA.items():
        value = others.pop(name, None)
        if value is not None:
            found[setting] = value
    return found | {"arguments": {**settings.get("arguments", {}), **others}}


def _text(path: str | Path | None) -> str | None:
    return None if path is None else str(path)


def _require_metric(metric: object, setup: Setup) -> None:
    own = setup.target.metric
    if metric is not None and (own is None or own.function is not metric):
        msg = f"target {setup.target.id!r} is graded as it was registered; leave gepa's metric out, or give the same"
        raise InputError(msg)
