"""Private seasons: evaluation on prompts that nobody has seen, committed to beforehand and revealed afterwards.

docs/seasons.md tells how one is run, and what it shows.
"""

from ioi_bench.leaderboard.seasons.folder import revealed_split

__all__ = ["revealed_split"]
