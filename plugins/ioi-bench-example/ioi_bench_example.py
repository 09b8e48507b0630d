"""An architecture: ReLU, and nothing at or below a threshold. Suites may name it; it is scored like any other."""

from dataclasses import dataclass
from types import MappingProxyType

from ioi_bench.dictionaries.architectures import Relu
from ioi_bench.plugins import ArchitectureRecord, hookimpl

IOI_BENCH_API = 1


@dataclass(frozen=True, eq=False, kw_only=True)
class Threshold(Relu):
    name = "threshold"
    settings = MappingProxyType({"scale": float, "threshold": float})
    threshold: float

    def encode(self, x):
        f = super().encode(x)
        return f * (f > self.threshold)


@hookimpl
def ioi_bench_architectures():
    return [ArchitectureRecord("threshold", "ReLU, and nothing at or below a threshold", Threshold)]
