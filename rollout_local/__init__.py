"""rollout-local: optimize an agent's prompt by evolution, offline, in one SQLite file.

Reading order: `domain` (what things are), `search.engine` (what an optimizer is handed), `runs.phases` (the
four phases), `runs.evaluation` (one trial), `store.ddl` (what is kept), `reports.promotion` (what it means).

Everything public is imported when it is first used, so that `import rollout_local` costs nothing. From then
on `import mv37.rollout` leads here too; where the hosted SDK is installed, it lends that module what it lacks.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from rollout_local.targets.hosted import stand_in_for_hosted_sdk

if TYPE_CHECKING:
    from rollout_local.afterwards.api import resume, run
    from rollout_local.afterwards.best import BestOutput, best_of, ensemble
    from rollout_local.afterwards.result import RunResult, load, report
    from rollout_local.domain.dataset import Task
    from rollout_local.domain.run import RunConfig
    from rollout_local.domain.target import AgentResult, Candidate
    from rollout_local.recordings.public import recording
    from rollout_local.targets.current_run import CurrentRun, current_run
    from rollout_local.targets.registry import (
        clear_optimization_targets,
        get_optimization_target,
        list_optimization_targets,
        optimize,
        optimize_program,
    )

PUBLIC = {
    "AgentResult": "rollout_local.domain.target",
    "BestOutput": "rollout_local.afterwards.best",
    "Candidate": "rollout_local.domain.target",
    "CurrentRun": "rollout_local.targets.current_run",
    "RunConfig": "rollout_local.domain.run",
    "RunResult": "rollout_local.afterwards.result",
    "Task": "rollout_local.domain.dataset",
    "best_of": "rollout_local.afterwards.best",
    "clear_optimization_targets": "rollout_local.targets.registry",
    "current_run": "rollout_local.targets.current_run",
    "ensemble": "rollout_local.afterwards.best",
    "get_optimization_target": "rollout_local.targets.registry",
    "list_optimization_targets": "rollout_local.targets.registry",
    "load": "rollout_local.afterwards.result",
    "optimize": "rollout_local.targets.registry",
    "optimize_program": "rollout_local.targets.registry",
    "recording": "rollout_local.recordings.public",
    "report": "rollout_local.afterwards.result",
    "resume": "rollout_local.afterwards.api",
    "run": "rollout_local.afterwards.api",
}
"""The public names and the modules they live in."""

__all__ = [
    "AgentResult",
    "BestOutput",
    "Candidate",
    "CurrentRun",
    "RunConfig",
    "RunResult",
    "Task",
    "best_of",
    "clear_optimization_targets",
    "current_run",
    "ensemble",
    "get_optimization_target",
    "list_optimization_targets",
    "load",
    "optimize",
    "optimize_program",
    "recording",
    "report",
    "resume",
    "run",
]

stand_in_for_hosted_sdk()


def __getattr__(name: str) -> object:
    if name in PUBLIC:
        return getattr(importlib.import_module(PUBLIC[name]), name)
    msg = f"module 'rollout_local' has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return list(__all__)
