"""A module written for the hosted SDK, `import mv37.rollout as rollout`: that package absent, whole and in part."""

import json
import sys

import pytest

from rollout_local.targets.hosted import Finder, stand_in_for_hosted_sdk

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


def test_the_finder_stands_in_the_path_once():
    before = list(sys.meta_path)
    stand_in_for_hosted_sdk()
    assert sys.meta_path == before
    assert before.count(Finder) == 1


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


TRACING = """
# As mv37-rollout 0.1.0: traces, and nothing to optimize with.
__all__ = ["init", "task"]
def init(): return "the SDK's own"
def task(): return "a decorator"
"""
WHOLE_NAMES = """
import rollout_local
print(rollout.init(), rollout.task(), rollout.optimize is rollout_local.optimize, rollout.Task is rollout_local.Task)
"""


@pytest.mark.parametrize("order", ["import rollout_local\n", "import mv37.rollout\nimport rollout_local\n"])
def test_what_a_tracing_sdk_lacks_is_ours_whichever_was_imported_first(folder, order):
    folder.write("mv37/rollout/__init__.py", TRACING)
    folder.write("target.py", TARGET + "\nfrom mv37.rollout import init, optimize_program, run\n")
    said = json.loads(folder.python(order + RUN))
    assert said["support"][:4] == ["prompt", "", "Answer.", "Hi. Be kind."]
    assert folder.python(order + "import mv37.rollout as rollout" + WHOLE_NAMES) == (
        "the SDK's own a decorator True True\n"
    )


def test_an_unknown_name_of_the_sdk_is_unknown_as_ever(folder):
    folder.write("mv37/rollout/__init__.py", TRACING)
    said = folder.python(
        """
        import rollout_local, mv37.rollout as rollout
        try:
            rollout.inti
        except AttributeError as error:
            print(error, error.name, hasattr(rollout, "inti"))
        """
    )
    assert said == "module 'mv37.rollout' has no attribute 'inti' inti False\n"


def test_a_module_of_the_sdk_is_its_own_whatever_its_name(folder):
    folder.write("mv37/rollout/__init__.py", TRACING)
    folder.write("mv37/rollout/report.py", "NAME = 'theirs'\n")
    said = folder.python(
        """
        import rollout_local
        from mv37.rollout import report, resume
        import mv37.rollout as rollout
        print(report.NAME, rollout.report.NAME, resume is rollout_local.resume, hasattr(rollout, "Task"))
        """
    )
    assert said == "theirs theirs True True\n"


def test_the_names_that_an_sdk_brings_are_its_own_and_the_others_are_ours(folder):
    folder.write(
        "mv37/rollout/__init__.py",
        """
        from pydantic import BaseModel

        class AgentResult(BaseModel):
            output: object
            metadata: dict = {}

        def __getattr__(name):
            if name == "Candidate":
                return "lazily theirs"
            raise AttributeError(name)
        """,
    )
    folder.write("target.py", TARGET)
    theirs = "import mv37.rollout as sdk\nassert sdk.AgentResult is not rollout_local.AgentResult\n"
    said = json.loads(folder.python(RUN + theirs + "assert sdk.Candidate == 'lazily theirs'\n"))
    assert said["support"][3] == "Hi. Be kind."


def test_an_sdk_of_a_module_class_of_its_own_keeps_it(folder):
    folder.write(
        "mv37/rollout/__init__.py",
        """
        import sys, types

        class Lazy(types.ModuleType):
            def __getattr__(self, name):
                if name == "Task":
                    return "lazily theirs"
                raise AttributeError(name)

        sys.modules[__name__] = Lazy(__name__)
        """,
    )
    said = folder.python(
        """
        import rollout_local, mv37.rollout as rollout
        print(rollout.Task, rollout.optimize is rollout_local.optimize, type(rollout).__name__, hasattr(rollout, "no"))
        """
    )
    assert said == "lazily theirs True Lazy False\n"


def test_an_sdk_that_imports_us_while_it_is_imported_keeps_what_it_defines_later(folder):
    folder.write(
        "mv37/rollout/__init__.py",
        "import rollout_local\noptimize = 'theirs'\ndef __getattr__(name): raise AttributeError\n",
    )
    said = folder.python(
        "import mv37.rollout as rollout, rollout_local\nprint(rollout.optimize, rollout.Task is rollout_local.Task)"
    )
    assert said == "theirs True\n"


@pytest.mark.parametrize("files", [["mv37/other.py"], ["mv37/rollout/other.py"]])
def test_a_namespace_without_the_module_still_has_our_names_and_its_own(folder, files):
    for file in files:
        folder.write(file, "here = True\n")
    folder.write("target.py", TARGET)
    other = files[0].removesuffix(".py").replace("/", ".")
    said = json.loads(folder.python(RUN + f"\nimport {other}\nassert {other}.here\n"))
    assert said["support"][3] == "Hi. Be kind."


