"""Everything that can go wrong, in one tree.

    RolloutError                    a sentence for the user; `exit_code` is what the command ends with
    ├── InputError           2      what was written is wrong: says what, where, and what to do
    │   └── NotFound         2      a name or id that does not exist
    │       └── ModuleMissing 2     a module that cannot be imported from here
    ├── Refused              1      well-formed, but must not be done (a gate, a conflict)
    │   └── NotConfirmed     1      a run from elsewhere reaches for what nobody here has said yes to
    ├── StoreError           2      the database cannot be used (foreign, read-only, damaged)
    ├── RecordingError       2      a recording cannot be used (damaged, open, foreign)
    ├── GradingError         2      an output could not be graded; never a score
    │   └── OutOfScale       2      a score that does not lie between 0 and 1
    ├── TargetError          1      the own failure of a target behind a URL, in its words; the trial is scored 0
    └── ProviderError        3      a model provider, or a target's endpoint, did not answer; `kind` says how

    StopSearch (BaseException)      ends a search from inside
    ├── Paused               3      something outside the run is in the way; it can be resumed
    ├── Cancelled            1      the user ended the run
    ├── BudgetSpent          0      the next batch would pass what was promised
    ├── NoProposals          1      the reflection model never gave a usable text
    ├── TargetFailed         1      the target itself failed on every task of the baseline
    ├── RecordingMiss        3      replay met a request that was not recorded
    └── LeaseLost            1      another runner has taken over; this one may write nothing more

The second tree derives from `BaseException` because DSPy and GEPA catch every `Exception` and turn it into
a score of 0 (dspy/utils/parallelizer.py, gepa/proposer/reflective_mutation): a failure is not a zero.
"""

from __future__ import annotations


class RolloutError(Exception):
    """Base of all errors that end a command with a sentence instead of a traceback."""

    exit_code = 1


class InputError(RolloutError):
    """Wrong input: the message names what, where (file:line, task, field), and what to do next."""

    exit_code = 2


class NotFound(InputError):
    """A run, dataset, task, verifier or target that does not exist."""


class ModuleMissing(NotFound):
    """A module that is not to be found from the folder that a run is looked at from."""


class Refused(RolloutError):
    """A well-formed request that must not be carried out."""


class NotConfirmed(Refused):
    """What came from elsewhere would reach for code, servers or variables that nobody here has said yes to."""


class StoreError(RolloutError):
    """The database file cannot be used."""

    exit_code = 2


class RecordingError(RolloutError):
    """A recording cannot be used."""

    exit_code = 2


class GradingError(RolloutError):
    """An output could not be graded: a check's own function or judge failed, or the task lacks what it needs.

    It is never a score: the trial ends as `verifier_error`.
    """

    exit_code = 2


class OutOfScale(GradingError):
    """A score of another scale than 0 to 1, such as a grade from 1 to 5."""


class TargetError(RolloutError):
    """A target behind a URL answered that it failed on its own account, in its words: no trouble on the way to it."""


class ProviderError(RolloutError):
    """A model provider, or the endpoint of a target, did not give an answer.

    `kind` is one of the names in `rollout_local.providers.failures.KINDS`; `retry_after` is in seconds, where the
    provider asked for a wait; `who` did not answer, in words.
    """

    exit_code = 3

    def __init__(self, message: str, *, kind: str, retry_after: float | None = None, who: str = "the provider") -> None:
        super().__init__(message)
        self.kind = kind
        self.retry_after = retry_after
        self.who = who


class StopSearch(BaseException):
    """Ends a search from inside; passes through every `except Exception` of DSPy and GEPA."""

    exit_code = 1


class Paused(StopSearch):
    """The run waits: provider trouble, a limit of time or cost, Ctrl-C. It can be resumed.

    `reason` is a stop reason (`time_limit`, `cost_limit`, `error`) or None; `interrupted` is true for Ctrl-C
    and SIGTERM (exit code 130).
    """

    exit_code = 3

    def __init__(self, message: str, *, reason: str | None = None, interrupted: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.interrupted = interrupted
        if interrupted:
            self.exit_code = 130


class Cancelled(StopSearch):
    """The user ended the run."""


class BudgetSpent(StopSearch):
    """The next batch would pass the promised number of calls, so it was not begun."""

    exit_code = 0


class NoProposals(StopSearch):
    """The reflection model failed several times in a row to give a usable text."""


class TargetFailed(StopSearch):
    """The target itself failed on every task of the baseline: there is nothing to search from."""


class RecordingMiss(StopSearch):
    """A replay asked for something that was not recorded; the message shows the nearest recorded request."""

    exit_code = 3


class LeaseLost(StopSearch):
    """Another runner holds the run now: whatever this one still does is not written."""
