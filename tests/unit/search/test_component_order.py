"""Strings are walked as under PYTHONHASHSEED=0, and only where a search of ours asks for it."""

from __future__ import annotations

import json
import random
import subprocess
import sys

from gepa.proposer import merge

from rollout_local.search.component_order import components_in_order, hash_under_seed_0, in_order

CHARACTERS = "abcdefgh.[]_0123456789 éß漢字\N{GRINNING FACE}"


def names(dice: random.Random) -> list[str]:
    return list({"".join(dice.choices(CHARACTERS, k=dice.randrange(30))): None for _ in range(dice.randrange(40))})


def test_names_have_the_order_and_hashes_of_a_python_that_was_started_with_seed_0() -> None:
    dice = random.Random(0)
    lists = [["write", "editor.predict"], ["ab" * n for n in range(20)], *(names(dice) for _ in range(100))]
    script = "import json, sys; print(json.dumps([[list(set(n)), [hash(x) for x in n]] for n in json.load(sys.stdin)]))"
    done = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONHASHSEED": "0"}, input=json.dumps(lists), capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert [[in_order(some), [hash_under_seed_0(name) for name in some]] for some in lists] == json.loads(done.stdout)


def test_a_set_in_gepas_merges_is_left_alone_outside_of_a_search_and_where_it_holds_numbers() -> None:
    some = ["plan", "tools", "answer", "closing", "greeting", "write"]
    with components_in_order():
        inside = merge.set(dict.fromkeys(some).keys())
        assert list(inside) == in_order(some)
        assert inside == set(some)
        assert list(merge.set([9, 1, 5])) == list({9, 1, 5})
        assert merge.set(some) & {"plan"} == {"plan"}
    assert list(merge.set(some)) == list(set(some))
