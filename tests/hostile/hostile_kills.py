"""kill -9 at random moments: what a killed process has left behind is gone on with, to the same bytes.

Each trial is a process of its own (forked from one that has imported everything, so that the moments fall into the
work) that does a piece of work into a folder and is killed by SIGKILL after a time drawn from the measured duration.
Then the work is done again, to the end, on what was left; its results must be those of an undisturbed run. A trial goes
on through several kills, as long as the work lasts.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

from ioi_bench.evaluation.card import Card
from ioi_bench.sites import Site

ROOT = Path(__file__).parents[2]
SUITE = ROOT / "reference_saes" / "ioi-mini" / "topk-k3-s0"
QUICK = {"prompts": 60, "train_prompts": 300, "budgets": (1, 2, 4), "methods": ("exchange",), "preflight": False}


@dataclass(frozen=True)
class Work:
    """Something that writes.

    Attributes:
        do: the work, into a folder; called again it goes on.
        results: what counts of what it has written, by name: hashes of bytes or of figures.
        prepare: what is there before.
    """

    do: Callable[[Path], None]
    results: Callable[[Path], Mapping[str, str]]
    prepare: Callable[[Path], None] = lambda folder: None


# -- what is killed ----------------------------------------------------------------------------------------------------


def _evaluate(folder: Path) -> None:
    from hostile_targets import _mini

    from ioi_bench.evaluation.evaluate import evaluate

    evaluate(SUITE, model=_mini(), out=folder / "out", cache_dir=folder / "cache", **QUICK)


def _figures(folder: Path) -> dict[str, str]:
    """A card without its time and place, and the prompts' bytes. What is there is whole."""
    card = Card.read(folder).model_dump(mode="json")
    for name in ("wall_seconds", "timing"):
        del card["made"][name]
    text = json.dumps(card, sort_keys=True)
    return {"card": _sha256(text.encode()), "prompts": _sha256((folder / "prompts.parquet").read_bytes())}


def _capture(folder: Path) -> None:
    from hostile_targets import _mini

    from ioi_bench.activations import capture_split
    from ioi_bench.lm.circuit import load_circuit
    from ioi_bench.task import task_spec

    spec = task_spec("ioi-v1-mini")
    prompts = spec.split("train").prompts[:4000]
    capture_split(_mini(), spec, prompts, load_circuit("ioi-mini").sites, cache_dir=folder)


def _train_prepare(folder: Path) -> None:
    import torch

    from ioi_bench.training import Recipe, create_run

    small = {"d_sae": 48, "epochs": 30, "batch_size": 64, "checkpoints": [1, 4, 10, 20], "seeds": [0, 1]}
    recipe = Recipe.model_validate({"variants": {"topk": [2, 4], "relu": [0.3], "gated": [0.3]}, **small})
    data = {}
    for i, text in enumerate(("z.4.0@end", "v.1.3@s2")):
        data[Site.parse(text)] = torch.randn(500, 16, generator=torch.Generator().manual_seed(i))
    create_run(folder, recipe, data)


def _train(folder: Path) -> None:
    from ioi_bench.training.chunk import train_chunk
    from ioi_bench.training.runs import Run

    for chunk in Run(folder).chunks:
        train_chunk(folder, chunk.index, save_every=0.0)


def _select_prepare(folder: Path) -> None:
    """A small run on real activations."""
    from hostile_targets import _mini

    from ioi_bench.training import Recipe, capture_inputs, create_run, train_run

    small = {"d_sae": 32, "epochs": 4, "batch_size": 128, "checkpoints": [1, 2], "seeds": [0], "train_prompts": 300}
    recipe = Recipe.model_validate({"variants": {"topk": [2, 4]}, **small})
    from ioi_bench.lm.circuit import load_circuit

    inputs = capture_inputs(recipe, _mini(), load_circuit("ioi-mini"))
    create_run(folder / "run", recipe, inputs.activations, provenance=inputs.provenance)
    train_run(folder / "run")


def _select(folder: Path) -> None:
    from typer.testing import CliRunner

    from ioi_bench.cli.app import app

    asked = ["--prompts", "60", "--train-prompts", "300", "--half"]
    done = CliRunner().invoke(app, ["select", str(folder / "run"), "--out", str(folder / "selected"), *asked])
    if done.exit_code:
        raise SystemExit(f"select: {done.exit_code} {done.output[-500:]}")


def _pull(folder: Path) -> None:
    from ioi_bench.reference.bundled import bundled_folder, bundled_manifest
    from ioi_bench.reference.pull import Pulled, _copied

    for name, suite in list(bundled_manifest().suites.items())[:12]:
        _copied(Pulled(name, suite, bundled_folder() / suite.path, None), folder / name)


