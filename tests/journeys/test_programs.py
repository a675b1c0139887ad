"""A DSPy program from the command line: brought as it is, optimized, resumed, replayed, taken away again."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dspy
import pytest

import rollout_local as rollout
from rollout_local.planning.from_rows import insert_from_rows
from rollout_local.runs import worker
from rollout_local.runs.progress import Silent
from rollout_local.simulator import Settings, Simulator, load_script
from rollout_local.store.schema import open_store
from tests.conftest import ROOT, Project, fresh_targets

Simulate = Callable[..., Simulator]

APP = '''\
import dspy
import rollout_local as rollout

WORDS = ("alpha", "bravo", "charlie")


class Writer(dspy.Module):
    """Writes, then polishes."""

    def __init__(self):
        super().__init__()
        self.write = dspy.Predict(dspy.Signature("question -> draft", "Draft a reply."))
        self.editor = dspy.ChainOfThought(dspy.Signature("draft -> reply", "Polish it."))

    def forward(self, question):
        draft = self.write(question=question).draft
        return dspy.Prediction(draft=draft, reply=self.editor(draft=draft).reply)


def metric(gold, pred, trace=None, pred_name=None, pred_trace=None):
    wanted = {"write": ("code-" + gold.word, pred.draft), "editor.predict": ("sign-" + gold.word, pred.reply)}
    missing = {name: word for name, (word, text) in wanted.items() if word not in text}
    told = [word for name, word in missing.items() if pred_name in (None, name)]
    feedback = chr(10).join(f'expected the output to contain "{word}"' for word in told) or "fine"
    return METRIC


def examples():
    def listed(split, n):
        return [
            dspy.Example(question=f"What of {i} in {split}?", word=WORDS[i % 3]).with_inputs("question")
            for i in range(n)
        ]

    return {"train": listed("train", 6), "val": listed("val", 4), "holdout": listed("test", 5)}


DECORATOR
def build():
    return Writer()
'''
RICH = "dspy.Prediction(score=1 - len(missing) / 2, feedback=feedback)"
DECORATED = '@rollout.optimize_program(id="writer", metric=metric, examples=examples, description="Answers.")'


class Programs(Project):
    """A folder with a program in it, and no dataset or verifier."""

    @property
    def flags(self) -> list[str]:
        return [
            "--module", "app", "--allow-constant-score",
            "--reflection-model", "openai/sim-reflection", "--reflection-api-base", self.url,
            "--task-model", "openai/sim-student", "--task-api-base", self.url, "--max-metric-calls", "40",
        ]  # fmt: skip

    def rows(self, sql: str) -> list[dict[str, Any]]:
        with open_store(self.folder / "rollout.db", create=False) as store:
            return store.rows(sql)


Make = Callable[..., Programs]


@pytest.fixture
def make_program(tmp_path: Path) -> Make:
    """`make_program(url, metric=…, decorator=…, app=…)`."""

    def make(url: str, *, metric: str = RICH, decorator: str = DECORATED, app: str = APP) -> Programs:
        (tmp_path / "app.py").write_text(app.replace("METRIC", metric).replace("DECORATOR", decorator))
        return Programs(tmp_path, url)

    return make


@pytest.fixture(scope="module")
def one_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Programs, Any]]:
    """The program as it is, optimized, and what the command printed."""
    with Simulator(load_script(None), Settings()) as simulator:
        project = Programs(tmp_path_factory.mktemp("optimized"), simulator.url)
        (project.folder / "app.py").write_text(APP.replace("METRIC", RICH).replace("DECORATOR", DECORATED))
        yield project, project.document("optimize", "run", *project.flags)


@pytest.fixture
def optimized(one_run: tuple[Programs, Any], tmp_path: Path) -> tuple[Programs, Any]:
    """The same in a folder of the test's own."""
    project, done = one_run
    return Programs(shutil.copytree(project.folder, tmp_path, dirs_exist_ok=True), project.url), done


