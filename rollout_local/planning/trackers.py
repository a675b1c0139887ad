"""Whether the trackers that a run is to tell of its search can be told, found out before the baseline is paid for.

A package that can be imported is not enough: its server may be down, its address wrong, its store switched off. Each
tracker is asked as GEPA will use it; what is wrong is one sentence. A local store is made, as the run would make it.
"""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rollout_local.domain.run import RunConfig
from rollout_local.errors import InputError
from rollout_local.models import keep_libraries_offline

PACKAGES = {"use_wandb": ("wandb",), "use_mlflow": ("mlflow", "pandas")}
"""What each tracker needs: MLflow writes every table of GEPA's with pandas."""
HASTE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""MLflow asks a server that is down for minutes before it says so."""
NOT_SENT = ("offline", "disabled", "dryrun")
SHOWN = 300


def require_trackers(config: RunConfig) -> None:
    """Refuse a tracker that is asked for and could not be told; raises `InputError` with the reason."""
    for flag, packages in PACKAGES.items():
        if config.arguments.get(flag):
            _require_online(config, flag)
            keep_libraries_offline()
            for package in packages:
                _require_package(flag, package)
            _probe(config, flag)


def _require_online(config: RunConfig, flag: str) -> None:
    if flag == "use_wandb" and (config.offline or config.record_mode == "none"):
        msg = "--arg use_wandb is refused while offline: it sends the run to a server; leave it out of a replay"
        raise InputError(msg)


def _require_package(flag: str, package: str) -> None:
    try:
        importlib.import_module(package)
    except Exception as error:
        advice = "pip install 'rollout-local[mlflow]'" if flag == "use_mlflow" else f"pip install {package}"
        msg = f"--arg {flag} needs the package {package}, which cannot be imported ({error}); `{advice}`"
        raise InputError(msg) from error


def _probe(config: RunConfig, flag: str) -> None:
    more: Mapping[str, Any] = config.arguments.get("gepa_kwargs") or {}
    try:
        if flag == "use_mlflow":
            _ask_mlflow(more.get("mlflow_tracking_uri"), more.get("mlflow_experiment_name"))
        else:
            _ask_wandb(config.arguments.get("wandb_init_kwargs") or {}, attach=bool(more.get("wandb_attach_existing")))
    except Exception as error:  # a tracker's errors are its own
        tracker = flag.removeprefix("use_")
        msg = f"--arg {flag}: {tracker} cannot log ({_first_sentence(error)}); mend that, or leave {flag} out"
        raise InputError(msg) from error


def _ask_mlflow(uri: str | None, experiment: str | None) -> None:
    mlflow = importlib.import_module("mlflow")
    with _hasty():
        client = mlflow.MlflowClient(tracking_uri=uri or mlflow.get_tracking_uri())
        client.search_experiments(max_results=1)
        found = client.get_experiment_by_name(experiment) if experiment else None
    if found is not None and found.lifecycle_stage == "deleted":
        msg = f"its experiment {experiment!r} is deleted"
        raise ValueError(msg)


def _ask_wandb(init: Mapping[str, object], *, attach: bool) -> None:
    wandb = importlib.import_module("wandb")
    inspect.signature(wandb.init).bind(**init)
    if attach and wandb.run is None:
        msg = "wandb_attach_existing is set, and this process has no run of it"
        raise ValueError(msg)
    if (init.get("mode") or os.environ.get("WANDB_MODE")) not in NOT_SENT:
        wandb.login(verify=True)


@contextmanager
def _hasty() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in HASTE}
    os.environ.update({name: value for name, value in HASTE.items() if before[name] is None})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]


def _first_sentence(error: Exception) -> str:
    line = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    said = line.split(". ")[0].rstrip(".")
    return said if len(said) <= SHOWN else said[:SHOWN] + "…"
