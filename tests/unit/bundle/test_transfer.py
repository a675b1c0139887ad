"""A run out of one database and into another: the same run, or nothing."""

from __future__ import annotations

import json
import os
import random
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rollout_local.bundle import export_bundle, import_bundle, package
from rollout_local.bundle.archives import read
from rollout_local.errors import InputError, NotConfirmed, Refused, RolloutError
from rollout_local.reports.digest import digest
from rollout_local.runs import worker
from rollout_local.simulator import Simulator
from rollout_local.stop import StopFlag
from rollout_local.store import catalog, chain, check, lifecycle, reads, run_tables
from rollout_local.store.schema import Store, open_store
from rollout_local.ui import commands
from tests.conftest import Project

from .conftest import AT, SPEC, Written, dataset  # isort: skip

Write = Callable[..., Written]
Tree = Callable[[Path], dict[str, bytes | None]]


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Store]:
    """An empty database in the folder `elsewhere`."""
    (tmp_path / "elsewhere").mkdir()
    with open_store(tmp_path / "elsewhere" / "other.db") as opened:
        yield opened


def exported(store: Store, folder: Path, name: str = "run.bundle") -> Path:
    return export_bundle(store, "opt_carried", folder / name, folder).file


def dump(store: Store) -> list[str]:
    return list(store._connection.iterdump())


def test_a_run_carried_over_has_the_same_digest_and_a_whole_journal(
    store: Store, elsewhere: Store, written: Write, tmp_path: Path
) -> None:
    written()
    made = export_bundle(store, "opt_carried", tmp_path / "run.bundle", tmp_path)
    found = import_bundle(elsewhere, made.file, tmp_path / "elsewhere")
    run = reads.run(elsewhere, "latest")
    assert (found.run_id, found.is_new, found.status, found.candidates) == ("opt_carried", True, "completed", 2)
    assert found.digest == made.digest == digest(store, reads.run(store, "opt_carried")).digest
    assert digest(elsewhere, run).tables == digest(store, reads.run(store, "opt_carried")).tables
    assert list(check.problems(elsewhere)) == []
    assert made.size == made.file.stat().st_size
    assert len(elsewhere.rows("SELECT 1 FROM journal_entries")) == len(store.rows("SELECT 1 FROM journal_entries")) > 20


def test_counters_and_roll_ups_come_out_as_they_were(
    store: Store, elsewhere: Store, written: Write, tmp_path: Path
) -> None:
    written()
    import_bundle(elsewhere, exported(store, tmp_path), tmp_path / "elsewhere")
    local = {"rev", "heartbeat_at", "log_dir", "recording", "config_json", "dataset_id", "val_dataset_id",
             "target_row_id"}  # fmt: skip
    ours, theirs = reads.run(store, "opt_carried"), reads.run(elsewhere, "opt_carried")
    assert {k: v for k, v in theirs.items() if k not in local} == {k: v for k, v in ours.items() if k not in local}
    for sql in (
        "SELECT * FROM phase_calls ORDER BY attempt, phase",
        "SELECT * FROM candidates ORDER BY id",
        "SELECT * FROM candidate_tasks ORDER BY candidate_id, split, task_name",
        "SELECT * FROM spans ORDER BY id",
        "SELECT id, superseded_by, candidate_id, score FROM trials ORDER BY id",
    ):
        assert elsewhere.rows(sql) == store.rows(sql), sql


def test_rows_get_ids_of_their_own_where_others_are_there_already(
    store: Store, elsewhere: Store, written: Write, tmp_path: Path
) -> None:
    written()
    catalog.import_dataset(elsewhere, dataset("val"), AT)
    (tmp_path / "elsewhere" / "project").mkdir()
    Written(elsewhere, tmp_path / "elsewhere" / "project", "opt_other")
    before = digest(elsewhere, reads.run(elsewhere, "opt_other")).digest
    import_bundle(elsewhere, exported(store, tmp_path), tmp_path / "elsewhere")
    runs = [reads.run(elsewhere, name) for name in ("opt_other", "opt_carried")]
    assert digest(elsewhere, runs[0]).digest == before
    assert digest(elsewhere, runs[1]).digest == digest(store, reads.run(store, "opt_carried")).digest
    assert runs[0]["dataset_id"] == runs[1]["dataset_id"] != runs[1]["val_dataset_id"]
    assert len(catalog.list_datasets(elsewhere)) == 2
    assert [row["id"] for row in catalog.list_verifiers(elsewhere)] == json.loads(runs[1]["verifier_ids_json"])
    assert list(check.problems(elsewhere)) == []


