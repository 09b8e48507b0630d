"""Verifying a submission: fetch its weights, evaluate them as the card says, and compare everything."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from ioi_bench.atomic import write_file
from ioi_bench.errors import AccessError, InputError, IoiBenchError, PluginError
from ioi_bench.evaluation.provenance import versions
from ioi_bench.leaderboard.allowed import AllowedPlugin
from ioi_bench.leaderboard.changes import require_plain
from ioi_bench.leaderboard.checks import Needs, check_card
from ioi_bench.leaderboard.compare import TOLERANCES, Tolerances, compare_cards, compare_prompts
from ioi_bench.leaderboard.declared import check_declaration
from ioi_bench.leaderboard.names import check_owner
from ioi_bench.leaderboard.records import Check, Verdict
from ioi_bench.leaderboard.repeat import compare_fresh, compare_made, repeat
from ioi_bench.leaderboard.results import CARD, PROMPTS, SUBMISSION, VERDICT, Entry, entry_folder, read_entry
from ioi_bench.leaderboard.target import RESULTS
from ioi_bench.leaderboard.weights import check_revision, loader_plugins, open_weights

if TYPE_CHECKING:
    from ioi_bench.dictionaries.source import Source
    from ioi_bench.evaluation.card import Card
    from ioi_bench.evaluation.data import Progress
    from ioi_bench.plugins.manager import Plugins

__all__ = ["Outcome", "Verifier"]

_COVERED = (CARD, PROMPTS, SUBMISSION)
_DETAIL = 600  # characters
_NOT_ITS_FAULT = (AccessError, PluginError)  # a plugin here that is broken says nothing of a submission


@dataclass(frozen=True)
class Outcome:
    """What became of one submission: a verdict, or why there is none.

    Attributes:
        folder: where it lies.
        error: an `InputError` of what is no submission; others say nothing of it.
    """

    folder: Path
    verdict: Verdict | None = None
    error: IoiBenchError | None = None

    @property
    def exit_code(self) -> int:
        """0 reproduced, 1 refuted or out of reach now, 2 no submission."""
        if self.verdict is not None:
            return 1 if self.verdict.badge == "refuted" else 0
        bad = isinstance(self.error, InputError) and not isinstance(self.error, _NOT_ITS_FAULT)
        return 2 if bad else 1


@dataclass(frozen=True)
class Verifier:
    """How submissions are verified.

    Attributes:
        needs: what the leaderboard asks of a card.
        allowed: plugins whose loaders may read weights, beside ioi-bench's own; by default none.
        hub_only: weights on this machine are refused: for submissions of others.
        only_new: submissions that have a verdict, and whose files are those that it is of, are left out.
        out: a leaderboard's folder of its own for the verdicts; by default each lies beside its submission.
        tolerances: how far two honest results may lie apart.
        cache_dir: where captures are kept between evaluations; None keeps none.
        progress: called as ``progress(what, done, total)``.
    """

    needs: Needs = field(default_factory=lambda: Needs())
    allowed: tuple[AllowedPlugin, ...] = ()
    hub_only: bool = False
    only_new: bool = False
    out: Path | None = None
    tolerances: Tolerances = TOLERANCES
    cache_dir: Path | None = None
    progress: Progress | None = None

    def verify_each(self, folders: Iterable[Path]) -> Iterator[Outcome]:
        """One after the other; one that cannot be verified does not keep the others from it."""
        for folder in folders:
            try:
                if not (self.only_new and read_entry(folder).verdict is not None):
                    yield Outcome(folder, self.verify(folder))
            except IoiBenchError as error:
                yield Outcome(folder, error=error)

    def verify(self, folder: Path) -> Verdict:
        """Verify the submission in a folder, and write ``verdict.json``.

        Raises:
            InputError: the folder is no submission; nothing is written.
            AccessError, HubUnavailableError, ModelUnavailableError, PluginError: weights, model or loader cannot be had
                here and now, which says nothing of the submission; nothing is written.
            StorageError: the disk refused.
        """
        require_plain(folder)
        entry = read_entry(folder)
        hashes = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in _COVERED}
        found = _Found(entry.submission.suite)
        checks = tuple(_told(check) for check in self._checks(entry, found))
        verdict = Verdict(
            badge="reproduced" if all(check.passed for check in checks) else "refuted",
            suite=found.suite,
            suite_sha256_found=found.sha256,
            checks=checks,
            date=datetime.now(timezone.utc).date().isoformat(),
            versions=versions(),
            card_sha256=hashes[CARD],
            prompts_sha256=hashes[PROMPTS],
            submission_sha256=hashes[SUBMISSION],
        )
        place = folder
        if self.out is not None:
            place = entry_folder(self.out / RESULTS, entry.card.track, entry.submission)
        write_file(place / VERDICT, (verdict.model_dump_json(indent=1) + "\n").encode())
        return verdict

    def _checks(self, entry: Entry, found: _Found) -> Iterator[Check]:
        """Every check in order; after one that makes the rest meaningless there are no more."""
        shown = check_card(entry.card, entry.folder / PROMPTS, needs=self.needs)
        yield from shown
        if not shown[-1].passed:
            return
        revision = check_revision(entry.submission, hub_only=self.hub_only)
        yield revision
        if not revision.passed:
            return
        yield check_owner(entry.submission)
        plugins = loader_plugins(entry.card.made, self.allowed)
        if isinstance(plugins, Check):
            yield plugins
            return
        made = entry.card.made
        reader = made.plugins.get(f"loader {made.loader}", f"{made.loader or 'native'}, ioi-bench's own")
        yield Check(name="loader", passed=True, detail=reader)
        source = open_weights(entry.submission.suite, self.progress)
        if isinstance(source, Check):
            yield source
            return
        found.suite = source.origin
        yield Check(name="weights", passed=True, detail=f"{len(source.files)} files")
        yield from self._evaluated(entry, source, plugins, found)

    def _evaluated(self, entry: Entry, source: Source, plugins: Plugins, found: _Found) -> Iterator[Check]:
        import pandas as pd

        with tempfile.TemporaryDirectory(prefix="ioi-bench-verify-") as name:
            folder = Path(name)
            try:
                again = repeat(source, entry.card, plugins, folder, cache_dir=self.cache_dir, progress=self.progress)
            except _NOT_ITS_FAULT:
                raise
            except InputError as error:
                yield Check(name="evaluation", passed=False, detail=str(error))
                return
            took = f"{again.card.made.wall_seconds:.0f} s on {_machine(again.card)}"
            yield Check(name="evaluation", passed=True, detail=took)
            found.sha256 = again.card.made.suite_sha256
            yield from compare_made(entry.card, again)
            given, frame = (pd.read_parquet(place / PROMPTS) for place in (entry.folder, folder))
            yield compare_prompts(given, frame, self.tolerances)
            yield compare_cards(entry.card, again.card, self.tolerances)
            yield compare_fresh(again)
            yield check_declaration(again.card, entry.submission)


@dataclass
class _Found:
    """Where the weights were read: as it was handed in, then with what the source says; and the hash they have here."""

    suite: str
    sha256: str | None = None


def _machine(card: Card) -> str:
    made = card.made
    return f"{made.hardware['machine']}, {made.hardware['threads']} threads, torch {made.versions['torch']}"


def _told(check: Check) -> Check:
    """With a detail of one printable line: words in it come from the submission, and go into logs and pages."""
    text = "".join(letter if letter.isprintable() else " " for letter in check.detail.replace("`", "'"))
    text = " ".join(text.split())
    return check.model_copy(update={"detail": text if len(text) <= _DETAIL else text[: _DETAIL - 1] + "…"})
