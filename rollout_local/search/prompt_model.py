"""The model that an optimizer asks on its own account, with a memory: each request is paid for once.

A request is known by its content and by how often the same one was asked before, as a reflection of GEPA's is.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import dspy
from pydantic_core import to_jsonable_python

from rollout_local.domain.identity import content_hash
from rollout_local.search.engine import SearchSpec
from rollout_local.search.task_model import lm_settings

Reflect = Callable[[str, int, Callable[[], Any]], Any]
_CONNECTION = frozenset({"api_key", "api_base", "base_url", "extra_headers", "default_headers", "headers"})


def prompt_model(spec: SearchSpec, reflect: Reflect) -> object:
    """The reflection model of the spec for an optimizer that calls it; its copies share the memory."""
    model = spec.reflection
    return RememberedLM(model.name, reflect=reflect, **lm_settings(model.api_base, model.api_key, model.params))


class RememberedLM(dspy.LM):  # type: ignore[misc]
    """A `dspy.LM` whose replies are those that `reflect` remembers."""

    def __init__(self, model: str, *, reflect: Reflect, **settings: object) -> None:
        super().__init__(model, **settings)
        self._reflect = reflect
        self._asked: Counter[str] = Counter()

    def __call__(self, prompt: object = None, *, messages: object = None, **settings: object) -> Any:
        """The model's outputs, now or as they were."""
        given = {**self.kwargs, **settings}
        key = content_hash(
            {
                "model": self.model, "asked": _plain(prompt if messages is None else messages),
                "settings": _plain({name: value for name, value in given.items() if name not in _CONNECTION}),
            }
        )  # fmt: skip
        occurrence = self._asked[key]
        self._asked[key] += 1

        def produce() -> Any:
            outputs = super(RememberedLM, self).__call__(prompt, messages=messages, **settings)
            return {"outputs": to_jsonable_python(outputs, fallback=str)}

        return self._reflect(key, occurrence, produce)["outputs"]


def _plain(value: object) -> object:
    return json.loads(json.dumps(value, default=_described, sort_keys=True))


def _described(value: object) -> object:
    """A value that JSON cannot say, in a way that is the same in every process."""
    if hasattr(value, "model_json_schema"):
        return value.model_json_schema()
    if isinstance(value, Mapping):
        return dict(value)
    return f"{type(value).__module__}.{type(value).__qualname__}"
