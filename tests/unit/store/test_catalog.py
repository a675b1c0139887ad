"""Datasets, verifiers and targets: the same content is one row, other content another."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from rollout_local.domain.dataset import Task
from rollout_local.domain.target import Candidate
from rollout_local.domain.verdict import CheckSpec, VerifierSpec
from rollout_local.errors import NotFound
from rollout_local.store import catalog, reads
from tests.unit.store.conftest import AT, WrittenTarget, dataset

TASKS = (
    Task(
        name="a", instruction="Say é", input={"z": 1, "a": [1.0, None]}, metadata={"k": {"deep": True}},
        expected_output={"b": 1, "a": 0.0}, expected_output_schema={"required": ["x"]},
    ),
    Task(name="b", input={"x": 1}, expected_output=""),
)  # fmt: skip


def versions(store):
    return [f"{row['slug']}@{row['version']}" for row in catalog.list_datasets(store)]


def test_the_same_dataset_is_one_version_and_changed_content_is_the_next(store):
    first = catalog.import_dataset(store, dataset(), AT)
    again = catalog.import_dataset(store, dataset(name="Renamed"), "2026")
    changed = catalog.import_dataset(store, dataset(Task(name="a", instruction="A.")), AT)
    other = catalog.import_dataset(store, dataset(slug="other"), AT)
    assert (first["is_new"], again["is_new"], changed["is_new"], other["is_new"]) == (True, False, True, True)
    assert again == {**first, "is_new": False}
    assert versions(store) == ["other@1", "refunds@1", "refunds@2"]
    assert catalog.import_dataset(store, dataset(), AT)["version"] == 1


def test_a_dataset_comes_back_as_it_was(store):
    given = dataset(*TASKS)
    row = catalog.import_dataset(store, given, AT)
    loaded = catalog.load_dataset(store, row["id"])
    assert loaded == given
    assert loaded.content_hash == row["content_hash"]
    assert list(loaded.tasks[0].input) == ["z", "a"]
    assert row["task_count"] == 2


def test_two_threads_that_import_the_same_dataset_make_one_version(store):
    together = threading.Barrier(8)

    def go(_):
        together.wait()
        return catalog.import_dataset(store, dataset(), AT)

    with ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(go, range(8)))
    assert sorted(row["is_new"] for row in rows) == [False] * 7 + [True]
    assert {row["version"] for row in rows} == {1}


@pytest.fixture
def three(store):
    for text in ("1", "2", "3"):
        catalog.import_dataset(store, dataset(Task(name="a", instruction=text)), AT)
    return store


@pytest.mark.parametrize(
    ("reference", "version"), [("refunds", 3), ("refunds@1", 1), ("refunds@3", 3), ("refunds@", 3)]
)
def test_a_dataset_is_found_by_its_slug_and_version(three, reference, version):
    assert catalog.find_dataset(three, reference)["version"] == version


@pytest.mark.parametrize(
    "reference", ["refund", "refunds@4", "refunds@x", "refunds@²", "refunds@-1", "refunds@" + "9" * 30, ""]
)
def test_a_dataset_that_is_not_there_is_not_found_and_the_others_are_named(three, reference):
    with pytest.raises(NotFound) as missing:
        catalog.find_dataset(three, reference)
    assert str(missing.value) == (
        f"there is no dataset {reference!r}: no such folder, and the database has refunds@1, refunds@2, refunds@3"
    )


def test_an_empty_database_has_none(store):
    with pytest.raises(NotFound, match="no such folder, and the database has none"):
        catalog.find_dataset(store, "x")
    with pytest.raises(NotFound, match="no such file, and the database has none"):
        catalog.find_verifier(store, "x")


def verifier(id="quality", name="Quality", **changes):
    check = CheckSpec(id="c", type="contains", params={"value": "x"})
    return VerifierSpec(**{"id": id, "name": name, "checks": (check,), **changes})


def test_the_same_verifier_is_one_row_and_a_changed_one_another(store):
    first = catalog.add_verifier(store, verifier(), AT)
    again = catalog.add_verifier(store, verifier(name="Renamed"), AT)
    changed = catalog.add_verifier(store, verifier(pass_threshold=0.5), AT)
    assert (first["is_new"], again["is_new"], changed["is_new"]) == (True, False, True)
    assert again["id"] == first["id"] != changed["id"]
    assert len(catalog.list_verifiers(store)) == 2
    assert catalog.load_verifiers(store, [changed["id"], first["id"]]) == [verifier(pass_threshold=0.5), verifier()]
    assert catalog.load_verifiers(store, []) == []


def test_a_verifier_is_found_by_id_name_row_or_hash_and_the_newest_is_meant(store):
    old = catalog.add_verifier(store, verifier(), AT)
    new = catalog.add_verifier(store, verifier(name="Better", pass_threshold=0.5), AT)
    for reference in ("quality", "Better", str(new["id"]), new["content_hash"], new["content_hash"][:14]):
        assert catalog.find_verifier(store, reference)["id"] == new["id"], reference
    for reference in ("Quality", str(old["id"]), old["content_hash"][:14]):
        assert catalog.find_verifier(store, reference)["id"] == old["id"], reference


@pytest.mark.parametrize("reference", ["", "s", "sha256", "sha256:", "qual", "sha256:zz"])
def test_a_verifier_that_is_not_there_is_not_found_and_the_others_are_named(store, reference):
    catalog.add_verifier(store, verifier(), AT)
    catalog.add_verifier(store, verifier(id="tone"), AT)
    with pytest.raises(NotFound) as missing:
        catalog.find_verifier(store, reference)
    said = f"there is no verifier {reference!r}: no such file, and the database has quality, tone"
    assert str(missing.value) == said


def test_a_target_is_one_row_for_its_source_and_baseline(store):
    first = catalog.sync_target(store, WrittenTarget(), ["app"], AT)
    assert catalog.sync_target(store, WrittenTarget(), ["app"], "2026") == first
    others = [{"id": "b"}, {"source_hash": "sha256:t", "source": "x = 2"}, {"baseline": Candidate(text="Be brief.")}]
    rows = {catalog.sync_target(store, WrittenTarget(**change), ["app"], AT) for change in others}
    assert len(rows | {first}) == 4


def test_a_target_is_kept_with_its_source_text(store):
    baseline = Candidate(components={"plan": "P", "answer": "A"})
    row = reads.target(store, catalog.sync_target(store, WrittenTarget(baseline=baseline), ["app", "more"], AT))
    del row["row_id"]
    assert row == {
        "id": "support", "kind": "prompt", "description": "Answers.", "baseline": "P\n\nA",
        "baseline_json": '{"answer":"A","plan":"P"}', "source": "x = 1", "source_hash": "sha256:s",
        "modules_json": '["app", "more"]', "synced_at": AT,
    }  # fmt: skip
