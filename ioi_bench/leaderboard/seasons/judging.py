"""Judging suites on a season's prompts: the weights at their commit, by the leaderboard's own code paths.

Of each suite the card is published at once, and the hash of its results per prompt; the rows themselves would show the
prompts, and are kept beside the seed until the reveal. A line of the log is written last: what has none was not judged.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ioi_bench.atomic import write_file
from ioi_bench.errors import AccessError, InputError, IoiBenchError, PluginError
from ioi_bench.evaluation.card import Card, Made
from ioi_bench.evaluation.score import SCORING
from ioi_bench.leaderboard.allowed import AllowedPlugin
from ioi_bench.leaderboard.changes import require_plain
from ioi_bench.leaderboard.checks import track_circuit
from ioi_bench.leaderboard.records import Check
from ioi_bench.leaderboard.repeat import Repeated, is_weighed, load_options, require_repeatable
from ioi_bench.leaderboard.results import CARD, PROMPTS, SUBMISSION, Entry, read_entry
from ioi_bench.leaderboard.seasons.commit import today, version
from ioi_bench.leaderboard.seasons.folder import COMMITMENT, DRAW, LOG, Season, file_sha256, prompts_of, read_season
from ioi_bench.leaderboard.seasons.opening import read_seed
from ioi_bench.leaderboard.seasons.records import Draw, LogLine, Terms
from ioi_bench.leaderboard.weights import check_revision, loader_plugins, open_weights
from ioi_bench.task import Split, task_spec
from ioi_bench.task.season import GENERATOR

if TYPE_CHECKING:
    from ioi_bench.dictionaries.source import Source
    from ioi_bench.evaluation.data import Progress
    from ioi_bench.evaluation.inputs import Inputs
    from ioi_bench.lm.model import LanguageModel
    from ioi_bench.plugins.manager import Plugins

__all__ = ["Bench", "Judge", "Outcome", "draw_prompts", "require_as_committed", "season_model", "withheld_file"]

_REASON = 300  # characters


def withheld_file(seed_file: Path, season: str, entry: str) -> Path:
    """Where results per prompt wait for the reveal: beside the seed."""
    return _withheld_folder(seed_file, season) / entry / PROMPTS


def _withheld_folder(seed_file: Path, season: str) -> Path:
    return seed_file.parent / f"{season}.withheld"


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
            date=today(),
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


@dataclass(frozen=True)
class Bench:
    """What all suites of a season are judged on: the model, its activations, the skylines.

    Attributes:
        model: as `season_model` gives it.
        split: the season's prompts.
        progress: called as ``progress(what, done, total)``.
    """

    terms: Terms
    model: LanguageModel
    split: Split
    progress: Progress | None = None

    @cached_property
    def inputs(self) -> Inputs:
        """Captured once, and never kept on the disk: activations of secret prompts are a secret, too."""
        from ioi_bench.evaluation.data import Capture, silent, split_of
        from ioi_bench.evaluation.inputs import gather

        circuit = track_circuit(self.terms.track)
        capture = Capture(self.model, 512, None, self.progress or silent)
        train = split_of(circuit, "train", self.terms.train_prompts)
        return gather(capture, circuit, self.split, train, cells=circuit.headline)

    def judge(self, source: Source, made: Made, plugins: Plugins, out: Path) -> Repeated:
        """Load the source as a card of it says, and evaluate it as the terms say.

        Args:
            source: the weights.
            made: of its card: the loader and what was said of the source.
            plugins: all that may take part.
            out: a folder for ``card.json`` and ``prompts.parquet``.

        Raises:
            InputError: the weights cannot be read or evaluated.
        """
        from ioi_bench.evaluation.evaluate import evaluate
        from ioi_bench.plugins.loading import load_source

        require_repeatable(made, plugins)
        options = load_options(made)
        loaded = load_source(source, options, made.loader, plugins=plugins)
        card = evaluate(
            loaded,
            options=options,
            model=self.model,
            circuit=self.inputs.circuit,
            split=self.split,
            train_prompts=self.terms.train_prompts,
            budgets=self.terms.budgets,
            methods=self.terms.methods,
            plugins=plugins,
            preflight=made.options.get("preflight") != "no",
            inputs=self.inputs,
            out=out,
            progress=self.progress,
        )
        return Repeated(card, is_weighed(loaded, options))


@dataclass(frozen=True)
class Outcome:
    """What became of one submission.

    Attributes:
        line: of the log, with a result or the reason why there is none; None where it was left out.
        receipt: the line's hash, for its authors.
        card: its card, where there is one.
        error: why nothing was written: it is no submission, or out of reach now, which says nothing of it.
    """

    name: str
    line: LogLine | None = None
    receipt: str | None = None
    card: Card | None = None
    error: IoiBenchError | None = None


@dataclass(frozen=True)
class Judge:
    """How submissions are judged.

    Attributes:
        folder: the season's.
        seed_file: of the season; results per prompt are kept beside it.
        beacon: where the commitment announces one, the first time.
        allowed: plugins whose loaders may read weights, beside ioi-bench's own.
        hub_only: weights on this machine are refused.
    """

    folder: Path
    seed_file: Path
    beacon: str | None = None
    allowed: tuple[AllowedPlugin, ...] = ()
    hub_only: bool = False
    progress: Progress | None = field(default=None)

    def judge_each(self, submissions: Iterable[Path]) -> Iterator[Outcome]:
        """One after the other; what is of another track or was judged already is left out.

        Raises:
            InputError: there is no such season, it is revealed, or the seed is not its own; or as `draw_prompts`.
            ModelUnavailableError: the model is not here. StorageError: the disk refused.
        """
        season = read_season(self.folder)
        if season.reveal is not None:
            raise InputError(
                f"the season {season.terms.season!r} was revealed on {season.reveal.date}: its prompts are no secret "
                "any more, and nothing is added; anybody can evaluate with --split " + season.split_name
            )
        seed = read_seed(self.seed_file, season.terms, season.commitment.commitment)
        model = season_model(season.terms)
        bench = Bench(season.terms, model, draw_prompts(season, seed, self.beacon), self.progress)
        for folder in submissions:
            try:
                yield from self._judged(folder, bench)
            except IoiBenchError as error:
                yield Outcome(folder.as_posix(), error=error)

    def _judged(self, folder: Path, bench: Bench) -> Iterator[Outcome]:
        require_plain(folder)
        entry, season = read_entry(folder), read_season(self.folder)
        if entry.card.track != season.terms.track or entry.card.made.model != season.terms.model:
            return
        if entry.key in season.judged:
            return
        common: dict[str, Any] = {
            "entry": entry.key,
            "submission_sha256": file_sha256(folder / SUBMISSION),
            "suite": entry.submission.suite,
            "number": len(season.log) + 1,
            "previous": season.head,
            "date": today(),
        }
        with tempfile.TemporaryDirectory(prefix="ioi-bench-season-") as name:
            found = self._evaluated(entry, bench, Path(name))
            if isinstance(found, str):
                line, card = LogLine(**common, reason=_printable(found)), None
            else:
                card = found
                hashes = {CARD: file_sha256(Path(name) / CARD), PROMPTS: file_sha256(Path(name) / PROMPTS)}
                target = withheld_file(self.seed_file, season.terms.season, entry.key)
                _withheld_folder(self.seed_file, season.terms.season).mkdir(exist_ok=True, mode=0o700)
                write_file(target, (Path(name) / PROMPTS).read_bytes())
                write_file(season.entry_folder(entry.key) / CARD, (Path(name) / CARD).read_bytes())
                line = LogLine(
                    **common,
                    suite_sha256_found=card.made.suite_sha256,
                    card_sha256=hashes[CARD],
                    prompts_sha256=hashes[PROMPTS],
                )
        data = line.model_dump_json().encode()
        write_file(season.folder / LOG, b"".join(one + b"\n" for one in (*season.raw_log, data)))
        yield Outcome(entry.submission.name, line, read_season(self.folder).head, card)

    def _evaluated(self, entry: Entry, bench: Bench, out: Path) -> Card | str:
        """The card, or why the suite cannot be judged.

        Raises:
            IoiBenchError: it is out of reach here and now, which says nothing of it.
        """
        revision = check_revision(entry.submission, hub_only=self.hub_only)
        if not revision.passed:
            return revision.detail
        made = entry.card.made
        plugins = loader_plugins(made, self.allowed)
        if isinstance(plugins, Check):
            return plugins.detail
        source = open_weights(entry.submission.suite, self.progress)
        if isinstance(source, Check):
            return source.detail
        try:
            again = bench.judge(source, made, plugins, out)
        except (AccessError, PluginError):
            raise
        except InputError as error:
            return str(error)
        found = again.card.made.suite_sha256
        if again.weighed and found != entry.submission.suite_sha256:
            return f"the weights have the hash {found[:12]}…, and {entry.submission.suite_sha256[:12]}… was handed in"
        return again.card


def _printable(text: str) -> str:
    """One line: words in it come from the submission."""
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return text if len(text) <= _REASON else text[: _REASON - 1] + "…"
