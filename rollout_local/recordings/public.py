"""`rollout.recording`: record and replay any code, without a run.

Invariant: a replay needs no key and no network, and the block leaves the environment as it found it. The libraries'
own fetches (price maps, telemetry) are off while it records, too: they would be asked for at one time and not at
another.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rollout_local.errors import RecordingError
from rollout_local.models import KEY_VARIABLES, keep_libraries_offline, keep_tracers_off, set_dummy_keys
from rollout_local.recordings.exchange import RecordMode
from rollout_local.recordings.opening import open_recording
from rollout_local.recordings.session import Recording


@contextmanager
def recording(
    path: str | os.PathLike[str],
    mode: str = "new_episodes",
    *,
    ignore_fields: Sequence[str] = (),
    strict: bool = False,
    offline: bool = False,
    allow_hosts: Sequence[str] = (),
) -> Iterator[Recording]:
    """Record, or replay, what every HTTP client of this process asks until the block ends; yields the `Recording`.

    `mode` has vcrpy's words. `new_episodes` serves what the file holds, sends and records the rest; `none` serves
    only: no socket opens, and clients that insist on a key find one that opens nothing; `once` records where there is
    no file, and replays where there is one; `all` records anew. `ignore_fields` (as `--ignore-field` takes them:
    names, paths in the body, patterns in its texts) do not tell two requests apart. `strict` makes it an error if a
    replay leaves something unplayed.
    `offline`, or naming `allow_hosts`, keeps live requests to loopback and those hosts.

    Raises `RecordingError` where the file cannot be used. What was not recorded raises `RecordingMiss` in the code
    that asks for it: a `BaseException`, which `except Exception` lets pass.
    """
    words, file, hosts = _mode(mode), Path(path), _names(allow_hosts)
    if words is not RecordMode.NONE:
        file.parent.mkdir(parents=True, exist_ok=True)
    with (
        _environment(replaying=words is RecordMode.NONE),
        open_recording(
            file, words, ignore_fields=_names(ignore_fields), strict=strict,
            allow_hosts=hosts if offline or hosts else None,
        ) as opened,
    ):  # fmt: skip
        yield opened


def _mode(word: str) -> RecordMode:
    try:
        return RecordMode(word)
    except ValueError:
        raise RecordingError(f"{word!r} is not a mode of recordings: {', '.join(RecordMode)}.") from None


def _names(given: Sequence[str]) -> tuple[str, ...]:
    """One name is a name, not its letters."""
    return (given,) if isinstance(given, str) else tuple(given)


@contextmanager
def _environment(*, replaying: bool) -> Iterator[None]:
    before = set(os.environ)
    keep_libraries_offline()
    if replaying:
        keep_tracers_off()
        set_dummy_keys([f"{provider}/" for provider in KEY_VARIABLES])
    added = {name: value for name, value in os.environ.items() if name not in before}
    try:
        yield
    finally:
        for name, value in added.items():
            if os.environ.get(name) == value:
                del os.environ[name]
