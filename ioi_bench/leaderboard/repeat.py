"""A card's evaluation done again, from what the card says of how it was made.

Nothing of the card is trusted: names are looked up among what is known here, numbers are bounded before the work, and a
model is never read from a path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ioi_bench.dictionaries.architectures import Architecture
from ioi_bench.errors import InputError
from ioi_bench.evaluation.card import Card, Made
from ioi_bench.evaluation.fresh import asked_afresh, memorised
from ioi_bench.leaderboard.records import Check
from ioi_bench.plugins.records import LoadOptions, ModelRecord

if TYPE_CHECKING:
    from ioi_bench.dictionaries.source import Source
    from ioi_bench.evaluation.data import Progress
    from ioi_bench.plugins.loading import Loaded
    from ioi_bench.plugins.manager import Plugins

__all__ = [
    "Repeated",
    "compare_fresh",
    "compare_made",
    "is_weighed",
    "load_options",
    "repeat",
    "require_repeatable",
]

MAX_BUDGET = 64
_NO_PREFLIGHT = ("preflight", "no")
_SET = "set "
_MADE = (
    "scoring",
    "spec",
    "spec_sha256",
    "model",
    "model_sha256",
    "circuit",
    "circuit_sha256",
    "suite",
    "architectures",
    "options",
    "plugins",
    "split",
    "n_prompts",
    "n_train_prompts",
    "full_train",
    "budgets",
    "methods",
    "seed",
    "n_draws",
)
"""What must be the same on both cards; the suite's hash is compared apart, time, versions and hardware not at all."""


def load_options(made: Made) -> LoadOptions:
    """What was said of the source, read back from the card's ``options``.

    Raises:
        InputError: an option that this version does not know.
    """
    from ioi_bench.plugins.loading import SQRT_D
    from ioi_bench.sites import HookPoint

    said = dict(item for item in made.options.items() if item != _NO_PREFLIGHT)
    settings = {key.removeprefix(_SET): said.pop(key) for key in list(said) if key.startswith(_SET)}
    hook, arch, scale = (said.pop(key, None) for key in ("hook", "arch", "scale"))
    if said:
        raise InputError(f"the card's options {', '.join(sorted(said))} are none that can be given again")
    try:
        factor = scale if scale in (None, SQRT_D) else float(scale)
    except ValueError:
        raise InputError(f"the card's scale is {scale!r}, expected a number or {SQRT_D}") from None
    return LoadOptions(
        hook=None if hook is None else HookPoint.parse(hook),
        arch=arch,
        scale=factor,
        model=made.model,
        settings=settings,
    )


def require_repeatable(made: Made, plugins: Plugins) -> None:
    """Refuse before the work what would take for ever, or a model that is none of those known here.

    Raises:
        InputError: the settings make no sense; `UnknownNameError` among them.
    """
    plugins.find(ModelRecord, made.model)
    if max(made.budgets, default=0) > MAX_BUDGET:
        raise InputError(f"the budgets are {list(made.budgets)}: at most {MAX_BUDGET} features are tried")


@dataclass(frozen=True)
class Repeated:
    """What evaluating again has found.

    Attributes:
        weighed: the suite's hash is of its weights, bit by bit. Of dictionaries of no known architecture, and of such
            as are scaled by what activations are, it is of what they do to fixed inputs: the last bits of that differ
            between machines.
        fresh: judges the suite once more, on prompts drawn from that hash; empty where no cell of the card is ranked.
    """

    card: Card
    weighed: bool
    fresh: Callable[[], Card] | None = None


