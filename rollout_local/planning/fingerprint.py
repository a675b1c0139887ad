"""Same inputs or no resume: what decides a search, named input by input, and its hash.

Operational settings (concurrency, hosts, limits of time and cost, places) are not in it: they may change
between a pause and a resume.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version

from rollout_local.domain.dataset import Dataset, Split
from rollout_local.domain.experiment import differences
from rollout_local.domain.identity import content_hash
from rollout_local.domain.run import RunConfig
from rollout_local.domain.target import Target
from rollout_local.domain.verdict import VerifierSpec
from rollout_local.errors import InputError
from rollout_local.search.optimizers import optimizer_named

VERSIONED = ("dspy", "gepa", "rollout-local")


def versions(names: Sequence[str] = VERSIONED) -> dict[str, str]:
    """Installed versions of the distributions that decide a search."""
    return {name: _version(name) for name in names}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def inputs(
    config: RunConfig,
    *,
    dataset: Dataset,
    val_dataset: Dataset | None,
    split: Split,
    specs: Sequence[VerifierSpec],
    target: Target,
    budget: int,
) -> dict[str, object]:
    """Every input that decides the search, by the name that `--accept-changed` knows it by."""
    return {
        "dataset": [dataset.content_hash, val_dataset.content_hash if val_dataset else None],
        "splits": content_hash({"train": split.train, "val": split.val, "holdout": split.holdout}),
        "verifier": [spec.content_hash for spec in specs],
        "target": {"id": target.id, "source": target.source_hash, "baseline": target.baseline.content_hash,
                   "told": [target.kind, target.description, config.objective]},
        "models": {"task": [config.task_model, dict(config.task_params)],
                   "reflection": [config.reflection_model, dict(config.reflection_params)]},
        "optimizer": {"name": config.optimizer, "arguments": dict(config.arguments), "stop_at": config.stop_at,
                      "no_improvement": config.no_improvement,
                      **({"strategy": config.strategy} if config.strategy is not None else {})},
        "budget": budget,
        "seed": config.seed,
        "trial": {"timeout": config.timeout, "reuse": config.reuse},
        "versions": versions((*VERSIONED, *optimizer_named(config.optimizer).decisive_packages)),
    }  # fmt: skip


def require_same(
    locked: Mapping[str, object], seen: Mapping[str, object], accepted: Collection[str], explain: Mapping[str, str]
) -> list[str]:
    """Compare two sets of inputs. Returns the accepted changes; raises `InputError` naming the first other one.

    `explain` may hold, by input, a text that shows the difference.
    """
    unknown = sorted(set(accepted) - set(seen))
    if unknown:
        msg = f"there is no input {unknown[0]!r} to accept a change of; the inputs are {', '.join(seen)}"
        raise InputError(msg)
    changed = list(differences(locked, seen))
    for name, was, now in changed:
        if name not in accepted:
            shown = explain.get(name) or f"was {_short(was)}, is {_short(now)}"
            msg = (
                f"the {name} changed since this run began: {shown}; undo the change, "
                f"go on all the same with --accept-changed {name}, or create a new run"
            )
            raise InputError(msg)
    return [name for name, _, _ in changed]


def text_difference(was: str, now: str, lines: int = 12) -> str:
    """A unified diff of two texts, cut to its first lines; empty where they are equal."""
    diff = list(difflib.unified_diff(was.splitlines(), now.splitlines(), "then", "now", lineterm="", n=1))
    cut = [*diff[:lines], f"… {len(diff) - lines} more lines"] if len(diff) > lines else diff
    return "\n" + "\n".join(cut) + "\n" if diff else ""


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else text[:77] + "…"
