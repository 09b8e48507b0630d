"""Which track a suite is judged on: its model's circuit, or the single-hook cells of its own hook point (METHOD §2)."""

from __future__ import annotations

from dataclasses import replace

from ioi_bench.dictionaries.suite import Suite
from ioi_bench.errors import SuiteError
from ioi_bench.lm.circuit import Circuit, hook_circuit
from ioi_bench.sites import HookPoint

__all__ = ["suites_by_hook", "track_of"]


def suites_by_hook(suite: Suite) -> dict[HookPoint, Suite]:
    """The suite in parts, one for each of its hook points: a card each.

    Each part bears the hook's name after the suite's.
    """
    return {
        hook: replace(
            suite,
            name=f"{suite.name}/{hook}",
            dictionaries={site: dictionary for site, dictionary in suite.dictionaries.items() if site.point == hook},
        )
        for hook in suite.hooks
    }


def track_of(suite: Suite, circuit: Circuit, model: str) -> Circuit:
    """The circuit, if the suite has a dictionary for one of its sites; else the track of the suite's hook point.

    Raises:
        SuiteError: the suite has several hook points, and none is in the circuit.
    """
    if set(suite.sites) & set(circuit.sites):
        return circuit
    if len(suite.hooks) == 1:
        return hook_circuit(model, suite.hooks[0], circuit.task)
    hooks = ", ".join(map(str, suite.hooks[:4])) + (", …" if len(suite.hooks) > 4 else "")
    raise SuiteError(
        f"suite {suite.name!r} has no dictionary for any site of the circuit {circuit.track!r}, and dictionaries at "
        f"{len(suite.hooks)} hook points ({hooks}): each of these is a track of its own. Evaluate them one at a time, "
        f"a card each: --hook {suite.hooks[0]} (in Python, evaluate(suites_by_hook(suite)[hook]))"
    )