def test_a_program_is_optimized_text_by_text_and_replays_to_the_same_digest(
    make_program: Make, simulate: Simulate
) -> None:
    simulator = simulate()
    project = make_program(simulator.url)
    done = project.document("optimize", "run", *project.flags)
    assert done["status"] == "completed"
    best = json.loads(project.rollout("optimize", "export", "latest", "--format", "json").stdout)["components"]
    assert "code-" in best["write"]
    assert "sign-" in best["editor.predict"]
    assert "sign-" not in best["write"], "feedback for one predictor does not reach the other"
    calls = simulator.calls()["total"]
    again = project.document("optimize", "run", done["run_id"])
    assert again["digest"] == done["digest"]
    assert project.document("optimize", "reproduce", done["run_id"])["identical"]
    assert simulator.calls()["total"] == calls
    assert "whole" in project.rollout("db", "check").stdout


def test_the_trace_of_a_trial_has_a_span_for_every_call_of_a_predictor(optimized: tuple[Programs, Any]) -> None:
    project, _ = optimized
    spans = project.rows(
        "SELECT s.type, s.name, s.output FROM spans s JOIN traces t ON t.id = s.trace_id"
        " WHERE t.trial_id = (SELECT min(id) FROM trials)"
    )
    assert [span["name"] for span in spans if span["type"] == "predictor"] == ["write", "editor.predict"]
    assert [span["type"] for span in spans].count("llm") == 2
    assert "draft" in json.loads(next(span["output"] for span in spans if span["name"] == "write"))


def test_each_line_of_each_text_is_traced_to_its_proposal(optimized: tuple[Programs, Any]) -> None:
    project, _ = optimized
    blame = project.rollout("optimize", "blame", "latest").stdout
    assert "\nwrite\n" in blame
    assert "\neditor.predict\n" in blame
    assert 'contain "code-' in blame


