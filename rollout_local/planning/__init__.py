"""Preparing a run: from flags, files and stored rows to a checked `Setup`, before anything is spent.

Start with `setup` (files to rows, rows to a `Setup`), then `target` (which target it is of), `fingerprint` (same
inputs or no resume) and `trust` (what a run from elsewhere reaches for). `environment`, `module_import` and `secrets`
say how the user's code is loaded; `optimizer_fit`, `readiness`, `trackers`, `data_warnings`, `practice_warnings` and
`advice` what is refused or told. Nothing here executes a target or calls a model.

Promise: what can be known before the baseline is paid for is said here. Tests: tests/unit/planning,
faults/test_inputs.
"""
