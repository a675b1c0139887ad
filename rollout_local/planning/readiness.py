"""What has to be there before a run may spend: its recording, a key, a price for every model under a limit of cost.

Each is refused in a sentence that names what to give; nothing is opened, asked or written here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from rollout_local.domain.run import RunConfig
from rollout_local.domain.target import Target
from rollout_local.domain.verdict import VerifierSpec
from rollout_local.errors import InputError
from rollout_local.models import are_one, key_of, key_variable, package_problem, price, provider_problem
from rollout_local.recordings import RecordMode, require_usable
from rollout_local.recordings.guard import Doors
from rollout_local.targets.program import ProgramTarget
from rollout_local.verifiers.checks import CHECKS


def reflection_key_problem(config: RunConfig) -> str | None:
    """A sentence where the reflection model's key is missing and needed, or None."""
    model = config.reflection_model
    if model is None or config.reflection_api_base is not None or _brings_key(config) or key_of(model) is not None:
        return None
    return (
        f"{key_variable(model)} is not set, and --reflection-model {model} needs it; "
        "set it, or give --reflection-api-base for a local server"
    )


def _brings_key(config: RunConfig) -> bool:
    return "api_key" in config.reflection_params


def require_key(config: RunConfig) -> None:
    """Refuse a live run whose reflection model has no key."""
    problem = reflection_key_problem(config)
    if problem is not None and config.record_mode != "none":
        raise InputError(problem)


def recording_of(config: RunConfig, folder: Path) -> Path | None:
    """The file that a run is answered from, or goes on with, where it is there; that it is not is told elsewhere."""
    name = config.recording or (f"{config.log_dir}/recording.yaml" if config.log_dir else None)
    return folder / name if name is not None and (folder / name).is_file() else None


def may_ask(config: RunConfig, base: str | None) -> bool:
    """Whether --offline lets a server be asked; without an address, where any host at all is allowed."""
    if not config.offline:
        return True
    host = urlsplit(base or "").hostname
    return bool(config.allow_hosts) if host is None else Doors(config.allow_hosts).open_to(host)


def require_recording(config: RunConfig, folder: Path) -> None:
    """Refuse a replay without its recording, and a recording that is named and cannot be used."""
    if config.no_recording or config.recording is None:
        return
    path = folder / config.recording
    if config.record_mode == "none" and not path.exists():
        msg = f"there is no recording {config.recording}; give the file of an earlier run, or run live"
        raise InputError(msg)
    require_usable(path, RecordMode(config.record_mode), ignore_fields=config.ignore_fields)


def models_of(config: RunConfig, target: Target, specs: Sequence[VerifierSpec]) -> list[str]:
    """Every model that the run names: reflection, task, the target's own, judges. A target may ask others."""
    judges = [str(check.params["model"]) for spec in specs for check in spec.checks if CHECKS[check.type].asks_model]
    return list(dict.fromkeys(filter(None, [config.reflection_model, config.task_model, *target.models, *judges])))


def require_callable(config: RunConfig, target: Target, models: Sequence[str]) -> None:
    """Refuse a model that litellm could not call: no such provider, or a package is missing.

    A target that is no DSPy program calls the task model as it likes.
    """
    called = {config.reflection_model, *models} - {config.task_model}
    if isinstance(target, ProgramTarget):
        called.add(config.task_model)
    params = {config.task_model: config.task_params, config.reflection_model: config.reflection_params}
    for model in sorted(filter(None, called)):
        if problem := provider_problem(model) or package_problem(model, params.get(model, {})):
            raise InputError(problem)


def require_prices(config: RunConfig, models: Sequence[str]) -> None:
    """Refuse a limit of cost that could not be kept, since a model's price is not known. A replay spends nothing."""
    if config.max_cost is None or config.record_mode == "none":
        return
    unknown = [model for model in models if price(model, 0, 0, config.prices) is None]
    if unknown:
        flags = " ".join(f"--price {model}=IN,OUT" for model in unknown)
        msg = (
            f"--max-cost {config.max_cost:g} cannot be kept: no price is known for {', '.join(unknown)}; give {flags} "
            "(USD per million tokens; 0,0 where it costs nothing)"
        )
        raise InputError(msg)


def unasked_prices(config: RunConfig, models: Sequence[str]) -> Iterator[str]:
    """A sentence for every price of a model that the run does not name."""
    for name in config.prices:
        if not any(are_one(name, model) for model in models):
            yield (
                f"--price {name}: the run names no such model ({', '.join(models)}); the price is for calls "
                "that the target makes by itself"
            )