@pytest.mark.long  # test_program.py does the same with the shipped experiment
def test_an_exported_program_loads_without_this_package_and_answers_alike(optimized: tuple[Programs, Any]) -> None:
    project, _ = optimized
    (project.folder / "best.json").write_text(
        project.rollout("optimize", "export", "latest", "--format", "dspy").stdout
    )
    plain = (project.folder / "app.py").read_text().replace("import rollout_local as rollout\n", "")
    (project.folder / "plain.py").write_text(plain.replace(DECORATED, ""))
    question = project.rows("SELECT input_json FROM tasks WHERE name = (SELECT task_name FROM trials WHERE id ="
                            " (SELECT max(id) FROM trials))")[0]["input_json"]  # fmt: skip
    script = (
        "import dspy, json, plain, sys\n"
        "program = plain.build()\nprogram.load('best.json')\n"
        f"dspy.configure(lm=dspy.LM('openai/sim-student', api_base={project.url!r}, api_key='x', cache=False,"
        " engine='litellm'))\n"
        f"print(json.dumps(program(**json.loads({question!r})).toDict()))\n"
        "assert 'rollout_local' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=project.folder, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    output = project.rows("SELECT output FROM trials WHERE id = (SELECT max(id) FROM trials)")[0]["output"]
    assert json.loads(done.stdout) == json.loads(output)


@pytest.mark.parametrize(
    "decorator",
    [
        pytest.param("", id="an undecorated function"),
        pytest.param("@property_free", id="a program in a variable", marks=pytest.mark.long),
    ],
)
def test_a_program_need_not_be_decorated(make_program: Make, simulate: Simulate, decorator: str) -> None:
    app = APP.replace("DECORATOR\ndef build", "def build")
    if decorator:
        app += "\nready = Writer()\n"
    project = make_program(simulate().url, app=app)
    (project.folder / "rows.jsonl").write_text(
        "".join(json.dumps({"q": f"What of {n}?", "word": ["alpha", "bravo"][n % 2]}) + "\n" for n in range(15))
    )
    project.rollout("datasets", "pull", "jsonl:rows.jsonl", "--instruction", "q", "--input", "question=q",
                    "--metadata", "word=word", "--out", "data")  # fmt: skip
    name = "ready" if decorator else "build"
    done = project.document("optimize", "run", *project.flags, "--target", name, "--dataset", "data")
    assert done["status"] == "completed"
    assert done["report"]["best"]["number"] > 0


def test_a_tracker_that_cannot_be_imported_is_refused_before_anything_is_paid_for(
    make_program: Make, simulate: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    simulator = simulate()
    project = make_program(simulator.url)
    refused = project.rollout("optimize", "run", *project.flags, "--arg", "use_mlflow=true")
    assert refused.returncode == 2
    assert "--arg use_mlflow needs the package mlflow, which cannot be imported" in refused.stderr
    assert simulator.calls()["total"] == 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's, of SQLAlchemy
def test_mlflow_is_told_of_the_search_and_changes_nothing(
    make_program: Make, simulate: Simulate, tmp_path: Path
) -> None:
    mlflow, _ = pytest.importorskip("mlflow"), pytest.importorskip("pandas")
    uri = f"sqlite:///{tmp_path}/told.db"
    project = make_program(simulate().url)
    calm = project.document("optimize", "run", *project.flags)
    told = ["use_mlflow=true", f'gepa_kwargs.mlflow_tracking_uri="{uri}"']
    arguments = [word for one in told for word in ("--arg", one)]
    done = project.document("optimize", "run", *project.flags, "--log-dir", "told", *arguments)
    assert done["digest"] == calm["digest"]
    (run,) = mlflow.MlflowClient(tracking_uri=uri).search_runs(["0"])
    assert run.data.metrics["best_score_on_valset"] == done["report"]["best"]["val"]["mean"]


@pytest.mark.usefixtures("hasty")
def test_rate_limits_change_nothing_though_a_trial_makes_several_calls(make_program: Make, simulate: Simulate) -> None:
    project = make_program(simulate().url)
    calm = project.document("optimize", "run", *project.flags, "--max-metric-calls", "8")
    stormy = simulate(faults="429:0.4:retry-after=0.01")
    project.url = stormy.url
    done = project.document("optimize", "run", *project.flags, "--max-metric-calls", "8", "--log-dir", "stormy")
    assert done["digest"] == calm["digest"]
    assert stormy.calls()["total"] > 50
    assert project.rows("SELECT 1 FROM trials WHERE outcome != 'scored' AND superseded_by IS NULL") == []


def test_a_program_without_a_metric_is_graded_by_a_verifier(make_program: Make, simulate: Simulate) -> None:
    bare = '@rollout.optimize_program(id="writer", examples=examples)'
    project = make_program(simulate().url, decorator=bare)
    check = {"type": "json_path_equals", "params": {"path": "draft", "value": "x"}}
    (project.folder / "v.json").write_text(json.dumps({"id": "v", "checks": [check]}))
    refused = project.rollout("optimize", "run", *project.flags)
    assert (refused.returncode, "--verifier is missing" in refused.stderr) == (2, True)
    done = project.document("optimize", "run", *project.flags, "--verifier", "v.json")
    assert done["status"] == "completed"
    rated = project.rows("SELECT DISTINCT score, feedback FROM trials WHERE score IS NOT NULL")
    assert all("draft" in row["feedback"] for row in rated if row["score"] < 1)


def test_a_metric_and_a_verifier_are_not_both_taken(make_program: Make, simulate: Simulate) -> None:
    project = make_program(simulate().url)
    refused = project.rollout("optimize", "run", *project.flags, "--verifier", "v.json")
    assert refused.returncode == 2
    assert "has a metric of its own; leave out --verifier" in refused.stderr


@pytest.mark.parametrize(
    ("metric", "told"),
    [
        ("1 / 0", "the program's metric raised ZeroDivisionError"),
        ("dspy.Prediction(score=75, feedback='')", "gave a score of 75; scores are in [0, 1]"),
        ("dspy.Prediction(score=float('nan'), feedback='')", "gave a score of nan"),
        ("'good'", "gave 'good' for a score"),
        ("None", "gave None for a score"),
        ("{'feedback': 'x'}", "returned no score, only feedback"),
    ],
)
def test_a_metric_that_fails_is_never_a_score(make_program: Make, simulate: Simulate, metric: str, told: str) -> None:
    project = make_program(simulate().url, metric=metric)
    done = project.document("optimize", "run", *project.flags, code=3)
    assert done["status"] == "paused"
    assert told in done["message"]
    assert project.rows("SELECT * FROM trials WHERE score IS NOT NULL") == []
    assert {row["outcome"] for row in project.rows("SELECT outcome FROM trials")} == {"verifier_error"}


def test_a_bare_number_is_warned_of_and_a_dict_is_taken(make_program: Make, simulate: Simulate) -> None:
    project = make_program(simulate().url, metric="1 - len(missing) / 2")
    project.document("optimize", "run", *project.flags)
    assert "GEPA has no words to reflect on" in project.rollout("optimize", "logs", "latest").stdout
    feedback = {row["feedback"] for row in project.rows("SELECT feedback FROM trials WHERE score = 0")}
    assert feedback == {"This trajectory got a score of 0.0."}
    assert "gives a bare number" not in project.rollout("optimize", "advise", "--module", "app").stdout


def test_a_dict_with_score_and_feedback_is_what_the_prediction_would_have_been(
    optimized: tuple[Programs, Any], make_program: Make
) -> None:
    rich = optimized[1]
    project = make_program(optimized[0].url, metric="{'score': 1 - len(missing) / 2, 'feedback': feedback}")
    plain = project.document("optimize", "run", *project.flags)
    tables = [project.document("optimize", "digest", done["run_id"])["tables"] for done in (rich, plain)]
    assert tables[0]["candidates"] == tables[1]["candidates"]
    assert tables[0]["trials"] == tables[1]["trials"]


def test_a_reply_that_a_predictor_cannot_read_scores_0_and_says_so(make_program: Make, simulate: Simulate) -> None:
    app = APP.replace('"question -> draft"', '"question -> draft, count: int"')
    simulator = simulate()
    project = make_program(simulator.url, app=app)
    done = project.document("optimize", "run", *project.flags, "--arg", "add_format_failure_as_feedback=true")
    assert done["status"] == "completed"
    trial = project.rows("SELECT score, feedback, error FROM trials LIMIT 1")[0]
    assert trial["score"] == 0
    assert "could not be read by predictor write" in trial["feedback"]
    assert done["report"]["target_failures"]["trials"] > 20
    assert "could not be read" in project.rollout("optimize", "report", "latest").stdout
    shown = project.rows("SELECT feedback_json FROM proposals")
    assert any("Your output failed to parse" in row["feedback_json"] for row in shown)
    calls = simulator.calls()["total"]
    assert project.document("optimize", "run", done["run_id"])["digest"] == done["digest"]
    assert simulator.calls()["total"] == calls


def test_an_answer_that_json_cannot_keep_is_had_again_from_the_recording(
    make_program: Make, simulate: Simulate
) -> None:
    app = APP.replace("return dspy.Prediction(draft=draft,", "return dspy.Prediction(kept=object(), draft=draft,")
    simulator = simulate()
    project = make_program(simulator.url, app=app)
    done = project.document("optimize", "run", *project.flags)
    assert project.rows("SELECT * FROM program_answers") == []
    calls = simulator.calls()["total"]
    again = project.document("optimize", "run", done["run_id"])
    assert again["digest"] == done["digest"]
    assert simulator.calls()["total"] == calls


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("return 5", "returned a int; return a dspy.Module"),
        ("raise ValueError('no model')", "building the program failed at"),
        ("return dspy.Module()", "has no predictor"),
        ("return dspy.Predict(dspy.Signature('a -> b', ' '))", "has empty instructions"),
    ],
)
def test_a_function_that_gives_no_program_is_refused(
    make_program: Make, simulate: Simulate, body: str, told: str
) -> None:
    project = make_program(simulate().url, app=APP.replace("    return Writer()", f"    {body}"))
    refused = project.rollout("optimize", "create", *project.flags)
    assert refused.returncode == 2
    assert told in refused.stderr


