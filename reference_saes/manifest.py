"""Write `manifest.json`: what the reference suites are, and the sha256 of every file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from ioi_bench.dictionaries.suite import load_suite

HERE = Path(__file__).parent


def describe(folder: Path) -> dict[str, object]:
    """One suite: its hashes and its training."""
    suite = load_suite(folder)
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return {
        "path": folder.relative_to(HERE).as_posix(),
        "model": suite.model,
        "model_sha256": suite.model_sha256,
        "spec_sha256": suite.metadata["spec_sha256"],
        "suite_sha256": suite.sha256,
        "training": suite.metadata["training"],
        "files": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files},
    }


def manifest() -> dict[str, object]:
    """All suites by name."""
    folders = sorted(path.parent for path in HERE.glob("*/*/suite.json"))
    return {"schema_version": 1, "suites": {folder.name: describe(folder) for folder in folders}}


if __name__ == "__main__":
    (HERE / "manifest.json").write_text(json.dumps(manifest(), indent=2) + "\n")
