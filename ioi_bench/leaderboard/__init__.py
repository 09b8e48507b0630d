"""The leaderboard: submissions on disk, checked, verified, and shown."""

from ioi_bench.leaderboard.records import Badge, Check, Submission, Verdict
from ioi_bench.leaderboard.results import Entry, find_entries, read_entry

__all__ = ["Badge", "Check", "Entry", "Submission", "Verdict", "find_entries", "read_entry"]
