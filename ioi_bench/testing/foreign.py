"""Sources that are nobody's dictionary: what a loader meets when a user points it at the wrong thing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

__all__ = ["foreign_sources"]

_SUFFIXES = (".safetensors", ".pt", ".npz", ".json", ".bin")


def foreign_sources(folder: Path) -> dict[str, Path]:
    """Write them below a folder.

    Returns:
        what each is, in words, and where it lies.
    """
    noise = np.random.default_rng(0).bytes(4096)
    numbers = np.arange(6.0).reshape(2, 3)
    contents: dict[str, dict[str, bytes]] = {
        "an empty folder": {},
        "a folder of random bytes": {f"noise{suffix}": noise for suffix in ("", *_SUFFIXES)},
        "a folder of other JSON": {"config.json": b'{"colour": "green"}', "data.json": b"[1, 2, 3]"},
        "a folder of deeply nested JSON": {"config.json": json.dumps({"model": {"sizes": [{"a": None}]}}).encode()},
        "a folder with a text file": {"README.md": "# Notes\n\nÜber nichts.\n".encode()},
        "a folder of empty files": dict.fromkeys(("config.json", "weights.safetensors", "weights.pt"), b""),
        "a language model's safetensors": {
            "config.json": b'{"model_type": "gpt2", "n_layer": 1, "n_embd": 3}',
            "model.safetensors": safetensors.torch.save({"h.0.attn.c_attn.weight": torch.zeros(3, 9)}),
        },
    }
    found = {}
    for i, (what, files) in enumerate(contents.items()):
        place = folder / str(i)
        place.mkdir(parents=True)
        for name, data in files.items():
            (place / name).write_bytes(data)
        found[what] = place
    found["a folder with somebody's arrays"] = folder / "arrays"
    (folder / "arrays").mkdir()
    np.savez(folder / "arrays" / "arrays.npz", measurements=numbers)
    torch.save({"optimizer": {"lr": 0.1}, "step": 3}, folder / "arrays" / "state.pt")
    found["a file of somebody's tensors"] = folder / "tensors.safetensors"
    safetensors.torch.save_file({"measurements": torch.zeros(2, 3)}, folder / "tensors.safetensors")
    for suffix in _SUFFIXES:
        file = folder / f"single{suffix}"
        file.write_bytes(noise)
        found[f"a file {file.name} of random bytes"] = file
    return found
