"""What a run must not hold, what it knows to be secret, and what in it only looks like a key.

Invariant: what is stored for a run as the user wrote it (settings, tasks, verifiers, the baseline) holds no value of a
secret-named environment variable: that is refused when the run is made, since these are stored and sent as they are.
Everything else that is written passes through the `Redactor` made here. Data that only looks like a key is told of,
task by task: the recording takes it out, so a replay sees another text. `keep_lookalikes` keeps those pieces, and
those alone, that stand in the run's own tasks, verifiers and baseline.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from rollout_local.domain.dataset import Dataset
from rollout_local.domain.run import RunConfig
from rollout_local.domain.target import Target
from rollout_local.domain.verdict import VerifierSpec
from rollout_local.errors import InputError
from rollout_local.planning.target_headers import headers_of
from rollout_local.redaction import Redactor, is_plain, secret_variables
from rollout_local.redaction.literals import credentials_in
from rollout_local.redaction.redactor import lookalikes
from rollout_local.redaction.references import (
    filled,
    from_environment,
    problem_of_address,
    problem_of_parameters,
    variables_in,
)

_ADDRESSES = ("reflection_api_base", "task_api_base")
_PARAMETERS = {"reflection_params": "--reflection-param", "task_params": "--task-param"}
_NAMED_AT_MOST = 5
UNSET = "the-value-of-an-unset-variable"
"""What a replay has in place of a variable that is not set: taken out as the value was, so requests match."""


def redactor_of(
    config: RunConfig,
    datasets: Sequence[Dataset],
    specs: Sequence[VerifierSpec],
    target: Target | None,
    environ: Mapping[str, str],
) -> Redactor:
    """The redactor of a run: it knows the secrets of the environment, of the target's source and of the variables that
    the run names.
    """
    kept = [text for _, text in _data(datasets, specs, target)] if config.keep_lookalikes else []
    redactor = Redactor(environ, keep=kept)
    headers = headers_of(config.target_headers, config.target_bearer_env, environ, required=False)
    read = [environ.get(name, "").strip() or UNSET for name in variables_of(config, specs)]
    redactor.learn([*headers.secrets, *(value for value in read if not is_plain(value))])
    if target is not None:
        redactor.learn(sorted(credentials_in(target.source)))
    return redactor


def variables_of(config: RunConfig, specs: Sequence[VerifierSpec]) -> list[str]:
    """The environment variables that the models' parameters and addresses are read from."""
    told: list[object] = [getattr(config, name) for name in (*_ADDRESSES, *_PARAMETERS)]
    for spec in specs:
        told += [check.params.get(name) for check in spec.checks for name in ("api_base", "parameters")]
    return list(dict.fromkeys(name for value in told if value for name in variables_in(value)))


def connected(config: RunConfig, environ: Mapping[str, str]) -> RunConfig:
    """The settings with their variables read, to be used and never stored; one that is not set opens nothing."""
    read = from_environment(environ, UNSET)
    names = [name for name in (*_ADDRESSES, *_PARAMETERS) if variables_in(getattr(config, name))]
    return config.model_copy(update={name: filled(getattr(config, name), read) for name in names})


def require_variables(config: RunConfig, specs: Sequence[VerifierSpec], environ: Mapping[str, str]) -> None:
    """Refuse a live run that reads a variable which is not set."""
    missing = [name for name in variables_of(config, specs) if not environ.get(name, "").strip()]
    if missing and config.record_mode != "none":
        msg = (
            f"the environment variable {missing[0]} is not set, and the models' parameters or addresses are read from "
            "it; set it"
        )
        raise InputError(msg)


def require_named(config: RunConfig) -> None:
    """Refuse settings of the models that hold a secret, and parameters that the tool sets itself."""
    for name, flag in _PARAMETERS.items():
        problem = problem_of_parameters(getattr(config, name), shown=f"{flag} ")
        if problem:
            raise InputError(problem)
    for name in _ADDRESSES:
        address = getattr(config, name)
        problem = problem_of_address(address, shown=f"--{name.replace('_', '-')}") if address else ""
        if problem:
            raise InputError(problem)


def require_clean(
    config: RunConfig,
    datasets: Sequence[Dataset],
    specs: Sequence[VerifierSpec],
    target: Target,
    environ: Mapping[str, str],
) -> None:
    """Refuse what is stored and sent as it is, where the value of a secret variable stands in it."""
    secrets = secret_variables(environ)
    known = Redactor(secrets)
    settings = ((f"--{name.replace('_', '-')}", json.dumps(value)) for name, value in config.model_dump().items())
    for place, text in (*settings, *_data(datasets, specs, target)):
        if known.finds(text):
            names = [name for name, value in secrets.items() if Redactor({name: value}).finds(text)]
            msg = (
                f"{place} holds the value of the environment variable {names[0]}, and is stored and sent as it is; "
                "take it out, or unset the variable if that is no secret"
            )
            raise InputError(msg)
    for place, text in _baseline(target):
        if not config.keep_lookalikes and lookalikes(text):
            msg = (
                f"{place} holds what looks like a key, and a prompt is stored and sent to models as it is; take it "
                "out, or allow it with --keep-lookalikes"
            )
            raise InputError(msg)


def lookalike_data(
    config: RunConfig, datasets: Sequence[Dataset], specs: Sequence[VerifierSpec]
) -> Iterator[tuple[str, str]]:
    """`("data", a sentence)` on tasks and verifiers that hold what looks like a key and is taken out of a recording."""
    if config.keep_lookalikes:
        return
    places = [place for place, text in _data(datasets, specs, None) if lookalikes(text)]
    if places:
        more = f" and {len(places) - _NAMED_AT_MOST} more places" if len(places) > _NAMED_AT_MOST else ""
        sentence = (
            f"what looks like a key stands in {', '.join(places[:_NAMED_AT_MOST])}{more}; the recording will have "
            "[redacted] in its place, so that a replay may score it otherwise; if it is no secret, give "
            "--keep-lookalikes"
        )
        yield "data", sentence


def _data(
    datasets: Sequence[Dataset], specs: Sequence[VerifierSpec], target: Target | None
) -> Iterator[tuple[str, str]]:
    """Everything that is kept as the user wrote it: where it stands, and its text."""
    for dataset in datasets:
        for task in dataset.tasks:
            for field, value in task.model_dump(mode="json", exclude={"split"}).items():
                if value not in (None, "", {}):
                    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
                    yield f"task {task.name!r} ({field})", text
    for spec in specs:
        yield f"verifier {spec.id!r}", json.dumps(spec.model_dump(mode="json"), ensure_ascii=False)
    if target is not None:
        yield from _baseline(target)


def _baseline(target: Target) -> Iterator[tuple[str, str]]:
    for name, text in target.baseline.components.items():
        yield f"the baseline of target {target.id!r} ({name})", text
