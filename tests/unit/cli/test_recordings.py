from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from click.testing import CliRunner, Result

from rollout_local.cli.recordings import recordings
from rollout_local.errors import InputError, RecordingError, RolloutError
from rollout_local.recordings import open_recording, scope, show
from rollout_local.simulator import Simulator

KEY = "sk-proj-AbCdEf0123456789AbCdEf"
ANSWER = {"model": "gpt-x", "choices": [{"message": {"content": "Hi"}}], "usage": {"prompt_tokens": 7}}


def interaction(question: Any, status: int = 200, answer: Any = ANSWER) -> dict[str, Any]:
    """An interaction as plain vcrpy writes it."""
    return {
        "request": {
            "method": "POST", "uri": "https://api.example.com/v1/chat", "body": question,
            "headers": {"content-type": ["application/json"]},
        },
        "response": {
            "status": {"code": status, "message": "x"}, "headers": {},
            "body": {"string": answer if isinstance(answer, str) else json.dumps(answer)},
        },
    }  # fmt: skip


HELLO = json.dumps({"model": "gpt-4", "messages": [{"role": "user", "content": "Hello"}]})


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "140")
    held = [interaction(HELLO, 429, {}), interaction(HELLO), interaction("plain words", answer="Hi, plain.")]
    (tmp_path / "plain.json").write_text(json.dumps({"version": 1, "interactions": held}))
    return tmp_path


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(recordings, list(map(str, arguments)), standalone_mode=False)


def run(*arguments: object, code: int = 0) -> str:
    result = invoke(*arguments)
    assert result.exception is None, result.exception
    assert (result.return_value or 0) == code
    return result.stdout


def refusal(*arguments: object) -> str:
    result = invoke(*arguments)
    assert isinstance(result.exception, RolloutError), result.output
    assert result.exception.exit_code == 2
    assert result.stdout == ""
    return str(result.exception)


def document(*arguments: object, code: int = 0) -> Any:
    return json.loads(run(*arguments, "--json", code=code))


@pytest.fixture
def recorded(folder: Path, simulate: Callable[..., Simulator]) -> Path:
    """A recording of a run's kind: two scopes, real answers."""
    path = folder / ".rollout" / "run_1" / "recording.yaml"
    path.parent.mkdir(parents=True)
    body = {"model": "sim-student", "messages": [{"role": "user", "content": "A refund?"}]}
    with open_recording(path), httpx.Client(trust_env=False) as client:
        for name in ("trial/a", "trial/b"):
            with scope(name):
                client.post(f"{simulate().url}/chat/completions", json=body).raise_for_status()
    return path


def imported(name: str = "recordings/x.yaml") -> Path:
    run("import", "plain.json", "--out", name)
    return Path(name)


def test_list_finds_recordings_of_runs_and_of_tests(recorded: Path) -> None:
    imported()
    found = document("list")
    assert [one["path"] for one in found] == ["recordings/x.yaml", ".rollout/run_1/recording.yaml"]
    assert [(one["interactions"], one["scopes"], one["closed"], one["ours"]) for one in found] == [
        (3, 1, True, True),
        (2, 2, True, True),
    ]
    header, *rows = run("list").splitlines()
    assert header.split() == ["recording", "engine", "interactions", "scopes", "state", "answers", "bytes"]
    assert rows[0].split()[:7] == ["recordings/x.yaml", "litellm", "3", "1", "whole", "200", "×2,"]
    assert rows[1].split()[:2] == [".rollout/run_1/recording.yaml", "litellm"]


def test_list_says_what_state_each_file_is_in_and_what_is_wrong_with_damaged_ones(folder: Path) -> None:
    data = imported().read_bytes()
    (folder / "recordings" / "broken.yaml").write_bytes(data.replace(b"Hello", b"Hallo"))
    (folder / "recordings" / "open.yaml").write_bytes(data[: data.index(b"closed:")])
    (folder / "recordings" / "plain.json").write_text((folder / "plain.json").read_text())
    (folder / "recordings" / "notes.yaml").write_text("a: 1\n")
    result = invoke("list", "recordings")
    rows = [line.split() for line in result.stdout.splitlines()[1:]]
    assert [(row[0].removeprefix("recordings/"), row[4]) for row in rows] == [
        ("broken.yaml", "damaged"),
        ("open.yaml", "open"),
        ("plain.json", "foreign"),
        ("x.yaml", "whole"),
    ]
    errors = {one["path"]: one["error"] for one in document("list", "recordings")}
    assert errors["recordings/broken.yaml"].startswith("recordings/broken.yaml:4: this line, or the one before it,")
    assert errors["recordings/x.yaml"] is None
    assert result.stderr.startswith("recordings/broken.yaml:4: ")


