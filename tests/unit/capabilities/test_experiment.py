"""The parts of experiments/capability-support fit each other."""

import json
from pathlib import Path

from rollout_local.capabilities import load
from rollout_local.datasets.rows import read_rows
from rollout_local.domain.dataset import SPLITS
from rollout_local.simulator import load_script
from rollout_local.targets.capability import CapabilityTarget, require_goals
from rollout_local.verifiers.rewards import require_dataset

FOLDER = Path(__file__).parents[3] / "experiments" / "capability-support"


def test_the_capability_has_two_agents_and_a_tool_and_no_warnings():
    loaded = load(FOLDER / "capability")
    assert loaded.warnings == ()
    assert [agent.name for agent in loaded.capability.agents] == ["triage", "writer"]
    target = CapabilityTarget(loaded.capability, "triage", task_model="openai/sim-student")
    assert list(target.tools) == ["lookup_order"]
    assert json.loads(target.tools["lookup_order"].answer('{"number": "#4711"}')[0])["due"] == "Thursday"


def test_the_rows_fit_the_reward_and_the_agent_and_the_splits():
    rows = read_rows(FOLDER / "dataset")
    assert len(rows.dataset.tasks) == 36
    require_dataset("exact_match_v1", {}, rows.dataset.tasks, "agent")
    require_goals(rows.dataset.tasks)
    splits = json.loads((FOLDER / "splits.json").read_text())
    assert splits == rows.splits
    assert [len(splits[name]) for name in SPLITS] == [18, 6, 12]


def test_the_simulators_script_is_understood():
    assert set(load_script(FOLDER / "simulator.json").models) == {"sim-student", "sim-reflection"}
