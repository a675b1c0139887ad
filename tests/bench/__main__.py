"""`make bench`: ratios against plain dspy.GEPA and, where that bench is there, against plain vcrpy; then the pages."""

from __future__ import annotations

import importlib.util
import os
import sys

from rollout_local.models import keep_libraries_offline


def main() -> None:
    """Measure and print every table."""
    keep_libraries_offline()  # before DSPy and litellm are imported
    from tests.bench import durability, search, ui

    search.print_rows(search.measure(before=os.environ.get("BEFORE") or None))
    print()
    durability.main()
    if importlib.util.find_spec("tests.bench.recordings") is not None:
        from tests.bench import recordings

        print()
        sys.stdout.flush()
        recordings.main([])
    print()
    ui.print_rows(ui.measure())


if __name__ == "__main__":
    main()
