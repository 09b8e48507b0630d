"""A circuit: the heads of a model's IOI mechanism, the cross-sections over them, the cells that are scored (METHOD §2).

A circuit is one TOML file: ``track`` and ``task``, then the tables ``[heads]`` (group → heads), ``[cross-sections]``
(name → parts), ``[cells]`` (``headline``, ``further``) and, where they were measured, ``[effects]`` and ``[ranked]``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w

from ioi_bench.atomic import write_file
from ioi_bench.bounded import MAX_TOML_BYTES, bounded_bytes, toml_table
from ioi_bench.errors import InputError, UnknownNameError
from ioi_bench.sites import ATTRIBUTES, HEAD_COMPONENTS, Cell, CrossSection, HookPoint, Role, Site
from ioi_bench.task import task_spec

if TYPE_CHECKING:
    from ioi_bench.lm.model import LanguageModel

__all__ = ["TRACKS", "Circuit", "Part", "RankedCell", "hook_circuit", "load_circuit", "track_for", "write_circuit"]

_TABLES = ("track", "task", "heads", "cross-sections", "cells", "effects", "ranked")
_HEAD = re.compile(r"^(\d+)(?:\.(\d+))?$")


@dataclass(frozen=True)
class Part:
    """A component of the heads of some groups at one role: a cross-section has one part or more."""

    component: str
    role: Role
    groups: tuple[str, ...]


@dataclass(frozen=True)
class RankedCell:
    """Whether a cell counts in the score, and if not, why (METHOD §7)."""

    ranked: bool
    reason: str = ""


@dataclass(frozen=True)
class Circuit:
    """What is scored on a track. ``ranked`` is the track's frozen set; None where it was not measured yet."""

    track: str
    task: str
    heads: Mapping[str, tuple[str, ...]]
    parts: Mapping[str, tuple[Part, ...]]
    headline: tuple[Cell, ...]
    further: tuple[Cell, ...] = ()
    effects: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    ranked: Mapping[Cell, RankedCell] | None = None

    @cached_property
    def cross_sections(self) -> dict[str, CrossSection]:
        """Cross-sections by name, sites in the order of parts, groups and heads."""
        return {
            name: CrossSection(
                name,
                tuple(
                    Site(part.component, *_layer_and_head(head), part.role)
                    for part in parts
                    for group in part.groups
                    for head in self.heads[group]
                ),
            )
            for name, parts in self.parts.items()
        }

    @property
    def sites(self) -> tuple[Site, ...]:
        """All distinct sites, sorted."""
        return tuple(sorted({site for section in self.cross_sections.values() for site in section.sites}))

    @cached_property
    def sha256(self) -> str:
        """Hash over all that decides a score: not the measured effects, which only inform."""
        table = {name: value for name, value in _table(self).items() if name != "effects"}
        return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()

    def check(self, model: LanguageModel) -> None:
        """Refuse a model that lacks one of the circuit's heads.

        Raises:
            InputError: names the first such site.
        """
        for site in self.sites:
            model.width(site)


TRACKS = ("circuit", "hook")
"""What `track_for` may be asked for."""


def hook_circuit(model: str, hook: HookPoint, task: str) -> Circuit:
    """The track of one hook point: the hook at each role × each attribute, every cell a headline cell (METHOD §2).

    A cross-section is named after its role and has one site. Which cells are ranked is not frozen: METHOD §7's rule
    finds it afresh. Cells in which the edit cannot move anything (``s@io`` where IO comes first, say) fail that rule.

    >>> circuit = hook_circuit("ioi-mini", HookPoint.parse("resid_pre.2"), "ioi-v1-mini")
    >>> circuit.track, str(circuit.headline[0]), circuit.cross_sections["end"].sites[0].long
    ('ioi-mini/blocks.2.hook_resid_pre', 'io@io', 'blocks.2.hook_resid_pre@end')
    """
    place = str(hook.layer) if hook.head is None else f"{hook.layer}.{hook.head}"
    return Circuit(
        track=f"{model}/{hook}",
        task=task,
        heads={"hook": (place,)},
        parts={str(role): (Part(hook.component, role, ("hook",)),) for role in Role},
        headline=tuple(Cell(str(role), (attribute,)) for role in Role for attribute in ATTRIBUTES),
    )


def track_for(sites: Sequence[Site], circuit: Circuit, model: str, wanted: str | None = None) -> Circuit | None:
    """The track on which dictionaries at these sites are judged; None where there is no one answer.

    One dictionary at every role of one hook point has a track of its own, also where that is a head of the circuit:
    on the circuit nearly all sites would be missing. Anything else with a site in the circuit is judged there.

    Args:
        wanted: ``circuit`` or ``hook``, to overrule.

    Raises:
        UnknownNameError: another word.
    """
    if wanted not in (None, *TRACKS):
        raise UnknownNameError("kind of track", str(wanted), TRACKS)
    points = {site.point for site in sites}
    inside = not set(circuit.sites).isdisjoint(sites)
    whole = len(points) == 1 and {site.role for site in sites} == set(Role)
    if wanted == "circuit" or (wanted is None and inside and not whole):
        return circuit
    return hook_circuit(model, points.pop(), circuit.task) if len(points) == 1 else None


