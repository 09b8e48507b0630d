"""What a card was made on: package versions and hardware."""

from __future__ import annotations

import os
import platform
from importlib import metadata

import torch

__all__ = ["hardware", "versions"]

_PACKAGES = ("ioi-bench", "torch", "transformer-lens", "transformers", "numpy")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that figures may depend on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def hardware(device: torch.device) -> dict[str, str]:
    """The machine: what bounds the speed and may change the last bits."""
    found = {
        "system": platform.system(),
        "machine": platform.machine(),
        "cpus": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
    }
    if device.type == "cuda":
        found["gpu"] = torch.cuda.get_device_name(device)
    return found
