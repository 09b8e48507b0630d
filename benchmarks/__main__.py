"""``python -m benchmarks [NAME …]``: every benchmark, as ratios against a direct formulation in the same process.

A benchmark is a module of this folder with ``run() -> list[dict]``; each record has ``name``, ``ratio`` and ``goal``
(the least ratio that is good enough, unless ``matmul_share`` reaches its own goal; None where arithmetic sets a bound
that the record names), and may have ``unit`` and more figures. Results go to ``latest.json``, with the
versions that made them and without a date, so that a rerun on the same machine changes only what changed; where NAMEs
are given, their records alone are replaced, if the versions are the same.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PACKAGES = ("ioi-bench", "torch", "transformer_lens", "transformers", "numpy")


def modules() -> list[str]:
    """Every benchmark, by name."""
    return sorted(module.name for module in pkgutil.iter_modules([str(HERE)]) if not module.name.startswith("_"))


def record(found: dict[str, Any]) -> dict[str, Any]:
    """The record as it is stored: rounded, and with whether the goal is met."""
    near_bound = found.get("matmul_share", 0) >= found.get("matmul_share_goal", 1)
    met = None if found["goal"] is None else bool(found["ratio"] >= found["goal"] or near_bound)
    rounded = {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in found.items()}
    return {"unit": "×", **rounded, "met": met}


def verdict(found: dict[str, Any]) -> str:
    """The goal and whether it is met, or the bound."""
    if found["goal"] is None:
        return f"no goal: bounded by {found['bound']:g}{found['unit']}"
    return f"goal {found['goal']:g}{found['unit']}, {'met' if found['met'] else 'MISSED'}"


def machine() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "packages": {name: version(name) for name in PACKAGES},
    }


def store(results: list[dict[str, Any]]) -> None:
    """Write the records; those of other benchmarks stay, unless other versions made them."""
    path, done = HERE / "latest.json", {result["benchmark"] for result in results}
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"results": [], "versions": machine()}
    if before["versions"] != machine() and done != set(modules()):
        print("latest.json is of other versions and stays as it is: run all benchmarks", file=sys.stderr)
        return
    kept = [result for result in before["results"] if result["benchmark"] not in done]
    ordered = sorted(kept + results, key=lambda result: result["benchmark"])
    text = json.dumps({"results": ordered, "versions": machine()}, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in modules()]
    if unknown:
        print(f"no benchmark {', '.join(unknown)}: there are {', '.join(modules())}", file=sys.stderr)
        return 2
    results = []
    for name in names or modules():
        print(f"{name} …", file=sys.stderr)
        for found in importlib.import_module(f"benchmarks.{name}").run():
            results.append({"benchmark": name, **record(found)})
            last = results[-1]
            print(f"  {last['name']}: {last['ratio']:g}{last['unit']} ({verdict(last)})")
    store(results)
    return 0 if all(result["met"] is not False for result in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
