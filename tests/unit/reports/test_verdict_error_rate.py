"""How often *promote* is said of texts that are no better: simulated scores of known true lift, 1,000 draws each."""

import random
from dataclasses import dataclass

import pytest

from rollout_local.reports.gates import judge
from rollout_local.reports.statistics import paired

DRAWS = 1_000


@dataclass(frozen=True)
class Case:
    """A kind of scores: `graded` ones are in quarters, others 0 or 1; `lift` is what the new text truly adds."""

    n: int
    lift: float
    graded: bool
    share_that_differs: float

    def differences(self, chance: random.Random) -> list[float]:
        return [self._difference(chance) for _ in range(self.n)]

    def _difference(self, chance: random.Random) -> float:
        if chance.random() >= self.share_that_differs:
            return 0.0
        size = chance.choice([0.25, 0.5, 0.75, 1.0]) if self.graded else 1.0
        mean_size = 0.625 if self.graded else 1.0
        upward = (1 + self.lift / (self.share_that_differs * mean_size)) / 2
        return size if chance.random() < upward else -size


NULLS = [Case(n, 0.0, graded, share) for n in (8, 12, 24, 50, 100) for graded in (False, True) for share in (0.4, 0.9)]
LIFTS = [Case(n, lift, graded, 0.6) for n in (8, 24, 100) for graded in (False, True) for lift in (0.1, 0.3)]


def said(case: Case) -> dict[str, float]:
    """The share of each outcome over the draws; raises where a headline contradicts its interval."""
    chance, counts = random.Random(7), {"promote": 0, "undecided": 0, "do_not_promote": 0}
    for _ in range(DRAWS):
        pairs = paired(case.differences(chance))
        _, verdict = judge(None, None, pairs, changed=True, degraded_why="", best=1)
        counts[verdict["outcome"]] += 1
        assert (verdict["outcome"] == "promote") == (pairs.interval[0] > 0)
        assert verdict["may_be_luck"] == (verdict["outcome"] != "promote")
    return {outcome: count / DRAWS for outcome, count in counts.items()}


@pytest.mark.long
@pytest.mark.parametrize("case", NULLS, ids=str)
def test_promote_is_seldom_said_of_a_text_that_is_no_better(case):
    shares = said(case)
    print(case, shares)
    assert shares["promote"] <= 0.05


@pytest.mark.long
@pytest.mark.parametrize("case", LIFTS, ids=str)
def test_true_lifts_are_seldom_denied_where_the_holdout_is_large(case):
    shares = said(case)
    print(case, shares)
    if case.n == 100 and case.lift == 0.3:
        assert shares["promote"] >= 0.95
