import json
import os
import sqlite3

import pytest

from rollout_local.capabilities import changed_text, diff, finish, get, load, preview, promote, publish, revert
from rollout_local.cli.options import database
from rollout_local.domain.run import RunStatus
from rollout_local.errors import InputError, Refused
from rollout_local.reports.promotion import FORMAT
from rollout_local.store import lifecycle, reads, releases
from rollout_local.store.schema import open_store
from rollout_local.targets.capability import CapabilityTarget

from .conftest import AT, BETTER, BODY, FILES, SPLIT, write, write_run

ME = {"actor": "ada", "at": AT}


def refusal(store, run, **options):
    with pytest.raises(Refused) as caught:
        promote(store, run, **ME, **options)
    assert releases.promotions(store) == []
    return str(caught.value)


def test_the_best_text_becomes_the_next_version_and_nothing_else_changes(store, published, agent_run):
    done = promote(store, agent_run(), **ME)
    assert done.destination == "support@1.0.1"
    made = get(store, "support@1.0.1")
    changed = [path for path, raw in made.files.items() if raw != published.files[path]]
    assert changed == ["agents/triage.md", "capability.yaml"]
    assert made.files["agents/triage.md"].decode() == FILES["agents/triage.md"].replace(BODY, BETTER)
    assert made.files["capability.yaml"].decode() == FILES["capability.yaml"].replace("1.0.0", "1.0.1")
    assert releases.version(store, "support", "1.0.1")["promoted_from_run"] == "opt_run"


def test_a_promotion_is_a_row_that_says_who_when_from_what_to_what(store, agent_run):
    done = promote(store, agent_run(), **ME)
    (row,) = releases.promotions(store, "opt_run")
    assert row["id"] == done.promotion_id
    assert (row["from_version"], row["to_version"], row["agent"]) == ("1.0.0", "1.0.1", "triage")
    assert (row["text"], row["former_text"]) == (BETTER, BODY)
    assert (row["forced"], row["reason"], row["actor"], row["at"]) == (0, None, "ada", AT)
    assert (row["reverted_by"], row["to_path"], row["attempt"]) == (None, None, 1)


def test_a_preview_is_a_unified_diff_of_both_files_with_the_gates_and_writes_nothing(store, agent_run):
    shown = preview(store, agent_run())
    assert "-Answer with one word.\n+Answer with the name of the team.\n" in shown.diff
    assert '-version: "1.0.0"   # bumped by promote\n+version: "1.0.1"' in shown.diff
    assert (shown.source, shown.destination) == ("support@1.0.0", "support@1.0.1")
    assert [gate["name"] for gate in shown.gates] == ["changed", "not_degraded", "holdout_lift", "interval"]
    assert "luck" in shown.luck
    assert shown.problems == ()
    assert shown.document()["destination"] == "support@1.0.1"
    assert len(releases.versions(store)) == 1


def test_a_dry_run_checks_all_and_writes_nothing(store, agent_run):
    run = agent_run()
    done = promote(store, run, dry_run=True, **ME)
    assert (done.promotion_id, done.destination) == (None, "support@1.0.1")
    assert len(releases.versions(store)) == 1
    assert releases.promotions(store) == []


@pytest.mark.parametrize("status", [RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.PAUSED, RunStatus.RUNNING])
def test_a_run_that_is_not_completed_is_refused_even_by_force(store, agent_run, status):
    said = refusal(store, agent_run(status=status), force=True, reason="now")
    assert said == f"Run opt_run is {status}; only a completed run can be promoted."


def test_a_run_that_evaluated_nothing_is_refused(store, agent_run):
    run = agent_run(status=RunStatus.CREATED, attempt=False)
    assert "has evaluated nothing" in refusal(store, run)


@pytest.mark.parametrize("text", [BODY, f"\n{BODY}  \n"])
def test_an_unchanged_text_is_refused_even_by_force(store, agent_run, text):
    said = refusal(store, agent_run(text=text), force=True, reason="now")
    assert said.startswith("No text did better than the baseline")


