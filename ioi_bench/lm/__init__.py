"""The language model: loading, captures, patched runs, circuits (METHOD §2)."""

from ioi_bench.lm.model import LanguageModel, load_model
from ioi_bench.lm.patching import CleanRun, clean_run, patched_logits

__all__ = ["CleanRun", "LanguageModel", "clean_run", "load_model", "patched_logits"]
