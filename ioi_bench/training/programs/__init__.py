"""Variants that can be trained, one file each. To add one: write its file and name its class here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ioi_bench.errors import UnknownNameError
from ioi_bench.training.programs.attribution import AttributionProgram
from ioi_bench.training.programs.base import Batch, Figures, Program
from ioi_bench.training.programs.batchtopk import BatchTopKProgram
from ioi_bench.training.programs.frozen import FrozenDecoderProgram, FrozenEncoderProgram
from ioi_bench.training.programs.gated import GatedProgram
from ioi_bench.training.programs.jumprelu import JumpReluProgram
from ioi_bench.training.programs.matryoshka import MatryoshkaProgram
from ioi_bench.training.programs.panneal import PAnnealProgram
from ioi_bench.training.programs.relu import ReluProgram
from ioi_bench.training.programs.topk import TopKProgram

__all__ = ["PROGRAMS", "Batch", "Figures", "Program", "program"]

_ALL: tuple[type[Program], ...] = (
    ReluProgram,
    GatedProgram,
    TopKProgram,
    AttributionProgram,
    PAnnealProgram,
    FrozenDecoderProgram,
    FrozenEncoderProgram,
    JumpReluProgram,
    BatchTopKProgram,
    MatryoshkaProgram,
)

PROGRAMS: Mapping[str, type[Program]] = MappingProxyType({cls.name: cls for cls in _ALL})


def program(name: str) -> type[Program]:
    """The variant of that name.

    Raises:
        UnknownNameError: there is none.
    """
    if name not in PROGRAMS:
        raise UnknownNameError("variant", name, PROGRAMS)
    return PROGRAMS[name]
