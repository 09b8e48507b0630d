"""Judges the animals by the real `evaluate`, and writes what it found into docs/trust.md.

``python tests/red_team/keeper.py`` judges them all and writes the table anew.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from zoo import METHODS, Animal, Knowledge

from ioi_bench.dictionaries.suite import Suite
from ioi_bench.errors import DictionaryError
from ioi_bench.evaluation.card import Card
from ioi_bench.evaluation.data import Capture, silent, split_of
from ioi_bench.evaluation.evaluate import evaluate
from ioi_bench.evaluation.fresh import fresh_split, memorised
from ioi_bench.evaluation.inputs import Inputs, gather
from ioi_bench.lm.circuit import load_circuit
from ioi_bench.lm.model import load_model
from ioi_bench.sites import Cell

__all__ = ["ANIMALS", "Keeper", "Seen", "row", "rows_of"]

PROMPTS, TRAIN_PROMPTS, BUDGETS = 300, 2000, (1, 2, 4)
PAGE = Path(__file__).parents[2] / "docs" / "trust.md"
_BEGIN, _END = "<!-- zoo: written by tests/red_team/keeper.py -->", "<!-- /zoo -->"


def _animals() -> Iterator[tuple[str, Animal]]:
    for path in sorted(Path(__file__).parent.glob("*.py")):
        animal = getattr(import_module(path.stem), "ANIMAL", None) if _is_animal(path) else None
        if animal is not None:
            yield path.stem, animal


def _is_animal(path: Path) -> bool:
    return "ANIMAL = Animal(" in path.read_text(encoding="utf-8") and path.stem != "keeper"


ANIMALS: dict[str, Animal] = dict(_animals())
"""By the name of the file."""


@dataclass(frozen=True)
class Seen:
    """What became of an animal.

    Attributes:
        error: why it was refused, if it was.
        scores: IOI score by method.
        fresh: the same on prompts that it could not know; empty for those that know none.
        warnings: codes of the card's warnings.
        memorised: what the check of fresh prompts says; empty if nothing.
    """

    error: str = ""
    scores: dict[str, float] | None = None
    fresh: dict[str, float] | None = None
    warnings: tuple[str, ...] = ()
    memorised: str = ""


@dataclass(frozen=True)
class Keeper:
    """Everything that animals are judged on."""

    inputs: Inputs

    @classmethod
    def at_work(cls) -> Keeper:
        return cls(_gathered("test", _ranked()))

    def judge(self, animal: Animal) -> Seen:
        knowledge = Knowledge(self.inputs)
        made = {site: animal.make(knowledge, site) for site in self.inputs.sites_of(self.inputs.cells)}
        suite = Suite(animal.name, "ioi-mini", made)
        methods = tuple(animal.predicted) or ("exchange",)
        try:
            card = _card(suite, self.inputs, "test", methods)
        except DictionaryError as error:
            return Seen(error=str(error))
        seen = Seen(scores=_scores(card), warnings=tuple(warning.code for warning in card.warnings))
        if animal.caught != "memorised":
            return seen
        split = fresh_split(suite.sha256)
        fresh = _card(suite, _gathered(split, self.inputs.cells), split, methods)
        return Seen(seen.error, seen.scores, _scores(fresh), seen.warnings, memorised(card, fresh))


def _ranked() -> tuple[Cell, ...]:
    circuit = load_circuit("ioi-mini")
    assert circuit.ranked is not None
    return tuple(cell for cell in circuit.headline if circuit.ranked[cell].ranked)


def _gathered(split: str, cells: tuple[Cell, ...]) -> Inputs:
    circuit = load_circuit("ioi-mini")
    judged, train = split_of(circuit, split, PROMPTS), split_of(circuit, "train", TRAIN_PROMPTS)
    return gather(Capture(load_model("ioi-mini"), 512, None, silent), circuit, judged, train, mse=False, cells=cells)


def _card(suite: Suite, inputs: Inputs, split: str, methods: tuple[str, ...]) -> Card:
    return evaluate(
        suite,
        model=inputs.model,
        circuit=inputs.circuit,
        split=split,
        prompts=PROMPTS,
        train_prompts=TRAIN_PROMPTS,
        budgets=BUDGETS,
        methods=methods,
        inputs=inputs,
        preflight=False,
    )


def _scores(card: Card) -> dict[str, float]:
    return {method: found.score.value for method, found in card.headline.items() if found.score.value is not None}


def row(name: str, animal: Animal, seen: Seen) -> str:
    """A line of the table in docs/trust.md."""
    found = (seen.error and "refused") or _told(seen.scores)
    if seen.fresh:
        found += f"; fresh prompts {_told(seen.fresh)}"
    caught = {
        "score": "its score",
        "refused": f"an error: “{animal.says}”",
        "memorised": "fresh prompts",
        "flagged": f"the warning `{animal.says}`",
        "rules": "no number: see below",
    }
    cells = (
        f"[{animal.name}](../tests/red_team/{name}.py)",
        animal.idea,
        _told(animal.predicted) or "refused",
        _told(animal.bound) or "–",
        found,
        caught[animal.caught],
    )
    return f"| {' | '.join(cells)} |"


def _told(scores: dict[str, float] | None) -> str:
    return " / ".join(f"{scores[method]:.2f}" for method in METHODS if method in scores) if scores else ""


def rows_of(page: str) -> dict[str, str]:
    """The lines of the table by the name of the file."""
    table = page.partition(_BEGIN)[2].partition(_END)[0]
    return {match[1]: line for line in table.splitlines() if (match := re.search(r"red_team/(\w+)\.py", line))}


def _write(rows: list[str]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    head = "| adversary | its idea | predicted | bound | measured | caught by |\n|---|---|---|---|---|---|"
    before, _, rest = page.partition(_BEGIN)
    table = "\n".join([_BEGIN, head, *rows, _END])
    PAGE.write_text(before + table + rest.partition(_END)[2], encoding="utf-8")


if __name__ == "__main__":
    keeper = Keeper.at_work()
    found = []
    for name, animal in ANIMALS.items():
        found.append(row(name, animal, keeper.judge(animal)))
        sys.stderr.write(found[-1] + "\n")
    _write(found)
