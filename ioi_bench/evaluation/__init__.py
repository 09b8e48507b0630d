"""Evaluation: from a suite to a score card (METHOD §6, §7)."""