def _save(folder: Path) -> None:
    """Suites replaced again and again: the old one, or the new one, and never half of either."""
    from dataclasses import replace

    from ioi_bench.dictionaries.suite import load_suite, save_suite

    suite = load_suite(SUITE)
    for i in range(30):
        save_suite(replace(suite, name=f"suite-{i}"), folder / "suite", overwrite=True)


# -- bytes -------------------------------------------------------------------------------------------------------------


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _bytes(folder: Path) -> dict[str, str]:
    """All files but those that a killed process left unfinished, which nobody reads: ``.name.pid.tmp``."""
    found = {}
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(part.startswith(".") and part.endswith((".tmp", ".old")) for part in parts):
            found["/".join(parts)] = _sha256(path.read_bytes())
    return found


def _out_and_cache(folder: Path) -> dict[str, str]:
    cached = {f"cache/{name}": value for name, value in _bytes(folder / "cache").items()}
    return cached | (_figures(folder / "out") if (folder / "out" / "card.json").is_file() else {})


def _selected(folder: Path) -> dict[str, str]:
    return _bytes(folder / "selected") if (folder / "selected").is_dir() else {}


WORKS: dict[str, Work] = {
    "evaluate": Work(_evaluate, _out_and_cache),
    "cache": Work(_capture, _bytes),
    "train": Work(_train, _bytes, _train_prepare),
    "select": Work(_select, _selected, _select_prepare),
    "pull": Work(_pull, _bytes),
    "save": Work(_save, _bytes),
}


# -- killing -----------------------------------------------------------------------------------------------------------


@dataclass
class Killed:
    """What trials found.

    Attributes:
        kills: processes that SIGKILL ended.
        finished: those that were done before.
        seconds: of the undisturbed work.
        lost: finished files that a kill took away or changed.
        wrong: results that are not those of an undisturbed run.
    """

    kills: int
    finished: int
    seconds: float
    lost: list[str]
    wrong: list[str]


def kill_at_random(name: str, kills: int, seed: int, place: Path) -> Killed:
    """Kill a piece of work until so many processes were killed."""
    work, draw = WORKS[name], Random(f"{name} {seed}")
    start = place / "start"
    start.mkdir(parents=True)
    work.prepare(start)
    undisturbed = place / "undisturbed"
    shutil.copytree(start, undisturbed)
    _child(work, undisturbed, None)  # once, so that everything is read from the disk
    shutil.rmtree(undisturbed)
    shutil.copytree(start, undisturbed)
    begun = time.perf_counter()
    _child(work, undisturbed, None)
    seconds = time.perf_counter() - begun
    right = work.results(undisturbed)
    found = Killed(0, 0, round(seconds, 2), [], [])
    while found.kills < kills:
        folder = place / "trial"
        shutil.copytree(start, folder)
        for _ in range(3):  # several kills on one folder
            before = work.results(folder)
            if not _child(work, folder, draw.uniform(0, seconds)):
                found.finished += 1
                break
            found.kills += 1
            after = work.results(folder)
            found.lost += [one for one in before if one in right and before[one] == right[one] != after.get(one)]
        _child(work, folder, None)
        now = work.results(folder)
        found.wrong += [one for one in now.keys() | right.keys() if now.get(one) != right.get(one)]
        shutil.rmtree(folder)
    return found


def _child(work: Work, folder: Path, kill_after: float | None) -> bool:
    """Do the work in a process; whether it was killed."""
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException):
            try:
                warnings.simplefilter("ignore")
                work.do(folder)
                code = 0
            except BaseException as error:
                sys.stderr.write(f"{type(error).__name__}: {error}\n")
        os._exit(code)
    if kill_after is not None:
        time.sleep(kill_after)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return True
    if status:
        raise RuntimeError(f"the work failed by itself: status {status}")
    return False


def main() -> int:
    """``hostile_kills.py WORK KILLS SEED PLACE``; prints the figures as JSON."""
    name, kills, seed, place = sys.argv[1:]
    import torch

    torch.set_num_threads(1)
    warm_up(name)
    found = kill_at_random(name, int(kills), int(seed), Path(place))
    sys.stdout.write(json.dumps(vars(found)) + "\n")
    return int(bool(found.lost or found.wrong))


def warm_up(name: str) -> None:
    """Imports and loaded models, so that the moments of death fall into the work."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        WORKS[name].prepare(Path(folder))
        if name in ("evaluate", "cache"):
            from hostile_targets import _mini

            _mini()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
    sys.exit(main())
