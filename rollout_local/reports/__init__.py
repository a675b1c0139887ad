"""What the rows mean: pure functions from stored rows to reports, and from reports to text.

Nothing here writes to the store or calls a model. Read `evidence` (which rows), `promotion` (what they say),
`statistics` (how sure that is), `gates` (the verdict), `doubts` (what weakens it), `standing` (a stored report as
readers see it), `outline` (in what order it is told), `render` (how it looks).
"""
