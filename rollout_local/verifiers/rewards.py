"""REWARDS: the reward recipes of hosted optimization jobs in one literal table, each with feedback in words.

What they compute is exactly what the hosted ones do (read in the released
client, every branch measured). What is ours: a text that says what was expected, what came and where they part, which
the hosted recipes lack and a reflection model learns from; and that everything a recipe could stumble over is refused
before a call is spent (`require_dataset`), rewards outside [0, 1] included.

A recipe reads the output as text, the task's `expected_output` (anything but a text counts as none) and, as the row's
reward, `metadata.reward` (anything but a number counts as none). `reward` runs one as a check of a verifier.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rollout_local.documents import kind_of, suggestion
from rollout_local.domain.dataset import Task
from rollout_local.domain.verdict import CheckSpec, VerifierSpec
from rollout_local.errors import GradingError, InputError
from rollout_local.verifiers.quoting import parting, quote
from rollout_local.verifiers.subject import PERFECT, Outcome, Params, Subject

CHECK_TYPE = "reward"
ROW_REWARD = "reward"
"""The key of a task's metadata that holds the row's reward."""
TOLERANCE = 1e-6
_NUMBER = r"-?(?:\d[\d,]*(?:\.\d+)?|\.\d+)"
_MARKER = re.compile(rf"####\s*({_NUMBER})")
_BARE = re.compile(rf"(?<![\w.])({_NUMBER})|({_NUMBER.removeprefix('-?')})")
_SHOWN = 5


@dataclass(frozen=True)
class Recipe:
    """One recipe. `params` maps a parameter to its default (None: a text without one); the rest says what it reads."""

    summary: str
    run: Callable[[Params, Subject], Outcome]
    params: Mapping[str, Any] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    needs_expected: bool = False
    needs_number: bool = False
    reads_reward: bool = False
    constant: bool = False


def exact_match(params: Params, subject: Subject) -> Outcome:
    """1 where the output equals the expected text, both stripped at their ends; 0 otherwise."""
    expected, found = expected_text(params, subject.task).strip(), subject.text.strip()
    return PERFECT if found == expected else (0.0, _unequal(expected, found))


def contains(params: Params, subject: Subject) -> Outcome:
    """One of two rewards, by whether the raw output holds the needle; the row is not read."""
    needle = params.get("needle")
    if not isinstance(needle, str) or not needle:
        msg = "contains_v1 has no needle; give it as a text"
        raise GradingError(msg)
    is_there = needle in subject.text
    reward, other = _rewards(params) if is_there else _rewards(params)[::-1]
    if reward == 1.0:
        return PERFECT
    if is_there:
        wanted = "; leave it out" if other > reward else ""
        return reward, f"the output contains {quote(needle)}, which earns {reward:g}{wanted}"
    hint = "; it has it in other letters, and case counts" if needle.casefold() in subject.text.casefold() else ""
    came = f"; found {quote(subject.text)}" if subject.text.strip() else "; the output is empty"
    return reward, f"the output does not contain {quote(needle)}{hint or came}"


def row_reward(params: Params, subject: Subject) -> Outcome:
    """The row's own reward, or the default; the output is not read."""
    own = row_reward_of(subject.task)
    reward = _in_range(float(params.get("default", 0.0)) if own is None else own, subject.task)
    whose = "the row has no reward, and the default is" if own is None else "the row's own reward is"
    return PERFECT if reward == 1.0 else (reward, f"{whose} {reward:g}, whatever the output says")


def trajectory_imitation(params: Params, subject: Subject) -> Outcome:
    """As exact match (the final text alone); a match earns the row's reward where it has one."""
    expected, found = expected_text(params, subject.task).strip(), subject.text.strip()
    matched, missed = _rewards(params)
    if found != expected:
        return (missed, _unequal(expected, found)) if missed != 1.0 else PERFECT
    own = row_reward_of(subject.task)
    reward = _in_range(matched if own is None else own, subject.task)
    whose = "a match earns" if own is None else "the row's reward for a match is"
    return PERFECT if reward == 1.0 else (reward, f"the output is what was expected; {whose} {reward:g}")


