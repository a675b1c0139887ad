"""Capabilities: folders of agents, tools and skills; the registry of their versions; promotion into it.

Start with `loading` (a folder becomes a `Capability`, hostile input refused), whose parts are `folder` (bytes),
`manifest` (capability.yaml and its component lists) and `agents` (agents/*.md). Then `registry` (publish, show, diff,
export: a published version never changes), then `promotion` (the best text of a run becomes the next version).
"""

from rollout_local.capabilities.loading import load
from rollout_local.capabilities.promotion import Preview, Promoted, finish, preview, promote, promote_as_asked, revert
from rollout_local.capabilities.registry import diff, export, get, listing, publish

__all__ = [
    "Preview", "Promoted", "diff", "export", "finish", "get", "listing", "load", "preview", "promote",
    "promote_as_asked", "publish", "revert",
]  # fmt: skip
