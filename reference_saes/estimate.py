"""Say how long `make reference` will take: training, selecting and judging, less what is done.

``python reference_saes/estimate.py RECIPE RUN``: plans the run where it is not there yet, and trains nothing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ioi_bench.cli.console import cache_folder, duration, progress
from ioi_bench.lm.circuit import load_circuit
from ioi_bench.lm.model import load_model
from ioi_bench.studies.post.estimate import estimate_post
from ioi_bench.training import capture_inputs, estimate, read_recipe

SELECTION = {"selection_prompts": 2000, "selection_train_prompts": 10_000}  # as in the Makefile
PROMPTS = 1000


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("run", type=Path, help="the run's folder")
    given = parser.parse_args()
    recipe = read_recipe(given.recipe)
    model, circuit, cache = load_model(recipe.model), load_circuit(recipe.model), cache_folder()
    with progress() as report:
        inputs = capture_inputs(recipe, model, circuit, cache_dir=cache, progress=report)
        run = inputs.plan(given.run, recipe)
        training = estimate(run, resumed=True)
        found = estimate_post(run, model, circuit, prompts=PROMPTS, **SELECTION, cache_dir=cache, progress=report)
    sys.stderr.write(
        f"training {duration(training)}, selecting {duration(found.candidates.seconds)}, "
        f"judging {duration(found.judging)}: {duration(training + found.seconds)} in all, as measured here\n"
    )


if __name__ == "__main__":
    main()
