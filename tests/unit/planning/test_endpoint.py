"""A target behind a URL, before and between runs: found, known again, asked again, recorded once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rollout_local.domain.run import RunConfig
from rollout_local.domain.target import Candidate, TargetKind
from rollout_local.errors import InputError, Paused
from rollout_local.planning import endpoint as endpoints
from rollout_local.recordings import Recording, RecordMode, open_recording, show
from rollout_local.targets.function import FunctionTarget
from rollout_local.targets.http import HttpTarget
from tests.endpoint import Endpoint


@pytest.fixture
def config(endpoint: Endpoint) -> RunConfig:
    return RunConfig(target_url=endpoint.url)


@pytest.fixture
def target(config: RunConfig, tmp_path: Path) -> HttpTarget:
    return endpoints.find(config, tmp_path)


@contextmanager
def recorded(path: Path, target: HttpTarget, mode: RecordMode = RecordMode.NEW_EPISODES) -> Iterator[Recording]:
    with open_recording(path, mode, strict=True) as recording:
        endpoints.record_description(target)
        yield recording


def test_an_unreachable_endpoint_has_not_changed(config: RunConfig, target: HttpTarget, endpoint: Endpoint) -> None:
    endpoint.replies["describe"] = (503, b"starting")
    again = endpoints.as_now(target, config, or_as_before=True)
    assert (again.source, again.baseline) == (target.source, target.baseline)
    with pytest.raises(InputError, match=r"cannot be asked \(HTTP 503: starting\); start the target's server"):
        endpoints.as_now(target, config)


def test_an_endpoint_that_refuses_or_has_changed_is_not_as_before(
    config: RunConfig, target: HttpTarget, endpoint: Endpoint
) -> None:
    endpoint.describe(baseline="Answer nobody.")
    assert endpoints.as_now(target, config, or_as_before=True).source != target.source
    endpoint.replies["describe"] = (401, b"")
    with pytest.raises(InputError, match="give its token with --target-bearer-env"):
        endpoints.as_now(target, config, or_as_before=True)


def test_nobody_is_asked_in_a_replay_nor_of_another_target(
    config: RunConfig, target: HttpTarget, endpoint: Endpoint
) -> None:
    asked = len(endpoint.asked)
    replay = config.model_copy(update={"record_mode": "none"})
    assert endpoints.as_now(target, replay) is target
    assert len(endpoint.asked) == asked


def test_a_stored_target_is_known_again_at_another_host_but_not_at_another_path(
    config: RunConfig, target: HttpTarget, endpoint: Endpoint
) -> None:
    moved = config.model_copy(update={"target_url": "https://agents.test/rollout"})
    again = endpoints.again(moved, target.source, endpoint.url)
    assert (again.source, again.endpoint.url) == (target.source, "https://agents.test/rollout")
    for url, path in (("https://agents.test/", "/rollout"), (f"{endpoint.url}?v=2", "/rollout")):
        with pytest.raises(InputError, match=f"serve the target at {path}, or create another run"):
            endpoints.again(config.model_copy(update={"target_url": url}), target.source, endpoint.url)
    with pytest.raises(InputError, match="the target of this run is none behind a URL"):
        endpoints.again(config, target.source, None)


def test_the_description_is_in_the_recording_once_however_often_a_run_goes_on(
    target: HttpTarget, endpoint: Endpoint, tmp_path: Path
) -> None:
    path, asked = tmp_path / "r.yaml", len(endpoint.asked)
    for _ in range(3):
        with recorded(path, target):
            pass
    assert [item.scope for item in show(path).interactions] == [endpoints.SCOPE]
    assert len(endpoint.asked) == asked + 1


def test_a_failed_description_is_asked_for_again(target: HttpTarget, endpoint: Endpoint, tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    endpoint.replies["describe"] = (503, b"starting")
    with pytest.raises(Paused, match=r"did not describe its target \(HTTP 503: starting\)"), recorded(path, target):
        pass
    endpoint.describe()
    with recorded(path, target):
        pass
    with recorded(path, target, RecordMode.NONE):
        pass


def test_a_change_that_was_accepted_is_what_a_replay_finds(
    config: RunConfig, target: HttpTarget, endpoint: Endpoint, tmp_path: Path
) -> None:
    path = tmp_path / "r.yaml"
    with recorded(path, target):
        pass
    endpoint.describe(description="v2")
    changed = endpoints.as_now(target, config)
    assert isinstance(changed, HttpTarget)
    with recorded(path, changed):
        pass
    with recorded(path, changed, RecordMode.NONE):
        pass
    with pytest.raises(Paused, match="says of itself what it did not before"), recorded(path, target, RecordMode.NONE):
        pass


@pytest.mark.parametrize("mode", ["none", "once"])
def test_in_a_replay_the_recording_describes_the_target(
    target: HttpTarget, endpoint: Endpoint, tmp_path: Path, mode: str
) -> None:
    with recorded(tmp_path / "log" / "recording.yaml", target):
        pass
    endpoint.stop()
    for place in ({"recording": "log/recording.yaml"}, {"log_dir": "log"}):
        fields: dict[str, Any] = {"target_url": "https://agents.test/rollout", "record_mode": mode, **place}
        replay = RunConfig(**fields, target_bearer_env="NOT_THERE", offline=True)
        assert endpoints.find(replay, tmp_path).source == target.source


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:port/", "ftp://127.0.0.1/", "127.0.0.1:3000", "http://", "http://a b/", "http://a.test/é",
        "http://127.0.0.1:99999/", "me:pass-word@agents.test",
    ],
)  # fmt: skip
def test_what_is_no_url_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no http or https URL; give one such as") as caught:
        endpoints.find(RunConfig(target_url=url), tmp_path)
    assert "pass-word" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["https://me:pass-word@a.test/", "https://me@a.test/", "https://a.test/x?api_key=pass-word&b=1",
     "https://a.test/sk-proj-AbCdEf0123456789AbCdEf"],
)  # fmt: skip
def test_a_url_that_holds_a_credential_is_refused_and_not_repeated(url: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--target-url for a\.test holds a credential") as caught:
        endpoints.find(RunConfig(target_url=url), tmp_path)
    assert not {"pass-word", "AbCdEf"} & set(str(caught.value).replace("/", " ").split())


@pytest.mark.parametrize(
    "url", ["HTTPS://a.test", "https://a.test/x?v=2#here", "http://[::1]:8000/x", "https://a.test/?"]
)
def test_an_ordinary_url_holds_no_credential(url: str) -> None:
    config = RunConfig(target_url=url)
    source = '{"protocol": "rollout-target/1", "id": "a", "kind": "prompt", "baseline": "b"}'
    assert endpoints.again(config, source, url).id == "a"


def test_an_offline_run_may_ask_loopback_and_the_hosts_it_names(endpoint: Endpoint, tmp_path: Path) -> None:
    assert endpoints.find(RunConfig(target_url=endpoint.url, offline=True), tmp_path).id == "support"
    with pytest.raises(InputError, match=r"--offline forbids --target-url .*; give --allow-host agents\.test too"):
        endpoints.find(RunConfig(target_url="https://agents.test/", offline=True), tmp_path)


def test_a_target_in_python_is_nothing_to_ask_or_record() -> None:
    text = Candidate(text="Answer.")
    target = FunctionTarget(lambda *_: "", id="t", kind=TargetKind.PROMPT, description="", baseline=text)
    assert endpoints.as_now(target, RunConfig()) is target
    endpoints.record_description(target)
    target.close()
