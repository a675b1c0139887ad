"""Does the reflection model answer? One short question, for a search whose budget would never ask it anything.

It is asked as a reflection is: the same model, address, key and parameters. What it says does not matter.
"""

from __future__ import annotations

from typing import Any

from rollout_local.domain.identity import content_hash
from rollout_local.search.engine import SearchSpec

QUESTION = "Is anybody there? Answer with the one word: ready"


def question_hash(spec: SearchSpec) -> str:
    """`sha256:…` of what is asked of whom, by which it is remembered. Parameters may hold a key."""
    return content_hash({"asked": QUESTION, "model": spec.reflection.name})


def ask(spec: SearchSpec) -> dict[str, Any]:
    """The answer; raises what the client raises where there is none."""
    from rollout_local.search.gepa import reflection_lm
    from rollout_local.search.isolation import quiet

    with quiet():
        outputs = reflection_lm(spec)(QUESTION)
    return {"answer": str(outputs[0]) if outputs else ""}
