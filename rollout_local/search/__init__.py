"""Proposes candidates. Knows no database: what it may do reaches it as `Signals`.

Reading order: `engine` (what an optimizer is handed), `optimizers` (the table), `gepa` with `text_adapter` and
`proposer` (a text target), `program_search` with `program_adapter` and `program_trials` (DSPy programs), `mipro`,
`simba`, `bettertogether`; `arguments` (what `--arg` takes), `replies` (the prompt in a model's reply), `isolation`
(our errors through DSPy, its noise kept off).

Promise: the candidates are those of plain DSPy. Tests: tests/contracts, unit/search.
"""