def test_an_sdk_that_cannot_be_imported_is_told_by_its_place_and_ours_runs_without_it(folder):
    folder.write("mv37/rollout/__init__.py", "raise RuntimeError('no key')\n")
    folder.write("target.py", TARGET)
    folder.write("ours.py", TARGET.replace("mv37.rollout", "rollout_local"))
    said = folder.python(
        """
        from pathlib import Path
        import rollout_local
        from rollout_local.targets.registry import load_modules
        try:
            load_modules(["target"], Path.cwd())
        except rollout_local.targets.registry.InputError as error:
            print(error)
        load_modules(["ours"], Path.cwd())
        print([target.id for target in rollout_local.list_optimization_targets()])
        """
    )
    assert "__init__.py:1: RuntimeError: no key" in said
    assert said.endswith("['support']\n")


def test_a_registry_that_cannot_be_read_is_one_sentence(folder):
    folder.write("mv37/rollout.py", "def list_optimization_targets(now): ...\n")
    said = folder.python(
        """
        import mv37.rollout, rollout_local
        from rollout_local.errors import InputError
        try:
            rollout_local.list_optimization_targets()
        except InputError as error:
            print(error)
        """
    )
    assert said.startswith("the registry of the hosted SDK (mv37.rollout) cannot be read (TypeError: ")
    assert said.count("\n") == 1


def test_the_sdk_keeps_its_loader_its_source_and_can_be_reloaded(folder):
    folder.write("mv37/rollout/__init__.py", TRACING)
    said = folder.python(
        """
        import importlib, importlib.resources, inspect
        import rollout_local, mv37.rollout as rollout
        again = importlib.reload(rollout)
        print(type(rollout.__loader__).__name__, type(rollout.__spec__.loader).__name__,
              "traces" in inspect.getsource(rollout), again is rollout,
              again.optimize is rollout_local.optimize, vars(again).get("optimize"),
              (importlib.resources.files("mv37.rollout") / "__init__.py").is_file())
        """
    )
    assert said.split() == ["SourceFileLoader", "SourceFileLoader", "True", "True", "True", "None", "True"]


def test_a_finder_that_asks_all_finders_in_its_turn_ends(folder):
    folder.write("mv37/rollout/__init__.py", TRACING)
    said = folder.python(
        """
        import sys
        import rollout_local

        class Hook:
            @staticmethod
            def find_spec(name, path=None, target=None):
                others = (one.find_spec(name, path, target) for one in sys.meta_path if one is not Hook)
                return next((spec for spec in others if spec), None)

        sys.meta_path.insert(0, Hook)
        import mv37.rollout as rollout
        print(rollout.init(), rollout.optimize is rollout_local.optimize)
        """
    )
    assert said == "the SDK's own True\n"


def test_a_star_import_gives_their_names_then_ours(folder):
    folder.write("mv37/rollout/__init__.py", "__all__ = ['optimize', 'init']\noptimize = 'theirs'\ndef init(): ...\n")
    said = folder.python(
        """
        import rollout_local
        from mv37.rollout import *
        print(optimize, Task is rollout_local.Task, init.__module__)
        """
    )
    assert said == "theirs True mv37.rollout\n"


def test_targets_that_an_sdk_lists_to_nobody_are_told_of(folder):
    folder.write("mv37/rollout/__init__.py", "def optimize(**given): return lambda function: function\n")
    folder.write("target.py", TARGET)
    said = folder.python(
        """
        from pathlib import Path
        import rollout_local
        from rollout_local.errors import NotFound
        from rollout_local.targets.registry import load_modules
        load_modules(["target"], Path.cwd())
        try:
            rollout_local.get_optimization_target("support")
        except NotFound as error:
            print(error)
        """
    )
    assert said.endswith(
        "check the id and --module; the installed mv37.rollout lists nobody what its own `optimize` "
        "decorates: use that of rollout_local\n"
    )


def test_an_sdk_beside_the_target_of_another_folder_goes_before_the_stand_in(folder):
    folder.write("one/target.py", TARGET)
    folder.write("two/target.py", TARGET)
    folder.write("two/mv37/rollout/__init__.py", TRACING)
    said = folder.python(
        """
        import sys
        from pathlib import Path
        import rollout_local
        from rollout_local.targets.registry import load_modules
        for name in ("one", "two", "one"):
            load_modules(["target"], Path(name))
            print(sys.modules["mv37.rollout"].__name__)
        """
    )
    assert said.split() == ["rollout_local", "mv37.rollout", "rollout_local"]


def test_a_namespace_whose_package_was_unloaded_stops_no_other_folder(folder):
    folder.write("outer/inner/module.py", "")
    folder.write("two/target.py", TARGET)
    folder.write("target.py", TARGET)
    said = folder.python(
        """
        import sys
        from pathlib import Path
        import rollout_local, outer.inner.module
        from rollout_local.targets.registry import load_modules
        load_modules(["target"], Path("."))
        del sys.modules["outer"]
        load_modules(["target"], Path("two"))
        print([target.id for target in rollout_local.list_optimization_targets()])
        """
    )
    assert said == "['support']\n"