def repeat(
    source: Source, card: Card, plugins: Plugins, folder: Path, *, cache_dir: Path | None, progress: Progress | None
) -> Repeated:
    """Load the source as the card says and evaluate it as the card says, on the CPU.

    Args:
        source: the weights.
        card: whose settings are taken; it has passed `check_card`.
        plugins: all that may take part.
        folder: for the new card and its ``prompts.parquet``.

    Raises:
        InputError: the settings, or what is read by them, cannot be evaluated.
        ModelUnavailableError: the model is not here and cannot be fetched now.
        StorageError: the folder cannot be written.
    """
    from ioi_bench.evaluation.evaluate import evaluate
    from ioi_bench.plugins.loading import load_source

    made = card.made
    require_repeatable(made, plugins)
    options = load_options(made)
    loaded = load_source(source, options, made.loader, plugins=plugins)
    judge = partial(
        evaluate,
        loaded,
        options=options,
        model=made.model,
        track="hook" if "/" in card.track else "circuit",
        prompts=made.n_prompts,
        train_prompts=None if made.full_train else made.n_train_prompts,
        plugins=plugins,
        seed=made.seed,
        cache_dir=cache_dir,
        progress=progress,
    )
    again = judge(
        cells=[cell.name for cell in card.cells],
        split=made.split,
        budgets=made.budgets,
        methods=made.methods,
        preflight=_NO_PREFLIGHT not in made.options.items(),
        out=folder,
    )
    asked = asked_afresh(again)
    fresh = partial(judge, **asked, preflight=False) if asked["cells"] else None
    return Repeated(again, is_weighed(loaded, options), fresh)


def is_weighed(loaded: Loaded, options: LoadOptions) -> bool:
    """Whether the suite's hash is of its weights, bit by bit (`Repeated`)."""
    from ioi_bench.plugins.loading import SQRT_D

    return options.scale != SQRT_D and all(isinstance(one, Architecture) for one in loaded.suite.dictionaries.values())


def compare_made(given: Card, again: Repeated) -> Iterator[Check]:
    """Whether both cards speak of the same suite, task, circuit and settings."""
    found = again.card
    ours, theirs = found.made.suite_sha256, given.made.suite_sha256
    if ours == theirs:
        yield Check(name="suite hash", passed=True, detail=f"{ours[:12]}…, as on the card")
    elif again.weighed:
        detail = f"the card says {theirs[:12]}…, the weights have {ours[:12]}…"
        yield Check(name="suite hash", passed=False, detail=detail)
    else:
        detail = (
            f"{ours} here, {theirs} on the card: it is of behaviour, of which last bits differ between machines, which "
            "refutes nothing; the same weights may stand under another hash already"
        )
        yield Check(name="suite hash", passed=True, detail=detail)
    a, b = ({name: getattr(card.made, name) for name in _MADE} | {"track": card.track} for card in (given, found))
    apart = [f"{name}: {_short(a[name])} on the card, {_short(b[name])} found" for name in a if a[name] != b[name]]
    if given.made.loader not in (None, found.made.loader):
        apart.append(f"loader: {given.made.loader} on the card, {found.made.loader} found")
    yield Check(name="settings", passed=not apart, detail="; ".join(apart) or f"{_told(found.made)}, as on the card")


def compare_fresh(again: Repeated) -> Check:
    """Whether the suite is as good on prompts that nobody could know before its weights were fixed."""
    name = "fresh prompts"
    if again.fresh is None:
        return Check(name=name, passed=True, detail="no cell is ranked: there is no score to compare")
    fresh = again.fresh()
    if told := memorised(again.card, fresh):
        detail = f"better on prompts that it could know than on those drawn from its own hash: {told}"
        return Check(name=name, passed=False, detail=detail)
    scores = [
        f"{method} {found.score.value:.3f} and {other.score.value:.3f}"
        for method, found in again.card.headline.items()
        if (other := fresh.headline.get(method)) and found.score.value is not None and other.score.value is not None
    ]
    return Check(name=name, passed=True, detail=f"on {fresh.made.n_prompts:,} of them as on test: {', '.join(scores)}")


def _told(made: Made) -> str:
    methods, budgets = ", ".join(made.methods), ", ".join(map(str, made.budgets))
    return f"{made.spec} on {made.model}: {made.n_prompts:,} {made.split} prompts, {methods} at {budgets}"


def _short(value: object) -> str:
    if isinstance(value, Mapping):
        value = ", ".join(f"{key} {one}" for key, one in value.items()) or "none"
    text = str(value)
    return text if len(text) <= 60 else text[:59] + "…"