def load_circuit(name_or_path: str | Path) -> Circuit:
    """A packaged circuit by name (``gpt2``, ``ioi-mini``), or one from a ``.toml`` file.

    Raises:
        UnknownNameError: no packaged circuit has that name, or the file names something that does not exist.
        InputError: the file is missing, not TOML, or does not describe a circuit.
    """
    given = str(name_or_path)
    folder = resources.files("ioi_bench.lm").joinpath("circuits")
    packaged = {entry.name[: -len(".toml")]: entry for entry in folder.iterdir() if entry.name.endswith(".toml")}
    if given in packaged:
        return _parse(packaged[given].read_bytes(), given)
    path = Path(given).expanduser()
    if path.suffix != ".toml":
        raise UnknownNameError("circuit", given, sorted(packaged))
    if not path.is_file():
        raise InputError(f"the circuit file {given!r} does not exist")
    data = bounded_bytes(path, MAX_TOML_BYTES)
    return _parse(data, given)


def write_circuit(circuit: Circuit, path: Path, *, comment: str = "") -> None:
    """Write a circuit as TOML, under a comment; it is read back equal.

    Raises:
        StorageError: the file cannot be written.
    """
    head = "".join(f"# {line}".rstrip() + "\n" for line in comment.splitlines())
    write_file(path, (head + ("\n" if head else "") + tomli_w.dumps(_table(circuit))).encode())


def _table(circuit: Circuit) -> dict[str, Any]:
    table: dict[str, Any] = {
        "track": circuit.track,
        "task": circuit.task,
        "heads": {group: list(heads) for group, heads in circuit.heads.items()},
        "cross-sections": {
            name: [{"component": part.component, "role": str(part.role), "groups": list(part.groups)} for part in parts]
            for name, parts in circuit.parts.items()
        },
        "cells": {"headline": [str(cell) for cell in circuit.headline], "further": [str(c) for c in circuit.further]},
    }
    if circuit.effects:
        table["effects"] = {name: dict(figures) for name, figures in circuit.effects.items()}
    if circuit.ranked is not None:
        table["ranked"] = {str(c): {"ranked": r.ranked, "reason": r.reason} for c, r in circuit.ranked.items()}
    return table


def _parse(data: bytes, source: str) -> Circuit:
    """Every complaint names the file."""
    try:
        table = toml_table(data)
    except ValueError as error:
        raise InputError(f"the circuit {source!r} is not TOML: {error}") from error
    try:
        for name in table:
            if name not in _TABLES:
                raise UnknownNameError("table", name, _TABLES)
        return _circuit(table)
    except KeyError as error:
        raise InputError(f"the circuit {source!r} lacks {error}: see the packaged gpt2.toml for the layout") from error
    except (TypeError, AttributeError, ValueError) as error:
        raise InputError(
            f"the circuit {source!r} has something of the wrong kind ({error}): see the packaged gpt2.toml"
        ) from error
    except InputError as error:
        raise InputError(f"the circuit {source!r} cannot be read: {error}") from error


def _circuit(table: Mapping[str, Any]) -> Circuit:
    heads = {group: tuple(names) for group, names in table["heads"].items()}
    for names in heads.values():
        for name in names:
            if _layer_and_head(name)[1] is None:
                raise InputError(f"{name!r} is not a head: write 'layer.head', such as '9.9'")
    parts = {name: tuple(_part(part, heads) for part in rows) for name, rows in table["cross-sections"].items()}
    cells = table["cells"]
    headline, further = (tuple(_cell(text, parts) for text in cells.get(kind, ())) for kind in ("headline", "further"))
    if not headline or len(set(headline + further)) != len(headline + further):
        raise InputError("[cells] needs at least one headline cell, and no cell twice")
    ranked = table.get("ranked")
    circuit = Circuit(
        track=_text(table["track"]),
        task=task_spec(_text(table["task"])).name,
        heads=heads,
        parts=parts,
        headline=headline,
        further=further,
        effects={name: {k: float(v) for k, v in figures.items()} for name, figures in table.get("effects", {}).items()},
        ranked=None if ranked is None else {_cell(text, parts): _ranked(row) for text, row in ranked.items()},
    )
    circuit.cross_sections  # noqa: B018 (built once here, so that doubled sites are found on reading)
    if circuit.ranked is not None and set(circuit.ranked) != set(headline):
        raise InputError("[ranked] must say of every headline cell, and of no other, whether it is ranked")
    return circuit


def _part(row: Mapping[str, Any], heads: Mapping[str, Any]) -> Part:
    component, role = _text(row["component"]), _text(row["role"])
    if component not in HEAD_COMPONENTS:
        raise UnknownNameError("component of a head", component, HEAD_COMPONENTS)
    if role not in {str(known) for known in Role}:
        raise UnknownNameError("role", role, [str(known) for known in Role])
    for group in row["groups"]:
        if group not in heads:
            raise UnknownNameError("group of heads", str(group), heads)
    return Part(component, Role(role), tuple(row["groups"]))


def _cell(text: Any, parts: Mapping[str, Any]) -> Cell:
    cell = Cell.parse(_text(text))
    if cell.cross_section not in parts:
        raise UnknownNameError("cross-section", cell.cross_section, parts)
    return cell


def _ranked(row: Mapping[str, Any]) -> RankedCell:
    if not isinstance(row["ranked"], bool):
        raise InputError(f"ranked = {row['ranked']!r} is neither true nor false")
    return RankedCell(row["ranked"], _text(row.get("reason", "")))


def _layer_and_head(text: Any) -> tuple[int, int | None]:
    """``9.9``; or ``8`` for the layer as a whole, as `hook_circuit` writes it."""
    match = _HEAD.match(_text(text))
    if match is None:
        raise InputError(f"{text!r} is not a head: write 'layer.head', such as '9.9'")
    return int(match[1]), None if match[2] is None else int(match[2])


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise InputError(f"{value!r} should be text")
    return value