def test_outputs_and_programs_can_be_had_afterwards(optimized: tuple[Programs, Any]) -> None:
    project, done = optimized
    task = project.rows("SELECT task_name FROM trials WHERE split = 'val' LIMIT 1")[0]["task_name"]
    script = (
        "import json, rollout_local as rollout\n"
        f"best = rollout.best_of({done['run_id']!r}, {task!r}, k=2)\n"
        "together = rollout.ensemble('latest', reduce_fn=lambda predictions: len(predictions))\n"
        "print(json.dumps([[one.score for one in best], list(best[0].output), len(together.programs)]))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], cwd=project.folder, capture_output=True, text=True,
        check=False, timeout=120, env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    scores, fields, programs = json.loads(ran.stdout)
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 2
    assert fields == ["draft", "reply"]
    frontier = {row["candidate_id"] for row in project.rows(
        "SELECT candidate_id FROM candidate_tasks k WHERE split = 'val' AND best ="
        " (SELECT max(best) FROM candidate_tasks m WHERE m.task_name = k.task_name AND m.split = 'val')"
    )}  # fmt: skip
    assert programs == len(frontier)


CANONICAL = """\
import dspy
import rollout_local as rollout
import app

dspy.configure(lm=dspy.LM("openai/sim-student", api_base=URL, api_key="x"))
result = rollout.run(
    "writer",
    allow_constant_score=True,
    gepa=dict(
        max_metric_calls=30,
        reflection_lm=dspy.LM("openai/sim-reflection", api_base=URL, temperature=1.0, max_tokens=32000),
        track_stats=True,
        track_best_outputs=True,
        log_dir="logs/gepa",
        use_merge=True,
        seed=0,
    ),
)
print(result.status, result.report["best"]["number"])
"""


def test_the_canonical_call_of_the_practice_runs_as_it_is_written(make_program: Make, simulate: Simulate) -> None:
    simulator = simulate()
    project = make_program(simulator.url)
    (project.folder / "canonical.py").write_text(CANONICAL.replace("URL", repr(simulator.url)))

    def python(**variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "ignore", "canonical.py"], cwd=project.folder, capture_output=True, text=True,
            check=False, timeout=120, env={"PYTHONPATH": str(ROOT), "PATH": "", **variables},
        )  # fmt: skip

    done = python(PYTHONHASHSEED="3")
    assert done.returncode == 0, done.stderr
    digest = project.rollout("optimize", "digest", "latest").stdout
    assert done.stdout.split()[0] == "completed"
    assert int(done.stdout.split()[1]) > 0
    assert (project.folder / "logs" / "gepa" / "recording.yaml").exists()
    assert not list(project.folder.rglob("*.bin")), "no pickle is kept"
    assert project.rollout("optimize", "reproduce", "latest").returncode == 0, "the model and the module are stored"
    assert project.rollout("optimize", "export", "latest", "--format", "dspy").returncode == 0
    again = project.process("optimize", "run", "latest", "--fresh")
    assert again.returncode == 0, again.stderr
    assert project.rollout("optimize", "digest", "latest").stdout == digest, "the command makes the same search"


