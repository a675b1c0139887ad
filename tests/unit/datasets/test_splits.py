"""Train, val and holdout: the hash of the name decides, and no task is in two."""

import json

import pytest

from rollout_local.datasets.splits import check_leakage, divide, limit, make_split, read_splits, uneven, write_splits
from rollout_local.domain.dataset import SPLITS, Dataset, Split, Task
from rollout_local.errors import InputError


def everything(split):
    return sorted(name for part in SPLITS for name in split.names(part))


def test_every_task_is_in_one_split_and_the_shares_are_near_60_20_20(dataset):
    numbers = dataset(1000)
    split = make_split(numbers, 0)
    assert everything(split) == sorted(numbers.by_name)
    assert 550 < len(split.train) < 650
    assert 160 < len(split.val) < 240
    assert split.note == ""


def test_adding_tasks_moves_no_other(dataset):
    small, large = make_split(dataset(50), 0), make_split(dataset(200), 0)
    for part in SPLITS:
        assert set(small.names(part)) <= set(large.names(part))


def test_the_order_of_the_tasks_does_not_decide_and_the_seed_does(dataset):
    numbers = dataset(50)
    turned = numbers.model_copy(update={"tasks": numbers.tasks[::-1]})
    assert set(make_split(numbers, 0).train) == set(make_split(turned, 0).train)
    assert set(make_split(numbers, 0).train) != set(make_split(numbers, 1).train)


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ((60, 20, 20), []),
        ((80, 10, 10), []),
        ((85, 9, 6), ["train 85, val 9, holdout 6", "train 60, val 20, holdout 20", "--splits-file"]),
        ((10, 7, 1), ["train 12, val 3, holdout 3", "rollout datasets split", "in holdout tell little: add tasks"]),
        ((12, 3, 3), ["fewer than 5 tasks in val and holdout tell little: add tasks"]),
        ((20, 6, 4), ["fewer than 5 tasks in holdout tell little: write the split yourself"]),
    ],
)
def test_a_split_far_from_its_shares_or_too_small_to_tell_is_said(sizes, words):
    parts = {part: tuple(f"{part}-{n}" for n in range(size)) for part, size in zip(SPLITS, sizes, strict=True)}
    said = uneven(Split(**parts), sum(sizes), ("val", "holdout"))
    assert bool(said) is bool(words)
    assert all(word in said for word in words)


def test_a_val_of_another_dataset_is_not_held_to_a_share(dataset):
    split = make_split(dataset(100), 0, val_dataset=dataset(2))
    assert uneven(split, 100, ("holdout",)) == ""


def test_a_split_is_the_same_on_every_machine(dataset):
    split = make_split(dataset(12), 0)
    assert split.sizes() == {"train": 6, "val": 1, "holdout": 5}
    assert split.val == ("t2",)


def test_an_empty_split_of_a_tiny_dataset_is_refused_with_what_to_do(dataset):
    for count in (1, 2, 3):
        for seed in range(20):
            try:
                split = make_split(dataset(count), seed)
            except InputError as error:
                message = str(error)
                assert "empty" in message
                assert "--splits-file" in message
                assert "rollout datasets split" in message
            else:
                assert min(split.sizes().values()) > 0


@pytest.mark.parametrize(
    "ratios", [(0.5, 0.2, 0.2), (0, 0.5, 0.5), (1, 0, 0), (float("nan"), 0.5, 0.5), (1.2, -0.4, 0.2)]
)
def test_shares_that_do_not_add_up_are_refused(dataset, ratios):
    with pytest.raises(InputError, match="must add up to 1, with train and holdout above 0"):
        make_split(dataset(9), 0, ratios=ratios)
    with pytest.raises(InputError, match="must add up to 1"):
        divide(dataset(9), 0, ratios)


