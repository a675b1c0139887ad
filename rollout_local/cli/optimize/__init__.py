"""`rollout optimize`: making runs, asking things of them, looking at them, judging them."""

from rollout_local.cli.capabilities import promote
from rollout_local.cli.optimize import control, create_and_run, optimizers, owning, results, status
from rollout_local.cli.optimize.group import optimize

optimize.add_command(promote)

__all__ = ["control", "create_and_run", "optimize", "optimizers", "owning", "results", "status"]
