"""Dictionaries: the built-in architectures, suites on disk, the supervised skyline and the nulls."""
