"""Made-up suites with their manifest, and a Hub that holds what a test puts there."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from ioi_bench.hub.snapshot import Snapshot
from ioi_bench.reference.manifest import Manifest

SCORE = {"value": 0.5, "low": 0.25, "high": 0.75, "direction": "higher"}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def record(name: str, files: dict[str, bytes], /, **changes) -> dict:
    """What a manifest says of a suite."""
    selection = {"split": "validation", "method": "exchange", "attribute": "io", "budget": 2, "prompts": 10}
    chosen = {"z.4.0@end": {"sparsity": 3.0, "epoch": 4, "distance": 1.5}}
    return {
        "path": f"mini/{name}",
        "variant": name.rpartition("-s")[0],
        "seed": int(name[-1]),
        "model": "ioi-mini",
        **{f"{what}_sha256": "1" * 64 for what in ("model", "spec", "suite", "recipe")},
        "selection": {**selection, "chosen": chosen},
        "prompts": 1000,
        "scores": {"exchange": SCORE, "aware": SCORE},
        "files": {file: sha256(data) for file, data in files.items()},
        **changes,
    }


def content(name: str, word: str = "") -> dict[str, bytes]:
    """The files of a made-up suite; another word makes another version of it."""
    header = {"name": name, "metadata": {"selection": {"chosen": {"a": {"l0": 2.0}, "b": {"l0": 4.0}}}}}
    return {"suite.json": json.dumps(header).encode(), "weights.safetensors": f"weights of {name} {word}".encode()}


def shelf(folder: Path, suites: dict[str, dict[str, bytes]]) -> Path:
    """A folder of suites with their manifest."""
    records = {name: record(name, files) for name, files in suites.items()}
    for name, files in suites.items():
        (folder / "mini" / name).mkdir(parents=True)
        for file, data in files.items():
            (folder / "mini" / name / file).write_bytes(data)
    Manifest.model_validate({"suites": records}).write(folder / "manifest.json")
    return folder


def names_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@dataclass
class FakeHub:
    """Stands for `ioi_bench.hub.snapshot.snapshot`: a cache of links to blobs, filled from ``files``.

    Attributes:
        files: by path, what the repository holds.
        silent: an error that it raises where the cache cannot serve; then it serves from the cache.
        asked: revision and patterns of every call.
    """

    cache: Path
    files: dict[str, bytes] = field(default_factory=dict)
    commit: str = "c" * 40
    silent: Exception | None = None
    asked: list[tuple[str, list[str]]] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)

    def __call__(self, repo, *, kind, revision="main", patterns=None, progress=None):  # noqa: ARG002 (the signature of the real one)
        assert (repo, kind) == ("org/saes", "model")
        self.asked.append((revision, list(patterns)))
        folder = self.cache / "snapshots" / self.commit
        wanted = [path for path in self.files if any(fnmatchcase(path, pattern) for pattern in patterns)]
        if self.silent is not None:
            if not all((folder / path).is_file() for path in wanted):
                raise self.silent
            return Snapshot(folder, self.commit, from_cache=True)
        for path in wanted:
            if not (folder / path).exists():
                self.fetched.append(path)
                self._link(folder / path, self.files[path])
        return Snapshot(folder, self.commit, from_cache=False)

    def _link(self, path: Path, data: bytes) -> None:
        blob = self.cache / "blobs" / sha256(data)
        path.parent.mkdir(parents=True, exist_ok=True)
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(data)
        path.unlink(missing_ok=True)
        path.symlink_to(blob)

    def blob(self, path: str) -> Path:
        """Where the cache keeps the content of a file."""
        return (self.cache / "snapshots" / self.commit / path).resolve()