def test_importing_again_changes_nothing_even_where_shared_rows_are_older(
    store: Store, elsewhere: Store, written: Write, tmp_path: Path, tree: Tree
) -> None:
    written()
    catalog.add_verifier(elsewhere, SPEC.model_copy(update={"name": "Another name"}), "2020-01-01T00:00:00Z")
    file = exported(store, tmp_path)
    first = import_bundle(elsewhere, file, tmp_path / "elsewhere")
    rows_before, files_before = dump(elsewhere), tree(tmp_path / "elsewhere" / ".rollout")
    again = import_bundle(elsewhere, file, tmp_path / "elsewhere")
    assert (first.is_new, again.is_new, again.digest) == (True, False, first.digest)
    assert dump(elsewhere) == rows_before
    assert tree(tmp_path / "elsewhere" / ".rollout") == files_before
    assert import_bundle(store, file, tmp_path).is_new is False


def test_marks_of_the_owner_are_carried_but_for_the_archive_and_may_change_on_both_sides(
    store: Store, elsewhere: Store, written: Write, tmp_path: Path
) -> None:
    written()
    with store.write() as db:
        db.execute("UPDATE runs SET name = 'mine', note = 'keep', archived_at = ?", (AT,))
    file = exported(store, tmp_path)
    import_bundle(elsewhere, file, tmp_path / "elsewhere")
    row = reads.run(elsewhere, "opt_carried")
    assert (row["name"], row["note"], row["archived_at"]) == ("mine", "keep", None)
    with elsewhere.write() as db:
        db.execute("UPDATE runs SET name = 'theirs', note = NULL, tags_json = '[]', archived_at = ?", (AT,))
    assert import_bundle(elsewhere, file, tmp_path / "elsewhere").is_new is False
    assert reads.run(elsewhere, "opt_carried")["name"] == "theirs"


def test_a_bundle_of_a_version_without_notes_is_imported(
    store: Store, elsewhere: Store, written: Write, tmp_path: Path
) -> None:
    written()
    tables = run_tables.gather(store, "opt_carried")
    del tables["runs"][0]["note"]
    with elsewhere.write() as db:
        run_tables.insert(elsewhere, db, tables)
    assert reads.run(elsewhere, "opt_carried")["note"] is None


def test_the_same_run_gives_the_same_bytes_from_wherever_it_is(
    store: Store, elsewhere: Store, written: Write, tmp_path: Path
) -> None:
    written()
    first = exported(store, tmp_path)
    (tmp_path / "elsewhere" / "project").mkdir()
    Written(elsewhere, tmp_path / "elsewhere" / "project", "opt_other")
    import_bundle(elsewhere, first, tmp_path / "elsewhere")
    second = exported(elsewhere, tmp_path / "elsewhere")
    assert second.read_bytes() == first.read_bytes() == exported(store, tmp_path, "again").read_bytes()


def test_files_go_where_the_imported_run_looks_for_them(
    store: Store, elsewhere: Store, written: Write, tmp_path: Path, tree: Tree
) -> None:
    written()
    import_bundle(elsewhere, exported(store, tmp_path), tmp_path / "elsewhere")
    run = reads.run(elsewhere, "opt_carried")
    home = tmp_path / "elsewhere" / ".rollout" / "opt_carried"
    assert (run["log_dir"], run["recording"]) == (".rollout/opt_carried", ".rollout/opt_carried/recording-2.yaml")
    assert sorted(tree(home)) == ["recording-2.yaml", "run.json", "target.py"]
    assert (home / "recording-2.yaml").read_bytes() == (tmp_path / "logs" / "recording-2.yaml").read_bytes()
    assert (home / "target.py").read_text() == 'def run():\n    return "ü"\n'
    assert json.loads(run["config_json"])["log_dir"] is None


