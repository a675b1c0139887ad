"""The pytest plugin, in pytest runs of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

import rollout_local
from rollout_local import pytest_plugin
from rollout_local.recordings import show
from rollout_local.simulator import Simulator
from tests.children import Nursery, nursery
from tests.conftest import Project

__all__ = ["nursery"]
pytest_plugins = ["pytester"]

ROOT = Path(rollout_local.__file__).parent.parent
OPTIONS = ("-p", "no:cacheprovider", "-W", "error")
HEAVY = ["pydantic", "dspy", "litellm", "openai", "vcr", "httpx", "orjson", "yaml", "click"]
ASK = """
import httpx
import pytest

def ask(word, **more):
    body = {"model": "sim-student", "messages": [{"role": "user", "content": word}], **more}
    with httpx.Client(trust_env=False) as client:
        return client.post("URL/chat/completions", json=body).json()["choices"][0]["message"]["content"]

"""
# Where the package is installed, its entry point would load the plugin a second time.
VARIABLES = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""} | {
    name: value for name, value in os.environ.items() if name.startswith("COVERAGE_PROCESS")
}


class Suite:
    """Somebody's tests, in a folder and a process of their own."""

    def __init__(self, folder: Path, simulator: Simulator, nursery: Nursery) -> None:
        self.folder = folder
        self.simulator = simulator
        self.key: str | None = None
        self._nursery = nursery

    def write(self, tests: str) -> None:
        text = ASK.replace("URL", self.simulator.url) + textwrap.dedent(tests)
        (self.folder / "test_shop.py").write_text(text)

    def say(self, *arguments: str) -> pytest.RunResult:
        child = self._nursery.start(
            Project(self.folder, self.simulator.url), *OPTIONS, *arguments, program="pytest",
            OPENAI_API_KEY=self.key, **VARIABLES,
        )  # fmt: skip
        done = child.wait()
        return pytest.RunResult(done.code, done.stdout.splitlines(), done.stderr.splitlines(), done.seconds)

    def run(self, *arguments: str, **outcomes: int) -> str:
        result = self.say(*arguments)
        result.assert_outcomes(**outcomes)
        return str(result.stdout)

    @property
    def calls(self) -> int:
        total: int = self.simulator.calls()["total"]
        return total

    @property
    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*.yaml*"))


@pytest.fixture
def suite(tmp_path: Path, simulate: Callable[..., Simulator], nursery: Nursery) -> Suite:
    return Suite(tmp_path, simulate(), nursery)


ONE = """
    def test_it_answers(rollout_recording):
        assert ask("A refund?")
"""


def test_a_test_is_recorded_when_asked_and_replayed_without_a_request_by_default(suite: Suite) -> None:
    suite.write(ONE)
    suite.run("--rollout-record=new_episodes", passed=1)
    assert suite.calls == 1
    assert suite.files == ["recordings/test_shop/test_it_answers.yaml"]
    suite.simulator.stop()
    suite.run(passed=1)


def test_a_missing_recording_fails_with_a_sentence_that_names_the_flag(suite: Suite) -> None:
    suite.write(ONE)
    said = suite.run(errors=1)
    assert "there is no such recording; make it with --rollout-record=new_episodes." in said
    assert "Traceback" not in said
    assert (suite.calls, suite.files) == (0, [])


def test_the_fixture_is_the_open_recording(suite: Suite) -> None:
    suite.write("""
        def test_it_counts(rollout_recording):
            ask("A refund?")
            assert rollout_recording.stats().recorded == 1
            assert rollout_recording.path.name == "test_it_counts.yaml"
    """)
    suite.run("--rollout-record=once", passed=1)


def test_the_marker_names_a_file_beside_the_test_and_needs_no_argument(suite: Suite) -> None:
    suite.write("""
        import itertools
        numbers = itertools.count()

        @pytest.mark.rollout_recording("kept/refund.yaml", ignore_fields=["user"])
        def test_refund():
            assert ask("A refund?", user=str(id(numbers)))
    """)
    suite.run("--rollout-record=all", passed=1)
    assert suite.files == ["kept/refund.yaml"]
    text = (suite.folder / "test_shop.py").read_text()
    (suite.folder / "test_shop.py").write_text(text.replace("str(id(numbers))", "'another'"))
    suite.run(passed=1)
    assert suite.calls == 1


