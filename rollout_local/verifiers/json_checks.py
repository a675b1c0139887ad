"""Checks of the output as JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rollout_local.domain.dataset import Task
from rollout_local.errors import GradingError
from rollout_local.verifiers.labels import identity, label, label_place
from rollout_local.verifiers.quoting import cut, joined, quote, quotes
from rollout_local.verifiers.subject import MISSING, PERFECT, Outcome, Params, ParsedText, Subject, find

_KINDS = {list: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number"}
_SHOWN = 5


def json_valid(_: Params, subject: Subject) -> Outcome:
    """1 where the whole output is JSON; a code fence or a sentence around it is not."""
    problem = subject.document.problem
    return (0.0, f"the output is not valid JSON: {problem}") if problem else PERFECT


def json_keys(params: Params, subject: Subject) -> Outcome:
    """1 where the output is a JSON object with every key."""
    return _has_keys(params["keys"], subject.document, "keys")


def expected_output_schema(_: Params, subject: Subject) -> Outcome:
    """1 where the output is a JSON object with the required keys of the task's schema, or the task has none."""
    if subject.task.expected_output_schema is None:
        return PERFECT
    return _has_keys(required_keys(subject.task), subject.document, "required keys")


def required_keys(task: Task) -> list[str]:
    """The `required` of the task's schema; `GradingError` where it is no list of texts."""
    keys = (task.expected_output_schema or {}).get("required", [])
    if isinstance(keys, list) and all(isinstance(key, str) for key in keys):
        return keys
    msg = f'task "{task.name}": "required" of the expected output schema is {quote(keys)}; it must be a list of keys'
    raise GradingError(msg)


def json_path_equals(params: Params, subject: Subject) -> Outcome:
    """1 where the value at the path equals the expected one.

    With `unordered`, two lists are compared as sets and scored by F1: 2 × common / (expected + found).
    """
    expected = expected_value(params, subject.task)
    wanted = f"{params['path']}: expected {quote(expected)}{' (in any order)' if params.get('unordered') else ''}"
    if subject.document.problem:
        return 0.0, f"{wanted}, but the output is not valid JSON"
    found = find(subject.document.value, params["path"])
    if found is MISSING:
        return 0.0, f"{wanted}, found nothing at that path"
    if params.get("unordered") and isinstance(found, list):
        return _as_sets(expected, found, params, wanted)
    return (
        PERFECT if identity(expected, params) == identity(found, params) else (0.0, f"{wanted}, found {quote(found)}")
    )


def expected_value(params: Params, task: Task) -> Any:
    """What the value at the path must equal; `GradingError` where it is missing, or no list under `unordered`."""
    expected = label(params, task)
    if params.get("unordered") and not isinstance(expected, list):
        msg = f'task "{task.name}": {label_place(params)} is {quote(expected)}; "unordered" compares lists'
        raise GradingError(msg)
    return expected


def json_schema(params: Params, subject: Subject) -> Outcome:
    """1 where the output is JSON that the schema accepts (`schema`, or else the task's, or else any)."""
    schema = params.get("schema", subject.task.expected_output_schema)
    if schema is None:
        return PERFECT
    if subject.document.problem:
        return 0.0, f"the output is not valid JSON: {subject.document.problem}"
    problems = _violations(schema, subject.document.value, subject.task)
    if not problems:
        return PERFECT
    more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    return 0.0, f"the JSON does not fit the schema: {joined(problems[:_SHOWN])}{more}"


def need_schema(params: Params, task: Task) -> None:
    """Raise `GradingError` where the check has no schema of its own and the task's is none."""
    if "schema" not in params and task.expected_output_schema is not None:
        require_schema(task.expected_output_schema, task)


def schema_problem(schema: Mapping[str, object]) -> str:
    """Why `schema` is no JSON Schema, in words; empty where it is one."""
    if not isinstance(schema.get("$schema", ""), str):
        return "is not a JSON Schema: $schema must be a text"
    known = _validator_class(schema)
    problem = next(known(known.META_SCHEMA).iter_errors(schema), None)
    return f"is not a JSON Schema: at {problem.json_path}: {cut(problem.message)}" if problem else ""


def require_schema(schema: Mapping[str, object], task: Task) -> None:
    """`GradingError` where a task's schema is none."""
    if problem := schema_problem(schema):
        msg = f'task "{task.name}": the expected output schema {problem}'
        raise GradingError(msg)


def _validator_class(schema: Mapping[str, object]) -> Any:
    """The class for the schema's `$schema`; of an unknown one, the newest draft's."""
    import jsonschema  # type: ignore[import-untyped]  # its stubs are a package of their own

    return jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)


def _violations(schema: Mapping[str, object], value: object, task: Task) -> list[str]:
    """What the schema objects to, each with its place. No reference is fetched: one that leads out is refused."""
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    require_schema(schema, task)
    validator = _validator_class(schema)(schema, registry=Registry())
    try:
        return [f"at {error.json_path}: {cut(error.message)}" for error in validator.iter_errors(value)]
    except (Unresolvable, RecursionError, re.error) as error:
        msg = f'task "{task.name}": the JSON Schema cannot be applied: {cut(str(error))}'
        raise GradingError(msg) from error


def _has_keys(keys: Sequence[str], document: ParsedText, name: str) -> Outcome:
    if document.problem or not isinstance(document.value, dict):
        wanted = f"expected a JSON object with the {name} {quotes(keys)}" if keys else "expected a JSON object"
        kind = "not valid JSON" if document.problem else f"JSON, but {_kind(document.value)}"
        return 0.0, f"{wanted}; the output is {kind}"
    missing = [key for key in keys if key not in document.value]
    if not missing:
        return PERFECT
    there = f"it has {quotes(list(document.value))}" if document.value else "it is empty"
    return 0.0, f"the JSON object lacks the {name} {quotes(missing)} ({there})"


def _kind(value: object) -> str:
    return "null" if value is None else _KINDS[type(value)]


def _as_sets(expected: list[object], found: list[object], params: Params, wanted: str) -> Outcome:
    ours = {identity(item, params): item for item in expected}
    theirs = {identity(item, params): item for item in found}
    missing = [item for key, item in ours.items() if key not in theirs]
    surplus = [item for key, item in theirs.items() if key not in ours]
    if not missing and not surplus:
        return PERFECT
    score = 2 * (len(ours) - len(missing)) / (len(ours) + len(theirs))
    differences = [
        f"missing {quotes(missing)}" if missing else "",
        f"not expected {quotes(surplus)}" if surplus else "",
    ]
    return score, joined([f"{wanted}, found {quote(found)}", *differences])