def gsm8k(params: Params, subject: Subject) -> Outcome:
    """One of two rewards, by whether the last `#### n`, else the last number, of both texts agree."""
    expected = _expected_number(params, subject.task)
    found = number_in(subject.text)
    matched, missed = _rewards(params)
    if found is not None and abs(found - expected) <= TOLERANCE:
        return PERFECT if matched == 1.0 else (matched, f"the number is right, which earns {matched:g}")
    if missed == 1.0:
        return PERFECT
    if found is None:
        return missed, f"expected the number {expected:.12g}, found none; end with #### and the number"
    place = 'the last "#### n"' if _MARKER.search(subject.text) else "the last number"
    return missed, f"expected the number {expected:.12g}, found {found:.12g} ({place} of the output)"


_TWO = {"reward_if_true": 1.0, "reward_if_false": 0.0}

REWARDS: dict[str, Recipe] = {
    "exact_match_v1": Recipe(
        "the output equals the expected text, both stripped; case and inner space count",
        exact_match,
        params={"expected": None},
        needs_expected=True,
    ),
    "contains_v1": Recipe(
        "the output contains a text; case counts", contains, params={"needle": None, **_TWO}, required=("needle",)
    ),
    "row_reward_v1": Recipe(
        "the row's own reward; it does not depend on the output",
        row_reward,
        params={"default": 0.0},
        reads_reward=True,
        constant=True,
    ),
    "trajectory_imitation_v1": Recipe(
        "the final text equals the expected one, both stripped; a match earns the row's reward where it has one",
        trajectory_imitation,
        params={"expected": None, **_TWO},
        needs_expected=True,
        reads_reward=True,
    ),
    "gsm8k_v1": Recipe(
        "the last number, after #### where there is one, equals the expected one",
        gsm8k,
        params={"expected": None, **_TWO},
        needs_expected=True,
        needs_number=True,
    ),
}
"""Recipe → what it computes."""


def reward(params: Params, subject: Subject) -> Outcome:
    """The check type `reward`: `{"recipe": NAME}`, and the recipe's own parameters beside it."""
    return REWARDS[params["recipe"]].run(params, subject)


def as_spec(recipe: str, params: Mapping[str, object] | None = None) -> VerifierSpec:
    """A recipe as a verifier of one check. Raises `InputError` for an unknown recipe or wrong parameters."""
    given = checked_params(recipe, params or {})
    check = CheckSpec(id=recipe, type=CHECK_TYPE, params={"recipe": recipe, **given})
    return VerifierSpec(id=recipe, name=recipe, checks=(check,))


def recipe_of(spec: VerifierSpec) -> str | None:
    """The recipe that `as_spec` made a verifier of, or None."""
    only = spec.checks[0] if len(spec.checks) == 1 else None
    return str(only.params["recipe"]) if only is not None and only.type == CHECK_TYPE and only.id == spec.id else None


def checked_params(recipe: str, params: Mapping[str, object]) -> dict[str, object]:
    """The parameters without those that say the default; `InputError` naming the wrong one."""
    if recipe not in REWARDS:
        msg = f"there is no reward {recipe!r}; {suggestion(recipe, list(REWARDS))}"
        raise InputError(msg)
    known = REWARDS[recipe].params
    for name, value in params.items():
        if name not in known:
            msg = f"the reward {recipe} has no parameter {name!r}; {suggestion(name, list(known))}"
            raise InputError(msg)
        if problem := _param_problem(known[name], value):
            msg = f"the parameter {name} of the reward {recipe} is {quote(value)}; {problem}"
            raise InputError(msg)
    for name in REWARDS[recipe].required:
        if not params.get(name):
            msg = f"the reward {recipe} needs the parameter {name}, a text that is not empty"
            raise InputError(msg)
    return {name: value for name, value in params.items() if value != known[name] and value != ""}


def require_task(params: Params, task: Task) -> None:
    """Refuse a task that the check `reward` cannot grade, with `GradingError`; wrong parameters with `InputError`."""
    given = checked_params(params["recipe"], {name: value for name, value in params.items() if name != "recipe"})
    recipe = REWARDS[params["recipe"]]
    if recipe.needs_number:
        _expected_number(given, task)
    elif recipe.needs_expected:
        expected_text(given, task)
    own = row_reward_of(task) if recipe.reads_reward else None
    if own is not None:
        _in_range(own, task)


