"""How sure a figure is: draws of scores, comparison of suites, prompts for a precision, coverage by simulation.

What an interval means, and what it does not: docs/uncertainty.md.
"""
