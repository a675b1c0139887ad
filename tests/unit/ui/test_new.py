"""The form for a new job: what it offers, what it refuses, what it says where something is missing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rollout_local.capabilities import load, publish
from rollout_local.errors import InputError
from rollout_local.store import catalog
from rollout_local.store.schema import open_store
from rollout_local.ui.choices import choices
from rollout_local.ui.links import Links
from rollout_local.ui.views import new
from rollout_local.verifiers.rewards import as_spec
from tests.unit.capabilities.conftest import write
from tests.unit.ui.conftest import Markup, Site, change, rows, run_of

Open = Callable[..., Site]
FORM = {
    "chosen_target": "1",
    "chosen_dataset": "1",
    "chosen_verifier": "1",
    "reflection_model": " openai/sim-reflection ",
    "name": "",
}
NOW = "2026-11-21T00:00:00.000Z"


def posted(opened: Site, path: Path, **fields: str) -> Any:
    form = {**FORM, "task_model": "openai/sim-student", "db": path.stem, **fields, **opened.token()}
    return opened.ask("POST", "/-/rollout/new", data=form)


def test_the_form_becomes_named_fields() -> None:
    assert new.fields({**FORM, "max_metric_calls": "50", "db": "x", "splits": "last"}) == {
        "target_row_id": 1, "dataset_id": 1, "verifier_id": 1, "reflection_model": "openai/sim-reflection",
        "max_metric_calls": 50, "splits": "last",
    }  # fmt: skip
    by_name = new.fields({**FORM, "chosen_target": "desk@1.0.0:triage", "chosen_verifier": "exact_match_v1"})
    assert (by_name["agent"], by_name["reward"]) == ("desk@1.0.0:triage", "exact_match_v1")


def test_what_is_typed_in_words_becomes_what_a_run_has() -> None:
    found = new.fields({
        **FORM, "chosen_val_dataset": "2", "tags": " spring, ,desk,spring ", "reward_params": '{"needle": "30 days"}',
        "objective": " Be kind. ", "project": "web", "run_ref": "T-1",
    })  # fmt: skip
    assert found["val_dataset_id"] == 2
    assert found["tags"] == ("spring", "desk")
    assert found["reward_params"] == {"needle": "30 days"}
    assert (found["objective"], found["project"], found["run_ref"]) == ("Be kind.", "web", "T-1")


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [("reward_params", "[1]", "are a JSON object"), ("reward_params", "{", "The reward's parameters"),
     ("chosen_val_dataset", "x", "The validation dataset takes a whole number"),
     ("reflection_model", "", "reflection model"), ("seed", "-1", "whole number"),
     ("chosen_target", "", "Choose a target"),
     ("max_metric_calls", "1e9", "search calls takes"), ("chosen_dataset", "٣", "whole number"),
     ("chosen_verifier", "9" * 30, "whole number"), ("chosen_dataset", "support", "whole number")],
)  # fmt: skip
def test_what_is_wrong_in_the_form_is_named(field: str, value: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        new.fields({**FORM, field: value})


def test_a_job_is_created_queued_and_shown(copy: Path, site: Open) -> None:
    opened = site(copy)
    opened.sign_in()
    answer = posted(opened, copy, name="by hand", max_metric_calls="12", seed="3", splits="last")
    assert answer.status_code == 303, answer.text
    made = rows(copy, "SELECT * FROM runs ORDER BY created_at DESC LIMIT 1")[0]
    assert answer.headers["location"] == Links("/").run(copy.stem, made["id"])
    assert (made["status"], made["queued"], made["name"], made["seed"]) == ("queued", 1, "by hand", 3)
    assert made["metric_call_budget"] == 12
    assert made["split_json"] == rows(copy, "SELECT split_json FROM runs WHERE id = ?", run_of(copy))[0][0]
    assert "Waiting for a worker" in Markup(opened.text(answer.headers["location"])).text


def test_a_job_has_what_the_control_plane_asks_for(copy: Path, site: Open) -> None:
    with open_store(copy) as store:
        dataset = catalog.load_dataset(store, 1)
        tasks = [task.model_copy(update={"instruction": f"Another: {task.instruction}"}) for task in dataset.tasks[:4]]
        own = dataset.model_copy(update={"slug": "checks", "name": "Checks", "tasks": tuple(tasks)})
        val = catalog.import_dataset(store, own, NOW)["id"]
    opened = site(copy)
    opened.sign_in()
    answer = posted(
        opened, copy, chosen_val_dataset=str(val), chosen_verifier="contains_v1", reward_params='{"needle": "30 days"}',
        objective="Be kind.", project="web", tags="spring, desk", run_ref="T-1",
    )  # fmt: skip
    assert answer.status_code == 303, Markup(answer.text).text
    row = rows(copy, "SELECT * FROM runs ORDER BY created_at DESC LIMIT 1")[0]
    assert (row["project"], row["run_ref"], json.loads(row["tags_json"])) == ("web", "T-1", ["spring", "desk"])
    assert row["val_dataset_id"] == val
    config = json.loads(row["config_json"])
    assert (config["objective"], config["val_dataset"]) == ("Be kind.", "checks@1")
    assert (config["reward"], config["reward_params"]) == ("contains_v1", {"needle": "30 days"})
    said = Markup(opened.text(answer.headers["location"])).text
    for words in ("Be kind.", "checks@1", "spring, desk", "T-1"):
        assert words in said
    jobs = Markup(opened.text("/-/rollout/?project=web&tag=desk"))
    assert jobs.text.count("Waiting") == 0
    assert row["id"] in jobs.text
    assert run_of(copy) not in jobs.text
    assert row["id"] not in Markup(opened.text("/-/rollout/?project=default")).text
    assert "No run is like that" in Markup(opened.text("/-/rollout/?tag=autumn")).text
    change(copy, "UPDATE runs SET tags_json = 'no JSON' WHERE project = 'web'")
    assert row["id"] in Markup(opened.text("/-/rollout/?project=web")).text
    change(copy, "UPDATE runs SET tags_json = '7' WHERE project = 'web'")
    assert row["id"] in Markup(opened.text("/-/rollout/")).text


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"chosen_verifier": "contains_v1"}, "needle"),
        ({"reward_params": '{"needle": "x"}'}, "the parameters are for a reward; a verifier has its own"),
        ({"chosen_val_dataset": "9"}, "there is no dataset number 9"),
        ({"chosen_target": "77"}, "there is no target number 77"),
        ({"chosen_target": "nobody@1.0.0:x"}, "there is no capability"),
        ({"chosen_verifier": "exact_match_v1"}, "exact_match_v1 cannot grade this dataset"),
        ({"max_metric_calls": "0"}, "The number of search calls must be 1 or more, not 0"),
        ({"max_metric_calls": "many"}, "takes a whole number, not 'many'"),
        ({"db": "elsewhere"}, "Choose a database that is open here"),
        ({"reflection_model": ""}, "Name a reflection model"),
    ],
)
def test_what_does_not_fit_is_said_above_the_form_which_keeps_what_was_entered(
    copy: Path, site: Open, fields: dict[str, str], words: str
) -> None:
    opened = site(copy)
    opened.sign_in()
    answer = posted(opened, copy, **{"name": "mine <b>", "seed": "7", "splits": "seed", **fields})
    assert answer.status_code == 400
    found = Markup(answer.text)
    assert found.unclosed == []
    (alert,) = [of for _, of in found.elements if of.get("role") == "alert"]
    assert alert
    assert words in found.text
    assert len(rows(copy, "SELECT id FROM runs")) == 1
    kept = {str(of.get("name")): of.get("value") for of in found.all("input")}
    if fields.get("db") is None:
        assert (kept["name"], kept["seed"]) == ("mine <b>", "7")
        assert [of["value"] for of in found.all("option") if "selected" in of][-1] == "seed"


def test_every_field_has_a_label_and_the_token_is_there(copy: Path, site: Open) -> None:
    opened = site(copy)
    opened.sign_in()
    said = opened.text("/-/rollout/new")
    found = Markup(said)
    assert {"chosen_target", "chosen_dataset", "chosen_val_dataset", "chosen_verifier", "splits"} == {
        str(of["name"]) for of in found.all("select")
    }
    labelled = set(re.findall(r'<label[^>]*>[^<]+<(?:select|input) name="(\w+)"', said))
    shown = {str(of["name"]) for of in found.all("input") + found.all("select") if of.get("type") != "hidden"}
    assert shown == labelled
    (token,) = [of["value"] for of in found.all("input") if of["name"] == "csrftoken"]
    assert token


def test_the_models_of_the_last_run_are_filled_in(copy: Path, site: Open) -> None:
    opened = site(copy)
    opened.sign_in()
    filled = {str(of.get("name")): of.get("value") for of in Markup(opened.text("/-/rollout/new")).all("input")}
    assert filled["reflection_model"] == "openai/sim-reflection"
    assert filled["task_model"] == "openai/sim-student"
    assert str(filled["task_api_base"]).startswith("http://127.0.0.1:")


def test_without_jobs_the_form_stands_on_the_first_page(copy: Path, site: Open) -> None:
    opened = site(copy)
    opened.sign_in()
    assert 'action="/-/rollout/new"' not in opened.text("/-/rollout/")
    assert 'href="/-/rollout/new"' in opened.text("/-/rollout/")
    change(copy, "DELETE FROM runs")
    said = opened.text("/-/rollout/")
    assert "No runs yet" in said
    assert 'action="/-/rollout/new"' in said
    answer = posted(opened, copy)
    assert answer.status_code == 303, Markup(answer.text).text


def test_whoever_reads_only_is_told_what_to_type(copy: Path, site: Open) -> None:
    said = site(copy).text("/-/rollout/new")
    assert 'method="post"' not in said
    assert "rollout optimize submit" in said


def test_an_empty_file_says_what_to_type_for_each_part(empty: Path, site: Open) -> None:
    opened = site(empty)
    opened.sign_in()
    for page in ("/-/rollout/new", "/-/rollout/"):
        found = Markup(opened.text(page))
        assert found.unclosed == []
        for command in ("rollout optimize create", "rollout capabilities publish DIR", "rollout datasets import DIR",
                        "rollout verifiers create FILE"):  # fmt: skip
            assert command in found.text
        assert "--db" in found.text, "the file is not called rollout.db"


def test_a_file_that_cannot_be_written_has_no_form(copy: Path, site: Open) -> None:
    opened = site(copy, writable=lambda _folder: False)
    opened.sign_in()
    assert "No database that is open here can be written" in opened.text("/-/rollout/new")


def test_several_files_have_a_form_each(copy: Path, empty: Path, tmp_path: Path, site: Open) -> None:
    import shutil

    other = Path(shutil.copy(copy, tmp_path / "other.db"))
    opened = site(copy, other, empty)
    opened.sign_in()
    answer = posted(opened, other, seed="x")
    found = Markup(answer.text)
    assert len([form for form in found.all("form") if form.get("class") == "job"]) == 2
    assert [of["value"] for of in found.all("input") if of["name"] == "seed"] == ["0", "x"]
    assert "In other" in found.text


# -- what is offered


def test_the_form_offers_what_the_file_holds(copy: Path) -> None:
    with open_store(copy) as store:
        found = choices(store)
    ((value, name),) = found["targets"]
    assert value == "1"
    assert re.fullmatch(r"support \(as of \d{4}-\d\d-\d\d\)", name)
    assert found["datasets"] == [("1", "support@1, 18 tasks")]
    assert found["verifiers"] == [("1", "quality, verifier")]
    assert found["agents"] == found["left_out"] == []
    assert [name for name, _ in found["rewards"]] == [
        "exact_match_v1", "contains_v1", "trajectory_imitation_v1", "gsm8k_v1",
    ]  # fmt: skip
    assert dict(found["rewards"])["contains_v1"] == "contains_v1 (needs needle)"
    assert found["projects"] == ["default"]


def test_every_version_of_a_dataset_and_of_a_capability_is_offered(copy: Path, tmp_path: Path) -> None:
    with open_store(copy) as store:
        publish(store, load(write(tmp_path / "support")).capability, NOW)
        manifest = tmp_path / "support" / "capability.yaml"
        manifest.write_text(manifest.read_text().replace("1.0.0", "1.1.0"))
        publish(store, load(tmp_path / "support").capability, NOW)
        found = choices(store)
        older = catalog.load_dataset(store, 1)
        catalog.import_dataset(store, older.model_copy(update={"tasks": older.tasks[1:]}), NOW)
        assert [name for _, name in choices(store)["datasets"]] == ["support@2, 17 tasks", "support@1, 18 tasks"]
    assert [name for name, _ in found["agents"]] == [
        f"support@{version}:{agent}" for version in ("1.1.0", "1.0.0") for agent in ("triage", "writer")
    ]


def test_a_target_is_offered_as_it_was_used_last(copy: Path) -> None:
    """A text that was changed and changed back is an older row that counts again."""
    columns = "id, kind, description, baseline, baseline_json, source, modules_json, synced_at"
    change(copy, f"INSERT INTO targets (source_hash, {columns}) SELECT 'sha256:new', {columns} FROM targets",
           "UPDATE targets SET synced_at = '2020-01-01T00:00:00.000Z'")  # fmt: skip
    with open_store(copy) as store:
        assert [value for value, _ in choices(store)["targets"]] == ["1"]
    change(copy, "UPDATE runs SET target_row_id = 2")
    with open_store(copy) as store:
        assert [value for value, _ in choices(store)["targets"]] == ["2"]


def test_a_target_without_a_module_is_left_out_and_said_to_be(copy: Path, site: Open) -> None:
    change(copy, "UPDATE targets SET modules_json = '[]'",
           "UPDATE runs SET config_json = json_set(config_json, '$.modules', json('[]'))")  # fmt: skip
    with open_store(copy) as store:
        assert choices(store)["left_out"] == ["support"]
    opened = site(copy)
    opened.sign_in()
    said = Markup(opened.text("/-/rollout/new")).text
    assert "Not listed, since a worker cannot call it (no module was named): support." in said


def test_agents_of_published_capabilities_are_offered_without_a_run(empty: Path, tmp_path: Path, site: Open) -> None:
    with open_store(empty) as store:
        publish(store, load(write(tmp_path / "support")).capability, NOW)
        assert choices(store)["agents"] == [
            ("support@1.0.0:triage", "support@1.0.0:triage"), ("support@1.0.0:writer", "support@1.0.0:writer"),
        ]  # fmt: skip


def test_the_row_of_an_agents_run_is_no_second_target(copy: Path, tmp_path: Path) -> None:
    with open_store(copy) as store:
        publish(store, load(write(tmp_path / "support")).capability, NOW)
    change(copy, "UPDATE targets SET id = 'support@1.0.0:triage', modules_json = '[]'",
           "UPDATE runs SET config_json = json_set(config_json, '$.modules', json('[]'))")  # fmt: skip
    with open_store(copy) as store:
        found = choices(store)
    assert (found["targets"], found["left_out"]) == ([], [])


def test_a_stored_reward_without_parameters_stands_among_the_rewards_alone(copy: Path) -> None:
    with open_store(copy) as store:
        catalog.add_verifier(store, as_spec("exact_match_v1"), NOW)
        catalog.add_verifier(store, as_spec("contains_v1", {"needle": "days"}), NOW)
        assert [name for _, name in choices(store)["verifiers"]] == ["contains_v1", "quality, verifier"]
