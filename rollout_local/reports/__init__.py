"""What the rows mean: pure functions from stored rows to reports, and from reports to text.

Nothing here writes to the store or calls a model. Read `evidence` (which rows), `promotion` (what they say),
`statistics` (how sure that is), `outline` (in what order it is told), `render` (how it looks).
"""
