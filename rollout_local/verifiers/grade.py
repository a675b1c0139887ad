"""Spec → Verdict: the mean of the checks within a verifier, the mean of the verifiers, and the feedback in words.

The feedback is what a reflection model learns from, so it has one line per check that is not perfect, and no check
is imperfect without a reason. Means are exact (no rounding can make a perfect output miss a threshold of 1). What
cannot be graded raises `GradingError`; it never becomes a score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction

from rollout_local.domain.dataset import Task
from rollout_local.domain.target import AgentResult, output_text
from rollout_local.domain.verdict import Check, CheckSpec, Verdict, VerifierSpec
from rollout_local.errors import GradingError, InputError
from rollout_local.verifiers import own_checks
from rollout_local.verifiers.checks import CHECKS
from rollout_local.verifiers.labels import find_label, label_place
from rollout_local.verifiers.quoting import quote, utf8
from rollout_local.verifiers.spec import auto_id, parse_spec, read_spec
from rollout_local.verifiers.subject import MISSING, Completer, Subject

PERFECT_FEEDBACK = "All checks passed."
_SHOWN = 5


def grade(specs: Sequence[VerifierSpec], task: Task, result: AgentResult, complete: Completer | None = None) -> Verdict:
    """The verdict of all verifiers over one output.

    `passed` means that every verifier reached its threshold and no required check is below 1. With several
    verifiers, ids of checks and lines of feedback begin with `<verifier id>/`. Raises `GradingError` where a check
    cannot grade, and what the judge's model raises.
    """
    if not specs:
        msg = "there is no verifier to grade with; give one"
        raise GradingError(msg)
    subject = Subject(task, result, complete)
    checks: list[Check] = []
    lines: list[str] = []
    scores: list[Fraction] = []
    passed = True
    for spec in specs:
        prefix = f"{spec.id}/" if len(specs) > 1 else ""
        outcomes = [_run(check, subject) for check in spec.checks]
        scores.append(_mean((o.score, o.weight) for o in outcomes))
        passed &= float(scores[-1]) >= spec.pass_threshold
        passed &= all(o.score == 1.0 for o in outcomes if o.required)
        lines += [prefix + _line(c, o.reason) for c, o in zip(spec.checks, outcomes, strict=True) if o.score < 1.0]
        checks += [o.model_copy(update={"id": prefix + o.id}) for o in outcomes]
    score = float(sum(scores) / len(scores))
    return Verdict(score=score, passed=passed, feedback="\n".join(lines) or PERFECT_FEEDBACK, checks=tuple(checks))


def fits(specs: Sequence[VerifierSpec], tasks: Sequence[Task]) -> list[str]:
    """A sentence for every check that finds nothing to grade against in any of the tasks."""
    return [
        f"verifier {spec.id}: the check {quote(check.id)} fits none of the {len(tasks)} tasks: none has {place}"
        for spec in specs
        for check in spec.checks
        if (place := _place(check)) and not any(_has(check, task) for task in tasks)
    ]


def validate(specs: Sequence[VerifierSpec], tasks: Sequence[Task], *, load_functions: bool = True) -> None:
    """Refuse, before anything is spent, what `grade` could not do on these tasks.

    `load_functions` imports the functions of `python` checks; a process that must not run the user's code leaves it
    off. Raises `InputError` for a verifier that fits no task at all, for labels that tasks lack or that are of the
    wrong kind, for malformed expectations and schemas (naming the tasks), and for functions that cannot be loaded.
    """
    for spec in specs:
        for check in spec.checks:
            if load_functions and check.type == "python":
                _require_function(spec, check, tasks)
            _require_usable(spec, check, tasks)
        if all(_place(check) and not any(_has(check, task) for task in tasks) for check in spec.checks):
            places = ", ".join(dict.fromkeys(_place(check) for check in spec.checks))
            msg = f"verifier {spec.id} fits no task: none has {places}; add it to the tasks, or use another verifier"
            raise InputError(msg)


def _run(check: CheckSpec, subject: Subject) -> Check:
    score, reason = CHECKS[check.type].run(check.params, subject)
    own_checks.checked_score(score, f"the check {check.id}")
    if check.message and score < 1.0:
        reason = _told(check, subject.task, reason)
    return Check(
        id=check.id,
        type=check.type,
        score=score,
        weight=check.weight,
        required=check.required,
        reason="" if score == 1.0 else utf8(reason),
    )


def _told(check: CheckSpec, task: Task, reason: str) -> str:
    """The author's message, with the label and the check's own words where it asks for them."""
    found = find_label(check.params, task)
    expected = "" if found is MISSING else output_text(found)
    return check.message.replace("{expected}", expected).replace("{reason}", reason)


def _mean(weighted: Iterable[tuple[float, float]]) -> Fraction:
    pairs = [(Fraction(score), Fraction(weight)) for score, weight in weighted]
    return sum((score * weight for score, weight in pairs), Fraction()) / sum(weight for _, weight in pairs)


def _line(check: CheckSpec, reason: str) -> str:
    """One line of feedback; where the reason begins with a path, the path is the name, after the type."""
    if "path" in check.params:
        return f"{check.type} {reason}"
    return f"{check.type if auto_id(check) else check.id}: {reason}"


def _place(check: CheckSpec) -> str:
    """Where in a task the check finds what it grades against; empty where it needs nothing from there."""
    own = "schema" in check.params
    return label_place(check.params) or ("" if own else CHECKS[check.type].reads)


def _has(check: CheckSpec, task: Task) -> bool:
    if label_place(check.params):
        return find_label(check.params, task) is not MISSING
    field, _, key = _place(check).partition(".")
    found = getattr(task, field)
    return (found.get(key) if key else found) is not None


def _require_function(spec: VerifierSpec, check: CheckSpec, tasks: Sequence[Task]) -> None:
    _refuse_failing(lambda _: own_checks.load(check.params["function"]), tasks[:1], f"verifier {spec.id}")


def _require_usable(spec: VerifierSpec, check: CheckSpec, tasks: Sequence[Task]) -> None:
    needs = CHECKS[check.type].needs
    if needs is not None:
        _refuse_failing(lambda task: needs(check.params, task), tasks, f"verifier {spec.id}: check {quote(check.id)}")


def _refuse_failing(try_on: Callable[[Task], object], tasks: Sequence[Task], where: str) -> None:
    problems = []
    for task in tasks:
        try:
            try_on(task)
        except GradingError as error:
            problems.append((task.name, str(error)))
    if problems:
        others = [quote(name) for name, _ in problems[1:_SHOWN]]
        more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        also = f" (so too in {', '.join(others)}{more})" if others else ""
        msg = f"{where}: {problems[0][1]}{also}"
        raise InputError(msg)


__all__ = ["Completer", "GradingError", "fits", "grade", "parse_spec", "read_spec", "validate"]
