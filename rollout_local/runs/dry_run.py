"""`dry-run`: everything that a run needs, checked one by one, and what its budget buys.

No model is called, unless `connect` asks for that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

from rollout_local.domain.dataset import SplitName
from rollout_local.domain.run import RunConfig
from rollout_local.domain.target import AgentResult
from rollout_local.models import key_of, key_variable
from rollout_local.planning import endpoint, environment
from rollout_local.planning.data_warnings import findings
from rollout_local.planning.fingerprint import versions
from rollout_local.planning.module_import import asked_at_import
from rollout_local.planning.practice_warnings import cautions
from rollout_local.planning.readiness import reflection_key_problem
from rollout_local.planning.setup import Pass, Setup, check_unchanged, load, prepare
from rollout_local.planning.target_headers import variables_of
from rollout_local.reports.forecast import detectable_lift, proposals_bought
from rollout_local.runs import preflight, rehearsal
from rollout_local.search.optimizers import optimizer_named
from rollout_local.store import reads
from rollout_local.store.schema import Store
from rollout_local.store.stored_run import StoredRun
from rollout_local.verifiers.grade import fits, grade


class DryRunFinding(TypedDict):
    """What one check found. `status` is ok, warn or fail."""

    check: str
    status: str
    detail: str


class Checked(TypedDict):
    """Everything that was found, and what the budget buys; `ok` where nothing failed."""

    ok: bool
    checks: list[DryRunFinding]
    calls: dict[Pass, int]
    split: dict[SplitName, int]


def of_config(config: RunConfig, folder: Path, store: Store | None, *, connect: bool = False) -> Checked:
    """Check what `create` would be given; with `connect` the run's models are asked a few short questions."""
    with environment.for_target(config, offline_keys=False):
        return _document(prepare(config, folder, store), folder, store, connect=connect)


def of_run(
    store: Store, reference: str, folder: Path, changes: Mapping[str, object], *, connect: bool = False
) -> Checked:
    """Check a stored run: the same, and that its inputs are what it was created with."""
    run = reads.run(store, reference)
    config = StoredRun(run).config
    with environment.for_target(config, offline_keys=False):
        setup = load(store, run, folder, {"log_dir": run["log_dir"], **changes})
        setup = replace(setup, target=endpoint.as_now(setup.target, setup.config))
        check_unchanged(store, run, setup, ())
        return _document(setup, folder, store, connect=connect)


def _document(setup: Setup, folder: Path, store: Store | None, *, connect: bool) -> Checked:
    findings = [*_findings(setup, store), *_wire(setup, folder)]
    for check, status, detail in preflight.findings(setup) if connect else ():
        findings.append({"check": check, "status": status, "detail": detail})
    ok = all(finding["status"] != "fail" for finding in findings)
    return {"ok": ok, "checks": findings, "calls": setup.executions, "split": setup.split.sizes()}


def _findings(setup: Setup, store: Store | None) -> Iterator[DryRunFinding]:
    target, split = setup.target, setup.split
    yield _ok(
        "target", f"{target.id} ({target.kind}), baseline of {_length(setup)} characters, {target.source_hash[:19]}"
    )
    yield from _endpoint(setup.config)
    yield _ok("dataset", f"{setup.dataset.slug}, {len(setup.dataset.tasks)} tasks, {setup.dataset.content_hash[:19]}")
    sizes = ", ".join(f"{name} {n}" for name, n in split.sizes().items())
    yield _ok("splits", f"{sizes}; no task or question is in two of them. {split.note}".strip())
    yield from _verifiers(setup)
    yield _ok("versions", ", ".join(f"{name} {number}" for name, number in versions().items()))
    yield _recording(setup.config)
    yield from _keys(setup.config)
    warned = [*setup.warnings, *cautions(setup, store)]
    yield from (DryRunFinding(check=check, status="warn", detail=detail) for check, detail in warned)
    yield from (DryRunFinding(check=check, status=status, detail=detail) for check, status, detail in findings(setup))
    yield from _budget(setup)


