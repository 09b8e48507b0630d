"""The conformance kit: checks that authors of plugins run in their own pytest, and ``ioi-bench plugins check`` prints.

One call for each kind of part; each raises a `ConformanceError`, which is an `AssertionError`, at the first check that
fails, and says what was checked, what was found and what to do::

    from ioi_bench.testing import check_dictionary, check_edit, check_loader, check_metric

    def test_my_sae():
        check_dictionary(MySae.load("weights.safetensors"), inputs=activations)

`run_checks` makes all checks of any number of cases and returns their results; it raises for nothing that a plugin
does.
"""

from ioi_bench.errors import ConformanceError
from ioi_bench.testing.dictionaries import DictionaryCase, check_dictionary
from ioi_bench.testing.edits import EditCase, check_edit
from ioi_bench.testing.loaders import LoaderCase, check_loader
from ioi_bench.testing.metrics import MetricCase, check_metric
from ioi_bench.testing.results import Case, Check, CheckResult, run_checks

__all__ = [
    "Case",
    "Check",
    "CheckResult",
    "ConformanceError",
    "DictionaryCase",
    "EditCase",
    "LoaderCase",
    "MetricCase",
    "check_dictionary",
    "check_edit",
    "check_loader",
    "check_metric",
    "run_checks",
]
