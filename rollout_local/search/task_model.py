"""`--task-model` as `dspy.settings.lm`, for targets that call models through DSPy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import dspy

from rollout_local.errors import InputError
from rollout_local.models import DUMMY_KEY, key_of


def connection_of(lm: Any) -> dict[str, object]:
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


def configured() -> dict[str, object]:
    """The settings of a run whose task model is the one of `dspy.configure(lm=…)`; empty where they cannot be stored.

    Stored can be what a process without this one's objects would do alike: a plain `dspy.LM` for chats, with nothing
    that is not kept, and with the key of the environment (or any key, for a server on this machine).
    """
    lm = dspy.settings.lm
    if type(lm) is not dspy.LM or lm.model_type != "chat":
        return {}
    given = {name: value for name, value in lm.kwargs.items() if value is not None}
    base, key = given.pop("api_base", None) or given.pop("base_url", None), given.pop("api_key", None)
    is_here = base is not None and urlsplit(base).hostname in ("localhost", "127.0.0.1", "::1")
    if not set(given) <= _SENT or not (is_here or key in (None, key_of(lm.model))):
        return {}
    return {"task_model": lm.model, "task_params": given, **({"task_api_base": base} if base else {})}


def is_configured() -> bool:
    """Whether `dspy.configure(lm=…)` named any model."""
    return dspy.settings.lm is not None


_SENT = frozenset({"temperature", "max_tokens", "max_completion_tokens", "top_p", "reasoning_effort", "n", "stop"})


def lm_settings(api_base: str | None, api_key: str | None, params: Mapping[str, object]) -> dict[str, object]:
    """What every `dspy.LM` of a run is made with: DSPy's own HTTP client is not seen by the recording."""
    connection = {} if api_base is None else {"api_base": api_base, "api_key": api_key or DUMMY_KEY}
    return {"engine": "litellm", "cache": False, "num_retries": 0, **connection, **params}


@contextmanager
def as_settings_lm(model: str, api_base: str | None, params: Mapping[str, object]) -> Iterator[None]:
    """Make `model` DSPy's model inside the block; uncached, over the HTTP client that the recording sees."""
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    with dspy.context(lm=dspy.LM(model, **lm_settings(api_base, key_of(model), params))):
        yield
