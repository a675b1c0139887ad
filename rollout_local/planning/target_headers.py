"""The headers that go to `--target-url`: names are stored, secret values are not.

Invariant: `--target-header` is stored with the run as it was given, so a value is given in the text only where it
is too ordinary to be a secret. Everything else is `$VARIABLE`, read from the environment when it is sent; what was
read goes nowhere but to the endpoint (`Headers.secrets` is for those who take it out elsewhere).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from rollout_local.errors import InputError
from rollout_local.redaction import Redactor, is_plain
from rollout_local.redaction.references import CREDENTIAL, VARIABLE, must_be_named

_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e]*?)[ \t]*")
_OURS = frozenset({"content-type", "content-length", "transfer-encoding", "host", "accept-encoding", "connection"})
_BEARER = "--target-bearer-env"


@dataclass(frozen=True)
class Headers:
    """What is sent, and the pieces of it that came from the environment and are no ordinary words."""

    sent: Mapping[str, str]
    secrets: tuple[str, ...] = ()


def headers_of(
    given: Sequence[str], bearer_env: str | None, environ: Mapping[str, str], *, required: bool = True
) -> Headers:
    """Headers from `--target-header "Name: value"` and `--target-bearer-env VARIABLE`.

    Where nothing is sent (a replay), no variable is `required` to be set. Raises `InputError` for what cannot be
    sent, or would be stored and may be a secret; what is given is not repeated then.
    """
    sent: dict[str, str] = {}
    read: list[str] = []
    for flag, name, text in _named(given, bearer_env):
        if name.lower() in {other.lower() for other in sent}:
            msg = f"the header {name} is given twice (--target-header, {_BEARER}); keep one"
            raise InputError(msg)
        values = {found: _value(found, flag, environ, required=required) for found in VARIABLE.findall(text)}
        read += values.values()
        sent[name] = VARIABLE.sub(partial(_looked_up, values), text)
    pieces = dict.fromkeys(piece for value in read for piece in (value, *value.split()))
    return Headers(sent, tuple(piece for piece in pieces if not is_plain(piece)))


def variables_of(given: Sequence[str], bearer_env: str | None) -> list[str]:
    """The environment variables that the headers are read from."""
    return [variable for _, _, text in _named(given, bearer_env) for variable in VARIABLE.findall(text)]


def _named(given: Sequence[str], bearer_env: str | None) -> Iterator[tuple[str, str, str]]:
    """Flag, name and value of each header, checked: nothing secret stands in it."""
    for text in given:
        name, value = _parted(text)
        flag = f"--target-header {name}"
        says_it_all = not VARIABLE.search(value)
        if (says_it_all and CREDENTIAL.search(name)) or not is_plain(VARIABLE.sub("", value).strip()):
            raise InputError(must_be_named(flag, f"'{name}: $VARIABLE'"))
        yield flag, name, value
    if bearer_env is not None:
        name = f"${bearer_env}"
        if not VARIABLE.fullmatch(name) or Redactor({}).text(bearer_env) != bearer_env:
            msg = f"{_BEARER} takes the name of an environment variable, such as AGENT_TOKEN, not the token itself"
            raise InputError(msg)
        yield _BEARER, "Authorization", f"Bearer {name}"


def _parted(text: str) -> tuple[str, str]:
    found = _HEADER.fullmatch(text)
    if found is None:
        msg = '--target-header takes "Name: value" in plain ASCII, such as "X-Team: blue" or "X-Api-Key: $TEAM_KEY"'
        raise InputError(msg)
    if found[1].lower() in _OURS:
        msg = f"--target-header {found[1]} is set by the client itself; leave it out"
        raise InputError(msg)
    return found[1], found[2]


def _looked_up(values: Mapping[str, str], found: re.Match[str]) -> str:
    return values[found[1]]


def _value(variable: str, flag: str, environ: Mapping[str, str], *, required: bool) -> str:
    value = environ.get(variable, "").strip()
    if not value and required:
        msg = f"{flag} reads the environment variable {variable}, which is not set; set it"
        raise InputError(msg)
    if not (value.isascii() and value.isprintable()):
        msg = f"{flag} reads the environment variable {variable}, whose value no HTTP header can hold; correct it"
        raise InputError(msg)
    return value
