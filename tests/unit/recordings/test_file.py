"""The file: append only, whole lines, loadable by plain vcrpy, safe to damage."""

from __future__ import annotations

import json
import os
import resource
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import vcr
import yaml

from rollout_local.errors import Paused, RecordingError
from rollout_local.recordings import RecordMode, lines, open_recording, show
from rollout_local.recordings.exchange import Answer, Failure
from rollout_local.recordings.file import Tape, survey

AWKWARD = (
    "plain", "", " ", "\t", "\n", "a\r\nb", "é ü ß", "日本語", "😀", "\x00", "\x1f", "\x7f", "\x80", "\x85", "\x9f",
    "\xa0", "\u2028", "\u2029", "\ufeff", "\ufffe", "\uffff", "\ud7ff", "\ue000", "\U0010ffff", '"quoted"',
    "back\\slash",
    "- item", "key: value", "# comment", "{a: [b]}", "!!binary abc", "&anchor *alias", "%TAG", "---\n...", "null",
)  # fmt: skip


def load(path: Path) -> Any:
    return yaml.load(path.read_text("utf-8"), Loader=yaml.CSafeLoader)


def test_every_awkward_character_is_read_back_by_us_and_by_yaml(make, path):
    items = [make.item({"text": text}, text, scope=text) for text in AWKWARD]
    make.write(path, *items)
    assert show(path).interactions == items
    for item, row in zip(items, load(path)["interactions"], strict=True):
        assert row["scope"] == item.scope
        assert row["request"]["body"].encode() == item.body
        assert row["response"]["body"]["string"].encode() == item.answer.body


def test_bytes_that_are_not_text_are_kept_as_yaml_binary(make, path):
    item = make.item({"a": 1}, Answer(200, "OK", (("content-type", "image/png"),), b"\x89PNG\xff\x00"))
    make.write(path, item)
    assert b"!!binary" in path.read_bytes()
    assert show(path).interactions == [item]
    assert load(path)["interactions"][0]["response"]["body"]["string"] == b"\x89PNG\xff\x00"


def test_a_failure_is_read_back_whole(make, path):
    items = [
        make.item({"a": 1}, Answer(None, "timeout", (), b"", Failure("timeout", "httpx", "ReadTimeout", "slow"))),
        make.item({"a": 2}, Answer(200, "OK", (), b"part", Failure("connection", "httpx", "ReadError", "gone"))),
        make.item({"a": 3}, Answer(200, "OK", (), b"some", cut=True)),
    ]
    make.write(path, *items)
    assert show(path).interactions == items
    assert [row["response"]["status"]["code"] for row in load(path)["interactions"]] == [504, 200, 200]


def test_a_recording_is_private_and_closed_with_its_count(ask, path):
    with open_recording(path):
        ask({"a": 1})
        ask({"a": 2})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    last = path.read_text().splitlines()[-1]
    assert json.loads(last.removeprefix("closed: "))["count"] == 2


def test_a_file_with_wider_modes_is_narrowed_when_it_is_continued(ask, path):
    with open_recording(path):
        ask({"a": 1})
    path.chmod(0o644)
    with open_recording(path):
        ask({"a": 2})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_line_is_on_disk_before_the_caller_sees_the_answer(ask, path):
    seen = []
    with open_recording(path, sink=lambda _: seen.append(path.read_bytes().count(b"\n- "))):
        ask({"a": 1})
        assert path.read_bytes().count(b"\n- ") == 1
        ask({"a": 2})
        assert seen == [1, 2]


def test_an_empty_recording_is_loaded_by_yaml_and_continued(ask, path):
    with open_recording(path):
        pass
    assert load(path)["interactions"] == []
    with open_recording(path):
        ask({"a": 1})
    assert len(load(path)["interactions"]) == 1


def test_a_cut_at_any_byte_is_refused_in_replay_and_mended_in_recording(ask, provider, path):
    with open_recording(path):
        answers = [ask({"a": number}) for number in range(3)]
    whole = path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(whole) if byte == 10]
    cuts = sorted(
        {*range(ends[4] - 3, ends[4] + 6), *range(len(whole) - 3, len(whole)), ends[2] - 1, ends[2], 5, 12, 30}
    )
    for cut in cuts:
        path.write_bytes(whole[:cut])
        with pytest.raises(RecordingError, match=r"recording.yaml"), open_recording(path, RecordMode.NONE):
            pass
        kept = sum(cut >= end for end in ends[3:6])
        provider.hits.clear()
        with open_recording(path) as recording:
            again = [ask({"a": number}) for number in range(3)]
            assert recording.stats().replayed == kept
        assert again[:kept] == answers[:kept]
        assert provider.count == 3 - kept
        with open_recording(path, RecordMode.NONE, strict=True):
            assert [ask({"a": number}) for number in range(3)] == again