def test_an_empty_text_is_refused(store, agent_run):
    assert refusal(store, agent_run(text=" \n")) == "The best text is empty."


def test_a_lift_that_is_none_is_refused_and_force_goes_on_with_its_reason_on_record(store, agent_run):
    run = agent_run(lift=0.0)
    said = refusal(store, run)
    assert "asked is above 0. Go on all the same with --force --reason TEXT." in said
    done = promote(store, run, force=True, reason="shorter", **ME)
    (row,) = releases.promotions(store)
    assert done.forced
    assert (row["forced"], row["reason"]) == (1, "shorter")
    assert "asked is above 0" in row["unmet_json"]


def test_a_gate_that_was_set_is_asked_for(store, agent_run):
    said = refusal(store, agent_run(lift=0.25, config={"min_holdout_improvement": 0.5}))
    assert "asked is at least 0.5" in said


def test_a_degraded_run_is_refused(store, agent_run):
    assert "degraded" in refusal(store, agent_run(unscored=True))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"split": {**SPLIT, "train": ["t0", "t3"]}}, "The search saw holdout tasks too: t3."),
        ({"split": {**SPLIT, "val": ["t4"]}}, "The search saw holdout tasks too: t4."),
        ({"split": {**SPLIT, "holdout": []}}, "The run has no holdout."),
        ({"searched_holdout": True}, "The search executed holdout tasks."),
    ],
)
def test_a_holdout_that_the_search_saw_is_refused(store, agent_run, changes, says):
    assert says in refusal(store, agent_run(**changes))


def test_force_needs_a_reason(store, agent_run):
    with pytest.raises(InputError, match="--force goes on record with a reason"):
        promote(store, agent_run(), force=True, reason=" ", **ME)


def test_a_forced_promotion_that_met_everything_is_not_called_forced(store, agent_run):
    assert not promote(store, agent_run(), force=True, reason="sure", **ME).forced


def test_a_version_may_be_chosen_and_must_be_free(store, agent_run):
    run = agent_run()
    assert refusal(store, run, version="1.0.0") == "support@1.0.0 is published already; give another --version."
    with pytest.raises(InputError, match="--version is '2'; it must be three numbers"):
        promote(store, run, version="2", **ME)
    assert promote(store, run, version="2.0.0", **ME).destination == "support@2.0.0"


def test_a_source_that_is_not_what_the_run_began_with_is_refused(tmp_path, agent_run):
    agent_run()
    with open_store(tmp_path / "other.db") as other:
        folder = write(tmp_path / "other", **{"README.md": "Another README.\n"})
        publish(other, load(folder).capability, AT)
        copy_run(other, tmp_path / "rollout.db")
        said = refusal(other, reads.run(other, "opt_run"), force=True, reason="now")
    assert said == "support@1.0.0 is not what the run began with; optimize it anew."


def copy_run(other, path):
    """The rows of the run in another database."""
    source = sqlite3.connect(path)
    source.row_factory = sqlite3.Row
    with other.write() as db:
        db.execute("PRAGMA defer_foreign_keys=ON")
        for table in ("targets", "datasets", "tasks", "verifiers", "runs", "attempts", "candidates"):
            for row in source.execute(f"SELECT * FROM {table}"):
                columns, marks = ", ".join(row.keys()), ", ".join("?" * len(row.keys()))
                db.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", tuple(row))
    source.close()


def test_a_newer_version_that_differs_makes_the_source_stale(store, folder, agent_run):
    run = agent_run()
    text = FILES["capability.yaml"].replace("1.0.0", "1.0.1")
    publish(store, load(write(folder, {"capability.yaml": text, "README.md": "New.\n"})).capability, AT)
    said = refusal(store, run, force=True, reason="now")
    assert said.startswith("support@1.0.1 was published since and differs from support@1.0.0")


def test_a_newer_version_with_the_same_content_is_no_obstacle(store, folder, agent_run):
    run = agent_run()
    text = FILES["capability.yaml"].replace("1.0.0", "1.0.1")
    publish(store, load(write(folder, {"capability.yaml": text})).capability, AT)
    assert promote(store, run, **ME).destination == "support@1.0.2"


