"""The page of the repository on the Hub, ``README.md``, written from the manifest."""

from __future__ import annotations

from collections.abc import Iterable

from ioi_bench.evaluation.card_records import Figure
from ioi_bench.reference.manifest import Manifest

__all__ = ["model_card"]

_TAGS = ("sparse-autoencoder", "mechanistic-interpretability", "interpretability", "ioi", "ioi-bench")
_CAPTIONS = {
    "accuracy.png": "Accuracy of edits by the number of features that they change",
    "weight.png": "Accuracy of edits against the weight that they remove",
    "topk.png": "Top-k SAEs by k",
    "curves.png": "Training curves",
}
"""The figures that the page shows, where they are there."""


def model_card(manifest: Manifest, repo: str, figures: Iterable[str] = ()) -> str:
    """The text, with its YAML front matter.

    Args:
        manifest: the suites with their scores.
        repo: the repository that the page is for.
        figures: names of the files in its folder ``figures``.
    """
    from huggingface_hub import ModelCardData

    data = ModelCardData(library_name="ioi-bench", license="apache-2.0", tags=list(_TAGS))
    suites = manifest.suites.values()
    example = max(manifest.suites, key=lambda name: next(iter(manifest.suites[name].scores.values())).value or 0.0)
    variants = ", ".join(f"`{variant}`" for variant in sorted({suite.variant for suite in suites}))
    seeds = ", ".join(map(str, sorted({suite.seed for suite in suites})))
    there = set(figures)
    shown = "".join(f"![{caption}](figures/{name})\n\n" for name, caption in _CAPTIONS.items() if name in there)
    models = ", ".join(sorted({suite.model for suite in suites}))
    prompts = " or ".join(sorted({f"{suite.prompts:,}" for suite in suites}))
    return f"""---
{data.to_yaml()}
---

# Reference SAEs of ioi-bench

{len(manifest.suites)} suites of sparse autoencoders on the model {models}: one dictionary for each activation vector
(site) of its circuit for indirect object identification (IOI). ioi-bench trained, selected and scored them.

Variants: {variants}; seeds {seeds}.

## Use

```console
$ pip install ioi-bench
$ ioi-bench reference list
$ ioi-bench reference pull {example} --repo {repo}
$ ioi-bench evaluate hf://{repo}/{manifest.suites[example].path}
```

`pull` checks every file against the sha256 that ioi-bench itself carries, and `ioi-bench reference verify --evaluate`
finds the scores below again. A suite is `suite.json` (architecture, training, how its dictionaries were selected) and
`weights.safetensors`; nothing in it is code.

## Scores

IOI scores on {prompts} test prompts, by edit method, with 95 % intervals (bootstrap over prompts, clustered by pair of
names). 0 is a matched random dictionary, 1 what supervised dictionaries reach. The method is that of
[Makelov, Lange & Nanda 2024](https://arxiv.org/abs/2405.08366).

{_table(manifest)}

{shown}## Limits

Each score is that of these SAEs, trained by one recipe on a small model, and not of what a variant can do.
`manifest.json` has for every suite the hashes of its files, content, recipe, model and task, and what was selected.

Licence: Apache-2.0.
"""


def _table(manifest: Manifest) -> str:
    methods = list(dict.fromkeys(method for suite in manifest.suites.values() for method in suite.scores))
    rows = [
        f"| `{name}` | " + " | ".join(_cell(suite.scores.get(method)) for method in methods) + " |"
        for name, suite in manifest.suites.items()
    ]
    return "\n".join(["| suite | " + " | ".join(methods) + " |", "|---|" + "---|" * len(methods), *rows])


def _cell(score: Figure | None) -> str:
    """
    >>> _cell(Figure(value=0.516, low=0.49, high=0.55)), _cell(None)
    ('0.52 [0.49, 0.55]', '–')
    >>> _cell(Figure(value=-0.001))
    '0.00'
    """
    if score is None or score.value is None:
        return "–"
    value, *ends = (
        None if end is None else f"{round(end, 2) + 0.0:.2f}" for end in (score.value, score.low, score.high)
    )
    return str(value) if None in ends else f"{value} [{', '.join(map(str, ends))}]"
