"""Recordings: every request to a model provider, once, safe, fast, in any order.

Invariant: what crossed the wire is in one file that plain vcrpy loads, on disk before anyone saw the answer, and
without a secret; and a replay from it gives every request the answer that it had, at any number of threads, without
a socket.

Reading order: `exchange` (the values), `identity` (what makes two requests the same), `lines` and `tape` (the file),
`cassette` (who gets which answer), `session` and `opening` (an open recording), `clients` (whose requests are seen),
`redact`, `shapes` and `scan` (secrets), `guard` (no sockets), `foreign` and `library` (others' cassettes, files).

vcrpy is used where its format is concerned: it reads and writes foreign cassettes, and builds aiohttp's replayed
responses. Its stubs are not used: they drain a stream before the caller sees its first byte, lose up to 89 % of
requests' interactions under threads, and do not see DSPy's own engine.
"""

from rollout_local.recordings.exchange import Exchange, RecordMode, Stats, Unplayed
from rollout_local.recordings.library import (
    Report,
    Shown,
    Summary,
    export_cassette,
    import_cassette,
    list_recordings,
    show,
    verify,
)
from rollout_local.recordings.live import scope, unrecorded
from rollout_local.recordings.opening import open_recording, require_usable
from rollout_local.recordings.scan import Leak, scan
from rollout_local.recordings.session import Recording

__all__ = [
    "Exchange",
    "Leak",
    "RecordMode",
    "Recording",
    "Report",
    "Shown",
    "Stats",
    "Summary",
    "Unplayed",
    "export_cassette",
    "import_cassette",
    "list_recordings",
    "open_recording",
    "require_usable",
    "scan",
    "scope",
    "show",
    "unrecorded",
    "verify",
]
