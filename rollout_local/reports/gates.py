"""What a promotion asks for, what was seen, and the verdict: every gate says in a sentence how it stands.

Two gates always stand: another text than the baseline's, and a run that is not degraded. The lift has to be
above 0 in any case; `--min-holdout-improvement` and `--confidence` ask for more. Whether the lift may be luck
is said with gates or without.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rollout_local.reports.report import Verdict
from rollout_local.reports.statistics import TIE, Interval, Paired
from rollout_local.reports.wording import number, percent, signed, spread, tasks_counted

DEFAULT_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Gate:
    """One thing asked. `asked` and `seen` are plain values, `sentence` is for people."""

    name: str
    asked: bool | float
    seen: bool | float | None
    met: bool
    sentence: str


def gates(
    least_lift: float | None, confidence: float | None, pairs: Paired, *, changed: bool, degraded_why: str
) -> list[Gate]:
    """The gates of a run that asks for this lift and this confidence, the strictest reason to refuse first."""
    found = [_changed(changed), _degraded(degraded_why), _lift(least_lift, pairs.lift)]
    if confidence is not None:
        found.append(_confidence(confidence, pairs.interval))
    return found


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


def _confidence(confidence: float, interval: Interval | None) -> Gate:
    if interval is None:
        sentence = "There are too few holdout tasks for an interval."
        return Gate("confidence", asked=confidence, seen=None, met=False, sentence=sentence)
    low, met = interval[0], interval[0] > TIE
    sentence = f"The {percent(confidence)} interval of the lift begins at {signed(low)}; asked is above 0."
    return Gate("confidence", asked=confidence, seen=low, met=met, sentence=sentence)


def verdict(found: Sequence[Gate], pairs: Paired, confidence: float, *, changed: bool, best: int) -> Verdict:
    """`{promote, sentence, may_be_luck, luck_sentence}`; `promote` is that every gate is met.

    `may_be_luck` is false only where the interval lies above 0 and the permutation test agrees.
    """
    unmet = [gate for gate in found if not gate.met]
    may_be_luck, luck_sentence = luck(pairs, confidence, changed=changed)
    if unmet:
        sentence = f"Do not promote: {_lowered(unmet[0].sentence)}"
        sentence = " ".join([sentence, *(gate.sentence for gate in unmet[1:] if changed)])
    else:
        sentence = f"Promote candidate {best}: it lifts the holdout mean by {_measured(pairs, confidence)}."
    return {
        "promote": not unmet, "sentence": sentence, "may_be_luck": may_be_luck, "luck_sentence": luck_sentence,
    }  # fmt: skip


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
    if pairs.interval[0] > TIE and pairs.permutation_p <= 1 - confidence + TIE:
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
