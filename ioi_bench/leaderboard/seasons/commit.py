"""Beginning a season: terms, a fresh seed kept in private, and the public commitment to both."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from pydantic import ValidationError

from ioi_bench.dictionaries.folder import write_folder
from ioi_bench.editing import EDITS
from ioi_bench.errors import InputError, UnknownNameError
from ioi_bench.evaluation.score import HEADLINE_METHOD, SCORED_BUDGETS, SCORING
from ioi_bench.leaderboard.checks import track_circuit
from ioi_bench.leaderboard.needs import MIN_PROMPTS, usable
from ioi_bench.leaderboard.results import find_entries, read_entry
from ioi_bench.leaderboard.seasons.dates import today
from ioi_bench.leaderboard.seasons.folder import COMMITMENT, SEASONS
from ioi_bench.leaderboard.seasons.opening import SEED_BYTES, commitment_of, draw_key, keep_seed
from ioi_bench.leaderboard.seasons.records import Commitment, SeedFile, Terms
from ioi_bench.leaderboard.target import RESULTS
from ioi_bench.lm.model import load_model
from ioi_bench.task import task_spec
from ioi_bench.task.season import GENERATOR, SEASON, season_split

__all__ = ["DEFAULT_BUDGETS", "DEFAULT_METHODS", "Plan", "commit_season", "version"]

DEFAULT_METHODS, DEFAULT_BUDGETS = ("exchange", "aware", "universal"), (1, 2, 4)


@dataclass(frozen=True)
class Plan:
    """What a maintainer decides about a season; `Terms` says what each is."""

    season: str
    track: str
    prompts: int = MIN_PROMPTS
    train_prompts: int | None = None
    methods: tuple[str, ...] = DEFAULT_METHODS
    budgets: tuple[int, ...] = DEFAULT_BUDGETS
    beacon_rule: str | None = None
    reveal_by: str | None = None


def version() -> str:
    """Of ioi-bench: a season is judged by one."""
    return metadata.version("ioi-bench")


def commit_season(plan: Plan, leaderboard: Path, seed_file: Path) -> Commitment:
    """Draw a seed, keep it in a private file, and publish the commitment.

    Args:
        plan: of the season.
        leaderboard: its folder; what stands there on the track is what must be judged.
        seed_file: where the seed is kept: a new file outside the leaderboard.

    Raises:
        InputError: the season is there already, the seed file exists or would be published, or the plan makes no sense.
        ModelUnavailableError: the track's model is not here.
        StorageError: a file cannot be written; then there is neither a seed nor a commitment.
    """
    folder = leaderboard / SEASONS / plan.season
    if folder.exists():
        raise InputError(
            f"there is a season {plan.season!r} already ({str(folder)!r}): it is never replaced, and its name is never "
            "used again; give another name"
        )
    if seed_file.resolve().is_relative_to(leaderboard.resolve()):
        raise InputError(
            f"the seed would lie in the leaderboard, {str(seed_file)!r}, and be published with it: give --seed-file a "
            "place that only you can read"
        )
    seed = secrets.token_bytes(SEED_BYTES)
    terms = _terms(plan, leaderboard, seed)
    commitment = Commitment(terms=terms, commitment=commitment_of(terms, seed))
    keep_seed(seed_file, SeedFile(season=terms.season, seed=seed.hex(), commitment=commitment.commitment))
    try:
        write_folder(folder, {COMMITMENT: (commitment.model_dump_json(indent=1) + "\n").encode()}, replace=False)
    except BaseException:  # a seed without a commitment is of no use, and would be in the way
        seed_file.unlink(missing_ok=True)
        raise
    return commitment


def _terms(plan: Plan, leaderboard: Path, seed: bytes) -> Terms:
    circuit = track_circuit(plan.track)
    for method in plan.methods:
        if method not in EDITS:
            raise UnknownNameError("edit method", method, EDITS)
    if HEADLINE_METHOD not in plan.methods or not {*SCORED_BUDGETS} <= {*plan.budgets} or not usable(plan.budgets):
        raise InputError(
            f"a season is scored by {HEADLINE_METHOD} at {', '.join(map(str, SCORED_BUDGETS))} features, and may have "
            "further methods and a few more budgets, in increasing order; it was given "
            f"{', '.join(plan.methods)} at {', '.join(map(str, plan.budgets))}"
        )
    model, spec = load_model(plan.track.partition("/")[0]), task_spec(circuit.task)
    key = draw_key(plan.season, spec.sha256, seed)
    try:
        terms = Terms(
            **vars(plan),
            spec=spec.name,
            spec_sha256=spec.sha256,
            model=model.name,
            model_sha256=model.sha256,
            circuit_sha256=circuit.sha256,
            scoring=SCORING,
            generator=GENERATOR,
            prompts_sha256=season_split(spec, f"{SEASON}{plan.season}", key, plan.prompts).sha256,
            known=tuple(_known(leaderboard, plan.track)),
            ioi_bench=version(),
            date=today(),
        )
    except ValidationError as error:
        first = error.errors()[0]
        what = {
            "season": "a season's name is small letters, digits and hyphens",
            "reveal_by": "a date is YYYY-MM-DD, a day that there is",
        }
        name = str(first["loc"][0])
        raise InputError(f"{name} is {first['input']!r}: {what.get(name, first['msg'])}") from error
    if terms.reveal_by is not None and terms.reveal_by < terms.date:
        raise InputError(
            f"reveal_by is {terms.reveal_by}, and today is {terms.date}: give a date to come, or the season would fail "
            "its verification from the first day"
        )
    return terms


def _known(leaderboard: Path, track: str) -> list[str]:
    """What stands on the track; a folder that cannot be read is no submission."""
    found = []
    for folder in find_entries(leaderboard / RESULTS) if (leaderboard / RESULTS).is_dir() else ():
        try:
            entry = read_entry(folder)
        except InputError:
            continue
        if entry.card.track == track:
            found.append(entry.key)
    return sorted(found)