def test_list_of_nothing_is_an_empty_list(folder: Path) -> None:
    assert document("list") == []


def test_list_refuses_a_folder_that_is_not_there() -> None:
    assert refusal("list", "nowhere") == "nowhere: there is no such folder; name one that holds recordings"


def test_show_tells_who_asked_for_what_and_what_a_replay_passes_over(folder: Path) -> None:
    told = document("show", imported())
    assert (told["interactions"], told["engine"], told["manifest"]["imported_from"]) == (3, "litellm", "plain.json")
    keys = ("line", "scope", "model", "status", "tokens_in", "tokens_out", "replays")
    assert [[row[key] for key in keys] for row in told["rows"]] == [
        [4, "", "gpt-4", 429, None, None, False],
        [5, "", "gpt-4", 200, 7, None, True],
        [6, "", None, 200, None, None, True],
    ]
    assert {(row["method"], row["url"], row["try"]) for row in told["rows"]} == {
        ("POST", "https://api.example.com/v1/chat", 1)
    }


def test_show_is_a_table_for_people(recorded: Path) -> None:
    first, second, _, header, one, two = run("show", recorded.relative_to(Path.cwd())).splitlines()
    assert first == ".rollout/run_1/recording.yaml · whole · engine litellm · 2 interactions · 2 scopes"
    assert second.startswith("asked of 127.0.0.1:")
    columns = ["line", "scope", "request", "model", "status", "tokens", "in", "out", "seconds", "replays"]
    assert header.split() == columns
    assert one.split()[:6] == ["4", "trial/a", "POST", "/v1/chat/completions", "sim-student", "200"]
    assert two.split()[0:2] == ["5", "trial/b"]
    assert two.split()[-1] == "yes"


def test_show_numbers_the_interactions_of_another_tools_cassette_from_one(folder: Path) -> None:
    assert [row["line"] for row in document("show", "plain.json")["rows"]] == [1, 2, 3]
    assert run("show", "plain.json").startswith(
        "plain.json · foreign · 3 interactions · 1 scopes\nasked of api.example"
    )


def test_show_of_a_recording_without_interactions_says_so(folder: Path) -> None:
    with open_recording(folder / "none.yaml"):
        pass
    assert "0 interactions · 0 scopes\nasked of nobody\n" in run("show", "none.yaml")
    assert document("show", "none.yaml")["rows"] == []


def test_show_makes_control_characters_visible(folder: Path) -> None:
    held = [interaction('{"model": "\\u001b[31mred"}')]
    (folder / "x.json").write_text(json.dumps({"interactions": held}))
    assert "\x1b" not in run("show", "x.json")


@pytest.mark.parametrize("command", ["show", "verify", "export"])
def test_a_file_that_is_not_there_is_wrong_input(command: str) -> None:
    assert refusal(command, "missing.yaml").startswith("missing.yaml: there is no such recording")


def test_a_sound_recording_verifies(folder: Path) -> None:
    path = imported()
    sentence = "recordings/x.yaml: 3 interactions, in order, unchanged, without a secret\n"
    assert run("verify", path) == sentence
    assert document("verify", path) == {
        "path": "recordings/x.yaml", "interactions": 3, "closed": True, "ours": True, "problems": [], "leaks": [],
        "ok": True,
    }  # fmt: skip
    assert "readable (another tool's cassette), without a secret" in run("verify", "plain.json")


def test_verify_names_the_line_that_was_changed_and_exits_with_1(folder: Path) -> None:
    path = imported()
    path.write_bytes(path.read_bytes().replace(b"plain words", b"other words"))
    assert run("verify", path, code=1).startswith("recordings/x.yaml:6: this line, or the one before it,")
    found = document("verify", path, code=1)
    assert (found["ok"], len(found["problems"])) == (False, 1)


def test_verify_names_what_leaks_but_not_the_secret(folder: Path) -> None:
    (folder / "leaky.json").write_text(json.dumps({"interactions": [interaction(KEY)]}))
    told = run("verify", "leaky.json", code=1)
    assert told.startswith("leaky.json:1: OpenAI, Anthropic or OpenRouter key (sk…, at byte ")
    assert KEY[3:] not in told + run("verify", "leaky.json", "--json", code=1)


