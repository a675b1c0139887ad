"""What a target finds in its environment while a run executes it, and is taken back afterwards."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping

from rollout_local.domain.run import RunConfig
from rollout_local.models import keep_libraries_offline, keep_tracers_off, set_dummy_keys
from rollout_local.planning.secrets import connected
from rollout_local.targets.current_run import CurrentRun, running_in

TASK_MODEL = "ROLLOUT_GEPA_STUDENT_MODEL"
TASK_API_BASE = "ROLLOUT_GEPA_STUDENT_MODEL_API_BASE"


@contextlib.contextmanager
def for_target(config: RunConfig, *, offline_keys: bool) -> Iterator[None]:
    """Set the task model's variables before the target's module is imported.

    `offline_keys` gives clients that insist on a key one that opens nothing: in a replay, and for local servers. In a
    replay the tracing SDKs are off.
    """
    keep_libraries_offline()
    config = connected(config, os.environ)
    before = dict(os.environ)
    given = {TASK_MODEL: config.task_model, TASK_API_BASE: config.task_api_base}
    os.environ.update({name: value for name, value in given.items() if value is not None})
    if config.record_mode == "none":
        keep_tracers_off()
    if offline_keys or config.task_api_base is not None:
        set_dummy_keys([model for model in (config.task_model, config.reflection_model) if model])
    try:
        yield
    finally:
        _restore(before)


@contextlib.contextmanager
def during(config: RunConfig, run_id: str, attempt: int, *, with_dspy: bool = True) -> Iterator[None]:
    """Make the run known to the target: `current_run()`, and DSPy's settings where there is a task model.

    Without `with_dspy` DSPy is not imported for it.
    """
    config = connected(config, os.environ)
    current = CurrentRun(run_id, attempt, config.task_model, config.task_api_base)
    with contextlib.ExitStack() as stack:
        stack.enter_context(running_in(current))
        if config.task_model is not None and with_dspy:
            from rollout_local.search.task_model import as_settings_lm

            stack.enter_context(as_settings_lm(config.task_model, config.task_api_base, config.task_params))
        yield


def _restore(before: Mapping[str, str]) -> None:
    for name in set(os.environ) - set(before):
        del os.environ[name]
    os.environ.update(before)
