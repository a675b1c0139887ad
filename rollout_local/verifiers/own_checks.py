"""The `python` check: a function of the user's, named `module:function`, that grades one output.

It is called with `(task, output)`, the output as the target returned it (an empty text for None), and returns a
bool, a number in [0, 1], `(score, feedback)` or `{"score", "feedback"}`. Whatever else it does is a
`GradingError`, never a score.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import threading
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from rollout_local.errors import GradingError, OutOfScale
from rollout_local.verifiers.quoting import quote
from rollout_local.verifiers.subject import PERFECT, Outcome, Params, Subject


def python(params: Params, subject: Subject) -> Outcome:
    """The score that the user's function returns."""
    name = params["function"]
    function = load(name)
    output = subject.result.output
    try:
        returned = function(subject.task, "" if output is None else output)
    except Exception as error:
        msg = f'task "{subject.task.name}": the check {name} raised {type(error).__name__}: {error}'
        raise GradingError(msg) from error
    score, feedback = _read(returned, name, subject.task.name)
    return PERFECT if score == 1.0 else (score, feedback or f"{name} gave {score:g}")


def load(name: str) -> Callable[..., Any]:
    """The function `module:function`; `GradingError` where it is not there."""
    module_name, _, attribute = name.partition(":")
    try:
        function = getattr(_module(module_name), attribute)
    except Exception as error:
        msg = f"the check's function {name} cannot be loaded: {type(error).__name__}: {error}"
        raise GradingError(msg) from error
    if not callable(function) or inspect.iscoroutinefunction(function):
        msg = f"the check's function {name} is not a plain function; a check is called, not awaited"
        raise GradingError(msg)
    loaded: Callable[..., Any] = function
    return loaded


_importing = threading.Lock()


def _module(name: str) -> ModuleType:
    """The module, imported once: trials ask in threads, and CPython 3.11 empties its import caches without a lock."""
    with _importing:
        if name not in sys.modules:
            importlib.invalidate_caches()  # the file may be younger than the last look into its folder
        return importlib.import_module(name)


def checked_score(score: object, whose: str) -> float:
    """`score` as a float in [0, 1]; `GradingError`, naming whose it is, for anything else."""
    if not isinstance(score, bool | int | float) or not 0 <= score <= 1:
        msg = f"{whose} gave the score {quote(score)}; a score is a number from 0 to 1"
        raise OutOfScale(msg)
    return float(score)


def _read(returned: object, name: str, task: str) -> Outcome:
    whose = f'task "{task}": the check {name}'
    score, feedback = returned, ""
    if isinstance(returned, tuple) and len(returned) == 2:
        score, feedback = returned
    elif isinstance(returned, Mapping) and "score" in returned and set(returned) <= {"score", "feedback"}:
        score, feedback = returned["score"], returned.get("feedback") or ""
    if not isinstance(feedback, str):
        msg = f"{whose} gave the feedback {quote(feedback)}; feedback is a text"
        raise GradingError(msg)
    return checked_score(score, whose), feedback
