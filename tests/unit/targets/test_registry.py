"""`@optimize`, the registry, and the modules that fill it."""

import importlib
import sys

import pytest

import rollout_local as rollout
from rollout_local.domain.target import Target, TargetKind
from rollout_local.errors import InputError, NotFound
from rollout_local.targets.registry import clear_optimization_targets, load_modules, modules_of

TARGET = """
import rollout_local as rollout

@rollout.optimize(id={id!r}, baseline="Answer.")
def answer(task, candidate):
    return task.name
"""


def declare(**changes):
    return rollout.optimize(**{"id": "t", "baseline": "Answer.", **changes})(lambda task, candidate: "said")


def test_a_decorated_function_is_a_target_and_stays_callable():
    @rollout.optimize(id="support", kind="router_prompt", description="Routes.", baseline="Go.")
    def answer(task, candidate):
        return f"{task.name}: {candidate.text}"

    target = rollout.get_optimization_target("support")
    assert isinstance(target, Target)
    assert (target.id, target.kind, target.description) == ("support", TargetKind.ROUTER_PROMPT, "Routes.")
    assert target.baseline.text == "Go."
    task = rollout.Task(name="n")
    assert answer(task, target.baseline) == "n: Go."
    assert target.run(task, target.baseline).output == "n: Go."


def test_kind_and_description_may_be_left_out():
    target = declare()
    assert (target.kind, target.description) == (TargetKind.PROMPT, "")


def test_a_baseline_may_have_several_texts():
    assert declare(baseline={"plan": "p", "answer": "a"}).baseline.components == {"plan": "p", "answer": "a"}


def test_the_targets_are_listed_by_id_and_cleared():
    for name in ("b", "a", "c"):
        declare(id=name)
    assert [target.id for target in rollout.list_optimization_targets()] == ["a", "b", "c"]
    rollout.clear_optimization_targets()
    assert rollout.list_optimization_targets() == []


def test_an_id_that_is_not_registered_is_not_found_and_the_others_are_named():
    with pytest.raises(NotFound, match=r"no target 'x' is registered \(registered: none\)"):
        rollout.get_optimization_target("x")
    declare(id="b")
    declare(id="a")
    with pytest.raises(NotFound, match=r"\(registered: a, b\); check the id and --module"):
        rollout.get_optimization_target("x")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"kind": "poem"}, "unknown kind 'poem'; use one of prompt, tool_description, router_prompt, retrieval_prompt"),
        ({"baseline": ""}, r"target 't': the baseline \(instructions\) is empty; GEPA needs a text"),
        ({"baseline": " \n\t"}, r"the baseline \(instructions\) is empty"),
        ({"baseline": {"a": "x", "b": " "}}, r"the baseline \(b\) is empty"),
        ({"baseline": "ab\ud800"}, r"the baseline \(instructions\) has a character at 2 that UTF-8 cannot write"),
        ({"baseline": {}}, "the baseline must be a text, or a dict of texts by name, not {}"),
        ({"baseline": 7}, "the baseline must be a text, or a dict of texts by name, not 7"),
        ({"baseline": {"a": None}}, "must be a text, or a dict of texts by name"),
        ({"id": ""}, "a target's id must be a non-empty name without surrounding spaces, not ''"),
        ({"id": " t"}, "not ' t'"),
        ({"id": "a\nb"}, r"not 'a\\nb'"),
        ({"id": 3}, "not 3"),
    ],
)
def test_a_wrong_declaration_is_refused_in_words_and_registers_nothing(wrong, sentence):
    with pytest.raises(InputError, match=sentence):
        declare(**wrong)
    assert rollout.list_optimization_targets() == []


def test_an_id_that_is_taken_is_refused_with_both_places(folder):
    first = folder.write("first.py", TARGET.format(id="same"))
    second = folder.write("second.py", "\n\n" + TARGET.format(id="same"))
    with pytest.raises(InputError) as refused:
        load_modules(["first", "second"], folder.path)
    assert f"two targets have the id 'same': {first}:4 and {second}:6; give one of them another id" in str(
        refused.value
    )


def test_the_same_place_may_be_imported_again(folder):
    folder.write("app.py", TARGET.format(id="t"))
    folder.load("app")
    before = rollout.get_optimization_target("t")
    folder.load("app")
    assert rollout.get_optimization_target("t") is not before
    assert len(rollout.list_optimization_targets()) == 1


def test_a_callable_object_has_a_place_in_messages_too():
    class Agent:
        def __call__(self, task, candidate):
            return task.name

        def __repr__(self):
            return "<my agent>"

    target = rollout.optimize(id="agent", baseline="x")(Agent())
    assert target.run(rollout.Task(name="n"), target.baseline).output == "n"
    with pytest.raises(InputError, match=r"two targets have the id 'agent': <my agent> and .*test_registry.py:"):
        declare(id="agent")


