"""Scores in the form that the Hub shows on a model's page: ``.eval_results/*.yaml``.

The form is that of the Hub's page "Evaluation Results" (https://huggingface.co/docs/hub/eval-results) and of
huggingface_hub's ``EvalResultEntry``: a list of entries with ``dataset`` (the benchmark's id and the task's),
``value``, ``source`` and ``notes``. A task stands for one leaderboard there, so each edit method is a task of its own,
and the benchmark's ``eval.yaml`` has to name them: ``<track>-<method>``.
"""

from __future__ import annotations

from typing import Any

from ioi_bench.reference.manifest import Manifest, ReferenceSuite

__all__ = ["BENCHMARK", "eval_results"]

BENCHMARK = "ioi-bench/leaderboard"
"""The data set on the Hub that stands for the benchmark."""


def eval_results(manifest: Manifest, repo: str) -> dict[str, bytes]:
    """One file a suite: its name in the repository to its content.

    Args:
        manifest: the suites with their scores.
        repo: where the suites lie, for the link to each.
    """
    import yaml

    return {
        f".eval_results/{name}.yaml": yaml.safe_dump(_entries(name, suite, repo), sort_keys=False).encode()
        for name, suite in manifest.suites.items()
    }


def _entries(name: str, suite: ReferenceSuite, repo: str) -> list[dict[str, Any]]:
    """A score without a value, of a track without ranked cells, has no entry."""
    return [
        {
            "dataset": {"id": BENCHMARK, "task_id": f"{suite.model}-{method}"},
            "value": score.value,
            "source": {"url": f"https://huggingface.co/{repo}/tree/main/{suite.path}", "name": f"the suite {name}"},
            "notes": f"{name}: IOI score by {method}, {suite.prompts:,} test prompts"
            + _interval(score.low, score.high),
        }
        for method, score in suite.scores.items()
        if score.value is not None
    ]


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f", 95 % interval {low:.4f} to {high:.4f}"
