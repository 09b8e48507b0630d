"""The leaderboard's pages: a static site of submissions, and one file of a person's own cards."""

from ioi_bench.pages.report import write_report
from ioi_bench.pages.site import Built, Site

__all__ = ["Built", "Site", "write_report"]
