"""One search over candidates of five texts, ours or plain GEPA's, in a Python of its own: prints what was tried.

`PYTHONHASHSEED=3 python -m tests.contracts.under_hash_seeds ours|plain URL`. A reflection changes four of the texts and
all candidates but the first score alike on val, so that a merge throws a die for each text that both parents changed.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from tests.contracts import test_engine as engine
from tests.contracts.plain_gepa import Texts

FIVE = {name: f"Mind the {name}." for name in ("greeting", "plan", "tools", "answer", "closing")}
BUDGET = 120
SEED = 2


def alike_on_val(texts: Texts, name: str, shown: dict[str, Any]) -> tuple[str, float, str]:
    """The longer the better on train; on val right on half of the tasks, whichever the dice say for these texts."""
    text = "\n".join(texts.values())
    word = f"word{int(engine.dice(name, text) * 10_000)}"
    score = 1 - 50 / len(text)
    if name.startswith("val"):
        order = sorted(range(engine.VAL), key=lambda n: engine.dice(text, f"val-{n}"))
        score = float(text != "\n".join(FIVE.values()) and int(name[4:]) in order[: engine.VAL // 2])
    return "read", score, f'expected the output to contain "{word}"'


def all_but_one(state: Any, trajectories: Any, scores: Any, index: int, candidate: Texts) -> list[str]:
    """A component selector: what a parent keeps is what makes its children worth a merge."""
    names = list(candidate)
    return [name for name in names if name != names[state.i % len(names)]]


def tried(search: str, url: str) -> list[tuple[str, ...]]:
    """The texts of every candidate that was run, in the order in which they were first."""
    spec = engine.make_spec(
        url,
        budget=BUDGET,
        seed=SEED,
        baseline=FIVE,
        arguments={"component_selector": "tests.contracts.under_hash_seeds:all_but_one"},
    )
    if search == "plain":
        batches = engine.plain(spec, alike_on_val).within(BUDGET)
        return list(dict.fromkeys(batch.texts for batch in batches))
    return list(dict.fromkeys(tuple(one.components.values()) for one, _ in engine.ours(spec, alike_on_val).asked))


if __name__ == "__main__":
    print(json.dumps(tried(sys.argv[1], sys.argv[2])))