def test_a_text_that_was_promoted_already_is_refused(store, agent_run):
    run = agent_run()
    promote(store, run, **ME)
    with pytest.raises(Refused, match=r"^support@1.0.1 holds this text already\.$"):
        promote(store, run, **ME)


@pytest.mark.parametrize("text", ["---\nx: 1\n---\nText", "---\nText"])
def test_a_text_that_would_be_read_as_front_matter_is_refused(store, tmp_path, text):
    folder = write(tmp_path / "plain", **{"agents/triage.md": BODY})
    made = load(folder).capability
    publish(store, made, AT)
    target = CapabilityTarget(made, "triage", task_model="m")
    run = write_run(store, target, [BODY, text], config={"capability": made.reference})
    assert "it begins like front matter" in refusal(store, run, force=True, reason="now")


def let_nobody_publish(store):
    """What another process does in the moment between the plan and the row: the version is not written here."""
    with store.write() as db:
        db.execute("CREATE TRIGGER first BEFORE INSERT ON capability_versions BEGIN SELECT RAISE(IGNORE); END")


def test_a_version_that_was_taken_in_this_moment_is_refused_and_nothing_is_recorded(store, agent_run):
    run = agent_run()
    let_nobody_publish(store)
    assert "by somebody else in this moment" in refusal(store, run)


def test_taking_back_publishes_the_former_text_as_a_new_version(store, published, agent_run):
    run = agent_run()
    first = promote(store, run, **ME)
    shown = revert(store, run, dry_run=True, **ME)
    assert (shown.promotion_id, shown.destination) == (None, "support@1.0.2")
    done = revert(store, run, reason="worse in production", **ME)
    made = get(store, "support@1.0.2")
    assert made.agent("triage").body == BODY
    assert "README.md" not in diff(published, made)
    assert made.files["agents/triage.md"] == published.files["agents/triage.md"]
    one, two = releases.promotions(store)
    assert (one["reverted_by"], two["reverts"]) == (done.promotion_id, first.promotion_id)
    assert (two["from_version"], two["to_version"], two["text"], two["reason"]) == (
        "1.0.1", "1.0.2", BODY, "worse in production",
    )  # fmt: skip
    assert "+Answer with one word.\n" in done.diff


def test_what_was_taken_back_can_be_promoted_again(store, agent_run):
    run = agent_run()
    promote(store, run, **ME)
    revert(store, run, **ME)
    assert promote(store, run, **ME).destination == "support@1.0.3"


def test_there_must_be_a_promotion_to_take_back(store, agent_run):
    run = agent_run()
    with pytest.raises(Refused, match="run opt_run has no promotion to take back"):
        revert(store, run, **ME)
    promote(store, run, **ME)
    revert(store, run, **ME)
    with pytest.raises(Refused, match="has no promotion to take back"):
        revert(store, run, **ME)


def test_a_promotion_is_taken_back_once(store, agent_run):
    run = agent_run()
    promote(store, run, **ME)
    revert(store, run, **ME)
    first, back = releases.promotions(store)
    again = {**{name: value for name, value in back.items() if name != "id"}, "reverts": first["id"]}
    assert releases.add_promotion(store, again) is None
    assert len(releases.promotions(store)) == 2


def test_a_text_that_was_changed_since_is_not_taken_back(store, folder, agent_run):
    run = agent_run()
    promote(store, run, **ME)
    text = FILES["capability.yaml"].replace("1.0.0", "1.0.2")
    publish(store, load(write(folder, {"capability.yaml": text, "agents/triage.md": "Own words."})).capability, AT)
    with pytest.raises(Refused, match=r"support@1.0.2 has another text for triage than was promoted"):
        revert(store, run, **ME)


