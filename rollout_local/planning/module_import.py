"""The user's modules are imported under a recording: what they ask of the network then is kept, or replayed.

Invariant: in a replay nothing is sent while a module is imported: a request is answered from the recording, or the
command ends with a sentence. In any other mode what is asked waits in memory, for the folder, until a run of it
opens its recording (`Recording.adopt`): a module is imported once in a process, be there one run or more of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rollout_local.domain.run import RunConfig
from rollout_local.errors import InputError, Paused, RecordingMiss
from rollout_local.planning.readiness import recording_of
from rollout_local.planning.secrets import redactor_of
from rollout_local.recordings import IMPORT, Memory, RecordMode, is_open, open_recording, scope

_memories: dict[str, Memory] = {}
_REMEDY = "record the run anew, or move the request into the target's function"


def asked_at_import(folder: Path) -> Memory:
    """What the modules of a folder have asked while they were imported in this process."""
    return _memories.setdefault(str(folder.resolve()), Memory())


@contextmanager
def importing(config: RunConfig, folder: Path) -> Iterator[None]:
    """Import the user's modules in this block. Raises `InputError` where one asks what a replay cannot answer."""
    if is_open():
        yield
        return
    mode = RecordMode.NONE if config.record_mode == "none" else RecordMode.NEW_EPISODES
    replayed = recording_of(config, folder) if mode is RecordMode.NONE else None
    memory = asked_at_import(folder)
    try:
        with (
            open_recording(
                replayed, mode, ignore_fields=config.ignore_fields, memory=memory,
                allow_hosts=config.allow_hosts if config.offline else None,
                redactor=redactor_of(config, (), (), None, os.environ), partial=True,
            ) as recording,
            scope(IMPORT),
        ):  # fmt: skip
            yield
            memory.bypasses.update(recording.bypasses.noted())
            if mode is RecordMode.NONE and (
                recording.stats().missed or recording.blocked
            ):  # and the module went on all the same
                raise RecordingMiss("; ".join(recording.blocked) or "it asked what was not recorded")
    except RecordingMiss as miss:
        first, place = str(miss).splitlines()[0], replayed or "the replay"
        msg = f"a module asks the network while it is imported, and {place} has no answer to it ({first}); {_REMEDY}"
        raise InputError(msg) from miss
    except Paused as stop:
        raise InputError(f"a module was stopped while it was imported ({stop})") from stop