def test_a_bundle_says_nothing_of_the_machine_it_was_made_on(store: Store, written: Write, tmp_path: Path) -> None:
    written()
    data = exported(store, tmp_path).read_bytes()
    assert b"secret-host" not in data
    assert str(tmp_path).encode() not in data


def test_a_run_without_recording_log_dir_and_trials_is_carried_too(
    store: Store, elsewhere: Store, tmp_path: Path
) -> None:
    Written(store, tmp_path)
    row = {**reads.run(store, "opt_carried"), "id": "opt_new", "attempt": 0, "status": "created", "log_dir": None}
    row |= dict.fromkeys(("recording", "baseline_candidate_id", "best_candidate_id", "val_dataset_id"))
    lifecycle.insert_run(store, row | {"verifier_ids_json": "[]", "trial_count": 0})
    made = export_bundle(store, "opt_new", tmp_path / "new.bundle", tmp_path)
    found = import_bundle(elsewhere, made.file, tmp_path / "elsewhere")
    assert (found.status, found.trials, found.digest) == ("created", 0, made.digest)
    assert reads.run(elsewhere, "opt_new")["recording"] is None


def test_nearly_every_table_of_a_run_is_carried_and_the_rest_is_named(store: Store, written: Write) -> None:
    written()
    tables = run_tables.gather(store, "opt_carried")
    assert [name for name, found in tables.items() if not found] == []
    named = store.rows("SELECT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c"
                       " WHERE m.type = 'table' AND c.name IN ('run_id', 'trial_id', 'candidate_id')")  # fmt: skip
    assert {row["name"] for row in named} - run_tables.ELSEWHERE <= set(tables)


# -- refusals on the way out


@pytest.mark.parametrize("status", ["running", "queued"])
def test_a_run_that_is_at_work_is_not_exported(store: Store, written: Write, tmp_path: Path, status: str) -> None:
    written(status=status)
    with pytest.raises(Refused, match=f"is {status}; `rollout optimize pause opt_carried` first"):
        exported(store, tmp_path)


def test_an_export_writes_no_file_where_something_is_missing(store: Store, written: Write, tmp_path: Path) -> None:
    written()
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(InputError, match="exists; give a file that does not"):
        exported(store, tmp_path, "taken")
    with pytest.raises(InputError, match="cannot be written"):
        exported(store, tmp_path, "no/such/folder")
    (tmp_path / "logs" / "recording-2.yaml").unlink()
    with pytest.raises(InputError, match="put it back to export the run"):
        exported(store, tmp_path)
    assert not (tmp_path / "run.bundle").exists()


def test_a_damaged_run_is_not_carried_on(store: Store, written: Write, tmp_path: Path) -> None:
    written()
    with store.write() as db:
        db.execute("UPDATE events SET message = 'forged' WHERE id = 1")
    with pytest.raises(InputError, match="a damaged run is not carried on"):
        exported(store, tmp_path)
    with store.write() as db:
        db.execute("DELETE FROM journal_entries")
        db.execute("UPDATE runs SET verifier_ids_json = '[77]'")
    with pytest.raises(InputError, match=r"refers to a row that is not there|no journal entry"):
        exported(store, tmp_path)
    with pytest.raises(InputError, match="a row of runs refers to a row that is not there"):
        run_tables.gather(store, "opt_carried")


# -- refusals on the way in


def test_a_flipped_byte_anywhere_is_refused_and_nothing_is_written(
    elsewhere: Store, source: Path, tmp_path: Path, tree: Tree
) -> None:
    data, members = source.read_bytes(), list(read(source))
    directory = data.index(b"PK\x01\x02")
    dice = random.Random(0)
    places = {*dice.sample(range(directory), 250), *range(60), *range(directory, len(data), 7)}
    damaged = tmp_path / "damaged.bundle"
    before = dump(elsewhere)
    for place in sorted(places):
        damaged.write_bytes(data[:place] + bytes([data[place] ^ (1 << dice.randrange(8))]) + data[place + 1 :])
        with pytest.raises(InputError) as refused:
            import_bundle(elsewhere, damaged, tmp_path / "elsewhere")
        if 60 <= place < directory:
            assert any(name in str(refused.value) for name in members), (place, str(refused.value))
    assert dump(elsewhere) == before
    assert [name for name in tree(tmp_path / "elsewhere") if not name.startswith("other.db")] == []


