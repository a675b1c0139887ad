#!/usr/bin/env bash
# gepa: with one seed for the search, a merge of two candidates is another text in every process.
#
# One would guess: `gepa.optimize(seed=…)` (and `dspy.GEPA(seed=…)`) with the same model answers gives the same candidates
#   each time, as its random generator is seeded.
# What is: a merge walks the names of the components as a set of strings, whose order Python decides anew for each
#   process (PYTHONHASHSEED), and draws one number per component that both parents changed. Where the parents score
#   alike, which parent a component comes from so depends on the process and not on the seed. Nothing says so.
# Source: gepa/proposer/merge.py, `sample_and_attempt_merge_programs_by_common_predictors` (`pred_names = set(…)`).
#
# Exits 0 while that is so, 1 when it changed. No model is asked: the function is given two candidates and their parent.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check "gepa==0.1.4" 2> /dev/null
cat > "$folder/merge.py" <<'PY'
import random
from importlib.metadata import version

from gepa.proposer.merge import sample_and_attempt_merge_programs_by_common_predictors as merge

names = ["greeting", "plan", "tools", "answer", "closing"]
parent = {name: "parent" for name in names}
# two children of one parent: both changed all texts but one, and both score alike
left = {name: "left" for name in names} | {"closing": "parent"}
right = {name: "right" for name in names} | {"greeting": "parent"}
found = merge(
    agg_scores=[0.5, 0.8, 0.8], rng=random.Random(2), merge_candidates=[1, 2], merges_performed=([], []),
    program_candidates=[parent, left, right], parent_program_for_candidate=[[None], [0], [0]],
)
print(f"gepa {version('gepa')}:", " ".join(f"{name}={found[0][name]}" for name in names))
PY
for seed in 0 1 2 3 4 5 6 7; do
    PYTHONHASHSEED=$seed "$folder/env/bin/python" "$folder/merge.py"
done > "$folder/seen"
sort "$folder/seen" | uniq -c
test "$(sort -u "$folder/seen" | wc -l)" -gt 1
