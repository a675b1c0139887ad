"""A run from rows: what the command line would have made, without anybody's code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rollout_local.capabilities import load, publish
from rollout_local.clock import now
from rollout_local.domain.verdict import CheckSpec
from rollout_local.errors import InputError, NotConfirmed, Refused
from rollout_local.planning.from_rows import insert_from_rows, prepare_from_rows
from rollout_local.runs import worker
from rollout_local.simulator import Simulator
from rollout_local.store import catalog, reads
from rollout_local.store.schema import Store, open_store
from rollout_local.verifiers.rewards import as_spec
from tests.conftest import Project
from tests.unit.capabilities.conftest import write

MODELS = {"reflection_model": "openai/sim-reflection", "task_model": "openai/sim-student"}
ROWS = {"target_row_id": 1, "dataset_id": 1, "verifier_id": 1}


@pytest.fixture
def project(simulate: Callable[..., Simulator], make_project: Callable[..., Project]) -> Project:
    """A project whose target, dataset and verifier are in the file, by a run that was created."""
    made = make_project(simulate().url, train=8, val=6, holdout=6)
    made.document("optimize", "create", *made.flags, "--max-metric-calls", "10")
    return made


@pytest.fixture
def opened(project: Project) -> Iterator[Store]:
    with open_store(project.folder / "rollout.db", create=False) as store:
        yield store


def settings(project: Project, **more: Any) -> dict[str, Any]:
    bases = {"reflection_api_base": project.url, "task_api_base": project.url}
    return {**ROWS, **MODELS, **bases, "max_metric_calls": 10, **more}


def without_splits(project: Project) -> list[str]:
    flags = list(project.flags)
    at = flags.index("--splits-file")
    return flags[:at] + flags[at + 2 :]


def test_the_fingerprint_is_the_one_that_the_command_line_computes(project: Project, opened: Store) -> None:
    typed = project.document("optimize", "create", *without_splits(project), "--max-metric-calls", "10")["run_id"]
    made = insert_from_rows(opened, settings(project))
    other = reads.run(opened, typed)
    for column in ("fingerprint", "fingerprint_json", "split_json", "target_row_id", "dataset_id", "verifier_ids_json",
                   "metric_call_budget", "seed", "optimizer"):  # fmt: skip
        assert made[column] == other[column], column
    ours, theirs = json.loads(made["config_json"]), json.loads(other["config_json"])
    differing = {name for name in ours if ours[name] != theirs[name]}
    assert differing == {"dataset", "verifiers"}, "named by what is in the file, not by their folders"
    assert (ours["dataset"], ours["verifiers"]) == ("support@1", ["quality"])
    assert made["status"] == "created"


def test_nobodys_code_is_imported(project: Project, opened: Store) -> None:
    (project.folder / "target.py").write_text("raise RuntimeError('it was imported')\n")
    before = set(sys.modules)
    insert_from_rows(opened, settings(project))
    assert not {name for name in set(sys.modules) - before if not name.startswith("rollout_local")}


def test_a_worker_finds_the_target_unchanged_and_runs_it_as_typed(project: Project, opened: Store) -> None:
    made = insert_from_rows(opened, settings(project))
    worker.submit(opened, made["id"])
    assert [job["status"] for job in project.document("worker", "--once")] == ["completed"]
    typed = project.document("optimize", "run", *without_splits(project), "--max-metric-calls", "10")
    assert project.document("optimize", "digest", made["id"])["digest"] == typed["digest"]


def test_a_worker_says_what_changed_in_the_code_since(project: Project, opened: Store) -> None:
    made = insert_from_rows(opened, settings(project))
    worker.submit(opened, made["id"])
    file = project.folder / "target.py"
    file.write_text(file.read_text().replace("Answer the customer.", "Answer."))
    (done,) = project.document("worker", "--once")
    assert done["status"] == "failed"
    assert "the target changed since this run began" in done["message"]


def test_the_splits_of_the_last_run_of_the_dataset_can_be_kept(project: Project, opened: Store) -> None:
    before = json.loads(reads.run(opened, "latest")["split_json"])
    assert insert_from_rows(opened, settings(project))["split_json"] != json.dumps(before)
    with opened.write() as db:
        db.execute("DELETE FROM journal_entries")
        db.execute("DELETE FROM runs WHERE rowid > 1")
    kept = insert_from_rows(opened, settings(project, splits="last"))
    assert json.loads(kept["split_json"]) == before


def test_without_a_run_of_the_dataset_the_seed_places_its_tasks(project: Project, opened: Store) -> None:
    with opened.write() as db:
        db.execute("UPDATE runs SET config_json = json_set(config_json, '$.max_tasks', 1)")
    by_seed = prepare_from_rows(opened, settings(project))
    assert prepare_from_rows(opened, settings(project, splits="last")).split == by_seed.split


def test_a_target_that_no_run_named_counts_by_its_modules(project: Project, opened: Store) -> None:
    with opened.write() as db:
        db.execute("DELETE FROM journal_entries")
        db.execute("DELETE FROM runs")
    assert prepare_from_rows(opened, settings(project)).config.modules == ("target",)
    with opened.write() as db:
        db.execute("UPDATE targets SET modules_json = '[]'")
    with pytest.raises(InputError, match="no run says how target support is reached"):
        prepare_from_rows(opened, settings(project))


def test_a_stored_target_is_not_executed(project: Project, opened: Store) -> None:
    found = prepare_from_rows(opened, settings(project))
    with pytest.raises(Refused, match="a worker executes it"):
        found.target.run(found.dataset.tasks[0], found.target.baseline)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"target_row_id": 99}, "no target number 99 in rollout.db"),
        ({"dataset_id": 99}, "no dataset number 99"),
        ({"verifier_id": 99}, "no verifier number 99"),
        ({"target_row_id": None}, "no target is chosen"),
        ({"max_metric_calls": 0}, "max metric calls 0: input should be greater than or equal to 1"),
        ({"reflection_model": None}, "no reflection model is named"),
        ({"reward": "exact_match_v2"}, "no reward 'exact_match_v2'"),
        ({"reward": "exact_match_v1"}, "exact_match_v1 cannot grade this dataset"),
        ({"reward": "row_reward_v1"}, "cannot improve the prompt"),
        ({"agent": "desk@1.0.0:triage"}, "there is no capability 'desk'"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(
    project: Project, opened: Store, fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        insert_from_rows(opened, settings(project, **fields))
    assert len(opened.rows("SELECT id FROM runs")) == 1


def test_equal_questions_are_kept_in_one_split_and_where_none_is_left_for_the_others_that_is_said(
    project: Project, opened: Store
) -> None:
    with opened.write() as db:
        db.execute("UPDATE tasks SET instruction = 'the same'")
    with pytest.raises(InputError, match="leaves train and val empty"):
        insert_from_rows(opened, settings(project))


def test_a_verifier_that_fits_no_task_is_refused(project: Project, opened: Store) -> None:
    with opened.write() as db:
        db.execute("UPDATE tasks SET metadata_json = '{}'")
        db.execute("UPDATE verifiers SET spec_json = json_remove(spec_json, '$.checks[1]')")
    with pytest.raises(InputError, match="fits no task"):
        insert_from_rows(opened, settings(project))


def test_a_check_of_the_users_own_is_left_to_the_worker(project: Project, opened: Store) -> None:
    check = CheckSpec(id="own", type="python", params={"function": "nowhere_at_all:grade"})
    spec = catalog.load_verifiers(opened, [1])[0].model_copy(update={"checks": (check,)})
    row = catalog.add_verifier(opened, spec, now())
    assert prepare_from_rows(opened, settings(project, verifier_id=row["id"])).specs[0].checks[0].type == "python"


@pytest.mark.parametrize("table", ["runs", "verifiers"])
def test_nothing_is_made_of_a_run_or_a_verifier_from_elsewhere_that_nobody_confirmed(
    project: Project, opened: Store, table: str
) -> None:
    check = CheckSpec(id="own", type="python", params={"function": "nowhere_at_all:grade"})
    spec = catalog.load_verifiers(opened, [1])[0].model_copy(update={"checks": (check,)})
    row = catalog.add_verifier(opened, spec, now())
    with opened.write() as db:
        db.execute(f"UPDATE {table} SET confirmed = NULL")
    before = list(opened._connection.iterdump())
    words = "import the module" if table == "runs" else "call the function"
    with pytest.raises(NotConfirmed, match=words):
        insert_from_rows(opened, settings(project, verifier_id=row["id"]))
    assert list(opened._connection.iterdump()) == before


def test_an_older_verifier_of_the_same_id_is_named_by_its_content(project: Project, opened: Store) -> None:
    spec = catalog.load_verifiers(opened, [1])[0]
    catalog.add_verifier(opened, spec.model_copy(update={"pass_threshold": 0.5}), now())
    assert prepare_from_rows(opened, settings(project)).config.verifiers == (spec.content_hash,)
    assert prepare_from_rows(opened, settings(project, verifier_id=2)).config.verifiers == ("quality",)


# -- agents and rewards


@pytest.fixture
def desk(project: Project, opened: Store) -> Store:
    """The file with a capability in it, and tasks that expect a text."""
    publish(opened, load(write(project.folder / "support")).capability, now())
    with opened.write() as db:
        db.execute("""UPDATE tasks SET expected_output_json = '"30 days"'""")
    return opened


def test_an_agent_with_a_reward_is_what_the_command_line_makes_of_them(project: Project, desk: Store) -> None:
    flags = without_splits(project)
    module, verifier = flags.index("--module"), flags.index("--verifier")
    kept = [flag for at, flag in enumerate(flags) if at not in (module, module + 1, verifier, verifier + 1)]
    kept[kept.index("--dataset") + 1] = "support@1"
    (project.folder / "dataset").rename(project.folder / "elsewhere")
    typed = project.document(
        "optimize", "create", *kept, "--capability", "support", "--agent", "triage", "--reward", "exact_match_v1",
        "--max-metric-calls", "10",
    )["run_id"]  # fmt: skip
    fields = settings(project, agent="support@1.0.0:triage", reward="exact_match_v1")
    made, other = insert_from_rows(desk, fields), reads.run(desk, typed)
    assert made["fingerprint_json"] == other["fingerprint_json"]
    assert json.loads(made["config_json"]) == json.loads(other["config_json"])


def test_the_tools_of_a_capability_are_not_loaded(project: Project, desk: Store) -> None:
    with desk.write() as db:
        db.execute("DROP TRIGGER capability_versions_are_not_edited")
        db.execute(
            "UPDATE capability_versions SET files_json = json_set(files_json, '$.\"tools/orders.py\"', ?)",
            ("raise RuntimeError('it was imported')",),
        )
    assert prepare_from_rows(desk, settings(project, agent="support@1.0.0:triage")).target.id == "support@1.0.0:triage"


AGENT = {"agent": "support@1.0.0:triage"}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({**AGENT, "task_model": None}, "inherits its model"),
        ({"agent": "support@1.0.0:nobody"}, "has no agent 'nobody'"),
    ],
)
def test_an_agent_that_could_not_run_is_refused(
    project: Project, desk: Store, fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        prepare_from_rows(desk, settings(project, **fields))


def test_tasks_without_a_goal_are_refused_for_an_agent(project: Project, desk: Store) -> None:
    with desk.write() as db:
        db.execute("UPDATE tasks SET instruction = '', input_json = json_object('a', name, 'b', 1)")
    with pytest.raises(InputError, match="no goal for the agent"):
        prepare_from_rows(desk, settings(project, **AGENT))


def test_a_stored_reward_is_a_reward_again(project: Project, desk: Store) -> None:
    row = catalog.add_verifier(desk, as_spec("contains_v1", {"needle": "days"}), now())
    found = prepare_from_rows(desk, settings(project, verifier_id=row["id"]))
    assert (found.config.reward, found.config.reward_params) == ("contains_v1", {"needle": "days"})
    assert found.specs[0].content_hash == row["content_hash"]
