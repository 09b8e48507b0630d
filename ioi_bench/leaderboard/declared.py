"""What a submission must declare: labels, where its directions look as if they were fitted to some.

A class mean of labelled prompts is a good dictionary of this task, and no number shows how it was found. So it is asked
for. A declaration can be false; then it is a false declaration, which stands beside the card for all to read.
"""

from __future__ import annotations

import re

from ioi_bench.evaluation.card import Card
from ioi_bench.leaderboard.records import Check, Submission

__all__ = ["check_declaration"]

_WARNING = "supervised-directions"
_LABELS = re.compile(r"\blabel|\bsupervised|\bcounterfactual", re.IGNORECASE)


def check_declaration(card: Card, submission: Submission) -> Check:
    """Whether the training data names labels, supervision or counterfactuals, where the card warns of directions.

    Args:
        card: with the warnings that are true of the suite.
        submission: what its authors declare.
    """
    warned = any(warning.code == _WARNING for warning in card.warnings)
    passed = not warned or _LABELS.search(submission.training_data) is not None
    if not warned:
        detail = "no direction is nearer to the supervised codes than those that were found without labels"
    elif passed:
        detail = "the directions are the supervised codes, and the declaration says so"
    else:
        detail = (
            "the directions are nearer to the supervised codes than those of any suite trained without labels, "
            "and training_data names none: say which labels or counterfactual pairs it was fitted to"
        )
    return Check(name="declaration", passed=passed, detail=detail)
