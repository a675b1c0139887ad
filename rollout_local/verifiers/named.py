"""A check type as a whole verifier, in one line: `equals`, `contains value="30 days"`, `max_length value=900`."""

from __future__ import annotations

import json
import shlex

from rollout_local.domain.verdict import VerifierSpec
from rollout_local.errors import InputError
from rollout_local.verifiers.checks import ALIASES, CHECKS
from rollout_local.verifiers.quoting import quote
from rollout_local.verifiers.spec import parse_spec

FROM_EXPECTED = "from_expected"


def names_check(reference: str) -> bool:
    """Whether the first word is the type of a check."""
    return reference.partition(" ")[0] in {*CHECKS, *ALIASES}


def spec_of_check(reference: str) -> VerifierSpec:
    """The verifier of one check. A check that may be held against a task's expected output is, where nothing else is
    named.

    Values that read as JSON are taken as JSON, others as text. Raises `InputError` for what the check does not know.
    """
    where = f"--verifier {quote(reference)}"
    try:
        name, *pairs = shlex.split(reference)
    except ValueError as error:
        msg = f"{where}: {error}; quote a value with spaces as in contains value='30 days'"
        raise InputError(msg) from error
    params: dict[str, object] = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator:
            msg = f"{where}: {quote(pair)} is no KEY=VALUE"
            raise InputError(msg)
        params[key] = _value(text)
    check = CHECKS[ALIASES.get(name, name)]
    if FROM_EXPECTED in check.one_of and not set(check.one_of) & set(params):
        params[FROM_EXPECTED] = "$"
    return parse_spec({"id": name, "checks": [{"type": name, "params": params}]}, name, where)


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text
