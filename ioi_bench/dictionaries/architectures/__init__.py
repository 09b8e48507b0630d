"""The built-in architectures, one file each. To add one: write its file and name its class here (or write a plugin)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ioi_bench.dictionaries.architectures.base import Architecture
from ioi_bench.dictionaries.architectures.gated import Gated
from ioi_bench.dictionaries.architectures.jumprelu import JumpRelu
from ioi_bench.dictionaries.architectures.relu import Relu
from ioi_bench.dictionaries.architectures.skyline import Skyline
from ioi_bench.dictionaries.architectures.topk import TopK
from ioi_bench.errors import UnknownNameError

__all__ = ["ARCHITECTURES", "Architecture", "Gated", "JumpRelu", "Relu", "Skyline", "TopK", "architecture"]

ARCHITECTURES: Mapping[str, type[Architecture]] = MappingProxyType(
    {cls.name: cls for cls in (Relu, Gated, TopK, Skyline, JumpRelu)}
)


def architecture(name: str, known: Mapping[str, type[Architecture]] = ARCHITECTURES) -> type[Architecture]:
    """The class of that name, among these.

    Raises:
        UnknownNameError: there is none.
    """
    if name not in known:
        raise UnknownNameError("architecture", name, known)
    return known[name]
