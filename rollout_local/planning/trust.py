"""What a stored run reaches for outside its file: code that is imported, servers, models, variables, files.

Invariant: a run that the user of this machine neither made nor confirmed reaches for none of these. A run that is
created here is sealed with what it names; an imported one, or one in a database that was handed over, has no seal
that fits, and waits until somebody has seen the list and said yes (`--trust`). The same holds for a stored verifier.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rollout_local.domain.run import RunConfig
from rollout_local.domain.verdict import VerifierSpec
from rollout_local.errors import NotConfirmed, NotFound
from rollout_local.planning import secrets, target_headers
from rollout_local.planning.trackers import PACKAGES
from rollout_local.store import lifecycle, releases
from rollout_local.store.catalog_rows import VerifierRow
from rollout_local.store.row_types import RunRow
from rollout_local.store.schema import Store
from rollout_local.store.seals import fits, seal
from rollout_local.store.stored_run import StoredRun
from rollout_local.targets.agent_files import of_row
from rollout_local.verifiers.quoting import quote

_SAID = {
    "module": "import the module", "function": "call the function", "tools": "run the tools of the capability",
    "address": "send requests to", "model": "ask the model", "tracker": "report to",
    "variable": "read the environment variable", "file": "write to",
}  # fmt: skip
"""Every kind, and what is done with it."""
_CODE = frozenset({"module", "function", "tools"})
"""Kinds that a replay reaches for, too."""
LONGEST = 2000
"""Characters of a name that are shown: of an address the last ones count, too."""
_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_ADDRESSES = ("target_url", "reflection_api_base", "task_api_base")
_MODELS = ("reflection_model", "task_model")
_FILES = ("log_dir", "recording")


@dataclass(frozen=True, order=True)
class Contact:
    """One thing that is reached for. `kind` is a key of `_SAID`."""

    kind: str
    value: str

    @property
    def sentence(self) -> str:
        """What is done, such as `import the module app`."""
        return f"{_SAID[self.kind]} {quote(self.value, LONGEST)}"


def of_config(config: RunConfig, specs: Sequence[VerifierSpec]) -> list[Contact]:
    """What a run with these settings and verifiers reaches for."""
    return sorted({*_of_settings(config), *(contact for spec in specs for contact in of_verifier(spec))})


def of_verifier(spec: VerifierSpec) -> list[Contact]:
    """What a verifier reaches for: a judge's model and server, a check's own function."""
    found = [contact for check in spec.checks for contact in _of_params(check.params)]
    return sorted({*found, *(Contact("variable", name) for name in secrets.variables_of(RunConfig(), [spec]))})


def seal_of(run_id: str, config: RunConfig, specs: Sequence[VerifierSpec], store: Store | None) -> str:
    """The seal of a run that is made, or confirmed, here."""
    return seal("run", run_id, *_sealed(config, specs, store))


def unconfirmed(store: Store, run: RunRow, changes: Mapping[str, object] | None = None) -> list[Contact]:
    """What a stored run would reach for and nobody here has confirmed. `changes` replace settings for this time."""
    stored = StoredRun(run)
    specs = stored.verifiers(store)
    if fits(run["confirmed"], "run", run["id"], *_sealed(stored.config, specs, store)):
        return []
    return _open(stored.config, specs, changes or {})


def confirm(store: Store, run: RunRow) -> None:
    """Seal a stored run: the user has seen what it reaches for."""
    stored = StoredRun(run)
    seal_ = seal_of(run["id"], stored.config, stored.verifiers(store), store)
    lifecycle.set_confirmed(store, run["id"], seal_)


def require(store: Store, run: RunRow, changes: Mapping[str, object] | None = None) -> None:
    """Raise `NotConfirmed`, naming all of it, where a run would reach for what nobody here has confirmed."""
    _refuse(run["id"], unconfirmed(store, run, changes))


def require_sealed(given: object, run_id: str, config: RunConfig, specs: Sequence[VerifierSpec]) -> None:
    """The same for a run that is no row yet: `given` is the seal that came with it."""
    if not (isinstance(given, str) and fits(given, "run", run_id, *_sealed(config, specs, None))):
        _refuse(run_id, _open(config, specs, {}))


def require_verifier(row: VerifierRow) -> VerifierSpec:
    """The spec of a stored verifier; `NotConfirmed` where it came from elsewhere and reaches for something."""
    spec = VerifierSpec.model_validate_json(row["spec_json"])
    found = of_verifier(spec)
    if found and not fits(row["confirmed"], "verifier", spec.content_hash):
        msg = (
            f"verifier {spec.id!r} was not registered on this machine, and would {said(found)}; look at it "
            f"(`rollout verifiers show {spec.id}`), and register it from a file (`rollout verifiers create FILE`)"
        )
        raise NotConfirmed(msg)
    return spec


def said(found: Sequence[Contact]) -> str:
    """All of them, in words."""
    return ", ".join(contact.sentence for contact in found)


def _refuse(run_id: str, found: Sequence[Contact]) -> None:
    if found:
        msg = (
            f"run {run_id} was not made on this machine by this user, and would {said(found)}; if that is what you "
            f"want, say so with --trust (`rollout optimize run {run_id} --trust`)"
        )
        raise NotConfirmed(msg)


def _open(config: RunConfig, specs: Sequence[VerifierSpec], changes: Mapping[str, object]) -> list[Contact]:
    """What is to be confirmed this time: what was typed needs no word, and a replay asks nobody."""
    config = config.model_copy(update={name: RunConfig.model_fields[name].get_default() for name in changes})
    found = of_config(config, specs)
    return [one for one in found if one.kind in _CODE] if changes.get("record_mode") == "none" else found


def _sealed(config: RunConfig, specs: Sequence[VerifierSpec], store: Store | None) -> list[object]:
    """What a seal is over: every contact, and the code of the capability as the file has it."""
    pairs = [[contact.kind, contact.value] for contact in of_config(config, specs) if contact.kind != "file"]
    return [pairs, _tools(config, store)]


def _tools(config: RunConfig, store: Store | None) -> str | None:
    if config.capability is None or store is None:
        return None
    try:
        return of_row(releases.find_version(store, config.capability)).content_hash
    except NotFound:
        return None


def _of_settings(config: RunConfig) -> Iterator[Contact]:
    yield from (Contact("module", module) for module in config.modules)
    if config.capability is not None:
        yield Contact("tools", config.capability)
    for kind, names in (("address", _ADDRESSES), ("model", _MODELS), ("file", _FILES)):
        yield from (Contact(kind, value) for value in (getattr(config, name) for name in names) if value)
    for flag in PACKAGES:
        if config.arguments.get(flag):
            yield Contact("tracker", flag.removeprefix("use_"))
    for value in (config.arguments, config.reflection_params, config.task_params):
        yield from _of_value(value)
    headers = target_headers.variables_of(config.target_headers, config.target_bearer_env)
    yield from (Contact("variable", name) for name in [*headers, *secrets.variables_of(config, [])])


def _of_params(params: Mapping[str, Any]) -> Iterator[Contact]:
    """Of a check's: its own function, its judge."""
    for kind, name in (("function", "function"), ("model", "model"), ("address", "api_base")):
        if isinstance(params.get(name), str):
            yield Contact(kind, params[name])
    yield from _of_value(params.get("parameters"))


def _of_value(value: object) -> Iterator[Contact]:
    """Addresses and functions that stand anywhere in a JSON value."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _of_value(item)
    elif isinstance(value, str) and "://" in value:
        yield Contact("address", value)
    elif isinstance(value, str) and _FUNCTION.fullmatch(value):
        yield Contact("function", value)