def test_promotions_are_kept_as_they_were(store, agent_run):
    promote(store, agent_run(), **ME)
    for statement in ("UPDATE promotions SET reason = 'x'", "DELETE FROM promotions"):
        with pytest.raises(sqlite3.IntegrityError, match="another"), store.write() as db:
            db.execute(statement)


def test_the_flags_of_capabilities_and_of_code_are_not_mixed(store, agent_run, code_run):
    with pytest.raises(InputError, match="--to is for targets in code"):
        promote(store, agent_run(), to="x", **ME)
    with pytest.raises(InputError, match="--version is for capabilities"):
        promote(store, code_run(run_id="opt_code"), version="1.0.0", **ME)


def test_a_code_target_needs_a_file_and_shows_its_texts_without_one(store, code_run):
    run = code_run()
    assert "-Answer with one word.\n+Answer with the name of the team.\n" in preview(store, run).diff
    with pytest.raises(InputError, match="desk is a target in code; say with --to FILE"):
        promote(store, run, **ME)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, f"{BETTER}\n"),
        (f"{BODY}\n", f"{BETTER}\n"),
        (BODY, BETTER),
        (f"{BODY}\n".replace("\n", "\r\n"), f"{BETTER}\n".replace("\n", "\r\n")),
    ],
)
def test_a_code_targets_text_takes_the_place_of_the_former_one(store, code_run, tmp_path, before, after):
    file = tmp_path / "prompt.txt"
    if before is not None:
        file.write_bytes(before.encode())
        file.chmod(0o640)
    done = promote(store, code_run(), to=file, **ME)
    assert file.read_bytes().decode() == after
    assert done.destination == str(file)
    assert file.stat().st_mode & 0o777 == (0o640 if before is not None else 0o644)
    (row,) = releases.promotions(store)
    assert (row["to_path"], row["to_version"], row["capability"]) == (str(file), None, None)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".rollout-")) == []
    revert(store, reads.run(store, "opt_run"), **ME)
    assert changed_text.same(file.read_bytes().decode(), BODY)


def test_a_file_behind_a_link_is_written_and_the_link_stays(store, code_run, tmp_path):
    (tmp_path / "real.txt").write_text(BODY)
    (tmp_path / "link.txt").symlink_to(tmp_path / "real.txt")
    promote(store, code_run(), to=tmp_path / "link.txt", **ME)
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == BETTER


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"{BETTER}\n", "holds this text already"),
        ("Mine.", "holds another text than the run began with; give a file that holds that prompt and nothing else"),
    ],
)
def test_a_file_that_holds_something_else_is_not_overwritten(store, code_run, tmp_path, text, says):
    (tmp_path / "prompt.txt").write_text(text)
    assert says in refusal(store, code_run(), to=tmp_path / "prompt.txt", force=True, reason="now")
    assert (tmp_path / "prompt.txt").read_text() == text


def test_a_place_that_cannot_be_a_text_file_is_wrong_input(store, code_run, tmp_path):
    run = code_run()
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for place in (tmp_path, tmp_path / "binary"):
        with pytest.raises(InputError, match="cannot be read as a text"):
            promote(store, run, to=place, **ME)
    with pytest.raises(InputError, match="cannot be written"):
        promote(store, run, to=tmp_path / "absent" / "prompt.txt", **ME)
    assert releases.promotions(store) == []


def test_a_file_that_was_changed_since_is_not_taken_back(store, code_run, tmp_path):
    run = code_run()
    promote(store, run, to=tmp_path / "prompt.txt", **ME)
    (tmp_path / "prompt.txt").write_text("Mine.")
    with pytest.raises(Refused, match="holds another text than was promoted"):
        revert(store, run, **ME)
    assert (tmp_path / "prompt.txt").read_text() == "Mine."


def test_several_components_are_written_as_one_json_file(store, code_run, tmp_path):
    run = code_run(former={"a": "1", "b": "2"}, text={"a": "1", "b": "3"})
    promote(store, run, to=tmp_path / "prompts.json", **ME)
    assert (tmp_path / "prompts.json").read_text() == '{\n  "a": "1",\n  "b": "3"\n}\n'