def test_loading_a_module_makes_the_folder_importable_once(folder, monkeypatch):
    monkeypatch.setattr("sys.path", [part for part in sys.path if part != str(folder.path)])
    folder.write("pack/__init__.py", "")
    folder.write("pack/targets.py", TARGET.format(id="packed"))
    for _ in range(2):
        load_modules(["pack.targets"], folder.path)
    assert sys.path.count(str(folder.path)) == 1
    assert [target.id for target in rollout.list_optimization_targets()] == ["packed"]


def refusal(folder, name):
    with pytest.raises(InputError) as refused:
        load_modules([name], folder.path)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("name", ["nowhere", "nowhere.targets", "pack.nothing"])
def test_a_module_that_is_not_there_is_named_with_the_folder(folder, name):
    folder.write("pack/__init__.py", "")
    said = refusal(folder, name)
    assert said == f"there is no module {name!r} in {folder.path} or on the path; give --module as in `import {name}`"


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("targets.py", "targets"), ("./targets.py", "targets"), ("app/targets.py", "app.targets"),
        ("app/targets", "app.targets"), ("../x/targets.py", "x.targets"),
    ],
)  # fmt: skip
def test_a_file_in_the_place_of_a_module_is_told_the_name_to_give(folder, name, module):
    folder.write("targets.py", "raise RuntimeError('it was imported')")
    said = refusal(folder, name)
    assert said == f"--module {name} is a file; give the module's name, as in `import {module}`: --module {module}"


def test_a_dependency_that_is_not_there_is_named_with_the_line_that_wants_it(folder):
    file = folder.write("app.py", "import json\n\nimport nosuchlibrary.part\n")
    assert refusal(folder, "app") == f"module 'app' needs 'nosuchlibrary', which is not installed ({file}:3)"


def test_a_module_of_ones_own_that_is_not_there_is_a_dependency(folder):
    folder.write("pack/__init__.py", "")
    file = folder.write("pack/targets.py", "from . import parts\nimport pack.missing\n")
    folder.write("pack/parts.py", "")
    assert (
        refusal(folder, "pack.targets")
        == f"module 'pack.targets' needs 'pack.missing', which is not installed ({file}:2)"
    )


def test_a_module_that_raises_is_named_with_file_and_line(folder):
    folder.write("helper.py", "\n\ndef check():\n    raise KeyError('order')\n")
    folder.write("app.py", "import helper\nhelper.check()\n")
    said = refusal(folder, "app")
    assert said == f"module 'app' raised on import at {folder.path / 'helper.py'}:4: KeyError: 'order'"


def test_a_syntax_error_is_named_with_its_own_line(folder):
    file = folder.write("app.py", "x = 1\ny = (\n\ndef f(:\n")
    assert refusal(folder, "app").startswith(f"module 'app' raised on import at {file}:4: SyntaxError: ")


def test_a_module_that_ends_the_process_is_refused(folder):
    file = folder.write("app.py", "import sys\nsys.exit('bye')\n")
    assert refusal(folder, "app") == f"module 'app' raised on import at {file}:2: SystemExit: bye"


def test_advice_in_a_hand_made_error_is_not_lost(folder):
    file = folder.write("app.py", "raise ModuleNotFoundError('pip install thing[extra]')\n")
    said = refusal(folder, "app")
    assert said == f"module 'app' raised on import at {file}:1: ModuleNotFoundError: pip install thing[extra]"


def test_a_wrong_declaration_in_a_module_is_named_with_its_line(folder):
    file = folder.write("app.py", TARGET.format(id=" "))
    said = refusal(folder, "app")
    assert said.startswith(f"module 'app' raised on import at {file}:4: InputError: a target's id must be a non-empty")


@pytest.mark.parametrize("name", ["", ".relative"])
def test_what_is_no_module_name_is_refused(folder, name):
    assert f"module {name!r} raised on import at " in refusal(folder, name)


def test_the_module_that_registered_a_target_is_named_where_it_is_importable_from_a_folder(tmp_path, monkeypatch):
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "mine.py").write_text(
        "import rollout_local as r\n@r.optimize(id='of-app', baseline='b')\ndef run(task, candidate): return ''\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module("app.mine")
    try:
        assert modules_of("of-app", tmp_path) == ["app.mine"]
        assert modules_of("of-app", tmp_path / "app") == []
        assert modules_of("no-such-target", tmp_path) == []
    finally:
        clear_optimization_targets()
        for name in ("app.mine", "app"):
            sys.modules.pop(name, None)
