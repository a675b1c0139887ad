"""What a check compares with: a value of its own, or the task's label at a path.

`value` (or `equals`) stands in the verifier; `from_metadata` and `from_expected` are dotted paths into the
task's metadata and expected output; `$` is all of it. A label that a task lacks is a `GradingError`, never a score.
"""

from __future__ import annotations

from rollout_local.domain.dataset import Task
from rollout_local.domain.identity import canonical_json
from rollout_local.domain.target import output_text
from rollout_local.errors import GradingError
from rollout_local.verifiers.quoting import quote
from rollout_local.verifiers.subject import MISSING, Params, find

LITERALS = ("value", "equals")


def label_place(params: Params) -> str:
    """Where the label stands in a task: `metadata.urgency`; empty where the verifier has its own value."""
    for param, place in (("from_metadata", "metadata"), ("from_expected", "expected_output")):
        if param in params:
            return place if params[param] == "$" else f"{place}.{str(params[param]).removeprefix('$.')}"
    return ""


def find_label(params: Params, task: Task) -> object:
    """The value to compare with, or `MISSING`. An expected output of None counts as missing."""
    if "from_metadata" in params:
        return find(task.metadata, params["from_metadata"])
    if "from_expected" in params:
        return MISSING if task.expected_output is None else find(task.expected_output, params["from_expected"])
    return next((params[name] for name in LITERALS if name in params), MISSING)


def label(params: Params, task: Task) -> object:
    """The value to compare with; `GradingError` where the task has none."""
    value = find_label(params, task)
    if value is MISSING:
        remedy = "add it to the task, or change the check"
        whole = task.expected_output
        if "from_expected" in params and whole is not None and not isinstance(whole, dict | list):
            remedy = f'its expected output is {quote(whole)}: give "from_expected": "$" for all of it'
        msg = f'task "{task.name}" has no {label_place(params)}; {remedy}'
        raise GradingError(msg)
    return value


def label_text(params: Params, task: Task) -> str:
    """The value to compare with, as text; numbers as JSON writes them."""
    value = label(params, task)
    if isinstance(value, bool | int | float | str):
        return output_text(value)
    msg = f'task "{task.name}": {label_place(params)} is {quote(value)}; the check needs a text there'
    raise GradingError(msg)


def phrase(params: Params, task: Task) -> str:
    """The value to look for: as `label_text`, and not empty."""
    text = label_text(params, task)
    if not text:
        msg = f'task "{task.name}": {label_place(params)} is empty; every output contains that'
        raise GradingError(msg)
    return text


def label_number(params: Params, task: Task) -> float:
    """The value to compare with, as a finite number; texts such as `"1,200"` are read."""
    value = label(params, task)
    number = as_number(value)
    if number is None:
        msg = f'task "{task.name}": {label_place(params)} is {quote(value)}; the check needs a number there'
        raise GradingError(msg)
    return number


def as_number(value: object) -> float | None:
    """A JSON number or a text that is one (commas between thousands allowed), finite; None otherwise."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value.replace(",", "") if isinstance(value, str) else value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) < float("inf") else None


def folded(value: object, params: Params) -> object:
    """`value` as it is compared: texts trimmed, and without case unless the check says `case_sensitive`."""
    if isinstance(value, str):
        text = value.strip()
        return text if params.get("case_sensitive") else text.casefold()
    if isinstance(value, dict):
        return {key: folded(item, params) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [folded(item, params) for item in value]
    return value


def identity(value: object, params: Params) -> str:
    """One text per value as it is compared: `1` and `1.0` are one value, `1` and `true` are two."""
    try:
        return canonical_json(folded(value, params))
    except (TypeError, ValueError):  # 1e999 is read as an infinity
        return repr(folded(value, params))
