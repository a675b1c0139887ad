"""Every page: its name, its address, the view that makes it, the tab that leads to it. Routes, tabs and tests read it.

A page that is added here is a route, and is asked for by the tests of pages, links and security.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rollout_local.ui.views import (
    candidate,
    compare,
    execution,
    jobs,
    lineage,
    new,
    promotion,
    reflections,
    run,
    trials,
)
from rollout_local.ui.visit import Answer, Visit


@dataclass(frozen=True)
class PageRow:
    """One page. `address` is a regular expression whose groups are the names that the view is told.

    `tab` is the word on the tab of a run's bar, of a page that has one. A `document` is JSON, for scripts.
    """

    name: str
    address: str
    view: Callable[[Visit], Answer]
    tab: str | None = None
    document: bool = False

    @property
    def key(self) -> str:
        """What the templates call the tab, and the end of its address."""
        return "" if self.name == "run" else self.name


ROOT = "/-/rollout"
RUN = ROOT + r"/(?P<db>[^/]+)/runs/(?P<run>[^/]+?)"

PAGES = (
    PageRow("jobs", ROOT + "/?", jobs.show),
    PageRow("compare", ROOT + "/compare", compare.show),
    PageRow("changes", RUN + r"\.json", run.changes, document=True),
    PageRow("run", RUN, run.show, "Run"),
    PageRow("promotion", RUN + "/promotion", promotion.show, "Promotion"),
    PageRow("trials", RUN + "/trials", trials.show, "Trials"),
    PageRow("lineage", RUN + "/lineage", lineage.lineage, "Lineage"),
    PageRow("pareto", RUN + "/pareto", lineage.pareto, "Tasks"),
    PageRow("reflections", RUN + "/reflections", reflections.reflections, "Reflections"),
    PageRow("events", RUN + "/events", reflections.events, "Events"),
    PageRow("candidates", RUN + "/candidates", candidate.listing),
    PageRow("candidate", RUN + "/candidates/(?P<number>[0-9]{1,9})", candidate.show),
    PageRow("task", RUN + "/task", execution.task),
    PageRow("trial", ROOT + r"/(?P<db>[^/]+)/trials/(?P<trial>[0-9]{1,15})", execution.trial),
    PageRow("trace", ROOT + r"/(?P<db>[^/]+)/traces/(?P<trace>[^/]+)", execution.trace),
)
"""What is only read, in the order in which an address is looked for."""

NEW = PageRow("new", ROOT + "/new", new.show)
"""The form for a new job: the one page that is also posted to."""

TABS = tuple(page for page in PAGES if page.tab is not None)
"""The tabs of a run's bar, in their order."""
