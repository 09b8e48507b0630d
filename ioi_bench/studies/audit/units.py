"""Suites judged for the audit, each kept on disk as soon as it is done, so that work which was cut off goes on."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from ioi_bench.atomic import storage_errors, write_file
from ioi_bench.errors import InputError
from ioi_bench.evaluation.card import SCHEMA_VERSION
from ioi_bench.evaluation.data import Capture, Progress, silent, split_of
from ioi_bench.evaluation.evaluate import evaluate
from ioi_bench.evaluation.inputs import Inputs, gather
from ioi_bench.evaluation.provenance import versions
from ioi_bench.evaluation.score import SCORED_BUDGETS, SCORED_METHODS
from ioi_bench.studies.audit.measured import METRICS, figures_of, metric_draws

if TYPE_CHECKING:
    from ioi_bench.dictionaries.suite import Suite
    from ioi_bench.lm.circuit import Circuit
    from ioi_bench.lm.model import LanguageModel
    from ioi_bench.sites import Cell

__all__ = ["About", "Bench", "Judged", "Unit", "code_sha256"]

_JUDGES = ("evaluation", "metrics", "editing", "dictionaries", "lm", "task")
"""The packages that decide a card's figures."""

_SECONDS = 15.0  # an evaluation of 1,000 prompts on one core, where this was written


@dataclass(frozen=True)
class About:
    """What a suite is in the audit.

    Attributes:
        part: ``suites``, ``checkpoints`` or ``planted``.
        suite: its name.
        variant: suites of one variant differ in their seed alone.
        seed: of training, of random directions, or of what was spoilt.
        split: the prompts that it is judged on.
        level: a checkpoint's epoch, or the share that is spoilt.
    """

    part: str
    suite: str
    variant: str
    seed: int
    split: str
    level: float = 0.0


@dataclass(frozen=True)
class Unit:
    """One suite to judge on one split.

    Attributes:
        make: reads or builds it.
        prompts, train_prompts: how many.
        draws: whether the draws over prompts are kept, for paired comparisons.
    """

    about: About
    make: Callable[[], Suite] = field(compare=False)
    prompts: int = 1000
    train_prompts: int | None = None
    draws: bool = False


@dataclass(frozen=True)
class Judged:
    """What became of a unit: figures by the names of `METRICS`, and ``score.CELL``."""

    about: About
    suite_sha256: str
    figures: dict[str, float]
    draws: dict[str, np.ndarray] = field(default_factory=dict, compare=False)


