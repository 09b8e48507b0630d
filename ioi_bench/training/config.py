"""What a training run is told."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ioi_bench.errors import InputError, UnknownNameError
from ioi_bench.sites import Site

__all__ = ["TRAINABLE", "TrainConfig"]

TRAINABLE = ("relu", "gated", "topk")


@dataclass(frozen=True)
class TrainConfig:
    """Settings of METHOD §8, checked when made.

    Attributes:
        architecture: ``relu``, ``gated`` or ``topk``.
        d_sae: features a site.
        lam: weight λ of the sparsity penalty, for all sites or by site; only for relu and gated.
        k: active features; only for topk, which has no penalty.
        epochs: passes over the train prompts.
        batch_size: prompts a step; what is left over at the end of an epoch waits for another epoch's order.
        learning_rate: Adam's, at its height.
        warmup_epochs: epochs in which the learning rate rises linearly from a tenth.
        seed: decides initial weights and batch order.

    Raises:
        InputError: a setting is out of range, missing or without effect.
        UnknownNameError: no such architecture.
    """

    architecture: str
    d_sae: int
    lam: float | Mapping[Site, float] | None = None
    k: int | None = None
    epochs: int = 2000
    batch_size: int = 512
    learning_rate: float = 3e-4
    warmup_epochs: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.architecture not in TRAINABLE:
            raise UnknownNameError("architecture", self.architecture, TRAINABLE)
        for name, least in (("d_sae", 1), ("epochs", 1), ("batch_size", 1), ("warmup_epochs", 0), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise InputError(f"{name} is {value!r}, expected a whole number of at least {least}")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise InputError(f"learning_rate is {self.learning_rate!r}, expected a positive number")
        self._check_sparsity()

    def _check_sparsity(self) -> None:
        if self.architecture == "topk":
            if self.lam is not None:
                raise InputError("topk has no penalty: leave lam out and set k")
            if not isinstance(self.k, int) or not 1 <= self.k <= self.d_sae:
                raise InputError(f"k is {self.k!r}, expected 1 to d_sae = {self.d_sae}")
            return
        if self.k is not None:
            raise InputError(f"{self.architecture} has no k: leave it out and set lam")
        if self.lam is None:
            raise InputError(f"{self.architecture} needs lam, the weight of its sparsity penalty")
        for lam in self.lam.values() if isinstance(self.lam, Mapping) else (self.lam,):
            if not (math.isfinite(lam) and lam >= 0):
                raise InputError(f"lam is {lam!r}, expected a number of at least 0")

    def lam_at(self, site: Site) -> float:
        """λ of one site; 0 for topk.

        Raises:
            InputError: λ is given by site, and not for this one.
        """
        if not isinstance(self.lam, Mapping):
            return self.lam or 0.0
        if site not in self.lam:
            raise InputError(f"lam is given by site, but not for {site}")
        return self.lam[site]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values, for a suite's metadata."""
        values = asdict(self) if not isinstance(self.lam, Mapping) else {**vars(self)}
        if isinstance(self.lam, Mapping):
            values["lam"] = {str(site): lam for site, lam in sorted(self.lam.items(), key=lambda item: str(item[0]))}
        return values
