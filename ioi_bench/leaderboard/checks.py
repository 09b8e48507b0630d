"""What a card and its ``prompts.parquet`` show of themselves, without the suite: before a submission, and after one.

A card passes only if it is of a track as this installation knows it, was made on what the leaderboard asks for, and
every figure that follows from results per prompt is the one that the card's own functions find in the file. What does
not follow from the file (`UNCHECKED`) is only checked for making sense; evaluating again is what shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ioi_bench.errors import InputError
from ioi_bench.evaluation.card import Card
from ioi_bench.evaluation.card_cells import SKYLINE_KINDS
from ioi_bench.evaluation.card_records import CrossSectionFigures, Figure
from ioi_bench.evaluation.prompts_reading import read_prompts
from ioi_bench.evaluation.recompute import differences, layout_of, recomputed, scope_of
from ioi_bench.leaderboard.anchored import anchors_fault, constants_fault
from ioi_bench.leaderboard.needs import Needs, faults
from ioi_bench.leaderboard.records import Check
from ioi_bench.lm.circuit import Circuit, hook_circuit, load_circuit
from ioi_bench.metrics.interpretability import KINDS, THRESHOLDS
from ioi_bench.sites import ATTRIBUTES, HookPoint
from ioi_bench.task import task_spec

__all__ = ["TOLERANCE", "UNCHECKED", "Needs", "check_card", "require_passed", "track_circuit"]

TOLERANCE = 1e-6
"""Largest difference of a figure from the one made again; relative, where figures are greater than 1."""

UNCHECKED = (
    "dead_share",
    "explained.share",
    "explained.kinds",
    "geometry",
    "missing_sites",
    "warnings",
    "made.suite_sha256, made.device, made.versions, made.hardware and the time it took",
    "the rows of no edit and of the skyline, which are the same for every suite, beyond what anchors.track allows",
    "anchors.suite: accuracy, weight and S of the permuted decoder",
)
"""What the file of prompts does not show: only evaluating the suite again does."""

_SHOWN = 5


@dataclass(frozen=True)
class _Looked:
    """What the checks are about."""

    card: Card
    prompts: Path
    track: str | None
    model_sha256: str | None
    needs: Needs


def track_circuit(track: str) -> Circuit:
    """The circuit of a track: a model's own, or a hook point's (``gpt2/blocks.8.hook_resid_pre``).

    Raises:
        InputError: this installation knows no such track, or its name is written in another way than on its cards.
    """
    model, _, hook = track.partition("/")
    if model.endswith(".toml"):
        raise InputError(f"{track!r} is the path of a circuit; a leaderboard has the tracks of known circuits alone")
    circuit = load_circuit(model)
    found = hook_circuit(model, HookPoint.parse(hook), circuit.task) if hook else circuit
    if found.track != track:  # "ioi-mini/resid_pre.2" would be a table of its own
        raise InputError(f"the track {track!r} is written {found.track!r}: evaluate again with this version")
    return found


def check_card(
    card: Card,
    prompts: Path,
    *,
    track: str | None = None,
    model_sha256: str | None = None,
    needs: Needs | None = None,
) -> tuple[Check, ...]:
    """All checks in order; after one that fails there are no more, for they would compare what cannot be compared.

    Args:
        card: as it was read.
        prompts: its ``prompts.parquet``.
        track: the one on which it is to stand; by default the card's own.
        model_sha256: of the track's model, where it is at hand.
        needs: by default those of the public leaderboard.
    """
    looked, found = _Looked(card, prompts, track, model_sha256, needs or Needs()), []
    for name, check in _CHECKS.items():
        try:
            found.append(check(name, looked))
        except InputError as error:
            found.append(Check(name=name, passed=False, detail=str(error)))
        if not found[-1].passed:
            break
    return tuple(found)


def require_passed(checks: Sequence[Check]) -> None:
    """Refuse what a check refuses.

    Raises:
        InputError: with the first check that failed.
    """
    for check in checks:
        if not check.passed:
            raise InputError(f"the card cannot be submitted ({check.name}): {check.detail}")


def _track(name: str, looked: _Looked) -> Check:
    card, made = looked.card, looked.card.made
    circuit = track_circuit(card.track)
    spec = task_spec(circuit.task)
    if looked.track not in (None, card.track):
        raise InputError(f"the card is of the track {card.track!r}, not of {looked.track!r}")
    _same("circuit", made.circuit, circuit.track, made.circuit_sha256, circuit.sha256)
    _same("task spec", made.spec, spec.name, made.spec_sha256, spec.sha256)
    detail = f"{card.track}: circuit {circuit.sha256[:12]}…, spec {spec.name} {spec.sha256[:12]}…"
    if looked.model_sha256 is None:
        return _passed(name, f"{detail}; the model is not at hand, its hash was not compared")
    _same("model", made.model, made.model, made.model_sha256, looked.model_sha256)
    return _passed(name, f"{detail}, model {looked.model_sha256[:12]}…")


def _same(what: str, given: str, wanted: str, given_hash: str, wanted_hash: str) -> None:
    if (given, given_hash) != (wanted, wanted_hash):
        raise InputError(
            f"the card was made with the {what} {given!r} ({given_hash[:12]}…); this version of ioi-bench has "
            f"{wanted!r} ({wanted_hash[:12]}…): such cards are not comparable, evaluate again with this version"
        )


def _asked(name: str, looked: _Looked) -> Check:
    """The card was made on what the leaderboard asks for."""
    if found := list(faults(looked.card, looked.needs)):
        raise InputError("; ".join(found) + ": evaluate again so, see leaderboard/README.md")
    made = looked.card.made
    return _passed(name, f"{made.n_prompts:,} {made.split} prompts, methods {', '.join(made.methods)}")


def _parts(name: str, looked: _Looked) -> Check:
    """Which cells, edits and cross-sections there are: before anything is looked up by their names."""
    card, circuit = looked.card, track_circuit(looked.card.track)
    headline, further = ([str(cell) for cell in cells] for cells in (circuit.headline, circuit.further))
    names = [cell.name for cell in card.cells]
    if names != [*headline, *(cell for cell in further if cell in names)]:
        raise InputError(
            f"the cells are {', '.join(names)[:300]}; all headline cells are needed ({', '.join(headline)}), then some "
            "of the further ones in the circuit's order"
        )
    asked = [(method, budget) for method in card.made.methods for budget in card.made.budgets]
    for cell in card.cells:
        if [(edit.method, edit.budget) for edit in cell.edits] != asked:
            raise InputError(f"the edits of {cell.name} are not those that the card says were asked for")
        if list(cell.skyline) not in (["mean"], list(SKYLINE_KINDS.values())):
            raise InputError(f"the skylines of {cell.name} are {', '.join(cell.skyline)[:100] or 'none'}")
        if not {*cell.missing_sites} <= {*cell.sites}:
            raise InputError(f"{cell.name} misses sites that are not its own")
    sections = list(dict.fromkeys(cell.cross_section for cell in card.cells))
    if [found.name for found in card.cross_sections] != sections:
        raise InputError(f"the card's cross-sections are not those of its cells: {', '.join(sections)}")
    for found in card.cross_sections:
        kinds = [tuple(at.kinds) for at in found.explained]
        if [at.threshold for at in found.explained] != list(THRESHOLDS) or any(kind != KINDS for kind in kinds):
            raise InputError(f"the explained features of {found.name} are not by the thresholds and kinds of METHOD §6")
        if list(found.geometry) != list(ATTRIBUTES):
            raise InputError(f"the cosines of {found.name} are not by {', '.join(ATTRIBUTES)}")
    return _passed(name, f"{len(names)} cells, {len(asked)} edits each")


def _figures(name: str, looked: _Looked) -> Check:
    """Rows, columns and prompts are those that belong there; then every figure is made again."""
    card = looked.card
    split = looked.needs.split_for(card).head(card.made.n_prompts)
    scope = scope_of(card, track_circuit(card.track), split)
    tables = read_prompts(looked.prompts, layout_of(card, scope), split.prompts)
    again = recomputed(card, scope, tables).model_dump(mode="json")
    found = list(differences(card.model_dump(mode="json"), again, TOLERANCE))
    worst = max((far for *_, far in found), default=0.0)
    if not found:
        return Check(
            name=name, passed=True, detail=f"each follows from {looked.prompts.name}", worst=worst, tolerance=TOLERANCE
        )
    places = [f"{_place(card, where)} is {given!r} and comes out as {right!r}" for where, given, right, _ in found]
    more = f", and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
    return Check(
        name=name,
        passed=False,
        detail=f"they do not follow from {looked.prompts.name}: {'; '.join(places[:_SHOWN])}{more}",
        worst=worst if worst < float("inf") else None,
        tolerance=TOLERANCE,
    )


def _place(card: Card, where: str) -> str:
    """Cells, edits and cross-sections by name.

    ``cells.0.edits.2.accuracy.value`` becomes ``io@nm-out exchange 4 accuracy.value``.
    """
    parts = where.split(".")
    if parts[0] == "cells":
        cell = card.cells[int(parts[1])]
        if parts[2] == "edits":
            edit = cell.edits[int(parts[3])]
            return f"{cell.name} {edit.method} {edit.budget} {'.'.join(parts[4:])}"
        return f"{cell.name} {'.'.join(parts[2:])}"
    if parts[0] == "cross_sections":
        return f"{card.cross_sections[int(parts[1])].name} {'.'.join(parts[2:])}"
    return where


def _sensible(name: str, looked: _Looked) -> Check:
    """What the file does not show is at least possible."""
    card, circuit = looked.card, track_circuit(looked.card.track)
    dead: dict[str, Figure] = {}
    for cell in card.cells:
        share = cell.faithfulness.dead_share
        _between(f"the dead share of {cell.name}", share, 0, 1, "lower")
        if dead.setdefault(cell.cross_section, share) != share:
            raise InputError(f"{cell.cross_section} has two dead shares: {share.value} and another")
        if circuit.ranked is None and cell.headline and cell.ranked == bool(cell.reason):
            raise InputError(f"{cell.name} is ranked with a reason why not, or not ranked without one")
    missing = {cell.cross_section: cell.missing_sites for cell in card.cells}
    if any(cell.missing_sites != missing[cell.cross_section] for cell in card.cells):
        raise InputError("cells of one cross-section miss different sites")
    for found in card.cross_sections:
        _sensible_section(found)
    unchecked = (*UNCHECKED, "which cells are ranked") if circuit.ranked is None else UNCHECKED
    return _passed(name, f"not in the file of prompts, so that only verification shows them: {', '.join(unchecked)}")


def _sensible_section(found: CrossSectionFigures) -> None:
    for at in found.explained:
        where = f"explained@{at.threshold} of {found.name}"
        _between(where, at.share, 0, 1, "higher")
        for kind, share in at.kinds.items():
            _between(f"{where}, {kind},", share, 0, 1, "none")
        total = sum(share.value or 0.0 for share in at.kinds.values())
        if abs(total - (at.share.value or 0.0)) > TOLERANCE:
            raise InputError(f"the kinds of {where} add up to {total}, and its share is {at.share.value}")
    for attribute, cosines in found.geometry.items():
        for figure in (cosines.codes_to_features, cosines.features_to_codes):
            _between(f"a cosine of {found.name}, {attribute},", figure, -1, 1, "higher")


def _anchors(name: str, looked: _Looked) -> Check:
    """The anchors are the track's, and so are the rows that no suite changes."""
    for fault in (anchors_fault(looked.card), constants_fault(looked.card)):
        if fault:
            raise InputError(fault)
    track = looked.card.anchors.track
    told = "none ship with this track" if track is None else f"the track's, of {track.made.n_prompts:,} prompts"
    return _passed(name, f"{told}; no edit and the skyline are where they belong")


def _between(what: str, figure: Figure, low: float, high: float, direction: str) -> None:
    if figure.value is not None and not low - TOLERANCE <= figure.value <= high + TOLERANCE:
        raise InputError(f"{what} is {figure.value}: it lies between {low} and {high}")
    if (figure.low, figure.high) != (None, None) or figure.direction != direction:
        raise InputError(f"{what} has an interval or another direction: it comes from train, and has none")


def _passed(name: str, detail: str) -> Check:
    return Check(name=name, passed=True, detail=detail)


_CHECKS: dict[str, Callable[[str, _Looked], Check]] = {
    "track": _track,
    "what the leaderboard needs": _asked,
    "parts of the card": _parts,
    "figures": _figures,
    "other figures": _sensible,
    "anchors": _anchors,
}
