"""Settings that are stored name a secret, they never hold one: `$VARIABLE`, read from the environment when it is used.

Invariant: a header, a parameter of a model or the address of a server is stored with the run as it was given, so what
may be a secret in it is refused unless it is written as `$VARIABLE`. A parameter is read as `$VARIABLE` where its name
is that of a credential, where it stands among headers, and where the reference is all of its text; an address anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from rollout_local.redaction.known import is_plain
from rollout_local.redaction.redactor import Redactor

VARIABLE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
CREDENTIAL = re.compile(
    r"(?i)auth(?!or)|cookie|key|token(?!iz)|secret|passw|passphrase|pwd|credential|session|signature"
)
_ALWAYS = re.compile(r"(?i)secret|passw|passphrase|pwd")
_HEADERS = re.compile(r"(?i)(?:extra_|default_)?headers")
_NO_CREDENTIALS = frozenset({"prompt_cache_key"})
_ELSEWHERE = "it has a flag or a field of its own"
_RUNS = "the run retries by itself, and counts it"
_ONCE = "every call is recorded, and paid for once"
_NOTHING = "nothing is launched or trained here"
RESERVED = {
    "api_base": _ELSEWHERE, "base_url": _ELSEWHERE, "model": _ELSEWHERE,
    "messages": "the messages are made by the run", "prompt": "the messages are made by the run",
    "num_retries": _RUNS, "max_retries": _RUNS, "cache": _ONCE, "caching": _ONCE,
    "engine": "calls go through litellm, which the recording sees",
    "callbacks": "it is no setting that can be stored", "provider": "the provider is a part of the model's name",
    "launch_kwargs": _NOTHING, "train_kwargs": _NOTHING, "finetuning_model": _NOTHING,
}  # fmt: skip
"""Parameters of a model that are set by the tool, and why they cannot be given."""

Read = Callable[[str], str]
"""The value of a variable."""


def problem_of_parameters(given: Mapping[str, object], *, shown: str = "") -> str:
    """What is wrong with the parameters of a model, in words; empty where nothing is. No value is repeated."""
    for name in given:
        if name in RESERVED:
            return f"{shown}{name} cannot be given: {RESERVED[name]}; leave it out"
    for path, text in _texts(given, ()):
        if _may_be_secret(path, text):
            return must_be_named(f"{shown}{'.'.join(path)}", f"{path[0]}=$VARIABLE" if len(path) == 1 else "$VARIABLE")
    return ""


def problem_of_address(url: str, *, shown: str = "it") -> str:
    """What is wrong with the address of a server: a credential in it. Empty where nothing is."""
    bare = VARIABLE.sub("", url)
    parts = urlsplit(bare)
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    queried = any(value and CREDENTIAL.search(name) for name, value in parse_qsl(parts.query))
    if password or queried or not is_plain(user) or Redactor({}).text(bare) != bare:
        return must_be_named(shown, "$VARIABLE in its place")
    return ""


def must_be_named(what: str, how: str) -> str:
    """The sentence that refuses what may be a secret."""
    return (
        f"{what}: its value may be a secret, and it is stored with the run; put the value into an environment variable "
        f"and write {how}"
    )


def variables_in(value: object, path: tuple[str, ...] = ()) -> list[str]:
    """The variables that a parameter, or a text, is read from."""
    return [name for at, text in _texts(value, path) if _is_read(at, text) for name in VARIABLE.findall(text)]


def filled(value: Any, read: Read, path: tuple[str, ...] = ()) -> Any:
    """The same with what `read` gives in place of each `$VARIABLE`."""
    if isinstance(value, str):
        return VARIABLE.sub(partial(_looked_up, read), value) if _is_read(path, value) else value
    if isinstance(value, Mapping):
        return {name: filled(item, read, (*path, str(name))) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [filled(item, read, path) for item in value]
    return value


def from_environment(environ: Mapping[str, str], otherwise: str) -> Read:
    """Reads variables, and `otherwise` for one that is not set: in a replay nothing is sent."""

    def read(name: str) -> str:
        return environ.get(name, "").strip() or otherwise

    return read


def _looked_up(read: Read, found: re.Match[str]) -> str:
    return read(found[1])


def _texts(value: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _texts(item, (*path, str(name)))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item, path)


def _is_read(path: tuple[str, ...], text: str) -> bool:
    if not path:  # an address
        return True
    return VARIABLE.fullmatch(text) is not None or _is_credential(path) or _among_headers(path)


def _is_credential(path: tuple[str, ...]) -> bool:
    return path[-1] not in _NO_CREDENTIALS and CREDENTIAL.search(path[-1]) is not None


def _among_headers(path: tuple[str, ...]) -> bool:
    return len(path) > 1 and _HEADERS.fullmatch(path[-2]) is not None


def _may_be_secret(path: tuple[str, ...], text: str) -> bool:
    literal = VARIABLE.sub("", text) if _is_read(path, text) else text
    literal = literal.strip()
    if literal.lower() in ("", "bearer", "basic", "token"):
        return False
    if Redactor({}).text(literal) != literal:
        return True
    if _among_headers(path):
        return not is_plain(literal) or (_is_credential(path) and not VARIABLE.search(text))
    if not _is_credential(path):
        return False
    return _ALWAYS.search(path[-1]) is not None or not is_plain(literal)
