"""A span per call of a predictor, told to the collector of the context while a program runs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dspy
from dspy.utils.callback import BaseCallback

from rollout_local.targets.program_records import NOT_PLAIN, plain
from rollout_local.tracing import Collector, Span, current_collector


@contextmanager
def spans_of(program: Any) -> Iterator[None]:
    """Make spans of what the predictors of `program` do inside the block, in this thread."""
    collector = current_collector()
    if collector is None:
        yield
        return
    names = {id(predictor): name for name, predictor in program.named_predictors()}
    with dspy.context(callbacks=[*(dspy.settings.callbacks or []), Watching(names, collector)]):
        yield


class Watching(BaseCallback):  # type: ignore[misc]
    """Times the calls of the modules that it has names for (by `id`)."""

    def __init__(self, names: Mapping[int, str], collector: Collector) -> None:
        self._names = names
        self._collector = collector
        self._open: dict[str, tuple[Span, float]] = {}

    def on_module_start(self, call_id: str, instance: object, inputs: dict[str, object]) -> None:
        """A module begins."""
        if id(instance) in self._names:
            span = Span(self._names[id(instance)], "predictor", time.time(), input=_said(inputs.get("kwargs", inputs)))
            self._open[call_id] = (span, time.perf_counter())

    def on_module_end(self, call_id: str, outputs: object, exception: Exception | None = None) -> None:
        """A module has ended."""
        if call_id not in self._open:
            return
        span, begun = self._open.pop(call_id)
        span.duration = time.perf_counter() - begun
        span.error = None if exception is None else f"{type(exception).__name__}: {exception}"
        span.output = (
            None if outputs is None else _said(dict(outputs.items()) if hasattr(outputs, "items") else outputs)
        )
        self._collector.spans.append(span)


def _said(value: object) -> Any:
    found = plain(value)
    return repr(value) if found is NOT_PLAIN else found
