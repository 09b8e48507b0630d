"""Which suites the audit judges, and on which prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from ioi_bench.dictionaries.nulls import standard_null
from ioi_bench.dictionaries.suite import Suite, load_suite, read_header
from ioi_bench.errors import InputError
from ioi_bench.evaluation.data import Capture, read_train, split_of
from ioi_bench.evaluation.inputs import null_seed
from ioi_bench.sites import Site
from ioi_bench.studies.audit.corruptions import CORRUPTIONS, SHARES, corrupt
from ioi_bench.studies.audit.planted import Planted, fit_truths
from ioi_bench.studies.audit.units import About, Bench, Unit
from ioi_bench.task.spec import DRAWN

if TYPE_CHECKING:
    from ioi_bench.dictionaries.architectures import Skyline
    from ioi_bench.dictionary import Dictionary
    from ioi_bench.training.runs import Run

__all__ = ["CHECKPOINTED", "CHECKPOINTS", "PLANTED", "RANDOM", "SUITES", "TRUTH", "Amount", "Plan"]

SUITES, CHECKPOINTS, PLANTED = "suites", "checkpoints", "planted"
"""The parts of an audit."""

RANDOM = "random"
"""The variant of random dictionaries (METHOD §7's standard null), which the audit adds."""

TRUTH = "truth"
"""The planted dictionary that nothing was done to."""

CHECKPOINTED = {"relu": 1.0, "gated": 1.0, "topk": 3.0}
"""Variants whose checkpoints are judged, with the λ or k of the members that are taken."""

_Described = tuple[str, str, int, Callable[[], Suite]]
"""A suite's name, variant and seed, and how it is read or made."""


@dataclass(frozen=True)
class Amount:
    """How much is measured.

    Attributes:
        prompts, train_prompts: of suites and checkpoints; None for all of train.
        splits: how many are drawn for test and retest.
        seeds: how often each corruption is drawn; also how many random suites there are.
        epochs: so many checkpoints, spread over those that the run has.
        planted_prompts, planted_train_prompts: of planted dictionaries.
        shares: of their features, that are spoilt.
    """

    prompts: int = 1000
    train_prompts: int | None = None
    splits: int = 5
    seeds: int = 3
    epochs: int = 6
    planted_prompts: int = 500
    planted_train_prompts: int | None = 5000
    shares: tuple[float, ...] = SHARES

    def __post_init__(self) -> None:
        least = {"prompts": 1, "splits": 2, "seeds": 2, "epochs": 2, "planted_prompts": 1}
        for name, n in least.items():
            if getattr(self, name) < n:
                raise InputError(f"an audit needs {n} or more {name.replace('_', ' ')}, got {getattr(self, name)}")
        if len(set(self.shares)) < 2 or not all(0 < share <= 1 for share in self.shares):
            raise InputError(
                f"the shares {', '.join(map(str, self.shares))} cannot be spoilt: give two or more above 0, at most 1"
            )

    def split(self, i: int) -> str:
        """The name of a split of the audit's own."""
        return f"{DRAWN}audit-{i}"


@dataclass(frozen=True)
class Plan:
    """All suites of an audit.

    Attributes:
        suites: folders of suites, whose metadata say variant and seed.
        run: a training run for the checkpoints; None for none.
    """

    bench: Bench
    suites: tuple[Path, ...]
    run: Run | None
    amount: Amount

    def units(self) -> list[Unit]:
        """Suites, then checkpoints, then planted dictionaries.

        Every suite is judged on the first split, with its draws; the first seed of each variant on the others too.

        Raises:
            InputError: fewer than two variants, or a suite whose metadata do not say variant and seed.
            SuiteError: a folder holds none.
        """
        return [*self._suites(), *self._checkpoints(), *self._planted()]

    def _suites(self) -> Iterator[Unit]:
        given = [_described(path) for path in self.suites]
        variants = dict.fromkeys(variant for _, variant, _, _ in given)
        if len(variants) < 2:
            raise InputError(
                f"an audit compares variants: give suites of two or more, got {', '.join(variants) or 'none'}"
            )
        random: list[_Described] = [
            (f"{RANDOM}-s{i}", RANDOM, i, partial(self._random, i)) for i in range(self.amount.seeds)
        ]
        first = {variant: min(seed for _, v, seed, _ in given if v == variant) for variant in variants}
        for i in range(self.amount.splits):
            for name, variant, seed, make in [*given, *random]:
                if i == 0 or seed == first.get(variant):
                    about = About(SUITES, name, variant, seed, self.amount.split(i))
                    yield Unit(about, make, self.amount.prompts, self.amount.train_prompts, draws=i == 0)

    def _random(self, seed: int) -> Suite:
        train = self._train(self.amount.train_prompts)
        return self._suite(
            f"{RANDOM}-s{seed}",
            {site: standard_null(a, null_seed("audit", seed, site)) for site, a in train.items()},
        )

    def _checkpoints(self) -> Iterator[Unit]:
        if self.run is None:
            return
        epochs, n = self.run.checkpoints, min(self.amount.epochs, len(self.run.checkpoints))
        chosen = sorted({epochs[round(i * (len(epochs) - 1) / max(1, n - 1))] for i in range(n)})
        seed = min(member.seed for member in self.run.members)
        for variant, sparsity in CHECKPOINTED.items():
            members = [m for m in self.run.members if (m.variant, m.sparsity, m.seed) == (variant, sparsity, seed)]
            for epoch in chosen if members else ():
                name = f"{variant}-{sparsity:g}-e{epoch}"
                at = {member.site: partial(self.run.dictionary, member, epoch) for member in members}
                about = About(CHECKPOINTS, name, variant, seed, self.amount.split(0), float(epoch))
                make = partial(self._read, name, at)
                yield Unit(about, make, self.amount.prompts, self.amount.train_prompts)

    def _read(self, name: str, at: Mapping[Site, Callable[[], Dictionary]]) -> Suite:
        sites = {site for cell in self.bench.cells for site in self._sites(cell.cross_section)}
        return self._suite(name, {site: read() for site, read in at.items() if site in sites})

    def _planted(self) -> Iterator[Unit]:
        amount = self.amount
        kinds = [(TRUTH, 0.0, 0)]
        kinds += [(name, s, seed) for name in CORRUPTIONS for s in amount.shares for seed in range(amount.seeds)]
        for corruption, share, seed in kinds:
            about = About(PLANTED, f"{corruption}-{share:g}-s{seed}", corruption, seed, amount.split(0), share)
            yield Unit(about, partial(self._spoilt, about), amount.planted_prompts, amount.planted_train_prompts)

    def _spoilt(self, about: About) -> Suite:
        found: dict[Site, Dictionary] = {}
        for site, truth in self._truths.items():
            planted = Planted.of(truth, null_seed("parts", about.seed, site))
            if about.variant != TRUTH:
                planted = corrupt(planted, about.variant, about.level, null_seed("audit", about.seed, site))
            found[site] = planted
        return self._suite(about.suite, found)

    @cached_property
    def _truths(self) -> Mapping[Site, Skyline]:
        n = self.amount.planted_train_prompts
        return fit_truths(split_of(self.bench.circuit, "train", n), self._train(n))

    def _train(self, prompts: int | None) -> Mapping[Site, Float[Tensor, "prompt d_in"]]:
        bench = self.bench
        capture = Capture(bench.model, 512, bench.cache_dir, bench.progress)
        train = split_of(bench.circuit, "train", prompts)
        return read_train(capture, bench.circuit, bench.cells, train, {}).activations

    def _sites(self, cross_section: str) -> tuple[Site, ...]:
        return self.bench.circuit.cross_sections[cross_section].sites

    def _suite(self, name: str, dictionaries: Mapping[Site, Dictionary]) -> Suite:
        return Suite(name, self.bench.model.name, dictionaries, self.bench.model.sha256)


def _described(path: Path) -> _Described:
    """Of variants with a fixed k the name tells these apart: ``topk-k3``."""
    header = read_header(path)
    variant, seed = header.metadata.get("variant"), header.metadata.get("seed")
    if not isinstance(variant, str) or not isinstance(seed, int):
        raise InputError(
            f"the suite {str(path)!r} does not say of which variant and seed it is (metadata): `ioi-bench select` "
            "writes suites that do"
        )
    ending = f"-s{seed}"
    of = header.name.removesuffix(ending) if header.name.endswith(ending) else variant
    return header.name, of, seed, partial(load_suite, path)
