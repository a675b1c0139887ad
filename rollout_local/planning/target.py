"""Which target a run is of: a registered function or program, an agent of a capability, or an endpoint.

All but the last are what they are now; what they were is compared by the run's fingerprint.
"""

from __future__ import annotations

import os
from pathlib import Path

from rollout_local.domain.run import RunConfig
from rollout_local.domain.target import Target
from rollout_local.errors import InputError
from rollout_local.planning import endpoint
from rollout_local.planning.module_import import importing
from rollout_local.planning.secrets import connected
from rollout_local.store import releases
from rollout_local.store.schema import Store
from rollout_local.targets.agent_files import Capability, of_row
from rollout_local.targets.capability import CapabilityTarget
from rollout_local.targets.hosted import advice_on_unlisted
from rollout_local.targets.program import ProgramTarget
from rollout_local.targets.registry import (
    get_optimization_target,
    list_optimization_targets,
    load_modules,
    program_named,
)


def find_target(config: RunConfig, folder: Path, store: Store | None = None) -> Target:
    """The target that a new run's flags name. Raises `InputError` where there is none, or not one."""
    _require_fit(config)
    if config.target_url is not None:
        return endpoint.find(config, folder)
    return _isolated(config, _found_here(config, folder, store))


def find_again(
    config: RunConfig, source: str, began_with: str | None, folder: Path, store: Store | None = None
) -> Target:
    """The target of a stored run, whose source was this and whose URL (where it had one) was `began_with`.

    A target behind a URL is as it was then (`endpoint.as_now`), any other as it is now.
    """
    _require_fit(config)
    if config.target_url is not None:
        return endpoint.again(config, source, began_with)
    return _isolated(config, _found_here(config, folder, store))


def _isolated(config: RunConfig, target: Target) -> Target:
    """The target, unless it is to be isolated and cannot be."""
    if config.isolate and isinstance(target, ProgramTarget):
        msg = (
            f"--isolate runs a target in child processes, and the traces of a DSPy program, which optimizers need, do "
            f"not leave the process that made them: leave --isolate out for {target.id!r}"
        )
        raise InputError(msg)
    if config.isolate and not config.modules and config.capability is None:
        msg = (
            f"--isolate runs a target in child processes, which import it anew, and {target.id!r} was made by a script "
            "that none can import: move it to a module and name that (--module), or leave --isolate out"
        )
        raise InputError(msg)
    return target


def pinned(config: RunConfig, store: Store | None) -> RunConfig:
    """The config with the capability's version in it: a run is of one version, whatever is published later.

    Raises `InputError` where there is none, or where another target is named beside it.
    """
    if config.capability is not None and (config.modules or config.target or config.target_url):
        msg = (
            "--capability is a target of its own; leave out --module, --target and --target-url, and name its agent "
            "with --agent"
        )
        raise InputError(msg)
    if config.capability is None:
        return config
    row = releases.find_version(_database(store), config.capability)
    return config.model_copy(update={"capability": f"{row['name']}@{row['version']}"})


def _require_fit(config: RunConfig) -> None:
    """Refuse a URL beside a module, and headers without a URL."""
    if config.target_url is not None and config.modules:
        msg = "--target-url is in place of --module; leave one of them out"
    elif config.target_url is None and (config.target_headers or config.target_bearer_env):
        msg = "--target-header and --target-bearer-env go to --target-url; give it too, or leave them out"
    elif config.target_url is not None and config.isolate:
        msg = "--isolate is for a target in the run's own process; leave it out for one behind --target-url"
    else:
        return
    raise InputError(msg)


def _found_here(config: RunConfig, folder: Path, store: Store | None) -> Target:
    """The agent of a capability; or import the modules and pick the target that is named, or the only one."""
    if config.capability is not None:
        return _agent(config, store)
    if not config.modules and not list_optimization_targets():
        msg = "no module is named; give --module as in `import app.targets`, or the --target-url of an endpoint"
        raise InputError(msg)
    with importing(config, folder):
        load_modules(config.modules, folder)
    if config.target is not None:
        return _named_target(config)
    targets = list_optimization_targets()
    if len(targets) == 1:
        return targets[0]
    known = ", ".join(target.id for target in targets)
    modules = ", ".join(config.modules) or "this process"
    msg = (
        f"{modules} registers {known or 'no target'}; "
        + ("name one with --target" if targets else "decorate a function with @rollout.optimize(id=…, baseline=…)")
        + advice_on_unlisted()
    )
    raise InputError(msg)


def _named_target(config: RunConfig) -> Target:
    assert config.target is not None
    if config.target not in [target.id for target in list_optimization_targets()]:
        program = program_named(config.target, config.modules)
        if program is not None:
            return program
    return get_optimization_target(config.target)


def _agent(config: RunConfig, store: Store | None) -> CapabilityTarget:
    assert config.capability is not None
    return agent_target(of_row(releases.find_version(_database(store), config.capability)), config)


def agent_target(capability: Capability, config: RunConfig) -> CapabilityTarget:
    """The agent of a capability that the config names."""
    config = connected(config, os.environ)
    return CapabilityTarget(
        capability, config.agent, task_model=config.task_model, api_base=config.task_api_base,
        params=config.task_params,
    )  # fmt: skip


def _database(store: Store | None) -> Store:
    if store is None:
        msg = "there is no database to find a capability in; `rollout capabilities publish DIR` first"
        raise InputError(msg)
    return store
