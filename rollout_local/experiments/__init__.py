"""A run you can repeat: people write `experiment.toml`, the tool writes `experiment.lock`.

Reproducing replays the experiment's recording with no socket in a fresh database and compares digests. Equal
digests are the same run: the same candidates, parents, proposals, trials and report.

Reading order: `manifest` (what people write), `locking` (what the tool writes), `replay` (one against the other),
`layout` (a folder made from a past run), `live` (runs that ask models), `sweep` (a grid of them) and `rerun` (the same
again, and how its lift spreads).
"""
