"""What the pages show of one suite: its card, and what was handed in beside it."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ioi_bench.errors import InputError
from ioi_bench.evaluation.anchor_lines import AnchorLine, anchor_lines
from ioi_bench.evaluation.card import Card, CardCell, EditFigures, Figure, Made
from ioi_bench.evaluation.score import HEADLINE_METHOD, SCORED_METHODS
from ioi_bench.hub.address import HubAddress
from ioi_bench.leaderboard.records import Badge, Submission, Verdict
from ioi_bench.leaderboard.results import Entry
from ioi_bench.leaderboard.seasons.standing import SeasonResult
from ioi_bench.uncertainty.draws import scored_cells

__all__ = ["NOT_STATED", "Shown", "edit_of", "of_card", "of_entry", "shown_budget"]

NOT_STATED = "not stated"
_SLUG_HASH = 12
_FOLDER = "SUITE"


@dataclass(frozen=True)
class Shown:
    """One suite.

    Attributes:
        slug: names its files: letters, digits, ``.``, ``_`` and ``-``, never anything else.
        name: ``ORG/NAME``, or the suite's own name in a report.
        address: where the weights lie, as it was submitted, or as the card says.
        submission, verdict, badge: None in a report on one's own cards; no verdict before verification.
        folder: of ``card.json`` and ``prompts.parquet``.
        seasons: what it reached on secret prompts.
    """

    slug: str
    name: str
    card: Card
    folder: Path
    address: str | None
    submission: Submission | None = None
    verdict: Verdict | None = None
    badge: Badge | None = None
    seasons: tuple[SeasonResult, ...] = ()

    @property
    def comparable(self) -> tuple[str, ...]:
        """What must be the same for two scores to mean the same: the track, by hash, the split and the scoring."""
        made = self.card.made
        return self.card.track, made.spec_sha256, made.model_sha256, made.circuit_sha256, made.split, made.scoring

    @property
    def scored(self) -> tuple[CardCell, ...]:
        """The ranked headline cells."""
        return scored_cells(self.card)

    @property
    def score(self) -> Figure | None:
        """The IOI score; None where the card has none."""
        return self.score_of(HEADLINE_METHOD)

    def score_of(self, method: str) -> Figure | None:
        """The score under an edit method; None where the card has none."""
        found = self.card.headline.get(method)
        return None if found is None or found.score.value is None else found.score

    @property
    def methods(self) -> tuple[str, ...]:
        """Edit methods that have a score: the headline's first, then the others that are scored, then plugins'."""
        order = {method: i for i, method in enumerate(SCORED_METHODS)}
        return tuple(sorted(self.card.headline, key=lambda method: (order.get(method, len(order)), method)))

    @property
    def l0(self) -> float | None:
        """Active features, mean over the ranked cells."""
        found = [cell.faithfulness.l0.value for cell in self.scored]
        known = [value for value in found if value is not None]
        return sum(known) / len(known) if known else None

    @property
    def architecture(self) -> str:
        """What its dictionaries are, as the card says; of older cards, as the command line said."""
        made = self.card.made
        return ", ".join(made.architectures) or made.options.get("arch", NOT_STATED)

    @property
    def web(self) -> str | None:
        """The page of the weights on the Hub, where their address is one."""
        try:
            at = HubAddress.parse(self.address or "")
        except InputError:
            return None
        return f"https://huggingface.co/{at.repo}/tree/{at.asked}" + (f"/{at.folder}" if at.folder else "")

    @property
    def anchors(self) -> tuple[AnchorLine, ...]:
        """Nulls, ceilings and what else stands beside it."""
        return anchor_lines(self.card.anchors)

    @property
    def command(self) -> str:
        """The command line that gives the card again."""
        return " ".join(shlex.quote(word) for word in _words(self.card.made, self.address or _FOLDER, self.card))

    @property
    def reproducible(self) -> bool:
        """Whether the command line says all: not for a suite made in Python, or with a one-file plugin's help."""
        return self.address is not None


def of_entry(entry: Entry) -> Shown:
    """A submission."""
    slug = f"{entry.submission.name.replace('/', '__')}-{hashlib.sha256(entry.key.encode()).hexdigest()[:_SLUG_HASH]}"
    return Shown(
        slug=slug,
        name=entry.submission.name,
        card=entry.card,
        folder=entry.folder,
        address=entry.submission.suite,
        submission=entry.submission,
        verdict=entry.verdict,
        badge=entry.badge,
        seasons=entry.seasons,
    )


def of_card(path: Path, number: int) -> Shown:
    """One's own card, the ``number``-th of a report.

    Raises:
        InputError: there is no card, or it cannot be read.
    """
    card = Card.read(path)
    name = card.made.suite
    slug = f"{number}-{re.sub(r'[^A-Za-z0-9._-]+', '-', name)[:60]}"
    return Shown(slug=slug, name=name, card=card, folder=path if path.is_dir() else path.parent, address=_source(card))


def _source(card: Card) -> str | None:
    return card.made.source


def _words(made: Made, address: str, card: Card) -> Iterator[str]:
    yield from ("ioi-bench", "evaluate", address, "--model", made.model)
    if made.loader:
        yield from ("--loader", made.loader)
    for key in ("hook", "arch", "scale"):
        if key in made.options:
            yield from (f"--{key}", made.options[key])
    for key, value in made.options.items():
        if key.startswith("set "):
            yield from ("--set", f"{key.removeprefix('set ')}={value}")
    if made.options.get("cross-site") == "yes":
        yield "--cross-site"
    if made.options.get("preflight") == "no":
        yield "--no-preflight"
    for baseline in card.baselines:
        yield from ("--baseline", baseline.name)
    yield from ("--split", made.split, "--prompts", str(made.n_prompts))
    if not made.full_train:
        yield from ("--train-prompts", str(made.n_train_prompts))
    yield from ("--budgets", ",".join(map(str, made.budgets)), "--methods", ",".join(made.methods))
    if all(cell.headline for cell in card.cells):  # further cells were left out, or there are none
        yield from ("--cells", ",".join(cell.name for cell in card.cells))
    if made.seed:
        yield from ("--seed", str(made.seed))


def edit_of(cell: CardCell, method: str, budget: int) -> EditFigures | None:
    """The figures of an edit; None where it was not asked for."""
    return next((edit for edit in cell.edits if (edit.method, edit.budget) == (method, budget)), None)


def shown_budget(shown: Shown) -> int:
    """The budget that tables show: 2, as the post's do, or the nearest one that was evaluated."""
    return min(shown.card.made.budgets, key=lambda budget: (abs(budget - 2), budget), default=2)