def test_a_metric_that_scores_a_predictor_otherwise_is_told_of_unless_that_is_silenced(
    make_program: Make, simulate: Simulate
) -> None:
    own = "dspy.Prediction(score=0.1 if pred_name else 1 - len(missing) / 2, feedback=feedback)"
    project = make_program(simulate().url, metric=own)
    flags = [*project.flags[:-1], "8"]
    said = "the metric gave a predictor another score than the program"
    assert said in project.rollout("optimize", "run", *flags).stderr
    silenced = project.rollout("optimize", "run", *flags, "--arg", "warn_on_score_mismatch=false")
    assert silenced.returncode == 0
    assert said not in silenced.stderr


def python(project: Project, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", script], cwd=project.folder, capture_output=True, text=True, check=False,
        timeout=120, env={"PYTHONPATH": str(ROOT), "PATH": "", **variables},
    )  # fmt: skip


RUN = (
    "rollout.run('writer', reflection_model='openai/sim-reflection', reflection_api_base=URL, max_metric_calls=8,"
    " arguments={'use_merge': False}, allow_constant_score=True)"
)
CONFIGURE = "dspy.configure(lm=dspy.LM('openai/sim-student', api_base=URL, api_key='x'))"


def test_a_run_of_a_script_with_its_program_is_taken_further_by_the_command(
    make_program: Make, simulate: Simulate
) -> None:
    url = repr(simulate().url)
    lines = f"\n\nif __name__ == '__main__':\n    {CONFIGURE}\n    print({RUN}.status)\n".replace("URL", url)
    project = make_program("", app=APP + lines)
    done = python(project, "app.py")
    assert done.stdout == "completed\n", done.stderr
    for command in (["export", "latest", "--format", "dspy"], ["reproduce", "latest"], ["dry-run", "latest"]):
        assert project.rollout("optimize", *command).returncode == 0
    assert "It was served from its journal: 0 calls." in project.rollout("optimize", "run", "latest").stdout


