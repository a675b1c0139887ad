"""What a DSPy program answered, call by call of its predictors: one JSON document per trial of a program.

A resumed search reflects on it without a call. A trial whose answer does not survive the way through JSON has no row
here, and is executed again over its recorded calls.
"""

from __future__ import annotations

STATEMENTS = (
    """CREATE TABLE program_answers (
        trial_id INTEGER PRIMARY KEY REFERENCES trials(id), run_id TEXT NOT NULL REFERENCES runs(id),
        answer_json TEXT NOT NULL) STRICT""",
    "CREATE INDEX program_answers_of_run ON program_answers (run_id, trial_id)",
)
