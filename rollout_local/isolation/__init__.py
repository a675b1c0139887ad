"""Targets in processes of their own (`--isolate`).

Invariant: a trial in a child gives what it gives in the run's own process, to the same digest: its requests pass the
recording of the run (`recordings.remote`), its values the same checks, its errors the same words. What the child does
to itself (it hangs, crashes, closes what is open) ends the child and its trial, and nothing of the run's. A child ends
with the runner, however that ends, and inherits none of its files.

Reading order: `pipes` (whole messages), `messages` (their types), `shapes` (what is none of them), `values` (what
crosses), `child` (the program of a child), `process` (one child, seen from the run), `target` (all of them as one
Target). A child imports what it needs and no more: it is started often.
"""
