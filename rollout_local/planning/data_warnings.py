"""What a dry run can say of the data before anything is spent: tasks that cannot be passed,
verifiers that do not agree with themselves, and what the calls may cost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rollout_local.domain.dataset import SPLITS, Task
from rollout_local.domain.identity import canonical_json
from rollout_local.domain.target import AgentResult
from rollout_local.domain.verdict import VerifierSpec
from rollout_local.errors import GradingError
from rollout_local.models import price
from rollout_local.planning.advice import speaks
from rollout_local.planning.setup import Setup
from rollout_local.search.optimizers import optimizer_named
from rollout_local.verifiers.checks import CHECKS
from rollout_local.verifiers.grade import grade

SHOWN = 5
CHARACTERS_PER_TOKEN = 4
OUTPUT_TOKENS = (50, 1_000)
"""What an answer takes at the least and at the most, where nothing is known."""


def impossible(tasks: Sequence[Task], specs: Sequence[VerifierSpec]) -> list[tuple[str, str]]:
    """Tasks that no output can pass, or whose own expected output does not: `(name, why)`."""
    return [(task.name, why) for task in tasks if (why := _why_impossible(task, specs))]


def unsteady(task: Task, specs: Sequence[VerifierSpec], output: object) -> bool:
    """True where the same output of the same task gets two grades. Model judges are not asked."""
    local = [spec for spec in specs if not any(CHECKS[check.type].asks_model for check in spec.checks)]
    if not local:
        return False
    result = AgentResult(output=output)
    return grade(local, task, result) != grade(local, task, result)


def spend_range(setup: Setup) -> tuple[float, float] | None:
    """USD that the task model's calls may cost in all, at the least and at the most; None without a price."""
    model = setup.config.task_model
    if model is None:
        return None
    tasks = [task for split in SPLITS for task in setup.tasks(split)]
    question = sum(len(canonical_json(task.question)) for task in tasks) / len(tasks)
    prompt = sum(len(text) for text in setup.target.baseline.components.values())
    tokens = [int((prompt * growth + question) / CHARACTERS_PER_TOKEN) for growth in (1, 10)]
    costs = [price(model, tokens[i], OUTPUT_TOKENS[i], setup.config.prices) for i in (0, 1)]
    calls = setup.executions
    if costs[0] is None or costs[1] is None:
        return None
    fewest, most = calls["baseline"], sum(calls.values())
    return costs[0] * fewest, costs[1] * most


def findings(setup: Setup) -> Iterator[tuple[str, str, str]]:
    """All of it as `(check, status, detail)`."""
    if takes_every_run(setup):
        said = "DSPy takes every run for a demonstration where a metric returns a Prediction, even one that scores 0"
        yield "optimizer", "warn", f"{said}; give metric_threshold with --arg"
    tasks = [*setup.dataset.tasks, *(setup.val_dataset.tasks if setup.val_dataset else ())]
    if setup.specs:
        yield from _of_verifiers(setup, tasks)
    spend = spend_range(setup)
    if spend is not None:
        yield "spend", "ok", f"about ${spend[0]:.4f} to ${spend[1]:.4f} for {setup.config.task_model}, reflection apart"
    elif setup.config.task_model is not None:
        name = setup.config.task_model
        yield "spend", "ok", f"not known: there is no price for {name} here; give --price {name}=IN,OUT"


def takes_every_run(setup: Setup) -> bool:
    """The optimizer collects demonstrations by a metric that gives words, with no threshold."""
    target, config = setup.target, setup.config
    if target.metric is None or not speaks(target.metric.function):
        return False
    steps = optimizer_named(config.optimizer).arguments_by_step(config.strategy, config.arguments)
    return any(step.collects_demonstrations and "metric_threshold" not in given for step, given in steps)


def _of_verifiers(setup: Setup, tasks: Sequence[Task]) -> Iterator[tuple[str, str, str]]:
    stuck = impossible(tasks, setup.specs)
    if stuck:
        shown = "; ".join(f"{name}: {why}" for name, why in stuck[:SHOWN])
        yield "verifier", "warn", f"{len(stuck)} tasks cannot be passed: {shown}"
    sample = setup.tasks("train")[0]
    if unsteady(sample, setup.specs, "a sample output"):
        yield "verifier", "warn", f"the same output of {sample.name} was graded two ways; a search needs one answer"


def _why_impossible(task: Task, specs: Sequence[VerifierSpec]) -> str:
    if task.expected_output is not None and not any(_asks_elsewhere(spec, task) for spec in specs):
        try:
            verdict = grade(specs, task, AgentResult(output=task.expected_output))
        except GradingError as error:
            return str(error)
        if verdict.score < 1.0:
            return f"its own expected output scores {verdict.score:.3f} ({verdict.feedback.splitlines()[0]})"
    return _contradiction(task)


def _asks_elsewhere(spec: VerifierSpec, task: Task) -> bool:
    """Checks that ask a model, or that do not grade the expected output as a whole."""
    silent = {"elsewhere"} if isinstance(task.expected_output, str) else {"elsewhere", "text"}
    return any(CHECKS[check.type].grades in silent for check in spec.checks)


def _contradiction(task: Task) -> str:
    """A phrase that must be said and must not be said."""
    expectations = task.metadata.get("expectations")
    if not isinstance(expectations, dict):
        return ""
    banned = [phrase for entry in expectations.get("mustNotMention") or [] for phrase in _phrases(entry)]
    for entry in expectations.get("mustMention") or []:
        wanted = _phrases(entry)
        if wanted and all(any(bad in phrase for bad in banned) for phrase in wanted):
            return f"it must mention {wanted[0]!r} and must not"
    return ""


def _phrases(entry: object) -> list[str]:
    if isinstance(entry, str):
        return [entry.lower()]
    found = entry.get("anyOf") or [entry.get("text")] if isinstance(entry, dict) else []
    return [str(phrase).lower() for phrase in found if phrase]
