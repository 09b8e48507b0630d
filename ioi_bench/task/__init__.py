"""The IOI task: prompts, counterfactuals, splits, roles (METHOD §1)."""

from ioi_bench.task.counterfactuals import counterfactual
from ioi_bench.task.prompts import TEMPLATES, Prompt, Template
from ioi_bench.task.roles import TokenBatch, check_single_tokens, name_tokens, tokenize
from ioi_bench.task.spec import IOI_V1, IOI_V1_MINI, SPLITS, Split, TaskSpec, task_spec

__all__ = [
    "IOI_V1",
    "IOI_V1_MINI",
    "SPLITS",
    "TEMPLATES",
    "Prompt",
    "Split",
    "TaskSpec",
    "Template",
    "TokenBatch",
    "check_single_tokens",
    "counterfactual",
    "name_tokens",
    "task_spec",
    "tokenize",
]
