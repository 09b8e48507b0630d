"""``python tests/hostile``: fuzz the readers; see --help.

Without ``--seconds`` a fixed number of inputs from seeds. With it atheris, where it is installed, is led by what the
inputs reach in ioi_bench; where it is not, seeds go on until the time is over.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), *map(str, sorted(ROOT.glob("plugins/ioi-bench-*")))]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python tests/hostile", description="Fuzz the readers of others' files.")
    parser.add_argument("target", nargs="*", help="by default all; `list` names them")
    parser.add_argument("--inputs", type=int, default=500, help="of each target, times its share")
    parser.add_argument("--seconds", type=float, help="of each target, with atheris, in place of a number of inputs")
    parser.add_argument("--seed", type=int, default=0, help="of the first input")
    parser.add_argument("--keep", type=Path, help="a folder for the inputs that broke a reader")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    return parser.parse_args()


def _show(name: str, figures: object) -> dict[str, object]:
    found = {
        "inputs": figures.inputs,
        "refused": figures.refused,
        "held_mb": round(figures.held / 2**20, 1),
        "took_s": round(figures.took, 2),
        "faults": dict(figures.faults),
    }
    print(
        f"{name:22} {found['inputs']:6} inputs, {found['refused']} refused, {found['held_mb']} MB, {found['took_s']} s"
    )
    for fault, count in figures.faults.most_common():
        print(f"    {count:5} × {fault}  (input {figures.examples[fault][0]})", flush=True)
    return found


def _keep(folder: Path, target: object, figures: object) -> None:
    from hostile_files import write_files

    for key, files in figures.examples.values():
        place = folder / f"{target.name}-{key}"
        if not place.exists():
            write_files(files, place, folder)


def main() -> int:
    """Run campaigns; 1 where something broke."""
    given = _arguments()
    import torch

    torch.set_num_threads(1)
    from hostile_guided import guided, instrumented

    with instrumented() if given.seconds else contextlib.nullcontext() as atheris:
        from hostile_campaign import run
        from hostile_targets import TARGETS

        if given.seconds:
            import ioi_bench.plugins.manager
            import ioi_bench.plugins.native  # noqa: F401

    if given.target == ["list"]:
        print("\n".join(TARGETS))
        return 0
    if given.seconds and atheris is None:
        print("atheris is not installed: inputs are drawn from seeds", file=sys.stderr)
    found = {}
    for name in given.target or TARGETS:
        target, started = TARGETS[name], time.perf_counter()
        if given.seconds:
            figures = guided(target, given.seconds, given.seed, atheris)
        else:
            figures = run(target, round(given.inputs * target.share), given.seed)
        found[name] = _show(name, figures) | {"seconds": round(time.perf_counter() - started, 1)}
        if given.keep:
            _keep(given.keep, target, figures)
        if given.json:
            given.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    return int(any(one["faults"] for one in found.values()))


if __name__ == "__main__":
    sys.exit(main())
