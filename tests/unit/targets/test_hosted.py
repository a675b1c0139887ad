"""A module written for the hosted SDK: `import mv37.rollout as rollout`, with that package absent and present."""

import json
import sys

from rollout_local.targets.hosted import StandIn, stand_in_for_hosted_sdk

TARGET = """
import mv37.rollout as rollout

@rollout.optimize(id="support", kind="prompt", baseline="Answer.")
def answer(task: rollout.Task, candidate: rollout.Candidate) -> rollout.AgentResult:
    return rollout.AgentResult(output=f"{task.instruction} {candidate.text}")
"""
RUN = """
import json, sys
from pathlib import Path
import rollout_local
from rollout_local.targets.registry import load_modules
load_modules(["target"], Path.cwd())
said = {}
for target in rollout_local.list_optimization_targets():
    task = rollout_local.Task(name="n", instruction="Hi.", input={"a": 1}, expected_output="secret", split="val")
    result = target.run(task, rollout_local.Candidate(text="Be kind."))
    said[target.id] = [target.kind, target.description, target.baseline.text, result.output, result.metadata,
                       "Hi" in target.source or "answer" in target.source, target.source_hash[:7]]
print(json.dumps(said))
"""
SDK = """
# As far as its documentation tells: a registry, pydantic-like classes, OptimizationTarget.run.
from pydantic import BaseModel

class Task(BaseModel):
    model_config = {"extra": "forbid"}
    name: str
    instruction: str = ""
    input: dict = {}
    metadata: dict = {}
    split: str | None = None

class Candidate(BaseModel):
    text: str

class AgentResult(BaseModel):
    output: object
    metadata: dict = {}

_targets = {}

class OptimizationTarget:
    def __init__(self, id, kind, description, baseline, fn):
        self.id, self.kind, self.description, self.baseline, self.fn = id, kind, description, baseline, fn

    def run(self, task, candidate):
        assert type(task) is Task and type(candidate) is Candidate
        returned = self.fn(task, candidate)
        return returned if isinstance(returned, AgentResult) else AgentResult(output=returned)

def optimize(*, id, baseline, kind="prompt", description=None):
    def register(fn):
        _targets[id] = OptimizationTarget(id, kind, description, baseline, fn)
        return fn
    return register

def list_optimization_targets():
    return list(_targets.values())
"""


def test_where_the_package_is_absent_the_name_leads_here(folder):
    folder.write("target.py", TARGET)
    said = json.loads(folder.python(RUN))
    assert said["support"][:4] == ["prompt", "", "Answer.", "Hi. Be kind."]


def test_importing_rollout_local_is_enough_and_it_is_the_same_module(folder):
    said = folder.python(
        """
        import rollout_local
        import mv37.rollout as rollout
        from mv37.rollout import optimize
        from mv37 import rollout as again
        assert rollout is rollout_local is again and optimize is rollout_local.optimize
        print(rollout.__name__, rollout.__spec__.name)
        """
    )
    assert said == "rollout_local rollout_local\n"


def test_the_stand_in_stands_last_and_once():
    before = list(sys.meta_path)
    stand_in_for_hosted_sdk()
    assert sys.meta_path == before
    assert before.count(StandIn) == 1


def test_no_other_name_of_the_absent_package_is_invented(folder):
    said = folder.python(
        """
        import rollout_local
        for name in ("mv37.other", "mv37.rollout.domain2", "mv38"):
            try:
                __import__(name)
            except ModuleNotFoundError as error:
                print(error.name)
        """
    )
    assert said.split() == ["mv37.other", "mv37.rollout.domain2", "mv38"]


def test_where_the_package_is_present_its_registry_is_read_and_its_targets_run(folder):
    folder.write("lib/mv37/__init__.py", "")
    folder.write("lib/mv37/rollout.py", SDK)
    folder.write("target.py", TARGET)
    said = json.loads(folder.python('import sys; sys.path.append("lib")\n' + RUN))
    assert said["support"] == ["prompt", "", "Answer.", "Hi. Be kind.", {}, True, "sha256:"]


def test_a_package_beside_the_target_goes_before_the_stand_in(folder):
    """It becomes importable only when the modules are loaded."""
    folder.write("mv37/__init__.py", "")
    folder.write("mv37/rollout.py", SDK)
    folder.write("target.py", TARGET)
    check = """
import sys
assert sys.modules["mv37.rollout"] is not rollout_local
assert [type(target).__name__ for target in rollout_local.list_optimization_targets()] == ["HostedTarget"]
"""
    folder.python("import sys; sys.path.remove('')\n" + RUN + check)


def test_both_registries_are_listed_and_the_local_one_goes_first(folder):
    folder.write("mv37/__init__.py", "")
    folder.write("mv37/rollout.py", SDK)
    folder.write(
        "target.py",
        """
        import mv37.rollout as hosted
        import rollout_local as rollout

        @hosted.optimize(id="both", baseline="theirs", description="Theirs.")
        def theirs(task, candidate):
            return "theirs"

        @hosted.optimize(id="hosted", baseline="h", kind="agent", description="Theirs.")
        def only_theirs(task, candidate):
            return hosted.AgentResult(output={"a": 1}, metadata={"k": task.split})

        @rollout.optimize(id="both", baseline="ours")
        def ours(task, candidate):
            return "ours"
        """,
    )
    said = json.loads(folder.python(RUN))
    assert said["both"][:4] == ["prompt", "", "ours", "ours"]
    assert said["hosted"][:5] == ["agent", "Theirs.", "h", {"a": 1}, {"k": "val"}]
    assert list(said) == ["both", "hosted"]


def test_a_hosted_target_without_a_function_still_has_a_source(folder):
    folder.write("mv37/__init__.py", "")
    folder.write("mv37/rollout.py", SDK)
    folder.write(
        "target.py",
        """
        import mv37.rollout as hosted

        class Hi(hosted.OptimizationTarget):
            def run(self, task, candidate):
                return {"output": "dict"}

        hosted._targets["own"] = Hi("own", "prompt", "", "b", None)
        """,
    )
    assert json.loads(folder.python(RUN))["own"][3:] == ["dict", {}, True, "sha256:"]
