"""A copy of a program as a candidate: a text per predictor, and its demonstrations where they are not its own.

Demonstrations are the component `<predictor>.demos`, a list in JSON. A program whose demonstrations are those that
it was built with has no such component, so that it is the same candidate under every optimizer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dspy
from pydantic_core import PydanticSerializationError, to_jsonable_python

from rollout_local.domain.identity import canonical_json
from rollout_local.domain.program import DEMOS
from rollout_local.domain.target import Candidate
from rollout_local.errors import InputError


def candidate_of(module: dspy.Module, own: Mapping[str, str]) -> Candidate:
    """The candidate that a copy of the program is; `own` are the demonstrations that the program was built with."""
    texts = {name: predictor.signature.instructions for name, predictor in module.named_predictors()}
    demos = {name: text for name, text in demos_of(module).items() if text != own.get(name, "[]")}
    return Candidate(components=texts | demos)


def demos_of(module: dspy.Module) -> dict[str, str]:
    """The demonstrations of each predictor as JSON, by component. Raises `InputError` where one cannot be kept."""
    return {
        f"{name}{DEMOS}": canonical_json([_plain(demo, name) for demo in predictor.demos])
        for name, predictor in module.named_predictors()
    }


def _plain(demo: Any, predictor: str) -> dict[str, object]:
    fields = dict(demo.items(include_dspy=True)) if isinstance(demo, dspy.Example) else dict(demo)
    try:
        plain: dict[str, Any] = to_jsonable_python(fields)
    except (PydanticSerializationError, ValueError, TypeError) as error:
        msg = (
            f"a demonstration of predictor {predictor} has a value that JSON cannot keep ({error}); "
            "declare that field of its signature with a type that pydantic can write"
        )
        raise InputError(msg) from error
    return plain


def changed(candidate: Candidate, parent: Candidate) -> tuple[str, ...]:
    """The components in which a candidate differs from its parent."""
    mine, theirs = candidate.components, parent.components
    return tuple(name for name in {**theirs, **mine} if mine.get(name) != theirs.get(name))


def models_of(module: dspy.Module, program: dspy.Module) -> dict[str, object]:
    """The models that the predictors of a copy would ask, where the program itself would ask other ones here.

    An optimizer samples a program by giving its copies models at another temperature.
    """
    own = dict(program.named_predictors())
    asked = {name: (predictor.lm or dspy.settings.lm, own[name].lm or dspy.settings.lm)
             for name, predictor in module.named_predictors()}  # fmt: skip
    return {name: wanted for name, (wanted, usual) in asked.items() if not _same(wanted, usual)}


def _same(one: object, other: object) -> bool:
    return one is other or (one is not None and other is not None and _identity(one) == _identity(other))


def _identity(model: Any) -> tuple[object, ...]:
    return (model.model, model.model_type, model.kwargs)