def test_scan_finds_nothing_in_what_is_clean(recorded: Path) -> None:
    assert run("scan", ".rollout", "plain.json") == "No secrets found.\n"
    assert document("scan", ".rollout") == []


def test_scan_names_kind_and_place_of_every_secret_and_no_secret(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "9f-Lr77q")
    (folder / "run.log").write_text(f"fine\nsent {KEY}\n")
    (folder / "app.db").write_bytes(b"\0\0postgres://me:hunter2x@db/x\0 9f-Lr77q \0")
    with tarfile.open(folder / "b.tar.gz", "w:gz") as tar:
        tar.add(folder / "run.log", "logs/run.log")
    result = invoke("scan", "run.log", "app.db", "b.tar.gz")
    assert result.return_value == 1
    lines = result.stdout.splitlines()
    assert lines[0] == "run.log:2: OpenAI, Anthropic or OpenRouter key (sk…, at byte 10)"
    assert [line.partition(" (")[0] for line in lines[1:]] == [
        "app.db:1: password in a URL",
        "app.db:1: value of a secret environment variable",
        "b.tar.gz!logs/run.log:2: OpenAI, Anthropic or OpenRouter key",
    ]
    assert result.stderr == "4 found: withdraw them where they were issued, then take them out.\n"
    everything = result.output + run("scan", ".", "--json", code=1)
    assert [secret for secret in (KEY[:6], "hunt", "9f-L") if secret in everything] == []


def test_scan_is_quiet_when_told_and_still_exits_with_1(folder: Path) -> None:
    (folder / "run.log").write_text(KEY)
    result = invoke("scan", "run.log", "-q")
    assert (result.return_value, result.stderr) == (1, "")


def test_scan_refuses_a_file_that_is_not_there() -> None:
    assert refusal("scan", "missing") == "missing: there is no such file to scan."


def test_import_makes_a_recording_and_redacts_it(folder: Path) -> None:
    (folder / "leaky.json").write_text(json.dumps({"interactions": [interaction(KEY)]}))
    assert (
        run("import", "leaky.json", "--out", "out/x.yaml")
        == "Wrote out/x.yaml: 1 interactions, 10 bytes asked, 94 bytes answered\n"
    )
    assert KEY not in Path("out/x.yaml").read_text()
    assert document("import", "plain.json", "--out", "y.yaml") == {
        "path": "y.yaml", "interactions": 3, "request_bytes": 151, "response_bytes": 106,
    }  # fmt: skip
    assert show(Path("y.yaml")).summary.closed


def test_import_overwrites_nothing(folder: Path) -> None:
    path = imported()
    assert refusal("import", "plain.json", "--out", path) == f"{path}: is there already; name another file."
    assert isinstance(invoke("import", path, "--out", "z.yaml").exception, RecordingError)


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_export_writes_a_plain_cassette_to_stdout_or_a_file(folder: Path, form: str) -> None:
    path = imported()
    text = run("export", path, "--format", form)
    data = json.loads(text) if form == "json" else yaml.safe_load(text)
    assert len(data["interactions"]) == 3
    assert run("export", path, "--format", form, "--out", f"out.{form}") == f"Wrote out.{form}: 3 interactions\n"
    assert Path(f"out.{form}").read_text() == text


def test_export_as_json_tells_where_it_went(folder: Path) -> None:
    told = document("export", imported(), "--out", "o.yaml")
    assert told == {"path": "o.yaml", "format": "yaml", "interactions": 3}
    result = CliRunner().invoke(recordings, ["export", "recordings/x.yaml", "--json"])
    assert result.exit_code == 2
    assert "--json tells what was written: name a file with --out" in result.stderr


def test_export_overwrites_nothing(folder: Path) -> None:
    path = imported()
    before = path.read_bytes()
    assert refusal("export", path, "--out", path) == f"{path}: is there already; name another file"
    assert path.read_bytes() == before


@pytest.mark.parametrize("command", ["import", "export"])
def test_a_place_that_cannot_be_written_is_wrong_input(folder: Path, command: str) -> None:
    source = "plain.json" if command == "import" else imported()
    (folder / "file").touch()
    result = invoke(command, source, "--out", "file/x.yaml")
    assert isinstance(result.exception, InputError)
    assert str(result.exception).startswith("file/x.yaml: cannot be written (")
