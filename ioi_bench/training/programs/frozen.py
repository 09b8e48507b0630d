"""Controls that learn only in part (Korznikov et al. 2026, arXiv 2602.14111, *Sanity Checks for SAEs*, §4.1).

*Frozen decoder*: the decoder's rows are drawn at random and stay; encoder and offsets learn. *Frozen encoder*: the
encoder's directions stay; its bias ("the activation threshold" in the paper), the decoder and ``b_dec`` learn. An SAE
that is no better than these has not earned its directions. The paper's third control, the soft-frozen decoder, is not
here.

The paper freezes parts of batch-top-k, jumprelu and relu SAEs, with batch-top-k in its main comparison. Ours are parts
of the top-k SAE, which is compared at equal k without a threshold to be fitted: compare them with ``topk``. Both start
as every program does, the encoder being the decoder's transpose. ``b_dec`` learns in both with its whole gradient,
also through the inputs ``x − b_dec`` of a frozen encoder: that moves all pre-activations as a bias would. Dead features
stay dead: to start again, one would need new directions.
"""

from __future__ import annotations

from typing import ClassVar

from ioi_bench.training.programs.topk import TopKProgram

__all__ = ["FrozenDecoderProgram", "FrozenEncoderProgram"]


class FrozenDecoderProgram(TopKProgram):
    """A top-k SAE whose directions are random."""

    name: ClassVar[str] = "frozen-decoder"
    frozen: ClassVar[tuple[str, ...]] = ("decoder",)


class FrozenEncoderProgram(TopKProgram):
    """A top-k SAE whose features respond to random directions."""

    name: ClassVar[str] = "frozen-encoder"
    frozen: ClassVar[tuple[str, ...]] = ("W_enc",)
