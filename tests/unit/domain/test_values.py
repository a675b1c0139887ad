"""Datasets, verdicts, manifests and locks are frozen values that refuse what they do not know."""

import pytest
from pydantic import ValidationError

from rollout_local.domain.dataset import Dataset, Split, Task
from rollout_local.domain.experiment import Lock, Manifest, differences
from rollout_local.domain.verdict import Check, CheckSpec, Verdict, VerifierSpec

CHECK = CheckSpec(id="c", type="contains", params={"value": "x"})
MANIFEST = {
    "name": "m",
    "module": "target",
    "target": "t",
    "dataset": "d",
    "verifier": "v.json",
    "recording": "r.yaml",
}


@pytest.mark.parametrize("kind", [Task, Dataset, Split, CheckSpec, VerifierSpec, Check, Verdict, Manifest, Lock])
def test_unknown_fields_are_refused(kind):
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        kind(surprise=1)


def test_values_are_frozen():
    task = Task(name="a")
    with pytest.raises(ValidationError, match="frozen"):
        task.name = "b"


def test_the_place_in_a_split_is_no_part_of_a_task():
    task = Task(name="a", instruction="Do.", input={"x": 1})
    assert task.content == Task(name="a", instruction="Do.", input={"x": 1}, split="val").content
    assert task.question == Task(name="b", instruction="Do.", input={"x": 1}, metadata={"y": 2}).question
    assert task.question != Task(name="a", instruction="Do.", input={"x": 2}).question


def dataset(*tasks, slug="d", name="D"):
    return Dataset(name=name, slug=slug, tasks=tasks)


def test_a_dataset_is_named_by_its_slug_and_its_tasks_in_their_order():
    one, two = Task(name="a", instruction="A"), Task(name="b", instruction="B", split="val")
    first = dataset(one, two)
    assert first.content_hash == dataset(one, two, name="Other").content_hash
    assert first.content_hash == dataset(one, Task(name="b", instruction="B")).content_hash
    others = [dataset(two, one), dataset(one), dataset(one, two, slug="e")]
    others.append(dataset(one, Task(name="b", instruction="B.")))
    others.append(dataset(one, Task(name="b", instruction="B", expected_output={"x": 1})))
    assert first.content_hash not in {other.content_hash for other in others}
    assert len({other.content_hash for other in others}) == len(others)
    assert first.by_name == {"a": one, "b": two}


def test_a_split_says_names_and_sizes():
    split = Split(train=("a", "b"), val=("c",), holdout=("d", "e", "f"))
    assert (split.names("train"), split.names("val")) == (("a", "b"), ("c",))
    assert split.sizes() == {"train": 2, "val": 1, "holdout": 3}


@pytest.mark.parametrize("kind", [Check, Verdict])
@pytest.mark.parametrize("score", [-0.01, 1.01, float("nan"), float("inf")])
def test_a_score_is_a_number_from_0_to_1(kind, score):
    given = {"score": score} | ({"id": "c", "type": "t"} if kind is Check else {"passed": True})
    with pytest.raises(ValidationError, match="score"):
        kind(**given)


def test_the_failures_of_a_verdict_are_the_checks_that_are_not_perfect():
    checks = tuple(Check(id=str(score), type="t", score=score) for score in (1.0, 0.999, 0.0))
    assert [check.id for check in Verdict(score=0.6, passed=False, checks=checks).failures] == ["0.999", "0.0"]


def test_a_verifier_is_named_by_everything_but_its_display_name():
    spec = VerifierSpec(id="v", name="V", checks=(CHECK,))
    assert spec.content_hash == spec.model_copy(update={"name": "Other"}).content_hash
    changes = [{"id": "w"}, {"pass_threshold": 0.5}, {"checks": (CHECK, CHECK)}]
    changes.append({"checks": (CHECK.model_copy(update={"weight": 2.0}),)})
    assert spec.content_hash not in {spec.model_copy(update=change).content_hash for change in changes}


def test_a_manifest_takes_one_verifier_or_several_and_misses_what_it_needs():
    assert Manifest(**MANIFEST).verifier == "v.json"
    assert Manifest(**{**MANIFEST, "verifier": ["a", "b"]}).verifier == ["a", "b"]
    with pytest.raises(ValidationError, match="recording"):
        Manifest(**{name: value for name, value in MANIFEST.items() if name != "recording"})


def test_a_lock_carries_the_number_of_its_schema():
    lock = Lock(inputs={}, versions={}, digest="sha256:x", tables={}, result={})
    assert lock.model_dump(by_alias=True)["schema"] == 1
    assert Lock.model_validate(lock.model_dump(by_alias=True)) == lock


def test_differences_come_in_the_order_of_the_keys_and_name_both_values():
    locked, seen = {"b": 1, "a": 1, "same": [1]}, {"b": 2, "c": 3, "same": [1]}
    assert list(differences(locked, seen)) == [("a", 1, None), ("b", 1, 2), ("c", None, 3)]
    assert list(differences({}, {})) == []
