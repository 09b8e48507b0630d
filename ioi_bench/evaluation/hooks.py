"""Which track a suite is judged on: its model's circuit, or the single-hook cells of its own hook point (METHOD §2)."""

from __future__ import annotations

from dataclasses import replace

from ioi_bench.dictionaries.suite import Suite
from ioi_bench.errors import SuiteError
from ioi_bench.lm.circuit import Circuit, track_for
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


def track_of(suite: Suite, circuit: Circuit, model: str, wanted: str | None = None) -> Circuit:
    """The track of a suite (`track_for`).

    Raises:
        SuiteError: the suite has several hook points and none is in the circuit, or the track of one was asked for.
        UnknownNameError: no such kind of track.
    """
    found = track_for(suite.sites, circuit, model, wanted)
    if found is not None:
        return found
    hooks = ", ".join(map(str, suite.hooks[:4])) + (", …" if len(suite.hooks) > 4 else "")
    raise SuiteError(
        f"suite {suite.name!r} has dictionaries at {len(suite.hooks)} hook points ({hooks}), which are not judged "
        f"on the circuit {circuit.track!r}: each of these is a track of its own. Evaluate them one at a time, "
        f"a card each: --hook {suite.hooks[0]} (in Python, evaluate(suites_by_hook(suite)[hook]))"
    )
