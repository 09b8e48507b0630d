"""Anchors on disk, and which belong to a track.

ioi-mini's ship as package data beside its circuit. Those of another model are computed by ``ioi-bench anchors`` into a
file that ``evaluate`` is given.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ioi_bench.atomic import storage_errors, write_file
from ioi_bench.bounded import json_value
from ioi_bench.errors import InputError
from ioi_bench.evaluation.anchor_records import AnchorsMade, TrackAnchors
from ioi_bench.evaluation.score import SCORING
from ioi_bench.task import task_spec

if TYPE_CHECKING:
    from ioi_bench.lm.circuit import Circuit
    from ioi_bench.lm.model import LanguageModel

__all__ = ["anchors_for", "read_anchors", "shipped_anchors", "write_anchors"]

_MAX_BYTES = 8 << 20
_DIGITS = 6


def write_anchors(anchors: TrackAnchors, path: Path) -> None:
    """Write them as JSON, numbers to six digits, atomically.

    Raises:
        StorageError: the file cannot be written.
    """
    write_file(path, (json.dumps(_rounded(anchors.model_dump(mode="json")), indent=1) + "\n").encode())


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return round(value, _DIGITS) if isinstance(value, float) else value


def read_anchors(path: str | Path) -> TrackAnchors:
    """What `write_anchors` wrote.

    Raises:
        InputError: no such file, absurdly large, or not anchors.
        StorageError: it cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there are no anchors at {path}: `ioi-bench anchors --out FILE` writes them")
    with storage_errors("read", path):
        if (size := path.stat().st_size) > _MAX_BYTES:
            raise InputError(f"{path} has {size:,} bytes: anchors have {_MAX_BYTES:,} at most")
        return _parsed(path.read_bytes(), str(path))


def _parsed(data: bytes, source: str) -> TrackAnchors:
    try:
        return TrackAnchors.model_validate(json_value(data))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{source} holds no anchors of this version: {where}: {first['msg']}") from error
    except ValueError as error:
        raise InputError(f"{source} cannot be read as anchors: {error}") from error


def shipped_anchors(track: str) -> TrackAnchors | None:
    """The anchors that ship with a track of that name, if any do.

    Raises:
        InputError: the file is damaged.
    """
    folder = resources.files("ioi_bench.lm").joinpath("circuits")
    for entry in folder.iterdir():
        if entry.name == f"{track}.anchors.json":
            return _parsed(entry.read_bytes(), f"the shipped {entry.name}")
    return None


def anchors_for(
    model: LanguageModel, circuit: Circuit, given: str | Path | TrackAnchors | None = None
) -> tuple[TrackAnchors | None, str]:
    """The anchors of a track and, where there are none, why.

    Args:
        model, circuit: the track.
        given: anchors, or a file of them; by default those that ship with the track.

    Raises:
        InputError: what was given is damaged, or of another model, circuit or task; or what ships is damaged.
    """
    if given is not None:
        anchors = given if isinstance(given, TrackAnchors) else read_anchors(given)
        if fault := _fault(anchors.made, model, circuit):
            raise InputError(f"the anchors that were given are {fault}: compute them anew with `ioi-bench anchors`")
        return anchors, ""
    shipped = shipped_anchors(circuit.track)
    if shipped is None:
        return (
            None,
            f"none ship with the track {circuit.track!r}: `ioi-bench anchors` computes them, --anchors takes them",
        )
    if fault := _fault(shipped.made, model, circuit):
        return None, f"those that ship are {fault}: `ioi-bench anchors` computes them, --anchors takes them"
    return shipped, ""


def _fault(made: AnchorsMade, model: LanguageModel, circuit: Circuit) -> str:
    """What they are of that is not asked for; empty if they fit."""
    spec = task_spec(circuit.task)
    if made.scoring != SCORING:
        return f"scored by {made.scoring}, and this version scores by {SCORING}"
    for what, given, own in (
        ("model", made.model_sha256, model.sha256),
        ("circuit", made.circuit_sha256, circuit.sha256),
        ("task spec", made.spec_sha256, spec.sha256),
    ):
        if given != own:
            name = {"model": made.model, "circuit": made.circuit, "task spec": made.spec}[what]
            return f"of another {what} ({name!r}, {given[:12]}…; it is {own[:12]}…)"
    return ""
