"""Recordings: every request to a model provider, once, safe, fast, in any order.

Invariant: what crossed the wire is in one file that plain vcrpy loads, on disk before anyone saw the answer, and
without a secret; and a replay from it gives every request the answer that it had, at any number of threads, without
a socket.

Reading order: `exchange` (the values), `identity` (what makes two requests the same), `lines` and `file` (the
file), `playback` (who gets which answer), `session` and `opening` (an open recording), `current` (the scope), `clients`
(whose requests are seen), `bypass` (whose are not), `exporters` (whose are left alone), `scan` (secrets that got into a
file), `guard` (no sockets), `remote` (clients in another process), `foreign_text`, `recorders`
and `vcr_formats` (others' cassettes), `library` (files).

vcrpy is used where its format is concerned: it reads and writes foreign cassettes, and builds aiohttp's replayed
responses. Its stubs are not used: they drain a stream before the caller sees its first byte, lose up to 89 % of
requests' interactions under threads, and do not see DSPy's own engine.
"""

from rollout_local.recordings.current import is_open, scope, unrecorded
from rollout_local.recordings.exchange import Answer, Exchange, RecordMode, Stats, Unplayed
from rollout_local.recordings.file import Memory
from rollout_local.recordings.guard import none_from_here
from rollout_local.recordings.identity import Asked
from rollout_local.recordings.library import (
    RecordingReport,
    RecordingSummary,
    Shown,
    export_cassette,
    first_request,
    import_cassette,
    list_recordings,
    show,
    verify,
)
from rollout_local.recordings.opening import open_recording, require_usable
from rollout_local.recordings.scan import Leak, scan
from rollout_local.recordings.scopes import IMPORT, scope_name
from rollout_local.recordings.session import Gate, Recording
from rollout_local.recordings.volatile import volatile

__all__ = [
    "IMPORT",
    "Answer",
    "Asked",
    "Exchange",
    "Gate",
    "Leak",
    "Memory",
    "RecordMode",
    "Recording",
    "RecordingReport",
    "RecordingSummary",
    "Shown",
    "Stats",
    "Unplayed",
    "export_cassette",
    "first_request",
    "import_cassette",
    "is_open",
    "list_recordings",
    "none_from_here",
    "open_recording",
    "require_usable",
    "scan",
    "scope",
    "scope_name",
    "show",
    "unrecorded",
    "verify",
    "volatile",
]