def test_a_script_that_runs_while_it_is_imported_is_refused(make_program: Make, simulate: Simulate) -> None:
    url = repr(simulate().url)
    project = make_program("", app=APP + f"\n{CONFIGURE}\n{RUN}\n".replace("URL", url))
    assert python(project, "app.py").returncode == 0
    assert "give --module" in project.rollout("optimize", "export", "latest", "--format", "dspy").stderr
    refused = project.rollout("optimize", "export", "latest", "--format", "dspy", "--module", "app")
    assert refused.returncode == 2
    assert "rollout.run is called while 'app' is imported; put it under `if __name__ ==" in refused.stderr


def test_a_module_that_lies_elsewhere_is_named_by_its_flag(
    make_program: Make, simulate: Simulate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = simulate().url
    project = make_program(url)
    (tmp_path / "lib").mkdir()
    (project.folder / "app.py").rename(tmp_path / "lib" / "app.py")
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    monkeypatch.chdir(project.folder)
    with fresh_targets(tmp_path / "lib"):
        importlib.import_module("app")
        watch = Heard()
        lm = dspy.LM("openai/sim-student", api_base=url, api_key="x", seed=1)
        with dspy.context(lm=lm):
            rollout.run("writer", reflection_model="openai/sim-reflection", reflection_api_base=url,
                        max_metric_calls=2, arguments={"use_merge": False}, watch=watch,
                        allow_constant_score=True)  # fmt: skip
    assert any("the model of dspy.configure(lm=…) has settings, or a key, that a run does not keep" in said
               for said in watch.warnings)  # fmt: skip
    assert any("buys no proposal" in said for said in watch.warnings)
    for command in (["export", "latest", "--format", "dspy"], ["reproduce", "latest"]):
        assert "no module is named" in project.rollout("optimize", *command).stderr
        assert "no module is named" not in project.rollout("optimize", *command, "--module", "app").stderr
    assert project.rollout("optimize", "export", "latest", "--format", "dspy", "--module", "app").returncode == 0


class Heard(Silent):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def note(self, level: str, message: str) -> None:
        if level == "warning":
            self.warnings.append(message)


def test_a_proposer_of_the_users_is_remembered_like_the_reflection_model(
    make_program: Make, simulate: Simulate
) -> None:
    app = APP + (
        "\n\ndef propose(candidate, reflective_dataset, components_to_update):\n"
        "    with open('asked', 'a') as log:\n        log.write('x')\n"
        "    return {name: candidate[name] + ' Mention code-alpha.' for name in components_to_update}\n"
    )
    project = make_program(simulate().url, app=app)
    flags = [*project.flags, "--gepa", "instruction_proposer=app:propose", "--max-metric-calls", "20"]
    done = project.document("optimize", "run", *flags)
    asked = (project.folder / "asked").read_text()
    proposed = project.rows("SELECT text FROM candidates WHERE number > 0")
    assert proposed
    assert all("Mention code-alpha." in row["text"] for row in proposed)
    assert project.document("optimize", "run", done["run_id"])["digest"] == done["digest"]
    assert (project.folder / "asked").read_text() == asked


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("use_wandb=true", "refused while offline"),
        ("component_selector=app:nothing", "app:nothing cannot be used"),
        ("cache_evaluation=true", "there is no argument cache_evaluation"),
        ("gepa_kwargs.cache_evaluation=true", "takes train scores for val scores"),
    ],
)
def test_an_argument_that_may_not_be_given_is_refused_before_anything_is_written(
    make_program: Make, simulate: Simulate, argument: str, told: str
) -> None:
    project = make_program(simulate().url)
    refused = project.rollout("optimize", "create", *project.flags, "--offline", "--arg", argument)
    assert (refused.returncode, told in refused.stderr) == (2, True), refused.stderr
    assert not (project.folder / "rollout.db").exists()


