"""Tasks that ask nearly the same are found, and stay in one split."""

import random
from itertools import product

import pytest

from rollout_local.datasets.similar import similar_groups, similar_pairs
from rollout_local.datasets.splits import check_leakage, divide, make_split
from rollout_local.domain.dataset import SPLITS, Dataset, Task

LONG = "the parcel that I ordered last week has not arrived at my new address in town yet"


def task(name, text, **more):
    return Task(name=name, input={"message": text}, **more)


def dataset(tasks):
    return Dataset(name="d", slug="d", tasks=tuple(tasks))


def test_a_word_more_or_another_case_is_nearly_the_same_and_another_half_is_not():
    one, near, far = task("a", LONG), task("b", LONG.upper() + ", please!"), task("c", LONG[:30] + " broke in two")
    assert similar_pairs([one], [near, far]) == [("a", "b")]


def test_short_questions_are_alike_where_their_words_are_equal():
    assert similar_pairs([task("a", "Where is it?")], [task("b", "where is IT"), task("c", "Where is he?")]) == [
        ("a", "b")
    ]
    assert similar_pairs([task("a", "?")], [task("b", "!")]) == []


def test_an_instruction_that_all_share_makes_no_two_alike():
    rule = "Classify the message of a customer into one of the eleven teams that answer for it, by name alone."
    first, second = (task(name, text, instruction=rule) for name, text in (("a", "my card"), ("b", "a teapot broke")))
    assert similar_pairs([first], [second]) == []
    apart = second.model_copy(update={"instruction": rule + " Be brief."})
    assert similar_pairs([first.model_copy(update={"input": {}})], [apart.model_copy(update={"input": {}})])


@pytest.mark.parametrize("seed", range(5))
def test_the_prefixes_miss_no_pair_that_a_comparison_of_all_finds(seed):
    chance = random.Random(seed)
    words = [f"w{n}" for n in range(11)]

    def some(name):
        return task(name, " ".join(chance.sample(words, chance.randint(4, 8))))

    first, second = [some(f"a{n}") for n in range(60)], [some(f"b{n}") for n in range(60)]
    sets = {t.name: set(t.input["message"].split()) for t in (*first, *second)}
    every = [
        (one.name, other.name)
        for one, other in product(first, second)
        if len(sets[one.name] & sets[other.name]) >= 0.8 * len(sets[one.name] | sets[other.name])
    ]
    assert every
    assert similar_pairs(first, second) == every


def test_groups_hold_each_task_once_and_reach_through_others():
    words = LONG.split()
    chain = [task(f"t{n}", " ".join([*words[n:], *(f"x{k}" for k in range(n))])) for n in range(3)]
    assert similar_groups([*chain, task("alone", "Something else entirely was asked here")]) == [
        ["t0", "t1", "t2"],
        ["alone"],
    ]


@pytest.mark.parametrize("place", [lambda data: make_split(data, 0), lambda data: divide(data, 0)])
def test_tasks_that_ask_the_same_are_in_one_split(place):
    text = {n: "".join(random.Random(n).choices("abcdefgh ", k=80)) for n in range(40)}
    data = dataset([task(f"t{n:02d}", text[n // 2]) for n in range(80)])
    split = place(data)
    check_leakage(data, split)
    for n in range(0, 80, 2):
        assert any({f"t{n:02d}", f"t{n + 1:02d}"} <= set(split.names(part)) for part in SPLITS)
    assert sorted(name for part in SPLITS for name in split.names(part)) == sorted(data.by_name)


def test_each_label_has_the_same_shares():
    labels = ["rare"] * 20 + ["common"] * 60 + ["usual"] * 120
    texts = ["".join(random.Random(n).choices("abcdefgh ", k=80)) for n in range(200)]
    data = dataset([task(f"t{n:03d}", texts[n], expected_output=label) for n, label in enumerate(labels)])
    split = divide(data, 0, label=lambda one: str(one.expected_output))
    counted = {
        part: [
            sum(data.by_name[n].expected_output == label for n in split.names(part)) for label in sorted(set(labels))
        ]
        for part in SPLITS
    }
    assert counted == {"train": [36, 12, 72], "val": [12, 4, 24], "holdout": [12, 4, 24]}
