#!/usr/bin/env bash
# DSPy's JSONAdapter and an output field of type str: an object, a list or null in the reply becomes Python's repr of it.
#
# One would guess: a JSON object where a text is asked for is refused (the adapter raises AdapterParseError for other
#   misfits), or is kept as JSON.
# What is: `{"a": {"b": 1}}` gives the text `{'b': 1}` with Python's single quotes, null gives the text `None`, true gives
#   `True`. Nothing is raised, so an optimizer that asks a weak model for a new prompt gets such a text and tries it.
# Source: dspy/adapters/utils.py (`parse_value`: where the annotation is str, `str(value)`).
#
# Exits 0 while that is so, 1 when it changed. No model and no network is needed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check "dspy==3.4.1" 2> /dev/null
LITELLM_LOCAL_MODEL_COST_MAP=True "$folder/env/bin/python" -W ignore - <<'PY'
import sys
from importlib.metadata import version

import dspy
from dspy.adapters.json_adapter import JSONAdapter


class Propose(dspy.Signature):
    question: str = dspy.InputField()
    a: str = dspy.OutputField()


replies = ['{"a": {"b": 1}}', '{"a": [1, "x"]}', '{"a": null}', '{"a": true}']
seen = {reply: JSONAdapter().parse(Propose, reply)["a"] for reply in replies}
print(f"dspy {version('dspy')}: " + "; ".join(f"{reply} gives the text {text!r}" for reply, text in seen.items()))
sys.exit(0 if list(seen.values()) == ["{'b': 1}", "[1, 'x']", "None", "True"] else 1)
PY