@cache
def code_sha256() -> str:
    """Hash of the code that decides figures, less its comments and docstrings: cards of other code are not reused."""
    root = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for path in sorted(path for package in _JUDGES for path in (root / package).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
                said = body[0].value
                if isinstance(said, ast.Constant) and isinstance(said.value, str):
                    said.value = ""
        digest.update(f"{path.relative_to(root)}\n{ast.dump(tree)}\n".encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class Bench:
    """Where suites are judged: the ranked headline cells of a circuit.

    Attributes:
        keep: where results are kept, a file a unit.
    """

    model: LanguageModel
    circuit: Circuit
    keep: Path
    cache_dir: Path | None = None
    progress: Progress = silent

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """The ranked headline cells.

        Raises:
            InputError: the circuit has none.
        """
        ranked = self.circuit.ranked or {}
        found = tuple(cell for cell in self.circuit.headline if cell in ranked and ranked[cell].ranked)
        if not found:
            raise InputError(
                f"the circuit {self.circuit.track!r} has no ranked cells: `ioi-bench calibrate` finds them"
            )
        return found

    def path(self, unit: Unit, suite: Suite) -> Path:
        """Where a unit's result lies: named by everything that decides it."""
        parts: dict[str, Any] = {
            "suite": suite.sha256,
            "model": self.model.sha256,
            "circuit": self.circuit.sha256,
            "split": [unit.about.split, unit.prompts, unit.train_prompts],
            "edits": [SCORED_METHODS, SCORED_BUDGETS],
            "draws": unit.draws,
            "metrics": list(METRICS),
            "schema": SCHEMA_VERSION,
            "code": code_sha256(),
            "versions": versions(),
        }
        key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        return self.keep / f"{unit.about.suite}-{key[:16]}.npz"

    def estimate(self, units: Sequence[Unit]) -> tuple[int, int, float]:
        """How many evaluations there are, how many are to be made, and about how many seconds these take.

        As those that are kept took; where none is, as they took where this was written.
        """
        kept = [path for path in self._kept(units) if path is not None]
        each = [float(_values(path)["seconds"]) for path in kept]
        left = len(units) - len(kept)
        return len(units), left, left * (sum(each) / len(each) if each else _SECONDS)

    def _kept(self, units: Sequence[Unit]) -> list[Path | None]:
        """The results that lie there, and None for the others.

        A suite is read or made only where a result bears its name: those of random directions and planted features cost
        minutes.
        """
        names = {path.name.rpartition("-")[0] for path in self.keep.glob("*.npz")}
        found: list[Path | None] = []
        for done, unit in enumerate(units, start=1):
            path = self.path(unit, unit.make()) if unit.about.suite in names else None
            found.append(path if path is not None and path.is_file() else None)
            self.progress("kept results looked up", done, len(units))
        return found

    def judge_all(self, units: Sequence[Unit], announce: Callable[[str], None]) -> list[Judged]:
        """Take up what is kept, and judge the rest; units of one split are judged together.

        Raises:
            StorageError: a result cannot be written.
        """
        ready = [path is not None for path in self._kept(units)]
        left = ready.count(False)
        said = f"{len(units)} evaluations: {len(units) - left} are kept from before, {left} are to be made"
        announce(f"{said}, {_minutes(left * _SECONDS)} on one core" if left else said)
        groups: dict[tuple[str, int, int | None], list[int]] = {}
        for i, unit in enumerate(units):
            groups.setdefault((unit.about.split, unit.prompts, unit.train_prompts), []).append(i)
        found: dict[int, Judged] = {}
        done, started = 0, time.perf_counter()
        for (split, prompts, train_prompts), some in groups.items():
            inputs = None
            if not all(ready[i] for i in some):
                inputs = self._gather(split, prompts, train_prompts)
            for i in some:
                found[i] = self._judged(units[i], inputs)
                if not ready[i]:
                    done += 1
                    self.progress("evaluations", done, left)
                    if done == 1 and left > 1:
                        announce(_remaining(time.perf_counter() - started, left - 1))
        return [found[i] for i in range(len(units))]

    def _gather(self, split: str, prompts: int, train_prompts: int | None) -> Inputs:
        judged, train = split_of(self.circuit, split, prompts), split_of(self.circuit, "train", train_prompts)
        capture = Capture(self.model, 512, self.cache_dir, self.progress)
        return gather(capture, self.circuit, judged, train, mse=False, cells=self.cells)

    def _judged(self, unit: Unit, inputs: Inputs | None) -> Judged:
        suite = unit.make()
        path = self.path(unit, suite)
        if path.is_file():
            return _read(path, unit.about, suite.sha256)
        assert inputs is not None, "what is not kept has its inputs gathered"
        started = time.perf_counter()
        with TemporaryDirectory() as scratch:
            card = evaluate(
                suite,
                model=self.model,
                circuit=self.circuit,
                split=unit.about.split,
                prompts=unit.prompts,
                train_prompts=unit.train_prompts,
                budgets=SCORED_BUDGETS,
                methods=SCORED_METHODS,
                inputs=inputs,
                preflight=False,  # what is spoilt on purpose must be judged too
                out=scratch if unit.draws else None,
            )
            draws = metric_draws(Path(scratch), card, self.circuit, inputs.data.split) if unit.draws else {}
        _write(path, Judged(unit.about, suite.sha256, figures_of(card), draws), time.perf_counter() - started)
        return _read(path, unit.about, suite.sha256)  # what is taken up again is what was taken first


def _remaining(seconds: float, left: int) -> str:
    return f"{seconds:.1f} s an evaluation: {_minutes(seconds * left)} for the rest"


def _minutes(seconds: float) -> str:
    return "less than a minute" if seconds < 60 else f"about {seconds / 60:.0f} min"


def _write(path: Path, judged: Judged, seconds: float) -> None:
    buffer = io.BytesIO()
    figures = {f"figure {name}": np.float64(value) for name, value in judged.figures.items()}
    draws = {f"draws {name}": values for name, values in judged.draws.items()}
    np.savez_compressed(buffer, seconds=np.float64(seconds), **figures, **draws)  # type: ignore[arg-type]
    with storage_errors("write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, buffer.getvalue())


def _read(path: Path, about: About, suite_sha256: str) -> Judged:
    values = _values(path)
    figures = {name[len("figure ") :]: float(one) for name, one in values.items() if name.startswith("figure ")}
    draws = {name[len("draws ") :]: one for name, one in values.items() if name.startswith("draws ")}
    return Judged(about, suite_sha256, figures, draws)


def _values(path: Path) -> dict[str, np.ndarray]:
    try:
        with storage_errors("read", path):
            data = path.read_bytes()
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{str(path)!r} is damaged ({error}): delete it, and it is made again") from error
