"""What a promotion asks for, what was seen, and the verdict: every gate says in a sentence how it stands.

Four gates always stand: another text than the baseline's, a run that is not degraded, a lift above 0 (or as high as
`--min-holdout-improvement` asks), and an interval of it above 0 (at 95 %, or at the level that `--confidence` asks).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import cast

from rollout_local.reports.report import GateReport, ReportVerdict, VerdictOutcome
from rollout_local.reports.statistics import MOST_TASKS, TIE, Paired, tasks_to_decide
from rollout_local.reports.wording import number, percent, signed, spread, tasks_counted

DEFAULT_CONFIDENCE = 0.95
INTERVAL = "interval"
"""The gate of the interval at the usual level, where the run asks for none."""
OF_THE_INTERVAL = (INTERVAL, "confidence")


@dataclass(frozen=True)
class Gate:
    """One thing asked. `asked` and `seen` are plain values, `sentence` is for people."""

    name: str
    asked: bool | float
    seen: bool | float | None
    met: bool
    sentence: str


def judge(
    least_lift: float | None,
    confidence: float | None,
    pairs: Paired,
    *,
    changed: bool,
    degraded_why: str,
    best: int,
) -> tuple[list[GateReport], ReportVerdict]:
    """The gates of a run that asks for this lift and this confidence, and the verdict on its best candidate."""
    found = gates(least_lift, confidence, pairs, changed=changed, degraded_why=degraded_why)
    said = verdict(found, pairs, confidence or DEFAULT_CONFIDENCE, changed=changed, best=best)
    return [cast("GateReport", asdict(gate)) for gate in found], said


def gates(
    least_lift: float | None, confidence: float | None, pairs: Paired, *, changed: bool, degraded_why: str
) -> list[Gate]:
    """What is asked and what was seen, the strictest reason to refuse first."""
    return [_changed(changed), _degraded(degraded_why), _lift(least_lift, pairs.lift), _above_zero(confidence, pairs)]


def _changed(changed: bool) -> Gate:
    sentence = (
        "The best text differs from the baseline."
        if changed
        else "No text did better than the baseline, which stays best."
    )
    return Gate("changed", asked=True, seen=changed, met=changed, sentence=sentence)


def _degraded(why: str) -> Gate:
    sentence = why or "Every train and holdout trial has a score."
    return Gate("not_degraded", asked=True, seen=not why, met=not why, sentence=sentence)


def _lift(asked: float | None, lift: float | None) -> Gate:
    name = "holdout_lift" if asked is None else "min_holdout_improvement"
    least = "above 0" if not asked else f"at least {number(asked)}"
    met = lift is not None and lift > TIE and lift >= (asked or 0.0) - TIE
    if lift is None:
        sentence = "No holdout task was scored for both texts."
    else:
        sentence = f"The holdout lift is {signed(lift)}; asked is {least}."
    return Gate(name, asked=asked or 0.0, seen=lift, met=met, sentence=sentence)


def _above_zero(asked: float | None, pairs: Paired) -> Gate:
    """The interval of the lift lies above 0, at the level that the run asks for or at the usual one."""
    name, level = (INTERVAL, DEFAULT_CONFIDENCE) if asked is None else ("confidence", asked)
    if pairs.interval is None:
        sentence = "There are too few holdout tasks for an interval."
        return Gate(name, asked=level, seen=None, met=False, sentence=sentence)
    low = pairs.interval[0]
    sentence = f"The {percent(level)} interval of the lift begins at {signed(low)}; asked is above 0."
    return Gate(name, asked=level, seen=low, met=low > TIE, sentence=sentence)


def verdict(found: Sequence[Gate], pairs: Paired, confidence: float, *, changed: bool, best: int) -> ReportVerdict:
    """What to do, in a word and a sentence.

    *promote* where every gate is met; *undecided* where all are but that of the interval: a lift that luck alone may
    give; *do not promote* otherwise. `may_be_luck` is false only where the interval lies above 0.
    """
    unmet = [gate for gate in found if not gate.met]
    may_be_luck, luck_sentence = luck(pairs, confidence, changed=changed)
    outcome: VerdictOutcome = "promote"
    more = None
    if not unmet:
        sentence = f"Promote candidate {best}: it lifts the holdout mean by {_measured(pairs, confidence)}."
    elif all(gate.name in OF_THE_INTERVAL for gate in unmet):
        outcome, more = "undecided", tasks_to_decide(pairs.lift or 0.0, pairs.n, pairs.sd, confidence)
        sentence = (
            f"Undecided: candidate {best} lifts the holdout mean by {_measured(pairs, confidence)}, which luck alone"
            f" may do; {_would_decide(more)}"
        )
    else:
        outcome = "do_not_promote"
        reasons = [gate.sentence for gate in unmet if gate.name not in OF_THE_INTERVAL]
        sentence = " ".join([f"Do not promote: {_lowered(reasons[0])}", *(reasons[1:] if changed else ())])
    return {
        "outcome": outcome, "more_tasks": more, "promote": outcome == "promote", "sentence": sentence,
        "may_be_luck": may_be_luck, "luck_sentence": luck_sentence,
    }  # fmt: skip


def _would_decide(more: int | None) -> str:
    if more is None:
        return f"more than {MOST_TASKS:,} holdout tasks would be needed to decide a lift so small."
    return f"about {tasks_counted(more)} more on the holdout would decide a lift of this size."


def luck(pairs: Paired, confidence: float, *, changed: bool) -> tuple[bool, str]:
    """Whether the lift may be luck, and a sentence with the evidence for it."""
    if not changed:
        return True, "There is no new text, so there is no lift to judge."
    if pairs.lift is None or pairs.interval is None or pairs.permutation_p is None:
        return True, f"The lift may be luck: {tasks_counted(pairs.n)} on the holdout cannot tell."
    if pairs.lift <= TIE:
        return True, "There is no lift on the holdout that luck would have to explain."
    reached = (
        f"the {percent(confidence)} interval is {spread(pairs.interval)}, permutation p = {number(pairs.permutation_p)}"
    )
    if pairs.interval[0] > TIE:
        return False, f"The lift is unlikely to be luck: {reached}."
    return True, f"The lift may be luck: {reached}; {_could_show(pairs)}"


def _could_show(pairs: Paired) -> str:
    least = pairs.smallest_detectable_lift
    if least is None:
        return f"{tasks_counted(pairs.n)} are too few to show a lift reliably."
    return f"{tasks_counted(pairs.n)} reliably show lifts of {number(least)} and more."


def _measured(pairs: Paired, confidence: float) -> str:
    assert pairs.lift is not None
    within = f", {percent(confidence)} interval {spread(pairs.interval)}" if pairs.interval else ""
    return f"{signed(pairs.lift)} ({tasks_counted(pairs.n)}{within})"


def _lowered(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]
