"""Drawing a season's prompts, by the installation that was committed to, and with the beacon that was announced."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ioi_bench.atomic import write_file
from ioi_bench.errors import InputError
from ioi_bench.evaluation.score import SCORING
from ioi_bench.leaderboard.checks import track_circuit
from ioi_bench.leaderboard.seasons.commit import version
from ioi_bench.leaderboard.seasons.dates import next_date
from ioi_bench.leaderboard.seasons.folder import COMMITMENT, DRAW, Season, file_sha256, prompts_of
from ioi_bench.leaderboard.seasons.records import Draw, Terms
from ioi_bench.task import Split, task_spec
from ioi_bench.task.season import GENERATOR

if TYPE_CHECKING:
    from ioi_bench.lm.model import LanguageModel

__all__ = ["draw_prompts", "require_as_committed", "season_model"]


def season_model(terms: Terms) -> LanguageModel:
    """The model that was committed to.

    Raises:
        InputError: here it has other weights.
        ModelUnavailableError: it is not here.
    """
    from ioi_bench.lm.model import load_model

    model = load_model(terms.model)
    if model.sha256 != terms.model_sha256:
        raise InputError(
            f"the season {terms.season!r} committed to the model {terms.model!r} with sha256 "
            f"{terms.model_sha256[:12]}…, and here it has {model.sha256[:12]}…"
        )
    return model


def require_as_committed(terms: Terms, *, judging: bool = True) -> None:
    """This installation has what was committed to: generator, task spec and circuit; for judging also the version.

    Raises:
        InputError: it has another.
    """
    circuit, spec = track_circuit(terms.track), task_spec(terms.spec)
    here = {
        "ioi-bench": (terms.ioi_bench, version()),
        "scoring": (terms.scoring, SCORING),
        "generator": (terms.generator, GENERATOR),
        "task spec": (terms.spec_sha256, spec.sha256),
        "circuit": (terms.circuit_sha256, circuit.sha256),
    }
    for what, (wanted, found) in here.items():
        if wanted != found and (judging or what != "ioi-bench"):
            raise InputError(
                f"the season {terms.season!r} committed to the {what} {wanted[:20]!r}, and this installation has "
                f"{found[:20]!r}: install ioi-bench=={terms.ioi_bench}"
            )


def draw_prompts(season: Season, seed: bytes, beacon: str | None) -> Split:
    """The prompts that are judged; the first time, ``draw.json`` is written.

    Raises:
        InputError: the beacon is missing, not announced, no hexadecimal number, or another one than was drawn with; or
            other prompts come out than were committed to or drawn.
    """
    terms, drawn = season.terms, season.draw
    beacon = None if beacon is None else beacon.strip().lower()
    require_as_committed(terms)
    if (found := prompts_of(terms, seed, None).sha256) != terms.prompts_sha256:
        raise InputError(
            f"{found[:12]}… is drawn from the seed of {terms.season!r}, and {terms.prompts_sha256[:12]}… was committed "
            "to: the generator has changed since"
        )
    if drawn is None:
        _check_beacon(terms, beacon)
    elif beacon not in (None, drawn.beacon):
        raise InputError(f"the prompts of {terms.season!r} were drawn with the beacon {drawn.beacon!r}, for good")
    else:
        beacon = drawn.beacon
    split = prompts_of(terms, seed, beacon)
    if drawn is not None and drawn.prompts_sha256 != split.sha256:
        raise InputError(f"{split.sha256[:12]}… is drawn, {DRAW} says {drawn.prompts_sha256[:12]}…: it was altered")
    if drawn is None:
        record = Draw(
            season=terms.season,
            commitment_file=file_sha256(season.folder / COMMITMENT),
            beacon=beacon,
            prompts_sha256=split.sha256,
            date=next_date(season),
        )
        write_file(season.folder / DRAW, (record.model_dump_json(indent=1) + "\n").encode())
    return split


def _check_beacon(terms: Terms, beacon: str | None) -> None:
    if terms.beacon_rule is None and beacon is not None:
        raise InputError(
            f"the commitment of {terms.season!r} announces no beacon: one that is chosen now could be chosen with the "
            "seed in hand; leave --beacon out"
        )
    if terms.beacon_rule is not None and beacon is None:
        raise InputError(f"the commitment announces a beacon, give it with --beacon: {terms.beacon_rule}")
    if beacon is not None and re.fullmatch("[0-9a-f]{32,512}", beacon) is None:
        raise InputError(
            f"the beacon is {beacon[:40]!r}, expected the value alone, 32 to 512 hexadecimal digits: what can be "
            "written in several ways could be chosen"
        )