def test_a_bundle_cut_short_or_with_something_added_is_refused(elsewhere: Store, source: Path, tmp_path: Path) -> None:
    data = source.read_bytes()
    damaged = tmp_path / "damaged.bundle"
    for changed in (b"", data[:100], data[: len(data) // 2], data[:-1], data + b"x", b"x" + data):
        damaged.write_bytes(changed)
        with pytest.raises(InputError):
            import_bundle(elsewhere, damaged, tmp_path)
    with pytest.raises(InputError, match="does not exist; check the path"):
        import_bundle(elsewhere, tmp_path / "nowhere", tmp_path)
    assert reads.runs(elsewhere) == []


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle, made once."""
    folder = tmp_path_factory.mktemp("source")
    with open_store(folder / "rollout.db") as opened:
        Written(opened, folder)
        return exported(opened, folder)


@pytest.fixture
def forge(source: Path, tmp_path: Path) -> Callable[..., Path]:
    """`forge(change, **manifest)`: a bundle whose hashes fit, after `change(members)`."""

    def make(change: Callable[[dict[str, bytes]], Any] = lambda members: None, **head: Any) -> Path:
        manifest, members = package.unpack(source)
        change(members)
        kept = {name: value for name, value in manifest.items() if name not in ("members", "format")}
        members[package.MANIFEST] = package.described({**kept, **head}, members)
        (tmp_path / "forged.bundle").write_bytes(package.pack(members))
        return tmp_path / "forged.bundle"

    return make


def edit(table: str, place: int = 0, **columns: Any) -> Callable[[dict[str, bytes]], None]:
    """A change of one row of a table."""

    def change(members: dict[str, bytes]) -> None:
        name = f"tables/{table}.jsonl"
        lines = members[name].splitlines()
        lines[place] = json.dumps({**json.loads(lines[place]), **columns}).encode()
        members[name] = b"\n".join(lines)

    return change


def set_member(name: str, data: bytes) -> Callable[[dict[str, bytes]], None]:
    return lambda members: members.__setitem__(name, data)


def drop(name: str) -> Callable[[dict[str, bytes]], Any]:
    return lambda members: members.pop(name)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (edit("runs", run_status="x"), "runs has no column 'run_status' here: made by a newer"),
        (edit("runs", id="opt_else"), "is not of the run that the manifest names"),
        (edit("trials", run_id="opt_else"), "its rows belong to more than one run"),
        (edit("span_records", trace_id="tr-else"), "its rows belong to more than one run"),
        (edit("trials", score=1.5), "its rows do not fit .IntegrityError"),
        (edit("trials", score=[1]), "tables/trials.jsonl:1: a row is an object of texts"),
        (edit("trials", candidate_id=99), "a row of trials refers to a row that is not there"),
        (edit("trials", feedback="forged"), "is not what was written"),
        (edit("trials", id=2), "two rows of trials have one number"),
        (edit("trials", -1, superseded_by=1), "superseded by an earlier one"),
        (edit("journal_entries", chain="0"), "the chain is broken at journal entry 1"),
        (edit("journal_entries", kind="leases"), "a row of journal_entries refers to"),
        (edit("proposals", -1, reason="forged"), "of proposals is not what was written"),
        (edit("candidate_parents", -1, parent_id=4), r"another digest than its manifest names \(parents\)"),
        (edit("tasks", instruction="forged"), "a row of datasets is not what its hash says"),
        (edit("verifiers", spec_json=SPEC.model_copy(update={"pass_threshold": 0.1}).model_dump_json()),
         "a row of verifiers is not what its hash says"),
        (edit("texts", text="forged"), "a row of texts is not what its hash says"),
        (edit("datasets", id=None), "refers to a row that is not there"),
        (drop("tables/candidates.jsonl"), "refers to a row that is not there"),
        (drop("tables/runs.jsonl"), "is not of the run that the manifest names"),
        (set_member("tables/events.jsonl", b"\xff"), "tables/events.jsonl is not UTF-8"),
        (set_member("tables/events.jsonl", b"{}}"), "tables/events.jsonl:1:3: not valid JSON"),
        (set_member("tables/events.jsonl", b"{}\n"), "its rows do not fit .KeyError"),
        (set_member("tables/secrets.jsonl", b""), "tables/secrets.jsonl has no place here"),
        (set_member("files/.bashrc", b""), "files/.bashrc has no place here"),
    ],
)  # fmt: skip
def test_a_forged_bundle_is_refused_and_nothing_is_written(
    elsewhere: Store, forge: Callable[..., Path], tmp_path: Path, change: Any, problem: str, tree: Tree
) -> None:
    before = dump(elsewhere)
    with pytest.raises(RolloutError, match=problem):
        import_bundle(elsewhere, forge(change), tmp_path / "elsewhere")
    assert dump(elsewhere) == before
    assert not (tmp_path / "elsewhere" / ".rollout").exists()


@pytest.mark.parametrize(
    ("head", "problem"),
    [
        ({"digest": "sha256:x", "tables": None}, "another digest than its manifest names .candidates, parents"),
        ({"digest": "sha256:x"}, "another digest than its manifest names .manifest.json"),
        ({"run_id": "../../etc"}, "names no members, or no run"),
        ({"run_id": "opt_else"}, "is not of the run that the manifest names"),
        ({"format": 2}, "is not of this version of rollout-local"),
    ],
)
def test_a_forged_manifest_is_refused(
    elsewhere: Store, forge: Callable[..., Path], tmp_path: Path, head: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InputError, match=problem):
        import_bundle(elsewhere, forge(**head), tmp_path / "elsewhere")
    assert reads.runs(elsewhere) == []


def manifest(**changes: Any) -> bytes:
    document = {"format": 1, "run_id": "opt_a", "members": {}, **changes}
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({"a": b""}, "has no manifest.json, so it is not a bundle"),
        ({"manifest.json": b"\xff"}, "manifest.json is not UTF-8"),
        ({"manifest.json": b"[]"}, "is not of this version"),
        ({"manifest.json": manifest(members=[])}, "names no members"),
        ({"manifest.json": manifest(members={"a": {"sha256": "x"}})}, "a is missing"),
        ({"manifest.json": manifest(members={"a": {"sha256": "x"}}), "a": b""}, "a is not what the manifest says"),
        ({"manifest.json": manifest(members={"a": 1}), "a": b""}, "a is not what the manifest says"),
        ({"manifest.json": manifest(), "b": b""}, "b is not in the manifest"),
    ],
)
def test_an_archive_that_is_no_bundle_is_refused(
    store: Store, tmp_path: Path, members: dict[str, bytes], problem: str
) -> None:
    (tmp_path / "x.bundle").write_bytes(package.pack(members))
    with pytest.raises(InputError, match=problem):
        import_bundle(store, tmp_path / "x.bundle", tmp_path)


def test_a_run_that_has_gone_on_here_is_not_written_over(
    store: Store, elsewhere: Store, written: Write, tmp_path: Path
) -> None:
    run = written()
    file = exported(store, tmp_path)
    import_bundle(elsewhere, file, tmp_path / "elsewhere")
    lifecycle.add_report(elsewhere, "opt_carried", 2, "{}", AT)
    with pytest.raises(Refused, match="its reports differ from"):
        import_bundle(elsewhere, file, tmp_path / "elsewhere")
    run.journal.judge_proposal(1, accepted=True, reason="", before=0.0, after=0.0)
    with store.write() as db:
        db.execute("UPDATE proposals SET reason = 'another'")
    with pytest.raises(Refused, match="its proposals differ"):
        import_bundle(store, file, tmp_path)


def test_files_of_others_are_not_written_over_and_links_not_followed(
    store: Store, elsewhere: Store, written: Write, tmp_path: Path, tree: Tree
) -> None:
    written()
    file = exported(store, tmp_path)
    home = tmp_path / "elsewhere" / ".rollout" / "opt_carried"
    home.mkdir(parents=True)
    (home / "target.py").write_text("mine")
    before = tree(home.parent)
    with pytest.raises(Refused, match=r"target\.py is there already and differs"):
        import_bundle(elsewhere, file, tmp_path / "elsewhere")
    assert tree(home.parent) == before
    (home / "target.py").unlink()
    (home / "target.py").symlink_to(tmp_path / "outside")
    with pytest.raises(Refused, match="is behind, a symbolic link"):
        import_bundle(elsewhere, file, tmp_path / "elsewhere")
    (home / "target.py").unlink()
    home.rmdir()
    home.write_text("a file")
    with pytest.raises(InputError, match="cannot be written"):
        import_bundle(elsewhere, file, tmp_path / "elsewhere")
    assert not (tmp_path / "outside").exists()
    assert reads.runs(elsewhere) == []
    home.unlink()
    home.mkdir()
    (home / "run.json").write_bytes((tmp_path / "logs" / "run.json").read_bytes())
    assert import_bundle(elsewhere, file, tmp_path / "elsewhere").is_new


def test_a_real_run_is_carried_to_another_machine_and_reproduced_there_offline(
    make_project: Callable[..., Project], simulate: Callable[..., Simulator], tmp_path: Path
) -> None:
    project = make_project(simulate().url)
    ran = project.document("optimize", "run", *project.flags, "--max-metric-calls", "30")
    with open_store(project.folder / "rollout.db") as opened:
        made = export_bundle(opened, "latest", tmp_path / "run.bundle", project.folder)
    assert made.digest == ran["digest"]
    machine = Project(tmp_path / "machine", "http://127.0.0.1:9/v1")
    machine.folder.mkdir()
    (machine.folder / "target.py").write_text((project.folder / "target.py").read_text())
    with open_store(machine.folder / "rollout.db") as opened:
        assert import_bundle(opened, made.file, machine.folder).digest == made.digest
    assert machine.rollout("optimize", "reproduce", "latest").returncode == 1
    assert machine.document("optimize", "reproduce", "latest", "--trust")["identical"]
    assert machine.document("optimize", "digest", "latest")["digest"] == made.digest
    assert machine.document("db", "check")["ok"]
    served = machine.document("optimize", "run", ran["run_id"])
    assert (served["executed"], served["digest"]) == (0, made.digest)


def test_in_an_empty_folder_a_run_is_reproduced_from_the_source_that_came_with_it_on_request(
    make_project: Callable[..., Project], simulate: Callable[..., Simulator], tmp_path: Path
) -> None:
    project = make_project(simulate().url)
    target, package_ = project.folder / "target.py", project.folder / "parts"
    package_.mkdir()
    (package_ / "__init__.py").write_text("")
    (package_ / "wording.py").write_text('# --- what we say\nTEXT = "Answer the customer."\n# --- end ---')
    text = target.read_text().replace("import json\n", "import json\nfrom parts.wording import TEXT\n")
    text = text.replace("sk-test-0123456789", "not-needed")  # a key would not be in the source that comes along
    target.write_text(text.replace('baseline="Answer the customer."', "baseline=TEXT"))
    ran = project.document("optimize", "run", *project.flags, "--max-metric-calls", "10")
    project.document("optimize", "export", "latest", "--bundle", str(tmp_path / "run.bundle"))
    machine = Project(tmp_path / "machine", "http://127.0.0.1:9/v1")
    machine.folder.mkdir()
    done = machine.rollout("import", "bundle", "../run.bundle")
    kept = f".rollout/{ran['run_id']}/target"
    assert f"rollout optimize reproduce {ran['run_id']} --source {kept}" in done.stderr
    for name in ("target.py", "parts/__init__.py", "parts/wording.py"):
        assert (machine.folder / kept / name).read_bytes() == (project.folder / name).read_bytes()
    for command in ("reproduce", "run"):
        refused = machine.rollout("optimize", command, "latest", "--trust")
        assert refused.returncode == 2
        assert "there is no module 'target' in" in refused.stderr
        assert f"the source that came with run {ran['run_id']} is in {kept}: look at it" in refused.stderr
    again = machine.document("optimize", "reproduce", "latest", "--source", kept)
    assert (again["identical"], again["digest"]) == (True, ran["digest"])
    assert (
        "there is no folder nowhere" in machine.rollout("optimize", "reproduce", "latest", "--source", "nowhere").stderr
    )


def test_the_functions_of_python_checks_travel_along_without_their_secrets(
    make_project: Callable[..., Project], simulate: Callable[..., Simulator], tmp_path: Path
) -> None:
    project = make_project(simulate().url)
    (project.folder / "grading").mkdir()
    (project.folder / "grading/__init__.py").write_text("")
    rules = 'API_KEY = "Zr7WvT5xKp2Lm9odd"\n\n\ndef brief(_, output):\n    return 1 - min(len(output), 900) / 900\n'
    target = project.folder / "target.py"
    target.write_text(target.read_text().replace("sk-test-0123456789", "not-needed"))
    (project.folder / "grading/rules.py").write_text(rules)
    check = {"type": "python", "params": {"function": "grading.rules:brief"}}
    (project.folder / "own.json").write_text(json.dumps({"id": "own", "checks": [check]}))
    flags = [*project.flags, "--verifier", "own.json", "--max-metric-calls", "10"]
    ran = project.document("optimize", "run", *flags)
    project.document("optimize", "export", "latest", "--bundle", str(tmp_path / "run.bundle"))
    assert b"Zr7WvT5xKp2Lm9odd" not in (tmp_path / "run.bundle").read_bytes()
    machine = Project(tmp_path / "machine", "http://127.0.0.1:9/v1")
    machine.folder.mkdir()
    machine.rollout("import", "bundle", "../run.bundle")
    kept = machine.folder / f".rollout/{ran['run_id']}/target"
    assert (kept / "grading/rules.py").read_text() == rules.replace("Zr7WvT5xKp2Lm9odd", "[redacted]")
    assert (kept / "grading/__init__.py").exists()
    again = machine.document("optimize", "reproduce", "latest", "--source", str(kept))
    assert (again["identical"], again["digest"]) == (True, ran["digest"])


def test_source_that_leads_out_of_its_folder_is_not_laid_out(
    store: Store, elsewhere: Store, written: Write, tmp_path: Path, tree: Tree
) -> None:
    written()
    with store.write() as db:
        db.execute("UPDATE runs SET config_json = json_set(config_json, '$.modules', json('[\"app\"]'))")
        chain.append(db, "opt_carried", "runs")
        db.execute("UPDATE targets SET source = '# --- ../../app.py\nx = 1\n'")
    file = exported(store, tmp_path)
    before = tree(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"names a file outside its folder: '\.\./\.\./app\.py'"):
        import_bundle(elsewhere, file, tmp_path / "elsewhere")
    assert {name for name in tree(tmp_path / "elsewhere") if ".db" not in name} == {n for n in before if ".db" not in n}
    assert reads.runs(elsewhere) == []


def test_a_link_on_the_way_to_a_source_file_is_not_followed(
    store: Store, elsewhere: Store, written: Write, tmp_path: Path
) -> None:
    written()
    with store.write() as db:
        db.execute("UPDATE runs SET config_json = json_set(config_json, '$.modules', json('[\"app\"]'))")
        chain.append(db, "opt_carried", "runs")
        db.execute("UPDATE targets SET source = '# --- app/one.py\nx = 1\n'")
    file = exported(store, tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    kept = tmp_path / "elsewhere" / ".rollout" / "opt_carried" / "target"
    kept.mkdir(parents=True)
    (kept / "app").symlink_to(outside)
    with pytest.raises(Refused, match="is behind, a symbolic link"):
        import_bundle(elsewhere, file, tmp_path / "elsewhere")
    assert list(outside.iterdir()) == []
    (kept / "app").unlink()
    assert import_bundle(elsewhere, file, tmp_path / "elsewhere").source == ".rollout/opt_carried/target"
    assert (kept / "app" / "one.py").read_text() == "x = 1\n"


@pytest.mark.parametrize("kind", ["packed", "tar", "pipe"])
def test_a_bundle_that_could_hold_more_than_its_own_bytes_is_not_begun_to_be_read(
    store: Store, elsewhere: Store, written: Write, tmp_path: Path, kind: str
) -> None:
    written()
    _, members = package.unpack(exported(store, tmp_path))
    file = tmp_path / "gift"
    if kind == "packed":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
    elif kind == "tar":
        with tarfile.open(file, "w:gz") as tar:
            tar.addfile(tarfile.TarInfo("manifest.json"))
    else:
        os.mkfifo(file)
    words = {
        "packed": "is compressed, and no member is here",
        "tar": "is not a zip archive",
        "pipe": "is no plain file",
    }
    with pytest.raises(InputError, match=words[kind]):
        import_bundle(elsewhere, file, tmp_path / "elsewhere")
    assert reads.runs(elsewhere) == []


# -- an import changes nothing but the shelf


def forged(file: Path, to: Path, **changes: Any) -> Path:
    """The bundle with another row of its run, whole in every hash."""
    manifest, members = package.unpack(file)
    row = json.loads(members["tables/runs.jsonl"]) | changes
    members["tables/runs.jsonl"] = (json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n").encode()
    head = {name: value for name, value in manifest.items() if name not in ("format", "members")}
    to.write_bytes(package.pack(members | {package.MANIFEST: package.described(head, members)}))
    return to


@pytest.mark.parametrize("status", ["queued", "running", "odd", None])
def test_a_bundle_whose_run_does_not_stand_still_is_refused_and_nothing_is_written(
    store: Store, elsewhere: Store, written: Write, tmp_path: Path, tree: Tree, status: str | None
) -> None:
    written()
    gift = forged(exported(store, tmp_path), tmp_path / "gift.bundle", status=status, queued=1, wants_fresh=1)
    rows_before, files_before = dump(elsewhere), tree(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=f"its run says that it is {status}; an import brings a run that stands still"):
        import_bundle(elsewhere, gift, tmp_path / "elsewhere")
    assert dump(elsewhere) == rows_before
    assert tree(tmp_path / "elsewhere") == files_before


def test_what_a_bundle_says_of_the_queue_of_its_places_and_of_its_seal_is_not_taken_over(
    store: Store, elsewhere: Store, written: Write, tmp_path: Path
) -> None:
    written()
    said = {"queued": 1, "wants_fresh": 1, "restarts": 3, "folder": "/", "log_dir": "../../x", "recording": "/x",
            "confirmed": store.rows("SELECT confirmed FROM runs")[0]["confirmed"] or "f" * 64}  # fmt: skip
    gift = forged(exported(store, tmp_path), tmp_path / "gift.bundle", **said)
    import_bundle(elsewhere, gift, tmp_path / "elsewhere")
    row = reads.run(elsewhere, "opt_carried")
    home = ".rollout/opt_carried"
    assert {name: row[name] for name in said} == {
        "queued": 0, "wants_fresh": 0, "restarts": 0, "folder": None, "log_dir": home,
        "recording": f"{home}/recording-2.yaml", "confirmed": None,
    }  # fmt: skip
    assert import_bundle(elsewhere, gift, tmp_path / "elsewhere").is_new is False


def test_an_import_changes_what_no_name_means(store: Store, elsewhere: Store, written: Write, tmp_path: Path) -> None:
    written()
    spec = SPEC.model_copy(update={"pass_threshold": 0.5})
    mine = [catalog.import_dataset(elsewhere, dataset().model_copy(update={"tasks": dataset().tasks[:1]}), AT)["id"],
            catalog.add_verifier(elsewhere, spec, AT)["id"]]  # fmt: skip
    import_bundle(elsewhere, exported(store, tmp_path), tmp_path / "elsewhere")
    found = [catalog.find_dataset(elsewhere, "refunds"), catalog.find_verifier(elsewhere, "quality")]
    assert [row["id"] for row in found] == mine
    assert catalog.find_dataset(elsewhere, "refunds@2")["id"] != mine[0]


def test_a_waiting_worker_takes_up_no_imported_run_and_no_button_starts_it_unconfirmed(
    store: Store, elsewhere: Store, written: Write, tmp_path: Path
) -> None:
    written(status="paused")
    import_bundle(elsewhere, exported(store, tmp_path), tmp_path / "elsewhere")
    assert worker.work(elsewhere.path, tmp_path / "elsewhere", StopFlag(), once=True) == []
    with pytest.raises(NotConfirmed):
        commands.ask(elsewhere.path, "opt_carried", "start", "root")
    assert elsewhere.rows("SELECT * FROM run_commands") == []
    assert reads.run(elsewhere, "opt_carried")["status"] == "paused"
