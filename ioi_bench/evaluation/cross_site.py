"""Stream dictionaries on the head cross-sections of a circuit (`ioi_bench.dictionaries.cross_site`): the track."""

from __future__ import annotations

from dataclasses import replace

from ioi_bench.dictionaries.cross_site import project_suite
from ioi_bench.dictionaries.suite import Suite
from ioi_bench.errors import SuiteError
from ioi_bench.lm.circuit import Circuit
from ioi_bench.lm.model import LanguageModel
from ioi_bench.sites import HEAD_COMPONENTS, Cell, Site

__all__ = ["cross_site_track", "projected"]


def cross_site_track(circuit: Circuit) -> Circuit:
    """The circuit's cross-sections of q, k and v, with their cells and what is known of their ranking.

    It is a track of its own (``…/cross-site``): such cards compare with each other, and not with those of dictionaries
    that read the heads themselves.

    Raises:
        SuiteError: the circuit has no headline cell over such a cross-section.
    """
    readable = set(HEAD_COMPONENTS) - {"z"}
    parts = {name: own for name, own in circuit.parts.items() if all(part.component in readable for part in own)}

    def kept(cells: tuple[Cell, ...]) -> tuple[Cell, ...]:
        return tuple(cell for cell in cells if cell.cross_section in parts)

    if not kept(circuit.headline):
        raise SuiteError(
            f"the circuit {circuit.track!r} has no headline cell over q, k or v alone: there is nothing that a "
            "dictionary of the stream can be projected to"
        )
    return replace(
        circuit,
        track=f"{circuit.track}/cross-site",
        parts=parts,
        headline=kept(circuit.headline),
        further=kept(circuit.further),
        ranked=None
        if circuit.ranked is None
        else {c: r for c, r in circuit.ranked.items() if c.cross_section in parts},
    )


def projected(suite: Suite, model: LanguageModel, track: Circuit) -> tuple[Suite, dict[Site, Site]]:
    """The suite at the track's sites, and where its dictionaries read.

    Raises:
        SuiteError: it has no stream dictionary that any of them is computed from.
    """
    return project_suite(suite, model.weights, track.sites)
