"""`rollout optimize`: making runs, asking things of them, looking at them, judging them."""

from rollout_local.cli.capabilities import promote
from rollout_local.cli.optimize import asking, choosing, judging, looking, making
from rollout_local.cli.optimize.group import optimize

optimize.add_command(promote)

__all__ = ["asking", "choosing", "judging", "looking", "making", "optimize"]
