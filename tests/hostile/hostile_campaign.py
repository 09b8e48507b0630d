"""One input after the other: mutated, laid out, read and watched."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from hostile_files import Entry, Files, Link, Sparse, write_files
from hostile_mutations import mutate
from hostile_targets import Target
from hostile_watch import Outside, Seen, watch


@dataclass
class Figures:
    """What a campaign saw: inputs, how many were refused, the most memory and time one took, faults with inputs."""

    inputs: int = 0
    refused: int = 0
    held: int = 0
    took: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    examples: dict[str, tuple[int, Files]] = field(default_factory=dict)

    def add(self, seen: Seen, key: int, files: Files) -> None:
        """Count one input."""
        self.inputs += 1
        self.refused += seen.error is not None
        self.held, self.took = max(self.held, seen.held), max(self.took, seen.took)
        for fault in seen.faults:
            short = fault[:160]
            self.faults[short] += 1
            self.examples.setdefault(short, (key, files))


class Bench:
    """A place on the disk where inputs of one target are laid out and read."""

    def __init__(self, target: Target, place: Path) -> None:
        self.target, self.place = target, place
        self.seeds = list(target.seeds())
        self.canary = place / "it-ran"
        secrets = {name.rpartition("/")[2]: data for files in self.seeds for name, data in files.items()}
        write_files({**secrets, "secret": b"{}"}, place / "outside", place)
        self.outside = Outside(place / "outside")
        self._count = 0
        for files in self.seeds:  # imports happen here, and a seed that is not valid is a mistake of ours
            seen = self.read(files)
            if seen.error is not None:
                raise AssertionError(f"a valid input of {target.name} was refused: {seen.error}")

    def mutated(self, rng: Random) -> Files:
        """A hostile input."""
        files = rng.choice(self.seeds)
        chosen = {name: entry for name, entry in files.items() if name.endswith(self.target.only)}
        kept = {name: entry for name, entry in files.items() if name not in chosen}
        changed = mutate(chosen, rng, self.canary)
        if self.target.named:
            changed = {name: entry for name, entry in changed.items() if not _leads_outside(entry)}
        return kept | changed

    def read(self, files: Files) -> Seen:
        """Lay an input out, read it, clean up."""
        self._count += 1
        folder = self.place / f"input-{self._count}" / "in"
        outside = folder.parent / "outside"
        write_files(files, folder, self.outside.folder)
        outside.symlink_to(self.outside.folder)  # what ../outside leads to
        reserve = not any(isinstance(entry, Sparse) for entry in files.values())
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                target = self.target
                return watch(target.read, folder, self.outside, self.canary, reserve=reserve, writes=target.writes)
        finally:
            shutil.rmtree(folder.parent)


def _leads_outside(entry: Entry) -> bool:
    return isinstance(entry, Link) and not entry.target.startswith("/dev/")


@contextlib.contextmanager
def bench(target: Target) -> Iterator[Bench]:
    """A bench in a folder of its own."""
    place = Path(tempfile.mkdtemp(prefix=f"hostile-{target.name}-"))
    try:
        yield Bench(target, place)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def run(target: Target, inputs: int, seed: int) -> Figures:
    """A campaign of so many inputs, each from a seed of its own."""
    figures = Figures()
    with bench(target) as one:
        for i in range(inputs):
            key = seed + i
            files = one.mutated(Random(f"{target.name} {key}"))
            figures.add(one.read(files), key, files)
    return figures
