"""How an output is graded: a verifier's checks, each in words, become one score in [0, 1] and one feedback text.

Start with `checks` (the table of check types), then `grade` (spec → Verdict). `spec` reads what people write;
`subject` is what a check sees; `quoting` shows values in what is said of it. Grading is deterministic and touches
nothing outside, but for the `python` check, which runs the user's function, and `llm_judge`, which asks a model.
"""

from rollout_local.verifiers.checks import CHECKS
from rollout_local.verifiers.grade import GradingError, fits, grade, parse_spec, read_spec, validate

__all__ = ["CHECKS", "GradingError", "fits", "grade", "parse_spec", "read_spec", "validate"]