def test_without_val_the_last_third_of_train_by_hash_is_val_and_the_note_says_so(dataset):
    names = [f"t{n}" for n in range(9)]
    split = make_split(dataset(12), 0, {"train": names, "holdout": ["t9", "t10"]})
    assert len(split.val) == 3
    assert sorted(split.train + split.val) == names
    assert split.train == tuple(name for name in names if name in split.train)
    assert "3 of the 9 train tasks" in split.note
    assert make_split(dataset(12), 0, ratios=(0.7, 0, 0.3)).note.startswith("No val was given")


def test_two_train_tasks_give_one_to_val_and_one_alone_is_refused(dataset):
    split = make_split(dataset(3), 0, {"train": ["t0", "t1"], "holdout": ["t2"]})
    assert (len(split.train), len(split.val)) == (1, 1)
    with pytest.raises(InputError, match='train has only "t0" and there is no val'):
        make_split(dataset(3), 0, {"train": ["t0"], "holdout": ["t2"]})


def test_a_val_dataset_replaces_val_and_leaves_train_and_holdout(dataset):
    numbers, other = dataset(50), dataset(4, slug="other")
    split, plain = make_split(numbers, 0, val_dataset=other), make_split(numbers, 0)
    assert split.val == ("t0", "t1", "t2", "t3")
    assert (split.train, split.holdout) == (plain.train, plain.holdout)
    assert f"val is the dataset other (4 tasks). The {len(plain.val)} tasks" in split.note
    named = make_split(numbers, 0, {"train": ["t0"], "holdout": ["t1"]}, val_dataset=other)
    assert (named.train, named.note) == (("t0",), "val is the dataset other (4 tasks).")
    with pytest.raises(InputError, match="the val dataset other has no tasks"):
        make_split(numbers, 0, val_dataset=dataset(0, slug="other"))


@pytest.mark.parametrize(
    ("splits", "sentence"),
    [
        ({"train": ["t0"], "holdout": []}, r"the splits for numbers leaves holdout empty \(train 1, holdout 0\)"),
        ({"val": ["t1"]}, r"leaves train and holdout empty"),
        (
            {"train": ["t0", "no", "nor"], "holdout": ["t1"]},
            r'train names tasks that numbers does not have: "no", "nor"',
        ),
        ({"train": ["t0", "t0"], "holdout": ["t1"]}, r'train names tasks twice: "t0"'),
        ({"train": ["t0", "t1"], "holdout": ["t1"]}, r'train and holdout overlap: "t1"'),
        ({"train": ["t0"], "val": ["t1"], "holdout": ["t1"]}, r'val and holdout overlap: "t1"'),
        ({"train": ["t0"], "test": ["t1"]}, r'unknown split "test"; known are train, val, holdout'),
        ({"train": [f"n{n}" for n in range(8)]}, r'"n4" and 3 more'),
    ],
)
def test_splits_that_do_not_fit_are_refused_with_the_names(dataset, splits, sentence):
    with pytest.raises(InputError, match=sentence):
        make_split(dataset(4), 0, splits)


def test_exact_shares_leave_no_split_empty(dataset):
    for count in range(3, 40):
        split = divide(dataset(count), 0)
        assert min(split.sizes().values()) >= 1
        assert everything(split) == sorted(dataset(count).by_name)
    assert divide(dataset(10), 0).sizes() == {"train": 6, "val": 2, "holdout": 2}
    assert divide(dataset(3), 0, (0.01, 0.01, 0.98)).sizes() == {"train": 1, "val": 1, "holdout": 1}
    assert divide(dataset(4), 0, (0.01, 0.49, 0.5)).sizes() == {"train": 1, "val": 1, "holdout": 2}
    assert divide(dataset(4), 0, (0.01, 0.89, 0.1)).sizes() == {"train": 1, "val": 2, "holdout": 1}
    assert divide(dataset(2), 0, (0.5, 0, 0.5)).sizes() == {"train": 1, "val": 0, "holdout": 1}
    with pytest.raises(InputError, match="numbers has 2 tasks; train, val, holdout need one each"):
        divide(dataset(2), 0)


