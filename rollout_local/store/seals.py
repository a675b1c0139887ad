"""Seals: what the user of this machine has made or confirmed is told from what a file merely says of itself.

A seal is a hash over the sealed values with a key of this machine and this user, or with the one in `VARIABLE`, which
machines and containers that share a file may share. The key is in no file of ours, so a row that came from elsewhere
(an imported bundle, a database that was handed over) has no seal that fits.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import socket
from functools import cache
from pathlib import Path

from rollout_local.domain.identity import canonical_json

VARIABLE = "ROLLOUT_SEAL_KEY"
_MACHINE_IDS = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))


def seal(*values: object) -> str:
    """The seal of these JSON values, as it is made here."""
    return hmac.new(_key(), canonical_json(list(values)).encode(), hashlib.sha256).hexdigest()


def fits(seal_: str | None, *values: object) -> bool:
    """Whether this seal of these values was made here."""
    return seal_ is not None and hmac.compare_digest(seal_.encode("utf-8", "replace"), seal(*values).encode())


@cache
def _key() -> bytes:
    """What `VARIABLE` holds; else the system's name for the machine, or the host's, and the user's number."""
    if given := os.environ.get(VARIABLE, "").strip():
        return f"rollout-local/{given}".encode("utf-8", "replace")
    for file in _MACHINE_IDS:
        try:
            machine = file.read_text(encoding="ascii", errors="replace").strip()
        except OSError:
            continue
        if machine:
            break
    else:
        machine = socket.gethostname()
    return f"rollout-local/{machine}/{os.getuid()}".encode("utf-8", "replace")
