"""Secrets never reach a disk: one redactor, in front of everything that is written.

Why it lives here: what is written passes through two doors that are strangers to one another, the `store` (rows) and
the `recordings` (what crossed the wire), and both must take out the same pieces, or a run would differ from its
replay. So the redactor stands below both, knows neither, and is handed to each by who composes a run. It reads no
environment of its own accord: the values that it takes out come in as an argument.

What it takes out: values that it knows (secret-named environment variables, variables that the run names, literals of
the target's source, credentials seen on requests), in the spellings of `known.forms`; what stands under names of
credentials in bodies, forms, queries and metadata (`named`); what is shaped like a key (`secret_patterns`); values
that a stream of events hands out in pieces (`streams`).

Out of reach: a value written backwards, with blanks inside, or changed in any other way of one's own; and one that
nothing tells from other text: not known, not shaped like a key, under no telling name (a token in the path of a URL).

`redactor` · `known` · `named` · `literals` · `secret_patterns` · `streams` · `references` (a setting names a
variable, never holds a secret)
"""

from rollout_local.redaction.known import environment_secrets, forms, is_plain, secret_variables
from rollout_local.redaction.redactor import Redactor

__all__ = ["Redactor", "environment_secrets", "forms", "is_plain", "secret_variables"]