def test_the_engines_and_the_advice_are_said(make_program: Make, simulate: Simulate) -> None:
    project = make_program(simulate().url)
    said = project.rollout("optimize", "engines").stdout
    assert "reflection_minibatch_size" in said
    document = project.document("optimize", "engines")
    assert {"predictors": 1, "val": 20, "light": 440, "medium": 770, "heavy": 1155} in document["auto"]
    advice = project.document("optimize", "advise", "--module", "app")
    assert (advice[0]["optimizer"], advice[0]["verdict"]) == ("gepa", "fits")


def test_a_program_that_the_file_knows_becomes_a_new_job_without_a_verifier(
    make_program: Make, simulate: Simulate
) -> None:
    project = make_program(simulate().url)
    project.document("optimize", "create", *project.flags)
    fields = {
        "target_row_id": 1, "dataset_id": 1, "reflection_model": "openai/sim-reflection", "splits": "last",
        "reflection_api_base": project.url, "task_model": "openai/sim-student", "task_api_base": project.url,
        "max_metric_calls": 20, "allow_constant_score": True,
    }  # fmt: skip
    with open_store(project.folder / "rollout.db", create=False) as store:
        worker.submit(store, insert_from_rows(store, fields)["id"])
    assert [job["status"] for job in project.document("worker", "--once")] == ["completed"]


@pytest.mark.parametrize("name", [pytest.param("forward", marks=pytest.mark.long), "aforward"])
def test_an_async_program_is_waited_for(optimized: tuple[Programs, Any], make_program: Make, name: str) -> None:
    app = APP.replace("    def forward(self, question):", f"    async def {name}(self, question):")
    app = app.replace("self.write(question", "(await self.write.acall(question").replace(").draft\n", ")).draft\n", 1)
    project = make_program(optimized[0].url, app=app)
    done = project.document("optimize", "run", *project.flags)
    tables = [project.document("optimize", "digest", one["run_id"])["tables"] for one in (optimized[1], done)]
    assert tables[0]["trials"] == tables[1]["trials"]


def test_a_selector_that_names_nothing_ends_the_search_with_a_sentence(make_program: Make, simulate: Simulate) -> None:
    project = make_program(simulate().url, app=APP + "\n\ndef select(*given):\n    return ['nope']\n")
    failed = project.rollout("optimize", "run", *project.flags, "--arg", "component_selector=app:select")
    assert failed.returncode == 2
    assert "the component selector gave ['nope']; name some of write, editor.predict" in failed.stderr


def test_examples_that_raise_are_placed(make_program: Make, simulate: Simulate) -> None:
    project = make_program(simulate().url, app=APP.replace("def examples():", "def examples():\n    1 / 0"))
    refused = project.rollout("optimize", "create", *project.flags)
    assert (refused.returncode, "'writer': making its examples failed: Zero" in refused.stderr) == (2, True)


def test_a_change_that_was_accepted_stays_accepted(make_program: Make, simulate: Simulate) -> None:
    simulator = simulate()
    project = make_program(simulator.url)
    run_id = project.document("optimize", "create", *project.flags)["run_id"]
    app = project.folder / "app.py"
    app.write_text(app.read_text().replace("Polish it.", "Polish it well."))
    assert project.rollout("optimize", "run", run_id, "--accept-changed", "nonsense").returncode == 2
    assert project.rollout("optimize", "run", run_id).returncode == 2
    done = project.document("optimize", "run", run_id, "--accept-changed", "target")
    assert project.document("optimize", "run", run_id)["digest"] == done["digest"]
