"""Reading a verifier as people write it: everything in it is understood, or it is refused by name.

Parameters may stand in `params` or flat on the check; names may be camelCase or snake_case. Two spellings of one
verifier become one spec with one content hash: aliases are resolved, and what says the default is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from rollout_local.documents import json_problem, parse_json, read_text, suggestion
from rollout_local.domain.verdict import CheckSpec, VerifierSpec
from rollout_local.errors import InputError
from rollout_local.verifiers.checks import ALIASES, CHECKS, CheckType
from rollout_local.verifiers.labels import as_number
from rollout_local.verifiers.params import KINDS
from rollout_local.verifiers.quoting import quote, quotes

_KEYS = ("id", "name", "kind", "pass_threshold", "checks")
_CHECK_KEYS = ("id", "type", "weight", "required", "params", "message")
_COOKBOOK = {"field_equals": "json_path_equals with path and equals, from_metadata or from_expected"}


def read_spec(path: Path | str) -> VerifierSpec:
    """The verifier of a JSON file; `InputError` with file, line and column, or check and parameter."""
    file = Path(path)
    return parse_spec(parse_json(read_text(file), file), file.stem, f"{file}")


def parse_spec(raw: Mapping[str, object], stem: str, where: str) -> VerifierSpec:
    """The verifier that `raw` writes down; `stem` is its id and name where it gives none.

    Raises `InputError`, beginning with `where` and naming the check, for everything that is not understood.
    A spec that was dumped (`model_dump`) is read back equal.
    """
    if not isinstance(raw, Mapping):
        _refuse(f"{where}: a verifier is an object with checks")
    _require_plain(raw, where)
    given = _snake(raw, where)
    _refuse_unknown(given, _KEYS, where)
    if given.get("kind", "native") != "native":
        _refuse(f'{where}: the kind {quote(given["kind"])} is not known; only "native" is')
    threshold = given.get("pass_threshold", 1.0)
    if not _is_number(threshold) or not 0 <= threshold <= 1:
        _refuse(f"{where}: passThreshold is {quote(threshold)}; it must be a number from 0 to 1")
    return VerifierSpec(
        id=_name(given, "id", stem, where),
        name=_name(given, "name", stem, where),
        pass_threshold=float(threshold),
        checks=_checks(given.get("checks"), where),
    )


def auto_id(check: CheckSpec) -> bool:
    """True where the id says no more than the type: nobody wrote it."""
    return re.fullmatch(rf"{check.type}(-\d+)?", check.id) is not None


def _checks(raw: object, where: str) -> tuple[CheckSpec, ...]:
    if not isinstance(raw, Sequence) or isinstance(raw, str) or not raw:
        _refuse(f'{where}: has no checks; "checks" must be a list of at least one')
    taken = {item["id"] for item in raw if isinstance(item, Mapping) and isinstance(item.get("id"), str)}
    checks: list[CheckSpec] = []
    for number, item in enumerate(raw, 1):
        check = _check(item, f"{where}: check {number}", taken)
        if check.id in {other.id for other in checks}:
            _refuse(f"{where}: check {number}: the id {quote(check.id)} is given twice; each needs its own")
        checks.append(check)
        taken.add(check.id)
    if not any(check.weight for check in checks):
        _refuse(f"{where}: all weights are 0, so nothing is graded; give a check a weight above 0")
    return tuple(checks)


def _check(raw: object, where: str, taken: set[str]) -> CheckSpec:
    if not isinstance(raw, Mapping):
        _refuse(f"{where}: is {quote(raw)}; a check is an object with a type")
    name = _type(raw.get("type"), where)
    where = f"{where} ({name})"
    weight, required = raw.get("weight", 1.0), raw.get("required", False)
    if not _is_number(weight) or weight < 0:
        _refuse(f"{where}: weight is {quote(weight)}; it must be a number from 0")
    if not isinstance(required, bool):
        _refuse(f"{where}: required is {quote(required)}; it must be true or false")
    message = raw.get("message", "")
    if not isinstance(message, str) or "\n" in message:
        _refuse(f"{where}: message is {quote(message)}; it must be a text of one line")
    identity = _name(raw, "id", _free_id(name, taken), where)
    params = _params(_collect(raw, CHECKS[name], where), CHECKS[name], where)
    return CheckSpec(id=identity, type=name, weight=float(weight), required=required, params=params, message=message)


def _type(name: object, where: str) -> str:
    known = ", ".join(CHECKS)
    if not isinstance(name, str):
        _refuse(f"{where}: the type is {'missing' if name is None else quote(name)}; known are {known}")
    if ALIASES.get(name, name) not in CHECKS:
        hint = f"; use {_COOKBOOK[name]}" if name in _COOKBOOK else ""
        _refuse(f"{where}: unknown check type {quote(name)}{hint}; known are {known}")
    return ALIASES.get(name, name)


def _free_id(name: str, taken: set[str]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    return free


def _collect(raw: Mapping[str, object], check: CheckType, where: str) -> dict[str, object]:
    """The parameters under their own names, from `params` and from the check itself."""
    nested = raw.get("params", {})
    if not isinstance(nested, Mapping):
        _refuse(f"{where}: params is {quote(nested)}; it must be an object")
    names = {alias: name for name, param in check.params.items() for alias in (name, *param.aliases)}
    found: dict[str, object] = {}
    flat = {key: value for key, value in raw.items() if key not in _CHECK_KEYS}
    for key, value in [*flat.items(), *nested.items()]:
        name = names.get(_snake_name(key))
        if name is None:
            _refuse(f"{where}: unknown parameter {quote(key)}; {_nearest(str(key), list(check.params))}")
        if name in found:
            _refuse(f"{where}: the parameter {quote(name)} is given twice; keep one")
        found[name] = value
    return found


def _params(given: dict[str, object], check: CheckType, where: str) -> dict[str, object]:
    for name, value in given.items():
        if problem := KINDS[check.params[name].kind](value):
            _refuse(f"{where}: the parameter {quote(name)} {problem}")
    missing = [name for name, param in check.params.items() if param.required and name not in given]
    if missing:
        _refuse(f"{where}: lacks the parameter {quotes(missing)}")
    chosen = [name for name in check.one_of if name in given]
    if check.one_of and len(chosen) != 1:
        _refuse(f"{where}: has {len(chosen)} of the parameters {quotes(check.one_of)}; give one of them")
    if given.get("unordered") and not isinstance(given.get("equals", []), list):
        _refuse(f'{where}: "unordered" compares lists; equals is {quote(given["equals"])}')
    return {name: value for name, value in given.items() if value != check.params[name].default}


def _name(raw: Mapping[str, object], key: str, default: str, where: str) -> str:
    value = raw.get(key, default)
    if not isinstance(value, str) or not value.strip() or "\n" in value:
        _refuse(f"{where}: {key} is {quote(value)}; it must be a text of one line")
    return value


def _snake(raw: Mapping[str, object], where: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in raw.items():
        name = _snake_name(key)
        if name in found:
            _refuse(f"{where}: {quote(key)} is given twice, in two spellings; keep one")
        found[name] = value
    return found


def _snake_name(name: object) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda match: f"_{match[1].lower()}", str(name))


def _is_number(value: object) -> bool:
    return not isinstance(value, str) and as_number(value) is not None


def _refuse_unknown(given: Mapping[str, object], known: Sequence[str], where: str) -> None:
    for key in given:
        if key not in known:
            _refuse(f"{where}: unknown key {quote(key)}; {_nearest(key, list(known))}")


def _nearest(word: str, known: list[str]) -> str:
    return suggestion(word, known) if known else "this type has none"


def _require_plain(raw: Mapping[str, object], where: str) -> None:
    """Only what JSON and UTF-8 can say: the spec is hashed and stored."""
    if problem := json_problem(dict(raw)):
        _refuse(f"{where}: {problem}")


def _refuse(message: str) -> NoReturn:
    raise InputError(message) from None
