"""A target behind `--target-url`: found, known again from what is stored, asked again before a run goes on.

Invariant: what decides the search is what the endpoint says of itself. It is stored when the run is made, and held
against what it says whenever the run goes on; an endpoint that cannot be asked has not changed, and trials that need
it wait. The recording holds one description under `SCOPE`, so that a replay asks nobody. Headers are for the
endpoint alone (`target_headers`), and their secrets are taken out of all that it answers.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from rollout_local.domain.run import RunConfig
from rollout_local.domain.target import Target
from rollout_local.errors import InputError, Paused, ProviderError, RecordingMiss
from rollout_local.planning.fingerprint import versions
from rollout_local.planning.readiness import recording_of
from rollout_local.planning.target_headers import Headers, headers_of
from rollout_local.recordings import RecordMode, open_recording, scope
from rollout_local.recordings.guard import Doors
from rollout_local.redaction import Redactor
from rollout_local.targets.http import TIMEOUT, Endpoint, HttpTarget

SCOPE = "target/describe"
"""Where in a recording the description stands."""
_WRITTEN = re.compile(r"[!-~]+")


def find(config: RunConfig, folder: Path) -> HttpTarget:
    """The target of a new run: as its endpoint describes it now or, in a replay, as the recording has it.

    Raises `InputError`: what is wrong, where, what to do.
    """
    recording = _to_replay(config, folder)
    endpoint = _endpoint(config, asked=recording is None)
    try:
        with nullcontext() if recording is None else _replayed(recording, config):
            return endpoint.target(config.target)
    except ProviderError as error:
        raise _cannot_be_asked(endpoint.url, error) from error


def again(config: RunConfig, source: str, began_with: str | None) -> HttpTarget:
    """The target of a stored run as it described itself when the run was made; nobody is asked.

    `began_with` is the URL that the run was made with. Raises `InputError` where another one cannot stand in for it.
    """
    url = config.target_url or ""
    if began_with is None:
        msg = "--target-url has no place here: the target of this run is none behind a URL; create another run with it"
        raise InputError(msg)
    if _path(url) != _path(began_with):
        msg = (
            f"--target-url {url} may name another host, but the path is part of what was recorded; serve the target "
            f"at {_path(began_with)}, or create another run"
        )
        raise InputError(msg)
    return _endpoint(config, asked=False).as_described(source)


def as_now(target: Target, config: RunConfig, *, or_as_before: bool = False) -> Target:
    """A target behind a URL as it describes itself now; any other, and all in a replay, as it is.

    Where it cannot be asked at present it is as before, or (without `or_as_before`) an `InputError`.
    """
    if not isinstance(target, HttpTarget) or config.record_mode == "none":
        return target
    endpoint = _endpoint(config, asked=True)
    try:
        return endpoint.target(target.id)
    except ProviderError as error:
        if or_as_before:
            return endpoint.as_described(target.source)
        raise _cannot_be_asked(endpoint.url, error) from error


def record_description(target: Target) -> None:
    """Have the description of a target behind a URL in the open recording.

    Where another one is in it (it changed, and that was accepted) it is asked for anew. Raises `Paused` where the
    endpoint cannot be asked, or where what it says, or what is replayed, is not the run's target.
    """
    if not isinstance(target, HttpTarget):
        return
    for anew in (False, True):
        try:
            with scope(SCOPE, restart=anew):
                said = target.now().source
        except (ProviderError, InputError) as error:
            raise Paused(f"{target.endpoint.url} did not describe its target ({error})", reason="error") from error
        if said == target.source:
            return
    raise Paused(f"{target.endpoint.url}: target {target.id!r} says of itself what it did not before", reason="error")


def headers(config: RunConfig, *, required: bool) -> Headers:
    """The headers of a run's target, from the environment where it says so."""
    return headers_of(config.target_headers, config.target_bearer_env, os.environ, required=required)


def _endpoint(config: RunConfig, *, asked: bool) -> Endpoint:
    """The endpoint, checked; what is needed to ask it has to be there where it is `asked`."""
    url = config.target_url or ""
    given = headers(config, required=asked)
    redactor = Redactor(os.environ)
    redactor.learn(given.secrets)
    _require_address(url)
    host = urlsplit(url).hostname or ""
    if asked and config.offline and not Doors(config.allow_hosts).open_to(host):
        msg = f"--offline forbids --target-url {url}; give --allow-host {host} too"
        raise InputError(msg)
    return Endpoint(url, given.sent, config.timeout or TIMEOUT, redactor.body)


def _require_address(url: str) -> None:
    """Refuse what is no URL, and what holds a secret: it is stored with the run."""
    try:
        parts = urlsplit(url)
        is_address = (
            parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and _WRITTEN.fullmatch(url)
        )
    except ValueError:
        is_address = None
    if not is_address:
        shown = "" if "@" in url else f" {url}"
        msg = f"--target-url{shown} is no http or https URL; give one such as http://127.0.0.1:3000/rollout"
        raise InputError(msg)
    if "@" in parts.netloc or Redactor({}).url(url) != urlunsplit(parts):
        msg = (
            f"--target-url for {parts.hostname} holds a credential, and is stored with the run; send it in a header, "
            "with --target-bearer-env VARIABLE or --target-header 'Name: $VARIABLE'"
        )
        raise InputError(msg)


def _to_replay(config: RunConfig, folder: Path) -> Path | None:
    """The recording that a new run replays, where it does."""
    found = recording_of(config, folder)
    if config.record_mode == "none" and found is None:
        name = config.recording or (f"{config.log_dir}/recording.yaml" if config.log_dir else None)
        msg = (
            f"there is no recording{f' {name}' if name else ''} to replay; give the file of an earlier run, or run live"
        )
        raise InputError(msg)
    return found if config.record_mode in ("none", "once") else None


@contextmanager
def _replayed(path: Path, config: RunConfig) -> Iterator[None]:
    """The description that a recording holds answers in this block."""
    try:
        with (
            open_recording(
                path, RecordMode.NONE, ignore_fields=config.ignore_fields, versions=versions(), partial=True
            ),
            scope(SCOPE),
        ):
            yield
    except RecordingMiss as miss:
        msg = (
            f"{path} does not hold what {config.target_url} says of itself; give the recording of a run of this target"
        )
        raise InputError(msg) from miss


def _cannot_be_asked(url: str, error: ProviderError) -> InputError:
    return InputError(f"{url} cannot be asked ({error}); start the target's server, or correct --target-url")


def _path(url: str) -> str:
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