def test_a_splits_file_is_read_as_it_was_written(dataset, tmp_path):
    split = divide(dataset(9), 0)
    write_splits(split, tmp_path / "splits.json")
    assert make_split(dataset(9), 5, read_splits(tmp_path / "splits.json")) == split
    assert [path.name for path in tmp_path.iterdir()] == ["splits.json"]
    with pytest.raises(InputError, match="cannot be written"):
        write_splits(split, tmp_path / "none" / "splits.json")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[]", r"splits.json: is a list; write an object with the lists train, val and holdout"),
        ('{"tran": []}', r'unknown split "tran"; did you mean "train"\?'),
        ('{"train": "t0"}', r'splits.json: "train" must be a list of task names'),
        ('{"train": [1]}', r'"train" must be a list of task names'),
        ('{"train": ["a"],\n}', r"splits.json:2:1: not valid JSON|splits.json:1:"),
        ('{"train": [], "train": []}', r'the key "train" is given twice'),
    ],
)
def test_a_wrong_splits_file_is_refused_in_a_sentence(tmp_path, text, sentence):
    (tmp_path / "splits.json").write_text(text)
    with pytest.raises(InputError, match=sentence):
        read_splits(tmp_path / "splits.json")


def test_equal_questions_in_two_splits_are_refused_with_the_pairs():
    tasks = [Task(name=name, instruction=text) for name, text in [("a", "x"), ("b", "x"), ("c", "y"), ("d", "x")]]
    found = Dataset(name="d", slug="d", tasks=tuple(tasks))
    check_leakage(found, Split(train=("a", "b"), val=("c",), holdout=()))
    with pytest.raises(InputError, match=r'"a" \(train\) and "d" \(holdout\), "b" \(train\) and "d" \(holdout\)'):
        check_leakage(found, Split(train=("a", "b"), val=("c",), holdout=("d",)))


def test_labels_and_names_do_not_make_a_question_another_one():
    a = Task(name="a", input={"x": 1, "y": 2}, metadata={"l": 1})
    b = Task(name="b", input={"y": 2, "x": 1.0}, metadata={"l": 2})
    with pytest.raises(InputError, match="the same question"):
        check_leakage(Dataset(name="d", slug="d", tasks=(a, b)), Split(train=("a",), val=(), holdout=("b",)))


def test_the_val_dataset_is_checked_for_leakage_under_its_own_names(dataset):
    numbers = dataset(3)
    other = Dataset(name="o", slug="o", tasks=(Task(name="t0", instruction="new"), numbers.tasks[2]))
    split = make_split(numbers, 0, {"train": ["t0", "t1"], "holdout": ["t2"]}, val_dataset=other)
    with pytest.raises(InputError, match=r'"t2" \(val\) and "t2" \(holdout\)'):
        check_leakage(numbers, split, other)
    check_leakage(numbers, split.model_copy(update={"val": ("t0",)}), other)


def test_a_limit_keeps_the_first_tasks_of_each_split():
    split = Split(train=("a", "b", "c"), val=("d",), holdout=("e", "f"), note="So.")
    small = limit(split, 1)
    assert (small.train, small.val, small.holdout) == (("a",), ("d",), ("e",))
    assert small.note == "So. Each split was cut to its first 1 (--max-tasks)."
    assert limit(split, 3) is split
    with pytest.raises(InputError, match="--max-tasks 0 leaves no tasks"):
        limit(split, 0)


def test_the_splits_file_format_is_plain(tmp_path):
    write_splits(Split(train=("ä",), val=(), holdout=("b",)), tmp_path / "s.json")
    assert json.loads((tmp_path / "s.json").read_text(encoding="utf-8")) == {
        "train": ["ä"],
        "val": [],
        "holdout": ["b"],
    }
