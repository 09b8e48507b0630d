"""Verifying a season: commitment, prompts, and every score from its rows; by anyone, from what is published."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ioi_bench.errors import InputError
from ioi_bench.evaluation.card import Card
from ioi_bench.leaderboard.allowed import AllowedPlugin
from ioi_bench.leaderboard.checks import check_card
from ioi_bench.leaderboard.compare import compare_cards, compare_prompts
from ioi_bench.leaderboard.needs import Needs
from ioi_bench.leaderboard.records import Check
from ioi_bench.leaderboard.repeat import compare_made
from ioi_bench.leaderboard.seasons.chain import (
    chain_faults,
    entry_faults,
    missing_suites,
    reused_seed,
    since_faults,
)
from ioi_bench.leaderboard.seasons.commit import version
from ioi_bench.leaderboard.seasons.dates import date_faults, today
from ioi_bench.leaderboard.seasons.drawing import require_as_committed, season_model
from ioi_bench.leaderboard.seasons.folder import CARD, PROMPTS, REVEAL, Season, prompts_of, read_season, sha256_of
from ioi_bench.leaderboard.seasons.judging import Bench
from ioi_bench.leaderboard.seasons.opening import commitment_of
from ioi_bench.leaderboard.weights import loader_plugins, open_weights

if TYPE_CHECKING:
    from ioi_bench.evaluation.data import Progress
    from ioi_bench.leaderboard.seasons.records import Draw, LogLine
    from ioi_bench.task import Split

__all__ = ["SeasonVerifier"]

_SHOWN = 5


@dataclass(frozen=True)
class SeasonVerifier:
    """How a season is verified.

    Attributes:
        folder: the season's.
        evaluate: fetch the weights and evaluate them again; only after the reveal.
        before: an earlier copy of the folder: nothing in it may have changed or gone.
        receipts: hashes of lines that must be in the log, as ``season evaluate`` gave them out.
        allowed: plugins whose loaders may read weights.
    """

    folder: Path
    evaluate: bool = False
    before: Path | None = None
    receipts: tuple[str, ...] = ()
    allowed: tuple[AllowedPlugin, ...] = ()
    progress: Progress | None = None

    def checks(self) -> Iterator[Check]:
        """Every check in order; after one that makes the rest meaningless there are no more.

        Raises:
            InputError: there is no such season, or a file of it is damaged; or it is to be evaluated before the reveal.
            IoiBenchError: weights or model are out of reach now.
        """
        season = read_season(self.folder)
        if self.evaluate and season.reveal is None:
            raise InputError(f"the season {season.terms.season!r} is not revealed yet: nobody can evaluate it again")
        yield from self._published(season)
        yield _reveal(season)
        if season.reveal is None or season.draw is None:
            return
        seed = bytes.fromhex(season.reveal.seed)
        opened = commitment_of(season.terms, seed) == season.commitment.commitment
        yield _check(
            "seed",
            [] if opened else ["it does not open the commitment: it is another seed, or the terms were altered"],
            f"it opens {season.commitment.commitment[:12]}…",
        )
        if not opened:
            return
        prompts = _prompts(season, season.draw, seed)
        yield prompts
        if not prompts.passed:
            return
        split = prompts_of(season.terms, seed, season.draw.beacon)
        there = {
            entry: line
            for entry, line in season.judged.items()
            if all((season.entry_folder(entry) / name).is_file() for name in (CARD, PROMPTS))  # told already
        }
        sound = []
        for entry in there:
            figures = self._recomputed(season, split, entry)
            yield figures
            sound += [entry] if figures.passed else []
        if self.evaluate:
            bench = Bench(season.terms, season_model(season.terms), split, self.progress)
            for entry in sound:  # of others the files may be anything
                yield _first_fault(self._again(season, bench, entry, there[entry]), entry)

    def _published(self, season: Season) -> Iterator[Check]:
        yield _check("chain", chain_faults(season), f"commitment, draw and {len(season.log)} lines of the log")
        yield _check("dates", date_faults(season), "none is before the one before it, and none to come")
        yield _check("results", entry_faults(season), f"{len(season.judged)} cards, each as in the log")
        yield _check("suites", _suite_faults(season), _suites_told(season))
        other = reused_seed(season, bytes.fromhex(season.reveal.seed) if season.reveal else None)
        yield _check(
            "seed of its own",
            [] if other is None else [f"it is that of the season {other!r}: it was no secret"],
            "that of no season of this leaderboard that was committed to or revealed before it",
        )
        yield _check("beacon", _beacon_faults(season), _beacon_told(season))
        yield _check("settings", _setting_faults(season), "each card is as the terms say")
        if self.before is not None:
            yield _check("since the copy", since_faults(season, self.before), "nothing has gone or changed")
        lines = {sha256_of(raw) for raw in season.raw_log}
        if self.receipts:
            lost = [f"{one[:12]}… is in no line of the log" for one in self.receipts if one not in lines]
            yield _check("receipts", lost, "each is in the log")

    def _recomputed(self, season: Season, split: Split, entry: str) -> Check:
        """Every figure of a card again from its rows."""
        terms, folder = season.terms, season.entry_folder(entry)
        needs = Needs(terms.prompts, full_train=terms.train_prompts is None, split=split)
        checks = check_card(
            Card.read(folder / CARD), folder / PROMPTS, track=terms.track, model_sha256=terms.model_sha256, needs=needs
        )
        last = checks[-1]
        name = f"figures: {_name(entry)}"
        if not last.passed:
            other = "" if version() == terms.ioi_bench else f" (by {version()}; the season is of {terms.ioi_bench})"
            return last.model_copy(update={"name": name, "detail": f"{last.name}{other}: {last.detail}"})
        found = next(check for check in checks if check.name == "figures")
        return found.model_copy(update={"name": name})

    def _again(self, season: Season, bench: Bench, entry: str, line: LogLine) -> Iterator[Check]:
        """All that comparing shows; nothing more after what cannot be compared."""
        import pandas as pd

        folder, card = season.entry_folder(entry), Card.read(season.entry_folder(entry) / CARD)
        plugins = loader_plugins(card.made, self.allowed)
        if isinstance(plugins, Check):
            yield plugins
            return
        source = open_weights(line.suite, self.progress)
        if isinstance(source, Check):
            yield source
            return
        with tempfile.TemporaryDirectory(prefix="ioi-bench-season-") as name:
            try:
                again = bench.judge(source, card.made, plugins, Path(name))
            except InputError as error:
                yield Check(name="evaluation", passed=False, detail=str(error))
                return
            yield from compare_made(card, again)
            given, found = (pd.read_parquet(place / PROMPTS) for place in (folder, Path(name)))
            yield compare_prompts(given, found)
            yield compare_cards(card, again.card)


def _first_fault(checks: Iterable[Check], entry: str) -> Check:
    """One check of a suite for all: the first that failed, else the last."""
    told = list(checks)
    found = next((check for check in told if not check.passed), told[-1])
    detail = found.detail if found.passed else f"{found.name}: {found.detail}"
    return found.model_copy(update={"name": f"again: {_name(entry)}", "detail": detail})


def _check(name: str, faults: Iterable[str], held: str) -> Check:
    found = list(faults)
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return Check(name=name, passed=not found, detail="; ".join(found[:_SHOWN]) + more if found else held)


def _name(entry: str) -> str:
    return entry.split("/")[-2].replace("__", "/", 1)


def _reveal(season: Season) -> Check:
    """Nothing came after it, and it came in time."""
    reveal, due = season.reveal, season.terms.reveal_by
    if reveal is None:
        late = [f"it was promised for {due}, and has not come"] if due is not None and today() > due else []
        return _check(
            "reveal", late, f"sealed{f' until {due} at the latest' if due else ''}: scores cannot be checked yet"
        )
    faults = []
    if len(season.log) > reveal.lines:
        faults.append(f"{len(season.log) - reveal.lines} results were added after it")
    elif len(season.log) < reveal.lines:
        faults.append(f"{reveal.lines - len(season.log)} results were removed after it")
    elif season.draw is not None and season.head != reveal.head:
        faults.append("the log was altered after it")
    told = f", which was late: it was promised for {due}" if due is not None and reveal.date > due else ""
    return _check("reveal", faults, f"on {reveal.date}{told}, with {reveal.lines} lines of the log")


def _suite_faults(season: Season) -> Iterator[str]:
    """After the reveal: what the commitment names and the log does not is what ``reveal.json`` says was left out."""
    if season.reveal is None:
        return
    missing, left_out = missing_suites(season), season.reveal.unjudged
    for entry in missing:
        if entry not in left_out:
            yield f"{_name(entry)} was there at the commitment, and is not in the log"
    for entry in left_out:
        if entry not in missing:
            yield f"{REVEAL} says that {_name(entry)} was not judged, and that is not so"


def _suites_told(season: Season) -> str:
    """What became of those that the commitment names, where nothing is wrong with it."""
    missing, known = missing_suites(season), len(season.terms.known)
    if not missing:
        return f"all {known} that were there at the commitment are in the log"
    if season.reveal is None:
        return f"{len(missing)} of {known} are still to be judged"
    return f"{len(missing)} of {known} were never judged, as {REVEAL} says: {', '.join(map(_name, missing))}"


def _beacon_faults(season: Season) -> Iterator[str]:
    if season.draw is None:
        return
    if (season.draw.beacon is None) != (season.terms.beacon_rule is None):
        yield "the commitment announces a beacon and none was drawn with, or the other way round"


def _beacon_told(season: Season) -> str:
    if season.terms.beacon_rule is None:
        return "none was announced: nothing shows that the seed was not chosen among many"
    if season.draw is None:
        return f"to be found: {season.terms.beacon_rule}"
    return f"{season.draw.beacon!r}; see for yourself that it is so: {season.terms.beacon_rule}"


def _setting_faults(season: Season) -> Iterator[str]:
    terms = season.terms
    for entry, line in season.judged.items():
        path = season.entry_folder(entry) / CARD
        if not path.is_file():  # told already
            continue
        card = Card.read(path)
        made = card.made
        wanted = {
            "track": (terms.track, card.track),
            "task spec": (terms.spec_sha256, made.spec_sha256),
            "model": (terms.model_sha256, made.model_sha256),
            "circuit": (terms.circuit_sha256, made.circuit_sha256),
            "scoring": (terms.scoring, made.scoring),
            "version of ioi-bench": (terms.ioi_bench, made.versions.get("ioi-bench")),
            "split": (season.split_name, made.split),
            "number of prompts": (terms.prompts, made.n_prompts),
            "train prompts": (terms.train_prompts, None if made.full_train else made.n_train_prompts),
            "methods": (terms.methods, made.methods),
            "budgets": (terms.budgets, made.budgets),
            "suite": (line.suite_sha256_found, made.suite_sha256),
        }
        for what, (right, found) in wanted.items():
            if right != found:
                yield f"{_name(entry)} was judged under another {what}: {found}, where {right} belongs"


def _prompts(season: Season, draw: Draw, seed: bytes) -> Check:
    """What is drawn here is what was committed to, and what was judged."""
    terms, faults = season.terms, []
    try:
        require_as_committed(terms, judging=False)
    except InputError as error:
        return _check("prompts", [str(error)], "")
    if (found := prompts_of(terms, seed, None).sha256) != terms.prompts_sha256:
        faults.append(f"{found[:12]}… is drawn, {terms.prompts_sha256[:12]}… was committed to: another generator")
    elif (found := prompts_of(terms, seed, draw.beacon).sha256) != draw.prompts_sha256:
        faults.append(f"seed and beacon give {found[:12]}…, and {draw.prompts_sha256[:12]}… is in draw.json")
    return _check("prompts", faults, f"{terms.prompts:,}, drawn again: {draw.prompts_sha256[:12]}…")
