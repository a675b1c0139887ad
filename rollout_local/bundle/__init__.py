"""What comes from elsewhere, and what goes elsewhere: one run in one file, a log of plain GEPA, archives.

Nothing that is read here is believed before it is checked, and nothing of it is ever executed. The order to read:
`archives` (zips, read safely), `rows` (a run's rows, free of this database's row ids), `package` (the file
format), `transfer` (export and import), `gepa_state` and `gepa_log` (what plain `dspy.GEPA(log_dir=…)` left).
"""

from __future__ import annotations

from rollout_local.bundle.gepa_log import import_gepa_log
from rollout_local.bundle.transfer import Exported, Imported, export_bundle, import_bundle

__all__ = ["Exported", "Imported", "export_bundle", "import_bundle", "import_gepa_log"]
