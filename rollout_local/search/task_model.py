"""`--task-model` as `dspy.settings.lm`, for targets that call models through DSPy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dspy

from rollout_local.errors import InputError
from rollout_local.models import DUMMY_KEY, key_of


def connection_of(lm: Any) -> dict[str, Any]:
    """The settings of a run whose reflection model is the one behind a `dspy.LM`, with what it sends with every call.

    Its key is not among them: that comes from the environment.
    """
    if not isinstance(getattr(lm, "model", None), str) or not isinstance(getattr(lm, "kwargs", None), dict):
        msg = f"reflection_lm is a dspy.LM, not {lm!r}; or give reflection_model, the name that litellm knows"
        raise InputError(msg)
    kept = {name: value for name, value in lm.kwargs.items() if value is not None and name in _SENT}
    base = lm.kwargs.get("api_base") or lm.kwargs.get("base_url")
    return {
        "reflection_model": lm.model,
        "reflection_params": kept,
        **({"reflection_api_base": base} if base else {}),
    }


_SENT = frozenset({"temperature", "max_tokens", "max_completion_tokens", "top_p", "reasoning_effort", "n", "stop"})


@contextmanager
def as_settings_lm(model: str, api_base: str | None, params: Mapping[str, Any]) -> Iterator[None]:
    """Make `model` DSPy's model inside the block; uncached, over the HTTP client that the recording sees."""
    connection: dict[str, Any] = {}
    if api_base is not None:
        connection = {"api_base": api_base, "api_key": key_of(model) or DUMMY_KEY}
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    with dspy.context(lm=dspy.LM(model, engine="litellm", cache=False, num_retries=0, **connection, **params)):
        yield
