"""What a leaderboard asks of a card before it looks at any figure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ioi_bench.editing import EDITS
from ioi_bench.evaluation.bootstrap import DRAWS
from ioi_bench.evaluation.card import Card
from ioi_bench.evaluation.score import HEADLINE_METHOD, SCORED_BUDGETS, SCORING
from ioi_bench.task import Split, task_spec

__all__ = ["MIN_PROMPTS", "SEED", "SPLIT", "Needs", "faults", "usable"]

_MAX_BUDGETS, _MAX_BUDGET = 8, 64
SPLIT, MIN_PROMPTS, SEED = "test", 1_000, 0


@dataclass(frozen=True)
class Needs:
    """What a leaderboard asks of a card, beside ``exchange``, the budgets 1, 2 and 4, and seed 0.

    Attributes:
        prompts: at least so many.
        full_train: fitted to all train prompts.
        split: the prompts of a season; None for the spec's ``test``.
    """

    prompts: int = MIN_PROMPTS
    full_train: bool = True
    split: Split | None = None

    def split_for(self, card: Card) -> Split:
        """The prompts that the card's must be the first of."""
        return self.split or task_spec(card.made.spec).split(SPLIT)


def usable(budgets: Sequence[int]) -> bool:
    """Whether budgets are few, bounded and in order.

    >>> usable((1, 2, 4)), usable((2, 1)), usable((1, 2, 100))
    (True, False, False)
    """
    in_order = sorted(set(budgets)) == list(budgets)
    return in_order and len(budgets) <= _MAX_BUDGETS and all(1 <= k <= _MAX_BUDGET for k in budgets)


def faults(card: Card, needs: Needs) -> Iterator[str]:
    """What a card lacks, or has that no card of the leaderboard may have; nothing of one that will do."""
    made = card.made
    split = needs.split_for(card)
    n_train, n_split = len(task_spec(made.spec).split("train")), len(split)
    if made.scoring != SCORING:
        yield f"it was scored by {made.scoring}, and {SCORING} is needed: evaluate the suite again"
    if made.split != split.name:
        yield f"it is of the split {made.split!r}, and {split.name!r} is needed"
    if not needs.prompts <= made.n_prompts <= n_split:
        yield f"it has {made.n_prompts:,} prompts, and {needs.prompts:,} to {n_split:,} are needed"
    if made.full_train != (made.n_train_prompts == n_train) or (needs.full_train and not made.full_train):
        yield f"it was fitted to {made.n_train_prompts:,} train prompts, and all {n_train:,} are needed"
    if missing := [str(budget) for budget in SCORED_BUDGETS if budget not in made.budgets]:
        yield f"the budgets {', '.join(missing)} are missing, and score"
    if not usable(made.budgets):
        yield f"its budgets are not at most {_MAX_BUDGETS} increasing numbers from 1 to {_MAX_BUDGET}"
    if HEADLINE_METHOD not in made.methods or len(set(made.methods)) != len(made.methods):
        yield f"the method {HEADLINE_METHOD!r} is missing, or one is there twice"
    if foreign := [method for method in made.methods if method not in EDITS]:
        yield f"{', '.join(foreign)}: only ioi-bench's own edit methods are compared"
    if made.seed != SEED or made.n_draws != DRAWS:
        yield f"it has seed {made.seed} and {made.n_draws:,} draws, and seed {SEED} with {DRAWS:,} is needed"
    if card.baselines:
        yield "it has rows of baselines, whose results per prompt are not in the file: leave --baseline out"
    if "anchors" in made.options:
        yield "it shows anchors from a file (--anchors): a leaderboard's cards have those that ship, or none"
    if outside := [what for what in made.plugins if not what.startswith("loader ")]:
        yield (
            f"{', '.join(outside)} took part: what ranks must come from ioi-bench's own methods, metrics, models and "
            "architectures, so that everybody can make it again; only the loader may be a plugin's"
        )
    if "cross-site" in made.options:
        yield "it was made with --cross-site, which is a track of its own"
