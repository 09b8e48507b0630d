"""A split as a table: one row per prompt, with its counterfactuals and the character spans of its roles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ioi_bench.task.spec import Split

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EDITS", "split_frame", "split_rows"]

EDITS = (("io",), ("s",), ("pos",), ("pos", "s"), ("io", "pos", "s"))
"""The counterfactuals that METHOD §1 and §2 use."""


def split_rows(split: Split) -> list[dict[str, Any]]:
    """One flat record per prompt.

    ``counterfactual_<edit>`` are the texts of the counterfactuals, ``io_target`` and ``s_target`` the names they bring
    in; ``<role>_start`` and ``<role>_stop`` are character offsets in ``text``.
    """
    spec = split.spec
    changed: Sequence[tuple[str, tuple[Any, ...]]] = [("+".join(edit), split.counterfactual(edit)) for edit in EDITS]
    rows = []
    for index, prompt in enumerate(split.prompts):
        row: dict[str, Any] = {
            "index": index,
            "template": prompt.template,
            "prefix": prompt.prefix,
            "pattern": prompt.pattern,
            "io": prompt.io,
            "s": prompt.s,
            "place": prompt.place,
            "object": prompt.object,
            "io_target": split.io_targets[index],
            "s_target": split.s_targets[index],
            "text": spec.text(prompt),
        }
        row.update({f"counterfactual_{edit}": spec.text(prompts[index]) for edit, prompts in changed})
        for role, (start, stop) in spec.spans(prompt).items():
            row[f"{role}_start"], row[f"{role}_stop"] = start, stop
        rows.append(row)
    return rows


def split_frame(split: Split) -> pd.DataFrame:
    """`split_rows` as a frame."""
    import pandas as pd

    return pd.DataFrame(split_rows(split))
