"""One SQLite file: schema, journal, queue, reads. Nothing else in the package opens a database for writing.

Reading order: `schema` (opening, the write transaction), `migrations`, `ddl` (the tables), `journal` (trials,
proposals, reflections: append only), `group_commit`, `chain` (what `db check` recomputes), `lifecycle` (a run's
status), `queue`, `lease` and `holders` (who runs it), `catalog` and `releases` (what was imported and published),
`reads` (selects), `seals`, `wal` (who keeps it from being folded).

Promises: append only, committed before it is used, one holder at a time. Tests: tests/unit/store.
"""
