"""Write `manifest.json` and the table of README.md: what the reference suites are, their hashes and scores.

``python reference_saes/manifest.py [--cards FOLDER …]``: a card of 1,000 test prompts that lies under one of the
folders is used; suites without one are evaluated, and their cards kept in ``runs/reference-cards``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ioi_bench import evaluate
from ioi_bench.cli.console import cache_folder, figure
from ioi_bench.dictionaries.suite import load_suite
from ioi_bench.reference.manifest import MANIFEST, Manifest, ReferenceSuite
from ioi_bench.training import make_recipe

HERE = Path(__file__).parent
CARDS = HERE.parent / "runs" / "reference-cards"
PROMPTS, TRAIN = 1000, 20_000
METHODS = ("exchange", "aware", "universal")


def stored(folders: list[Path]) -> Iterator[dict[str, Any]]:
    """Cards that are there already, of the whole test and all methods."""
    for folder in folders:
        for path in sorted(folder.rglob("card.json")):
            card = json.loads(path.read_text())
            made = card["made"]
            if (made["split"], made["n_prompts"], made["n_train_prompts"]) == ("test", PROMPTS, TRAIN) and set(
                METHODS
            ) <= set(card["headline"]):
                yield card


def card_of(folder: Path, cards: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The suite's card: one that is there, or a new one."""
    sha256 = load_suite(folder).sha256
    if sha256 not in cards:
        sys.stderr.write(f"evaluating {folder.name}\n")
        evaluate(folder, prompts=PROMPTS, cache_dir=cache_folder(), out=CARDS / folder.name)
        cards[sha256] = json.loads((CARDS / folder.name / "card.json").read_text())
    return cards[sha256]


def describe(folder: Path, cards: dict[str, dict[str, Any]]) -> ReferenceSuite:
    """One suite: what made it, its hashes, its scores."""
    suite = load_suite(folder)
    files = sorted(path for path in folder.iterdir() if path.is_file())
    card, made = card_of(folder, cards), dict(suite.metadata)
    selection = made["selection"]
    chosen = {
        site: {key: one[key] for key in ("sparsity", "epoch", "distance")} for site, one in selection["chosen"].items()
    }
    return ReferenceSuite.model_validate(
        {
            "path": folder.relative_to(HERE).as_posix(),
            "variant": made["variant"],
            "seed": made["seed"],
            "model": suite.model,
            "model_sha256": suite.model_sha256,
            "spec_sha256": made["provenance"]["spec_sha256"],
            "suite_sha256": suite.sha256,
            "recipe_sha256": make_recipe(made["training"], folder.name).sha256,
            "selection": {
                **{key: selection[key] for key in ("split", "method", "attribute", "budget", "prompts")},
                "chosen": chosen,
            },
            "prompts": PROMPTS,
            "scores": {method: card["headline"][method]["score"] for method in METHODS},
            "files": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files},
        }
    )


def manifest(cards: dict[str, dict[str, Any]]) -> Manifest:
    """All suites by name."""
    folders = sorted(path.parent for path in HERE.glob("*/*/suite.json"))
    return Manifest(suites={folder.name: describe(folder, cards) for folder in folders})


def table(found: Manifest) -> str:
    """The suites with their scores, as README.md shows them."""

    rows = [
        f"| `{name}` | " + " | ".join(figure(suite.scores[method]) for method in METHODS) + " |"
        for name, suite in found.suites.items()
    ]
    return "\n".join(["| suite | " + " | ".join(METHODS) + " |", "|---|" + "---|" * len(METHODS), *rows])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cards", type=Path, nargs="*", default=[], help="folders with cards that are there already")
    folders = [CARDS, *parser.parse_args().cards]
    found = manifest({card["made"]["suite_sha256"]: card for card in stored(folders)})
    found.write(HERE / MANIFEST)
    page = HERE / "README.md"
    marks = re.compile(r"(?<=<!-- scores -->\n).*?(?=<!-- /scores -->)", re.DOTALL)
    page.write_text(marks.sub(lambda _: table(found) + "\n", page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