def require_dataset(
    recipe: str, params: Mapping[str, object], tasks: Sequence[Task], target_kind: str, *, allow_constant: bool = False
) -> None:
    """Refuse, before a call is spent, what the recipe could not grade, or could not tell apart.

    Raises `InputError`: tasks without an expected text, with an expected text that has no number, with a reward
    outside [0, 1]; and, unless `allow_constant`, a recipe that gives every text the same score.
    """
    given = checked_params(recipe, params)
    if not allow_constant and (why := _constant(recipe, given)):
        msg = (
            f"{recipe} cannot improve the {target_kind.replace('_', ' ')}: {why}; "
            "use another reward, or --allow-constant-reward to replay scores"
        )
        raise InputError(msg)
    problems = []
    for task in tasks:
        try:
            require_task({"recipe": recipe, **given}, task)
        except GradingError as error:
            problems.append((task.name, str(error)))
    if problems:
        more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        others = ", ".join(quote(name) for name, _ in problems[1:_SHOWN])
        also = f" (so too in {others}{more})" if others else ""
        msg = f"{recipe} cannot grade this dataset: {problems[0][1]}{also}"
        raise InputError(msg)


def expected_text(params: Params, task: Task) -> str:
    """The parameter `expected` where it is a text that is not empty, else the task's; `GradingError` without one."""
    own = params.get("expected")
    if isinstance(own, str) and own:
        return own
    if isinstance(task.expected_output, str):
        return task.expected_output
    found = "has no expected_output" if task.expected_output is None else (
        f"has {kind_of(task.expected_output)} as expected_output, which counts as none"
    )  # fmt: skip
    msg = f'task "{task.name}" {found}; write it as a text, or give the parameter expected'
    raise GradingError(msg)


def row_reward_of(task: Task) -> float | None:
    """The row's reward, or None where it has none that is a finite number."""
    value = task.metadata.get(ROW_REWARD)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def number_in(text: str) -> float | None:
    """The number after the last `####`, else the last number of a text; None where there is none."""
    marked = _MARKER.findall(text)
    bare = [one or other for one, other in _BARE.findall(text)] if not marked else []
    last = (marked or bare or [None])[-1]
    number = math.inf if last is None else float(last.replace(",", ""))
    return number if math.isfinite(number) else None


def _expected_number(params: Params, task: Task) -> float:
    text = expected_text(params, task)
    number = number_in(text)
    if number is None:
        msg = f'task "{task.name}": the expected text {quote(text)} has no number; write it as "#### 42" or 42'
        raise GradingError(msg)
    return number


def _rewards(params: Params) -> tuple[float, float]:
    """The reward for true and the one for false."""
    return float(params.get("reward_if_true", 1.0)), float(params.get("reward_if_false", 0.0))


def _in_range(value: float, task: Task) -> float:
    if not 0 <= value <= 1:
        msg = f'task "{task.name}" has the reward {value:g}; a reward here is a number from 0 to 1: scale it'
        raise GradingError(msg)
    return value


def _unequal(expected: str, found: str) -> str:
    came = f"found {quote(found)}{parting(expected, found, fold=False)}" if found else "the output is empty"
    hint = "; only the case differs" if found.casefold() == expected.casefold() else ""
    return f"expected {quote(expected)}, {came}{hint}"


def _param_problem(default: object, value: object) -> str:
    """Why a value cannot be a parameter: texts have no default here, rewards have a number."""
    if default is None:
        return "" if isinstance(value, str) else "it must be a text"
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        return "a reward here is a number from 0 to 1: scale it"
    return ""


def _constant(recipe: str, params: Params) -> str:
    """Why the recipe gives every text the same score, in words; empty where it does not."""
    if REWARDS[recipe].constant:
        return "its score is the row's own and does not depend on the text"
    if "reward_if_true" in REWARDS[recipe].params and len(set(_rewards(params))) == 1:
        return f"it gives {_rewards(params)[0]:g} for right and wrong alike"
    return ""