def test_a_line_that_is_cut_off_is_named(ask, path):
    with open_recording(path):
        ask({"a": 1})
        ask({"a": 2})
    path.write_bytes(path.read_bytes()[:-120])
    with pytest.raises(RecordingError, match=r"recording.yaml:5: this line is cut off"), open_recording(path, "none"):
        pass


def test_a_recording_cut_at_a_line_end_is_said_to_be_open(ask, path):
    with open_recording(path):
        ask({"a": 1})
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    with (
        pytest.raises(RecordingError, match=r"recording.yaml:4: .*without its `closed:` line"),
        open_recording(path, "none"),
    ):
        pass


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [*rows[:4], rows[4].replace(b'\\"a\\":2', b'\\"a\\":7'), *rows[5:]], ":5: .*changed"),
        (lambda rows: [*rows[:3], rows[4], rows[3], *rows[5:]], ":4: .*changed"),
        (lambda rows: [*rows[:4], *rows[5:]], ":5: .*changed"),
        (lambda rows: [*rows[:4], rows[4][:50] + b"\n", *rows[5:]], ":5: this line is damaged"),
        (lambda rows: [*rows[:4], b"- {}\n", *rows[5:]], ":5: this line is damaged"),
        (lambda rows: [*rows[:4], b"\0" * 40 + b"\n", *rows[5:]], ":5: this is not a line"),
        (lambda rows: [rows[0], rows[1].replace(b"litellm", b"litellx"), *rows[2:]], ":4: .*changed"),
        (lambda rows: [rows[0], b"rollout: {nonsense\n", *rows[2:]], ":2: .*manifest is damaged"),
        (lambda rows: [rows[0], b"rollout: {}\n", *rows[2:]], ":2: .*manifest is damaged"),
        (lambda rows: [rows[0], rows[1].replace(b'"format":1', b'"format":9'), *rows[2:]], ":2: format 9"),
        (lambda rows: [*rows[:5], *rows[6:]], ":6: .*ended with 3 interactions and now has 2"),
        (lambda rows: [*rows[:6], b"closed: {}\n"], ":7: .*last line is damaged"),
        (lambda rows: [*rows, rows[4]], ":8: something was added"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("mode", ["none", "new_episodes"])
def test_damage_is_refused_naming_the_line(ask, path, change, message, mode):
    with open_recording(path):
        for number in (1, 2, 3):
            ask({"a": number})
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))
    with pytest.raises(RecordingError, match=r"recording.yaml" + message), open_recording(path, mode):
        pass


def test_missing_empty_unreadable_and_foreign_files_are_refused_in_replay(tmp_path):
    (tmp_path / "empty.yaml").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "picture.yaml").write_bytes(b"\x89PNG\x00\xff")
    (tmp_path / "prose.yaml").write_text("Dear diary,\n")
    for name, message in {
        "missing.yaml": "no such recording",
        "empty.yaml": "is empty",
        "folder": "cannot be read",
        "picture.yaml": "not text",
        "prose.yaml": "no list of interactions",
    }.items():
        with pytest.raises(RecordingError, match=message), open_recording(tmp_path / name, "none"):
            pass


def test_a_replay_without_a_file_is_refused():
    with pytest.raises(RecordingError, match="needs a recording"), open_recording(None, "none"):
        pass


def test_a_folder_cannot_be_recorded_into(tmp_path):
    with pytest.raises(RecordingError, match="cannot be"), open_recording(tmp_path):
        pass


def test_plain_vcrpy_replays_our_file(ask, path, provider):
    with open_recording(path):
        first = ask({"q": "one – ünïcode \u2028"})
        second = ask({"q": "two"})
    hits = provider.count
    with vcr.use_cassette(str(path), record_mode="none", match_on=["method", "uri", "body"]) as cassette:
        assert ask({"q": "two"}) == second
        assert ask({"q": "one – ünïcode \u2028"}) == first
        assert cassette.all_played
    assert provider.count == hits


def test_we_replay_and_continue_what_plain_vcrpy_recorded(ask, path, provider):
    with vcr.use_cassette(str(path), record_mode="once"):
        first = ask({"q": 1})
    with open_recording(path, "none", strict=True):
        assert ask({"q": 1}) == first
    with open_recording(path):
        assert ask({"q": 1}) == first
        second = ask({"q": 2})
    assert provider.count == 2
    with open_recording(path, "none"):
        assert [ask({"q": 1}), ask({"q": 2})] == [first, second]


def test_a_second_process_cannot_record_into_the_same_file(ask, path):
    code = "import sys; from rollout_local.recordings import open_recording\nwith open_recording(sys.argv[1]): pass"
    with open_recording(path):
        ask({"a": 1})
        done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert "another process is recording" in done.stderr


