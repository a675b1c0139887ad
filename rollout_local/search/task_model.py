"""`--task-model` as `dspy.settings.lm`, for targets that call models through DSPy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dspy

from rollout_local.models import DUMMY_KEY, key_of


@contextmanager
def as_settings_lm(model: str, api_base: str | None, params: Mapping[str, Any]) -> Iterator[None]:
    """Make `model` DSPy's model inside the block; uncached, over the HTTP client that the recording sees."""
    connection: dict[str, Any] = {}
    if api_base is not None:
        connection = {"api_base": api_base, "api_key": key_of(model) or DUMMY_KEY}
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    with dspy.context(lm=dspy.LM(model, engine="litellm", cache=False, num_retries=0, **connection, **params)):
        yield
