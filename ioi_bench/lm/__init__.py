"""The language model: loading, captures, patched runs, circuits (METHOD §2)."""

from ioi_bench.lm.circuit import Circuit, load_circuit
from ioi_bench.lm.gradients import logit_difference_gradients
from ioi_bench.lm.model import LanguageModel, load_model
from ioi_bench.lm.patching import CleanRun, clean_run, patched_logits

__all__ = [
    "Circuit",
    "CleanRun",
    "LanguageModel",
    "clean_run",
    "load_circuit",
    "load_model",
    "logit_difference_gradients",
    "patched_logits",
]
