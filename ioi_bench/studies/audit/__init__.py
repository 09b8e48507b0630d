"""The benchmark's own report card: does each figure come out the same twice, tell suites apart, and follow the truth?

`gates` says what a figure must do so that it may rank, `study` measures it, `page` writes docs/audit.md.
"""
