"""list, show, verify, scan, export."""

from __future__ import annotations

import gzip
import io
import json
import stat
import tarfile
import zipfile

import pytest
import vcr
import yaml

from rollout_local.errors import RecordingError
from rollout_local.recordings import export_cassette, lines, list_recordings, open_recording, scan, scope, show, verify
from rollout_local.recordings.exchange import Answer

KEY = "sk-proj-AbCdEf0123456789AbCdEf"


def test_show_tells_manifest_scopes_and_outcomes(ask, path, provider):
    provider.script["/v1/chat"] = [(429, {}, b"{}"), (200, {}, b"{}")]
    with open_recording(path, engine="lm15", versions={"dspy": "3.4.1"}):
        for name in ("one", "one", "two"):
            with scope(name):
                ask({"a": 1})
    shown = show(path)
    assert shown.manifest["versions"] == {"dspy": "3.4.1"}
    summary = shown.summary
    assert (summary.interactions, summary.scopes, summary.engine, summary.closed) == (3, 2, "lm15", True)
    assert summary.outcomes == {"200": 2, "429": 1}
    assert summary.size == path.stat().st_size


def test_show_refuses_an_empty_file(path):
    path.touch()
    with pytest.raises(RecordingError, match="empty"):
        show(path)


def test_list_tells_why_a_recording_cannot_be_used(make, tmp_path):
    make.write(tmp_path / "good.yaml", make.item({"a": 1}))
    make.write(tmp_path / "edited.yaml", make.item({"a": 1}))
    bad = tmp_path / "edited.yaml"
    bad.write_bytes(bad.read_bytes().replace(b"ok", b"ko"))
    edited, good = list_recordings(tmp_path)
    assert "edited.yaml:4" in (edited.error or "")
    assert good.error is None


def test_a_sound_recording_verifies(ask, path):
    with open_recording(path, ignore_fields=["id"]):
        ask({"a": 1, "id": 7})
    report = verify(path)
    assert (report.ok, report.interactions, report.closed, report.ours) == (True, 1, True, True)


def test_verify_reports_what_is_wrong_without_raising(make, path, tmp_path):
    item = make.item({"a": 1})
    leaky = make.item({"a": 2}, Answer(200, "OK", (("set-cookie", "x"),), f'"{KEY}"'.encode()))
    wrong = lines.Interaction(**{**{n: getattr(item, n) for n in lines.Interaction.__slots__}, "key": "0" * 32})
    make.write(path, item, wrong, leaky)
    report = verify(path)
    assert not report.ok
    assert any(":5: the key is not the one" in problem for problem in report.problems)
    assert any(":6: headers that are never recorded: set-cookie" in problem for problem in report.problems)
    assert [leak.kind for leak in report.leaks] == ["OpenAI, Anthropic or OpenRouter key"]
    assert verify(tmp_path / "missing.yaml").problems
    path.write_bytes(path.read_bytes()[:-200])
    assert "did not end in order" in verify(path).problems[0]
    path.write_bytes(path.read_bytes().replace(b"POST", b"PUT"))
    assert "changed" in verify(path).problems[0]


def test_verify_takes_keys_of_another_version_as_they_are(make, path):
    make.write(path, make.item({"a": 1}), key=0)
    assert verify(path).ok


def test_a_recording_of_another_key_version_is_keyed_anew(make, path, ask):
    item = make.item({"a": 1}, "told")
    old = lines.Interaction(**{**{n: getattr(item, n) for n in lines.Interaction.__slots__}, "key": "0" * 32})
    make.write(path, old, key=0)
    with open_recording(path, "none", strict=True):
        assert ask({"a": 1}) == "told"


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_export_makes_a_plain_cassette_that_plain_vcrpy_replays(ask, path, tmp_path, provider, form):
    with open_recording(path):
        with scope("s"):
            ask({"a": "void"})
        with scope("s", restart=True):
            first = ask({"a": "ünï"})
    out = tmp_path / f"plain.{form}"
    assert export_cassette(path, out, form) == 1
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    data = json.loads(out.read_text()) if form == "json" else yaml.safe_load(out.read_text())
    assert set(data["interactions"][0]) == {"request", "response"}
    with vcr.use_cassette(str(out), serializer=form, record_mode="none", match_on=["method", "uri", "body"]):
        assert ask({"a": "ünï"}) == first


def test_export_refuses_unknown_formats_and_bytes_in_json(make, path, tmp_path):
    make.write(path, make.item({"a": 1}, Answer(200, "OK", (), b"\xff\x00")))
    with pytest.raises(RecordingError, match="'toml' is not a format"):
        export_cassette(path, tmp_path / "x", "toml")
    with pytest.raises(RecordingError, match="export it as yaml"):
        export_cassette(path, tmp_path / "x", "json")
    assert export_cassette(path, tmp_path / "x", "yaml") == 1


def test_scan_looks_into_archives_and_names_the_member(tmp_path):
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        info = tarfile.TarInfo("inside.txt")
        info.size = len(KEY)
        tar.addfile(info, io.BytesIO(KEY.encode()))
        tar.addfile(tarfile.TarInfo("empty"))
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as pack:
        pack.writestr("deep/inside.txt", KEY)
    (tmp_path / "c.log.gz").write_bytes(gzip.compress(KEY.encode()))
    assert [(leak.path.name, leak.member) for leak in scan([tmp_path])] == [
        ("a.tar.gz", "inside.txt"),
        ("b.zip", "deep/inside.txt"),
        ("c.log.gz", "c.log"),
    ]


def test_scan_finds_the_values_of_secret_variables_in_any_form(tmp_path):
    (tmp_path / "x.db").write_bytes(b"\0binary\0my%2Fsecret%2Fvalue\0my/secret/value")
    leaks = scan([tmp_path / "x.db"], {"SOME_TOKEN": "my/secret/value"})
    assert [leak.offset for leak in leaks] == [8, 28]


def test_scan_finds_a_key_across_a_chunk_once_with_its_line(tmp_path):
    filler = b"x" * 99 + b"\n"
    size = 4 << 20
    data = (filler * (size // 100 + 200))[: size - 10] + b" " + KEY.encode() + b" " + filler * 300
    (tmp_path / "big").write_bytes(data)
    (leak,) = scan([tmp_path / "big"])
    assert leak.offset == size - 9
    assert leak.line == data[: leak.offset].count(b"\n") + 1


def test_scan_refuses_what_is_not_there_or_broken(tmp_path):
    with pytest.raises(RecordingError, match="no such file"):
        scan([tmp_path / "missing"])
    (tmp_path / "broken.gz").write_bytes(b"\x1f\x8b\x08broken")
    with pytest.raises(RecordingError, match="cannot be scanned"):
        scan([tmp_path / "broken.gz"])


def test_scan_does_not_take_redacted_text_for_a_secret(tmp_path):
    (tmp_path / "x").write_text("http://user:[redacted]@host Bearer [redacted] sk-[redacted]")
    assert scan([tmp_path]) == []