def test_a_marker_on_a_module_and_the_fixture_by_name_are_one_recording(suite: Suite) -> None:
    suite.write("""
        pytestmark = pytest.mark.rollout_recording(ignore_fields=["user"])

        class TestShop:
            def test_refund(self, rollout_recording):
                assert ask("A refund?")

        def test_parcel():
            assert ask("Where is my parcel?")
    """)
    suite.run("--rollout-record=new_episodes", passed=2)
    assert suite.files == [
        "recordings/test_shop/TestShop.test_refund.yaml",
        "recordings/test_shop/test_parcel.yaml",
    ]
    suite.run(passed=2)


def test_a_marker_that_says_something_else_is_refused(suite: Suite) -> None:
    suite.write("""
        @pytest.mark.rollout_recording(ignore=["user"])
        def test_refund():
            assert ask("A refund?")
    """)
    said = suite.run(errors=1)
    assert "@pytest.mark.rollout_recording takes a file and ignore_fields=[…], nothing else." in said


def test_parameters_have_recordings_of_their_own_whatever_is_in_them(suite: Suite) -> None:
    suite.write("""
        @pytest.mark.parametrize("word", ["a", "a/b", "a:b", "long" * 100])
        def test_it(word, rollout_recording):
            assert ask(word)
    """)
    suite.run("--rollout-record=new_episodes", passed=4)
    names = [Path(name).stem for name in suite.files]
    assert len(names) == 4
    assert "test_it[a]" in names
    assert sum(name.startswith("test_it[a-b]-") for name in names) == 2
    suite.run(passed=4)
    assert suite.calls == 4


def test_leftover_interactions_fail_a_replay_that_would_pass(suite: Suite) -> None:
    suite.write("""
        def test_it(rollout_recording):
            for number in range(25):
                ask(f"Question {number}")
    """)
    suite.run("--rollout-record=new_episodes", passed=1)
    text = (suite.folder / "test_shop.py").read_text()
    (suite.folder / "test_shop.py").write_text(text.replace("range(25)", "range(1)"))
    said = suite.run(passed=1, errors=1)
    assert "the test passed, but did not ask for 24 of the recorded interactions:" in said
    assert f"  line 5: POST {suite.simulator.url}/chat/completions" in said
    assert "  … and 4 more" in said
    assert "record it anew with --rollout-record=all." in said
    (suite.folder / "test_shop.py").write_text(text.replace("range(25)", "range(23)"))
    said = suite.run(passed=1, errors=1)
    assert "did not ask for 2 of" in said
    assert "… and" not in said
    suite.run("--rollout-record=once", passed=1)


def test_what_a_fixture_asks_for_at_the_end_is_played_too(suite: Suite) -> None:
    suite.write("""
        @pytest.fixture
        def account():
            yield ask("Open")
            ask("Close")

        @pytest.mark.rollout_recording
        def test_it(account):
            assert account
    """)
    suite.run("--rollout-record=new_episodes", passed=1)
    assert suite.calls == 2
    suite.run(passed=1)


def test_a_test_that_fails_is_not_blamed_for_leftovers_too(suite: Suite) -> None:
    suite.write(ONE)
    suite.run("--rollout-record=new_episodes", passed=1)
    suite.write("""
        def test_it_answers(rollout_recording):
            assert 1 == 2
    """)
    assert "did not ask" not in suite.run(failed=1)


def test_a_miss_fails_the_test_and_says_what_to_do_under_pytest(suite: Suite) -> None:
    suite.write(ONE)
    suite.run("--rollout-record=new_episodes", passed=1)
    suite.write("""
        def test_it_answers(rollout_recording):
            try:
                ask("A parcel?")
            except Exception:
                pass
    """)
    said = suite.run(failed=1)
    assert "Nearest recorded request" in said
    assert "Record what is missing with --rollout-record=new_episodes" in said
    assert suite.calls == 1


