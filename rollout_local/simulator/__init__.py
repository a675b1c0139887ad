"""A scripted model provider on loopback, for demos, tests and benches.

It stands in for real models: a student that follows its instructions as far as its script lets it, and a reflection
model that writes better ones from feedback. Scripts are data (`script.py` describes the language); no task's answers
are in this package.
"""

from rollout_local.simulator.faults import parse_faults
from rollout_local.simulator.provider import Settings
from rollout_local.simulator.script import Script, load_script
from rollout_local.simulator.server import Simulator

__all__ = ["Script", "Settings", "Simulator", "load_script", "parse_faults"]
