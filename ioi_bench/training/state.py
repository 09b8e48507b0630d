"""What a training run must keep to go on where it stopped, in one safetensors file.

Batch order and initial weights follow from the seed (and the epoch) alone, so that weights, Adam's two moments and the
number of finished epochs are all there is to keep.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from jaxtyping import Float
from torch import Tensor

from ioi_bench.atomic import storage_errors, write_file
from ioi_bench.errors import InputError

__all__ = ["GroupState", "RunState"]

HEADER_KEY = "ioi_bench_training"


@dataclass(frozen=True)
class GroupState:
    """The sites of one d_in: finished epochs, and flat vectors of weights and Adam's moments."""

    epoch: int
    weights: Float[Tensor, " parameter"]
    first: Float[Tensor, " parameter"]
    second: Float[Tensor, " parameter"]


class RunState:
    """The file and what it holds: a group of sites by its d_in.

    Args:
        path: where it lies; ``None`` keeps nothing.
        identity: what the run must agree on to be continued: settings, sites, hash of the activations.

    Raises:
        InputError: the file is of another run, or is none.
        StorageError: it cannot be read.
    """

    def __init__(self, path: Path | None, identity: dict[str, Any]) -> None:
        self._path, self._identity = path, json.loads(json.dumps(identity))
        self.groups: dict[int, GroupState] = {}
        if path is not None and path.exists():
            self._read(path)

    def _read(self, path: Path) -> None:
        try:
            with storage_errors("read", path), safetensors.safe_open(path, framework="pt") as file:
                header = json.loads((file.metadata() or {})[HEADER_KEY])
                identity, epochs = header["identity"], header["epochs"]
                tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118 (not a mapping)
        except (safetensors.SafetensorError, KeyError, ValueError) as error:
            raise InputError(
                f"{str(path)!r} is no state of a training run: delete it or choose another path"
            ) from error
        different = [key for key, value in self._identity.items() if identity.get(key) != value]
        if different:
            raise InputError(
                f"{str(path)!r} is the state of another run (it differs in: {', '.join(different)}): "
                "delete it to start afresh, or choose another path"
            )
        for d_in, epoch in epochs.items():
            parts = (tensors[f"{d_in}/{name}"] for name in ("weights", "first", "second"))
            self.groups[int(d_in)] = GroupState(epoch, *parts)

    def save(self) -> None:
        """Write the file, whole or not at all; does nothing without a path.

        Raises:
            StorageError: no permission, no space.
        """
        if self._path is None or not self.groups:
            return
        header = {"identity": self._identity, "epochs": {d_in: group.epoch for d_in, group in self.groups.items()}}
        tensors: dict[str, torch.Tensor] = {}
        for d_in, group in self.groups.items():
            tensors |= {f"{d_in}/{name}": getattr(group, name) for name in ("weights", "first", "second")}
        write_file(self._path, safetensors.torch.save(tensors, {HEADER_KEY: json.dumps(header)}))
