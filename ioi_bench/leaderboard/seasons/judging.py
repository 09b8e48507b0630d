"""Judging suites on a season's prompts: the weights at their commit, by the leaderboard's own code paths.

Of each suite the card is published at once, and the hash of its results per prompt; the rows themselves would show the
prompts, and are kept beside the seed until the reveal. A line of the log is written last: what has none was not judged.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ioi_bench.atomic import locked, write_file
from ioi_bench.errors import AccessError, InputError, IoiBenchError, PluginError
from ioi_bench.evaluation.card import Card, Made
from ioi_bench.leaderboard.allowed import AllowedPlugin
from ioi_bench.leaderboard.changes import require_plain
from ioi_bench.leaderboard.checks import track_circuit
from ioi_bench.leaderboard.records import Check
from ioi_bench.leaderboard.repeat import Repeated, is_weighed, load_options, require_repeatable
from ioi_bench.leaderboard.results import CARD, PROMPTS, SUBMISSION, Entry, read_entry
from ioi_bench.leaderboard.seasons.dates import next_date
from ioi_bench.leaderboard.seasons.drawing import draw_prompts, season_model
from ioi_bench.leaderboard.seasons.folder import COMMITMENT, LOG, Season, file_sha256, read_season, sha256_of
from ioi_bench.leaderboard.seasons.opening import read_seed
from ioi_bench.leaderboard.seasons.records import LogLine, Terms
from ioi_bench.leaderboard.weights import check_revision, loader_plugins, open_weights
from ioi_bench.task import Split

if TYPE_CHECKING:
    from ioi_bench.dictionaries.source import Source
    from ioi_bench.evaluation.data import Progress
    from ioi_bench.evaluation.inputs import Inputs
    from ioi_bench.lm.model import LanguageModel
    from ioi_bench.plugins.manager import Plugins

__all__ = ["Bench", "Judge", "Outcome", "withheld_file"]

_REASON = 300  # characters


def withheld_file(seed_file: Path, season: str, entry: str) -> Path:
    """Where results per prompt wait for the reveal: beside the seed."""
    return _withheld_folder(seed_file, season) / entry / PROMPTS


def _withheld_folder(seed_file: Path, season: str) -> Path:
    return seed_file.parent / f"{season}.withheld"


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
        season = self._sealed()
        seed = read_seed(self.seed_file, season.terms, season.commitment.commitment)
        model = season_model(season.terms)
        with locked(self.folder / COMMITMENT):  # another run may draw at the same time
            split = draw_prompts(self._sealed(), seed, self.beacon)
        bench = Bench(season.terms, model, split, self.progress)
        for folder in submissions:
            try:
                yield from self._judged(folder, bench)
            except IoiBenchError as error:
                yield Outcome(folder.as_posix(), error=error)

    def _sealed(self) -> Season:
        """The season as it is now.

        Raises:
            InputError: there is none, or it is revealed.
        """
        season = read_season(self.folder)
        if season.reveal is not None:
            raise InputError(
                f"the season {season.terms.season!r} was revealed on {season.reveal.date}: its prompts are no secret "
                "any more, and nothing is added; anybody can evaluate with --split " + season.split_name
            )
        return season

    def _judged(self, folder: Path, bench: Bench) -> Iterator[Outcome]:
        require_plain(folder)
        entry, terms = read_entry(folder), bench.terms
        if entry.card.track != terms.track or entry.card.made.model != terms.model:
            return
        if entry.key in self._sealed().judged:
            return
        with tempfile.TemporaryDirectory(prefix="ioi-bench-season-") as name:
            found = self._evaluated(entry, bench, Path(name))
            # Another run may have added lines in the meantime, and the next follows on the last of them.
            with locked(self.folder / COMMITMENT):
                season = self._sealed()
                line = None if entry.key in season.judged else self._written(season, entry, found, Path(name))
        if line is not None:
            receipt = sha256_of(line.model_dump_json().encode())
            yield Outcome(entry.submission.name, line, receipt, found if isinstance(found, Card) else None)

    def _written(self, season: Season, entry: Entry, found: Card | str, made: Path) -> LogLine:
        """A card and its results per prompt, or the reason why there are none; the line of the log comes last."""
        common: dict[str, Any] = {
            "entry": entry.key,
            "submission_sha256": file_sha256(entry.folder / SUBMISSION),
            "suite": entry.submission.suite,
            "number": len(season.log) + 1,
            "previous": season.head,
            "date": next_date(season),
        }
        if isinstance(found, str):
            line = LogLine(**common, reason=_printable(found))
        else:
            line = LogLine(
                **common,
                suite_sha256_found=found.made.suite_sha256,
                card_sha256=file_sha256(made / CARD),
                prompts_sha256=file_sha256(made / PROMPTS),
            )
            target = withheld_file(self.seed_file, season.terms.season, entry.key)
            _withheld_folder(self.seed_file, season.terms.season).mkdir(exist_ok=True, mode=0o700)
            write_file(target, (made / PROMPTS).read_bytes())
            write_file(season.entry_folder(entry.key) / CARD, (made / CARD).read_bytes())
        data = line.model_dump_json().encode()
        write_file(season.folder / LOG, b"".join(one + b"\n" for one in (*season.raw_log, data)))
        return line

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
