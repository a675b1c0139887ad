"""What things are: frozen values and pure functions; no I/O, no clock, no randomness, no threads.

`identity` (canonical JSON, content hashes), `dataset`, `target`, `verdict`, `run` (configuration, phases, outcomes,
keys), `program` (a DSPy program's answers), `experiment`. Unknown fields are refused. Tests: tests/unit/domain.
"""
