"""`rollout.recording`: for any code of the user's."""

from __future__ import annotations

import os
import stat

import pytest

from rollout_local.errors import Paused, RecordingError, RecordingMiss
from rollout_local.models import DUMMY_KEY, KEY_VARIABLES
from rollout_local.recordings import show
from rollout_local.recordings.public import recording


def test_what_was_recorded_is_replayed_without_a_request(ask, path, provider):
    with recording(path) as opened:
        first = ask({"a": 1})
        assert opened.stats().recorded == 1
    with recording(str(path), mode="none", strict=True) as opened:
        assert ask({"a": 1}) == first
        assert opened.stats().replayed == 1
    assert provider.count == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_new_episodes_is_the_default_and_goes_on(ask, path, provider):
    for body in ({"a": 1}, {"a": 2}):
        with recording(path):
            ask({"a": 1})
            ask(body)
    assert provider.count == 3
    assert len(show(path).interactions) == 3


@pytest.mark.parametrize("mode", ["new_episodes", "once", "all"])
def test_a_recording_may_stand_in_a_folder_that_is_not_there_yet(ask, tmp_path, mode):
    with recording(tmp_path / "deep" / "er" / "x.yaml", mode):
        ask({"a": 1})
    assert len(show(tmp_path / "deep" / "er" / "x.yaml").interactions) == 1


def test_a_replay_makes_no_folder(tmp_path):
    with (
        pytest.raises(RecordingError, match="there is no such recording"),
        recording(tmp_path / "missing" / "x.yaml", "none"),
    ):
        raise AssertionError("not reached")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_mode_is_refused_naming_those_that_are_known(path):
    with (
        pytest.raises(RecordingError, match=r"^'replay' is not a mode of recordings: new_episodes, none, once, all\.$"),
        recording(path, mode="replay"),
    ):
        raise AssertionError("not reached")


def test_what_was_not_recorded_passes_every_except_exception(ask, path):
    with recording(path):
        ask({"a": 1})

    def careless():
        try:
            return ask({"a": 2})
        except Exception:  # noqa: BLE001
            return None

    with pytest.raises(RecordingMiss, match="Not recorded"), recording(path, "none"):
        careless()


def test_clients_that_insist_on_a_key_find_one_in_a_replay_only(ask, path, monkeypatch):
    for name in KEY_VARIABLES.values():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GROQ_API_KEY", "a-key-of-mine-1")
    monkeypatch.delenv("DO_NOT_TRACK", raising=False)
    before = dict(os.environ)
    with recording(path):
        ask({"a": 1})
        assert "OPENAI_API_KEY" not in os.environ
        assert os.environ["DO_NOT_TRACK"] == "1"
    assert dict(os.environ) == before
    with recording(path, "none"):
        assert os.environ["OPENAI_API_KEY"] == os.environ["GEMINI_API_KEY"] == DUMMY_KEY
        assert os.environ["GROQ_API_KEY"] == "a-key-of-mine-1"
        ask({"a": 1})
    assert dict(os.environ) == before


def test_what_the_block_sets_itself_in_the_environment_stays(path, ask, monkeypatch):
    monkeypatch.delenv("XAI_API_KEY", raising=False)
    monkeypatch.delenv("GROQ_API_KEY", raising=False)
    with recording(path):
        ask({"a": 1})
    with recording(path, "none"):
        ask({"a": 1})
        monkeypatch.setenv("XAI_API_KEY", "mine")
        monkeypatch.delenv("GROQ_API_KEY")
    assert os.environ["XAI_API_KEY"] == "mine"
    assert "GROQ_API_KEY" not in os.environ


def test_the_environment_is_put_back_when_the_block_fails(path, monkeypatch):
    monkeypatch.delenv("DO_NOT_TRACK", raising=False)
    with pytest.raises(ZeroDivisionError), recording(path):
        1 / 0  # noqa: B018
    assert "DO_NOT_TRACK" not in os.environ


@pytest.mark.parametrize("ignored", [["user"], "user"])
def test_ignored_fields_do_not_tell_two_requests_apart(ask, path, provider, ignored):
    with recording(path, ignore_fields=ignored):
        first = ask({"a": 1, "user": "x", "use": 1})
    with recording(path, "none", ignore_fields=ignored, strict=True):
        assert ask({"a": 1, "user": "y", "use": 1}) == first
    with pytest.raises(RecordingMiss), recording(path, "none", ignore_fields=ignored):
        ask({"a": 1, "user": "y", "use": 2})


def test_a_strict_replay_that_leaves_something_unplayed_is_an_error(ask, path):
    with recording(path):
        ask({"a": 1})
    with pytest.raises(RecordingError, match="1 recorded interactions were not asked for"):  # noqa: SIM117
        with recording(path, "none", strict=True):
            pass


@pytest.mark.parametrize(
    "how", [{"offline": True}, {"allow_hosts": ["models.internal"]}, {"allow_hosts": "x.internal"}]
)
def test_offline_keeps_requests_to_loopback_and_the_allowed_hosts(ask, path, provider, how):
    with recording(path, **how):
        ask({"a": 1})
        with pytest.raises(Paused, match=r"--allow-host example\.org allows it"):
            ask.client.post("http://example.org/v1/chat", json={"a": 1})
    assert provider.count == 1