def test_a_forked_child_does_not_write_its_parents_recording(make, path):
    code = """
import os, sys
from pathlib import Path
from rollout_local.errors import Paused
from rollout_local.recordings.file import Tape
line = Path(sys.argv[2]).read_bytes()
tape = Tape(Path(sys.argv[1]), {"engine": "x"})
if not os.fork():
    try:
        tape.append(line)
    except Paused:
        tape.close()
        os._exit(7)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 7
tape.append(line)
tape.close()
"""
    sample = path.with_name("line")
    sample.write_bytes(lines.dump(make.item({"a": 1})))
    uncovered = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    subprocess.run([sys.executable, "-c", code, path, sample], check=True, env=uncovered)
    assert len(survey(path).entries) == 1
    assert survey(path).closed


def test_a_full_disk_stops_the_run_and_leaves_whole_lines(make, path):
    resource_code = """
import resource, signal, sys
from pathlib import Path
from rollout_local.errors import Paused
from rollout_local.recordings import lines
from rollout_local.recordings.file import Tape
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
line = Path(sys.argv[2]).read_bytes()
tape = Tape(Path(sys.argv[1]), {"engine": "x"})
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    for _ in range(100):
        tape.append(line)
except Paused as stop:
    print(stop, stop.reason)
"""
    assert resource.RLIMIT_FSIZE is not None
    sample = path.with_name("line")
    sample.write_bytes(lines.dump(make.item({"a": 1})))
    done = subprocess.run(
        [sys.executable, "-c", resource_code, path, sample], capture_output=True, text=True, check=True
    )
    assert "cannot be written" in done.stdout
    assert done.stdout.endswith("error\n")
    found = survey(path)
    assert found.entries
    assert found.torn is None


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda path: path.unlink(), "was removed, renamed or replaced"),
        (lambda path: path.rename(path.with_suffix(".old")), "was removed, renamed or replaced"),
        (lambda path: path.write_bytes(b""), r"was changed: it has 0 bytes, and had \d+"),
        (lambda path: shutil.rmtree(path.parent), "was removed, renamed or replaced"),
    ],
    ids=["removed", "renamed", "emptied", "the folder is gone"],
)
def test_a_recording_that_goes_under_a_running_run_stops_it(make, path, change, what):
    path = path.parent / "log" / "recording.yaml"
    tape = Tape(path, {"engine": "x"})
    tape.append(lines.dump(make.item({"a": 1})))
    change(path)
    before = path.read_bytes() if path.exists() else None
    with pytest.raises(Paused, match=what):
        tape.append(lines.dump(make.item({"a": 2})))
    tape.close()
    assert (path.read_bytes() if path.exists() else None) == before


def test_an_answer_that_comes_in_after_the_end_is_added_before_it(make, path):
    tape = Tape(path, {"engine": "x"})
    tape.append(lines.dump(make.item({"a": 1})))
    tape.close()
    tape.append(lines.dump(make.item({"a": 2})))
    found = survey(path)
    assert found.closed
    assert len(found.entries) == 2
    tape.close()
    assert survey(path).closed


def test_mode_all_records_anew_and_keeps_the_old_file_until_it_ended(ask, path, provider):
    with open_recording(path):
        ask({"a": 1})
    before = path.read_bytes()
    with open_recording(path, "all"):
        assert path.with_name("recording.yaml.previous").read_bytes() == before
        ask({"a": 1})
        ask({"a": 1})
    assert not path.with_name("recording.yaml.previous").exists()
    assert provider.count == 3
    assert len(show(path).interactions) == 2


def test_mode_all_keeps_the_old_file_where_the_new_one_broke_off(ask, path):
    with open_recording(path):
        ask({"a": 1})
    with pytest.raises(ZeroDivisionError), open_recording(path, "all"):
        raise ZeroDivisionError
    assert len(show(path.with_name("recording.yaml.previous")).interactions) == 1


def test_mode_all_without_an_old_file_just_records(ask, path):
    with open_recording(path, "all"):
        ask({"a": 1})
    assert len(show(path).interactions) == 1


def test_mode_once_records_a_new_file_and_only_replays_an_old_one(ask, path, provider):
    with open_recording(path, "once"):
        first = ask({"a": 1})
    with open_recording(path, "once"):
        assert ask({"a": 1}) == first
    assert provider.count == 1


def test_a_recording_of_another_engine_is_refused(ask, path):
    with open_recording(path, engine="lm15"):
        ask({"a": 1})
    for mode in ("none", "new_episodes"):
        with pytest.raises(RecordingError, match="'lm15', and this run uses 'litellm'"), open_recording(path, mode):
            pass


def test_a_line_that_changes_under_an_open_recording_is_refused(ask, path):
    with open_recording(path):
        ask({"a": 1})
    with open_recording(path, "none"):
        data = path.read_bytes()
        path.write_bytes(data.replace(b"- {", b"- ["))
        with pytest.raises(RecordingError, match="changed while"):
            ask({"a": 1})
        path.write_bytes(data)