def test_a_miss_that_the_test_swallowed_fails_it_at_its_end(suite: Suite) -> None:
    suite.write(ONE)
    suite.run("--rollout-record=new_episodes", passed=1)
    suite.write("""
        def test_it_answers(rollout_recording):
            ask("A refund?")
            with pytest.raises(BaseException):
                ask("A parcel?")
    """)
    said = suite.run(passed=1, errors=1)
    assert "1 requests were not in the recording, and the test passed without an answer to them" in said


def test_new_episodes_goes_on_and_all_records_anew(suite: Suite) -> None:
    suite.write(ONE)
    suite.run("--rollout-record=new_episodes", passed=1)
    suite.write(ONE + '        assert ask("A parcel?")\n')
    suite.run("--rollout-record=new_episodes", passed=1)
    assert suite.calls == 2
    suite.run("--rollout-record=all", passed=1)
    assert suite.calls == 4
    assert suite.files == ["recordings/test_shop/test_it_answers.yaml"]
    assert len(show(suite.folder / suite.files[0]).interactions) == 2


def test_all_keeps_the_old_recording_where_the_test_fails(suite: Suite) -> None:
    suite.write(ONE)
    suite.run("--rollout-record=all", passed=1)
    suite.write(ONE + "        assert 1 == 2\n")
    suite.run("--rollout-record=all", failed=1)
    file = "recordings/test_shop/test_it_answers.yaml"
    assert suite.files == [file, f"{file}.previous"]


def test_a_damaged_recording_fails_with_a_sentence_in_pytests_words(suite: Suite) -> None:
    suite.write(ONE)
    suite.run("--rollout-record=new_episodes", passed=1)
    file = suite.folder / suite.files[0]
    file.write_bytes(file.read_bytes().replace(b"refund", b"parcel"))
    said = suite.run(errors=1)
    assert f"{file}:4: this line, or the one before it, was changed after it was recorded." in said
    assert "--rollout-record=all" in said
    assert "--record-mode" not in said


def test_clients_that_insist_on_a_key_replay_without_one(suite: Suite) -> None:
    suite.key = "sk-test-0123456789abcdef"
    suite.write(f"""
        def test_it(rollout_recording):
            from openai import OpenAI

            words = [{{"role": "user", "content": "A refund?"}}]
            with OpenAI(base_url="{suite.simulator.url}") as client:
                said = client.chat.completions.create(model="sim-student", messages=words)
            assert said.choices[0].message.content
    """)
    suite.run("--rollout-record=new_episodes", passed=1)
    suite.key = None
    suite.run(passed=1)
    assert suite.calls == 1


def test_tests_without_a_recording_are_left_alone(suite: Suite) -> None:
    suite.write("""
        def test_it():
            assert ask("A refund?")

        @pytest.mark.xfail
        def test_that():
            assert 1 == 2
    """)
    suite.run("--strict-markers", passed=1, xfailed=1)
    assert (suite.calls, suite.files) == (1, [])


def test_the_marker_and_the_flag_are_explained(suite: Suite) -> None:
    assert "@pytest.mark.rollout_recording(file, ignore_fields=()): replay this recording" in str(
        suite.say("--markers").stdout
    )
    assert "--rollout-record={none,new_episodes,once,all}" in str(suite.say("--help").stdout)


def test_loading_the_plugin_imports_nothing_heavy_and_lets_tests_import_the_hosted_sdks_name(tmp_path: Path) -> None:
    (tmp_path / "test_names.py").write_text(
        textwrap.dedent(f"""
            import sys

            def test_nothing_heavy_is_loaded():
                assert [name for name in {json.dumps(HEAVY)} if name in sys.modules] == []

            def test_the_hosted_sdks_name_leads_here():
                import mv37.rollout as rollout
                import rollout_local

                assert rollout.Task is rollout_local.Task

            def test_a_recording(rollout_recording):
                pass
        """)
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *OPTIONS, "-p", pytest_plugin.__name__, "--rollout-record=once", "-q"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), **VARIABLES},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