def test_what_is_undecided_is_promoted_by_force_alone(store, code_run, tmp_path):
    few = {"train": ["t0"], "val": ["t1"], "holdout": ["t2", "t3", "t4"], "note": ""}
    run = code_run(split=few)
    assert "interval of the lift begins at" in refusal(store, run, to=tmp_path / "p")
    assert not (tmp_path / "p").exists()
    assert promote(store, run, to=tmp_path / "p", force=True, reason="a trial", **ME).forced


def test_the_stored_report_is_the_one_that_is_asked(store, code_run, tmp_path):
    run = code_run()
    gate = {"name": "confidence", "asked": 0.9, "seen": 0, "met": False, "sentence": "Not enough."}
    texts = [
        {"number": row["number"], "components": json.loads(row["components_json"])}
        for row in reads.candidates(store, run["id"], run["attempt"])
    ]
    sides = {"baseline": texts[0], "best": texts[1]}
    report = json.dumps({**sides, "format": FORMAT, "gates": [gate], "verdict": {"luck_sentence": ""}})
    lifecycle.add_report(store, run["id"], run["attempt"], report, AT)
    assert refusal(store, run, to=tmp_path / "p").startswith("Not enough. Go on")


def killed_at(step, path, run, file):
    """Promote in a child process that ends, as if killed, when it comes to this step."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        owner, name = step
        setattr(owner, name, lambda *_given, **_named: os._exit(9))
        with open_store(path) as opened:
            promote(opened, run, to=file, **ME)
    finally:
        os._exit(0)


@pytest.mark.parametrize(
    ("step", "recorded"),
    [((releases, "add_promotion"), 0), ((changed_text, "land"), 1), ((releases, "set_landed"), 1)],
    ids=["before the row", "before the file", "before both are known to be there"],
)
def test_whichever_step_is_killed_row_and_file_agree_after_the_next_command(store, code_run, tmp_path, step, recorded):
    run, file = code_run(), tmp_path / "prompt.txt"
    file.write_text(f"{BODY}\n")
    assert killed_at(step, store.path, run, file) == 9
    finish(store)
    assert len(releases.promotions(store)) == recorded
    assert file.read_text() == f"{BETTER if recorded else BODY}\n"
    assert releases.pending(store) == []
    if recorded:
        with pytest.raises(Refused, match="holds this text already"):
            promote(store, run, to=file, **ME)
    else:
        promote(store, run, to=file, **ME)
    assert len(releases.promotions(store)) == 1
    assert file.read_text() == f"{BETTER}\n"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".rollout-")] == []


def test_every_command_finishes_what_was_left_half_done(store, code_run, tmp_path):
    run, file = code_run(), tmp_path / "prompt.txt"
    assert killed_at((changed_text, "land"), store.path, run, file) == 9
    assert not file.exists()
    with database(store.path):
        pass
    assert file.read_text() == f"{BETTER}\n"


def test_a_file_is_not_touched_because_somebody_elses_database_says_so(store, code_run, tmp_path):
    run, file = code_run(), tmp_path / "prompt.txt"
    promote(store, run, to=file, **ME)
    staged = changed_text.staged_beside(file, BETTER)
    staged.write_text("of another")
    with store.write() as db:
        db.execute("UPDATE promotions SET pending = ?", ("0" * 64,))
    finish(store)
    assert (file.read_text(), staged.read_text()) == (f"{BETTER}\n", "of another")


def test_a_file_that_cannot_be_written_after_the_row_is_written_by_the_next_command(
    store, code_run, tmp_path, monkeypatch
):
    def refuse(*_given):
        raise OSError(28, "No space left on device")

    run, file = code_run(), tmp_path / "prompt.txt"
    with monkeypatch.context() as patch:
        patch.setattr(changed_text, "land", refuse)
        with pytest.raises(InputError, match=r"No space left.*the next command writes the file"):
            promote(store, run, to=file, **ME)
        with database(store.path):
            assert not file.exists()
    with database(store.path):
        assert file.read_text() == f"{BETTER}\n"
