"""`experiment.toml`: what people write, read strictly; paths in it are relative to its folder."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from rollout_local.documents import parse_toml, read_text
from rollout_local.domain.experiment import Manifest
from rollout_local.domain.run import RunConfig, reflection_params
from rollout_local.domain.validation import first_problem
from rollout_local.errors import InputError

MANIFEST = "experiment.toml"


def read_manifest(folder: Path) -> Manifest:
    """The manifest in an experiment's folder; raises `InputError` with file, line and field."""
    path = folder / MANIFEST
    if not path.exists():
        msg = f"there is no {MANIFEST} in {folder}; give the folder of an experiment"
        raise InputError(msg)
    try:
        return Manifest.model_validate(parse_toml(read_text(path), path))
    except ValidationError as error:
        place, problem = first_problem(error)
        msg = f"{path}: {place}: {problem}"
        raise InputError(msg) from error


def config_of(manifest: Manifest, folder: Path) -> RunConfig:
    """The run that a manifest describes, replaying its recording."""
    verifiers = [manifest.verifier] if isinstance(manifest.verifier, str) else manifest.verifier
    values = {name.replace("-", "_"): value for name, value in manifest.run.items()}
    if "gepa" in values:
        values["arguments"] = {**values.get("arguments", {}), **values.pop("gepa")}
    if "reflection_params" in values:
        values["reflection_params"] = reflection_params(values["reflection_params"])
    fields = {
        **values, "modules": [manifest.module] if manifest.module else [], "target": manifest.target,
        "capability": manifest.capability, "agent": manifest.agent, "reward": manifest.reward,
        "dataset": manifest.dataset, "verifiers": verifiers, "splits_file": manifest.splits,
        "recording": manifest.recording,
        "record_mode": "none", "simulated": manifest.simulated, "name": manifest.name,
    }  # fmt: skip
    try:
        return RunConfig.model_validate(fields)
    except ValidationError as error:
        place, problem = first_problem(error)
        msg = f"{folder / MANIFEST}: run.{place}: {problem}"
        raise InputError(msg) from error


def found_in(root: Path) -> list[Path]:
    """Folders under `root` that hold an experiment, by name."""
    return sorted(path.parent for path in root.glob(f"*/{MANIFEST}") if not path.parent.name.startswith("."))