def _endpoint(config: RunConfig) -> Iterator[DryRunFinding]:
    """What a target behind a URL is asked with, and what of it cannot be known."""
    if config.target_url is None:
        return
    read = variables_of(config.target_headers, config.target_bearer_env)
    yield _ok("target", f"behind {config.target_url}" + (f", with headers from {', '.join(read)}" if read else ""))
    detail = "a change of the code behind a URL is not noticed; put a version into what the target says of itself"
    yield {"check": "target", "status": "warn", "detail": detail}


def _wire(setup: Setup, folder: Path) -> Iterator[DryRunFinding]:
    """What the target asks, and what of it a recording cannot see or a replay would not find."""
    memory = asked_at_import(folder)
    if memory.lines:
        yield _ok("recording", f"{len(memory.lines)} requests are made while the module is imported; they are recorded")
    for sentence in dict.fromkeys([*memory.bypasses, *rehearsal.findings(setup, folder)]):
        yield {"check": "recording", "status": "warn", "detail": sentence}


def _length(setup: Setup) -> int:
    return sum(len(text) for text in setup.target.baseline.components.values())


def _verifiers(setup: Setup) -> Iterator[DryRunFinding]:
    task = setup.tasks("train")[0]
    sample = "" if task.expected_output is None else task.expected_output
    kind = "an empty output" if task.expected_output is None else "its expected output"
    for spec in setup.specs:
        verdict = grade([spec], task, AgentResult(output=sample))
        types = ", ".join(check.type for check in spec.checks)
        yield _ok("verifier", f"{spec.id}: {types}; gives {kind} of {task.name!r} {verdict.score:.3f}")
    for sentence in fits(setup.specs, setup.dataset.tasks):
        yield {"check": "verifier", "status": "warn", "detail": sentence}


def _recording(config: RunConfig) -> DryRunFinding:
    if config.no_recording:
        return {"check": "recording", "status": "warn", "detail": "nothing is recorded: the run cannot be replayed"}
    place = config.recording or f"{config.log_dir or '.rollout/<run id>'}/recording.yaml"
    return _ok("recording", f"{place}, mode {config.record_mode}")


def _keys(config: RunConfig) -> Iterator[DryRunFinding]:
    is_live = config.record_mode != "none"
    problem = reflection_key_problem(config) if is_live else None
    if problem is not None:
        yield {"check": "keys", "status": "fail", "detail": problem}
    reflection, task = (config.reflection_model, config.reflection_api_base), (config.task_model, config.task_api_base)
    for model, address in dict.fromkeys([task] if problem else [reflection, task]):
        if model is None:
            continue
        told = f"{key_variable(model)} for {model}"
        if key_of(model):
            yield _ok("keys", f"{told} is set")
        elif address is not None or not is_live:
            yield _ok("keys", f"{told} is not set, nor needed {f'at {address}' if is_live else 'in a replay'}")
        else:
            missing = f"{told} is not set; set it, unless the target brings a key of its own"
            yield {"check": "keys", "status": "warn", "detail": missing}


def _budget(setup: Setup) -> Iterator[DryRunFinding]:
    calls = setup.executions
    detail = (
        f"baseline {calls['baseline']}, search at most {calls['search']}, best {calls['best']} executions of the target"
    )
    yield _ok("calls", detail)
    if optimizer_named(setup.config.optimizer).counts_iterations:
        fewest, most = proposals_bought(setup.budget, setup.split.sizes()["val"])
        yield _ok("budget", f"buys {fewest} to {most} proposals (all accepted to all rejected)")
    holdout = setup.split.sizes()["holdout"]
    lift = detectable_lift(holdout)
    if lift is not None:
        yield _ok(
            "holdout", f"{holdout} tasks can show a lift of about {lift:.2f} or more (80 % power, assumed spread)"
        )


def _ok(check: str, detail: str) -> DryRunFinding:
    return {"check": check, "status": "ok", "detail": detail}
