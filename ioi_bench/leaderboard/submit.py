"""Preparing a submission: everything is checked before anything is sent, and nothing of it is executed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w
from pydantic import ValidationError

from ioi_bench.bounded import MAX_TOML_BYTES, bounded_bytes, toml_table
from ioi_bench.dictionaries.architectures import ARCHITECTURES, Architecture
from ioi_bench.dictionaries.scaled import Scaled
from ioi_bench.errors import InputError, StorageError
from ioi_bench.evaluation.card import Card, Made
from ioi_bench.evaluation.choices import read_suite
from ioi_bench.leaderboard.checks import Needs, check_card, require_passed
from ioi_bench.leaderboard.declared import check_declaration
from ioi_bench.leaderboard.names import foreign_owner, other_spelling
from ioi_bench.leaderboard.records import Check, Submission
from ioi_bench.leaderboard.repeat import load_options
from ioi_bench.leaderboard.results import CARD, PROMPTS, SUBMISSION, entry_folder
from ioi_bench.leaderboard.target import DEFAULT_TARGET, RESULTS, Sent, Target, open_target
from ioi_bench.plugins.discovery import BUILT_IN
from ioi_bench.plugins.loading import SQRT_D, Loaded, load_source
from ioi_bench.plugins.manager import Plugins
from ioi_bench.plugins.records import Loader
from ioi_bench.plugins.sources import open_source

if TYPE_CHECKING:
    from ioi_bench.dictionaries.suite import Suite
    from ioi_bench.evaluation.data import Progress

__all__ = ["DEFAULT_TARGET", "Declaration", "Prepared", "Sent", "prepare", "read_declaration", "send"]

_MAX_CARD_BYTES = 4 << 20  # what `read_entry` reads
_SHIPPED_MODEL = "ioi-mini"


@dataclass(frozen=True)
class Declaration:
    """What the authors say; None where they have not said it yet.

    Attributes:
        name: ``ORG/NAME``.
        authors: people, or a group.
        training_data: what the dictionaries were trained on.
        licence: of the weights, an SPDX identifier.
        url: a paper or a page; optional.
        suite: where the weights lie.
    """

    name: str | None = None
    authors: tuple[str, ...] | None = None
    training_data: str | None = None
    licence: str | None = None
    url: str | None = None
    suite: str | None = None

    @property
    def missing(self) -> tuple[str, ...]:
        """Fields that are needed and were not said."""
        return tuple(one.name for one in fields(self) if one.name != "url" and not getattr(self, one.name))

    def overridden(self, given: Declaration) -> Declaration:
        """This, except where ``given`` says otherwise."""
        said = {name: value for name, value in vars(given).items() if value}
        return replace(self, **said)


def read_declaration(path: Path) -> Declaration:
    """What a ``submission.toml`` says: one that was written by hand, with some of the fields, or an earlier one.

    Raises:
        InputError: no such file, not TOML, an unknown field, or something of the wrong kind.
    """
    known = {one.name for one in fields(Declaration)}
    if not path.exists():
        raise InputError(f"there is no file {str(path)!r}: docs/submitting.md shows what it says")
    try:
        table = toml_table(bounded_bytes(path, MAX_TOML_BYTES))
    except (StorageError, ValueError) as error:
        raise InputError(f"{str(path)!r} cannot be read: {error}") from error
    table = {name: value for name, value in table.items() if name not in ("schema_version", "suite_sha256")}
    if unknown := sorted(set(table) - known):
        raise InputError(f"{str(path)!r} has {', '.join(unknown)}; it may have {', '.join(sorted(known))}")
    for name, value in table.items():
        listed = isinstance(value, list) and all(isinstance(one, str) for one in value)
        if not (listed if name == "authors" else isinstance(value, str)):
            expected = "a list of text" if name == "authors" else "text"
            raise InputError(f"in {str(path)!r} {name} is {value!r}, expected {expected}")
    if "authors" in table:
        table["authors"] = tuple(table["authors"])
    return Declaration(**table)


@dataclass(frozen=True)
class Prepared:
    """A submission that passed everything, ready to be sent.

    Attributes:
        place: its folder on the leaderboard, below ``results``.
        files: what will be sent, by name.
        checks: what was looked at.
        notes: what its authors should know before they send it.
    """

    card: Card
    submission: Submission
    target: Target
    place: str
    files: Mapping[str, bytes]
    checks: tuple[Check, ...]
    notes: tuple[str, ...]


def prepare(
    card_folder: Path,
    said: Declaration,
    *,
    to: str = DEFAULT_TARGET,
    needs: Needs | None = None,
    plugins: Plugins | None = None,
    progress: Progress | None = None,
) -> Prepared:
    """Check a card, its prompts and its suite, and put the files together; nothing is sent.

    Args:
        card_folder: what ``ioi-bench evaluate --out`` wrote, or the ``card.json`` in it.
        said: with all fields that are needed.
        to: the leaderboard: ``hf://datasets/org/repo`` or a folder.
        needs: what it asks of a card; by default what the public one asks.
        plugins: by default the installed ones; a loader of theirs must be on the leaderboard's list.
        progress: told what is fetched.

    Raises:
        InputError: the card does not pass, the suite is another one or cannot be verified by others, the leaderboard
            has it already, or something that was said makes no sense.
        HubUnavailableError: the Hub gives no answer now.
    """
    folder = card_folder if card_folder.is_dir() else card_folder.parent
    files = {CARD: _content(folder / CARD, _MAX_CARD_BYTES)}
    card = Card.read(folder / CARD)
    submission = _submission(said, card)
    _check_address(submission.suite, to)
    checks = check_card(card, folder / PROMPTS, model_sha256=_model_sha256(card.made), needs=needs)
    checks = (*checks, check_declaration(card, submission))
    require_passed(checks)
    target = open_target(to, card.track, submission.suite_sha256, progress)
    place = entry_folder(Path(RESULTS), card.track, submission).as_posix()
    if (spelling := other_spelling(submission.name, target.known)) is not None:
        raise InputError(f"{to} has {submission.name!r} in another spelling: write --name {spelling}")
    if submission.name in target.names:
        raise InputError(
            f"{to} has this suite already as {submission.name!r} ({place}): a submission is never replaced. A suite "
            "with other weights is a new one, and can be submitted"
        )
    origin = _check_suite(card, submission, target, plugins or Plugins.load(), progress)
    submission = submission.model_copy(update={"suite": origin})
    files[PROMPTS] = (folder / PROMPTS).read_bytes()
    files[SUBMISSION] = tomli_w.dumps(submission.model_dump(mode="json", exclude_none=True)).encode()
    return Prepared(card, submission, target, place, files, checks, tuple(_notes(card, submission, target)))


def send(prepared: Prepared, progress: Progress | None = None) -> Sent:
    """Write it into the leaderboard's folder, or open a pull request.

    Raises:
        InputError, HubUnavailableError, StorageError: as `Target.send`.
    """
    card, submission = prepared.card, prepared.submission
    title = f"Submit {submission.name} to {card.track} ({submission.suite_sha256[:12]})"
    description = (
        f"`{submission.suite}`, by {', '.join(submission.authors)}. Training data: {submission.training_data} "
        f"Licence of the weights: {submission.licence}."
    )
    return prepared.target.send(prepared.place, prepared.files, title, description, progress)


def _submission(said: Declaration, card: Card) -> Submission:
    if said.missing:
        raise InputError(f"a submission needs {', '.join(said.missing)}")
    given: dict[str, Any] = {name: value for name, value in vars(said).items() if value}
    try:
        return Submission(**given, suite_sha256=card.made.suite_sha256)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{where} is {first['input']!r}: {first['msg'].removeprefix('Value error, ')}") from error


def _check_address(suite: str, to: str) -> None:
    """Others must be able to read it."""
    if "://" in to and not suite.startswith("hf://"):
        raise InputError(
            f"the suite is {suite!r} on this machine, where nobody else can verify it: upload the folder to a model "
            "repository of yours (hf upload ORG/REPO FOLDER) and give --suite hf://ORG/REPO; or write to a "
            "leaderboard of your own, --to DIR"
        )


def _model_sha256(made: Made) -> str | None:
    """Of the model that ships with ioi-bench; the others are compared by who verifies."""
    return _shipped_sha256() if made.model == _SHIPPED_MODEL else None


@cache
def _shipped_sha256() -> str:
    from ioi_bench.lm.model import load_model

    return load_model(_SHIPPED_MODEL).sha256


def _check_suite(
    card: Card, submission: Submission, target: Target, plugins: Plugins, progress: Progress | None
) -> str:
    """The suite is the card's, and of a kind that is read without running anything; its address with the commit.

    Raises:
        InputError: it is another suite, or of a kind that is not taken.
    """
    made, source = card.made, open_source(submission.suite, progress)
    options = load_options(made)
    loaded = load_source(source, options, made.loader, plugins=plugins)
    _check_loader(loaded, made, target, plugins)
    suite, _ = read_suite(loaded, options, None, plugins)
    if suite.sha256 != made.suite_sha256 and options.scale != SQRT_D:  # √d follows from activations: verified later
        raise InputError(
            f"the card is of a suite with sha256 {made.suite_sha256[:12]}…, and {source.origin!r} has "
            f"{suite.sha256[:12]}…: give the suite that was evaluated, or evaluate this one"
        )
    _check_sites(card, suite)
    return source.origin


def _check_loader(loaded: Loaded, made: Made, target: Target, plugins: Plugins) -> None:
    """The loader is ioi-bench's own, with architectures of its own; or one that the leaderboard lists."""
    loader = loaded.claim.loader.name
    owner = plugins.owner(Loader, loader)
    if owner == BUILT_IN:
        for site, placed in loaded.suite.dictionaries.items():
            dictionary = placed.inner if isinstance(placed, Scaled) else placed  # by a number that the card names
            if not isinstance(dictionary, Architecture) or type(dictionary) is not ARCHITECTURES.get(dictionary.name):
                raise InputError(
                    f"the dictionary at {site} is of no architecture that ioi-bench has itself: others would have to "
                    f"run your code to verify it. Copy its weights into one of {', '.join(ARCHITECTURES)}"
                )
        return
    on_card = made.plugins.get(f"loader {loader}", f"{owner} ({plugins.named(owner).origin})")
    if not any(one.on_card == on_card and loader in one.loaders for one in target.allowed):
        listed = ", ".join(one.on_card for one in target.allowed) or "none"
        raise InputError(
            f"the suite was read by the loader {loader!r} of {on_card}, which is not on the list of {target.name} "
            f"({listed}). Save the suite in ioi-bench's own format (save_suite) and evaluate that, or ask the "
            "maintainers to list the plugin"
        )


def _check_sites(card: Card, suite: Suite) -> None:
    have = set(map(str, suite.sites))
    for cell in card.cells:
        missing = tuple(site for site in cell.sites if site not in have)
        if missing != cell.missing_sites:
            raise InputError(
                f"the card says that {len(cell.missing_sites)} sites of {cell.name} have no dictionary, and the suite "
                f"lacks {len(missing)}: {', '.join(missing) or 'none'}"
            )


def _notes(card: Card, submission: Submission, target: Target) -> list[str]:
    notes = []
    if target.names:
        notes.append(
            f"{target.name} has this very suite already, as {', '.join(target.names)}: the same weights under another "
            "name are one suite, and maintainers will ask whose it is"
        )
    if foreign := foreign_owner(submission):
        notes.append(f"{foreign}; the verdict will say so")
    source = card.made.source
    if target.address is not None and source is not None and "://" not in source:
        notes.append(f"the card names the path it was evaluated from, {source!r}, and will be public")
    if card.made.options.get("scale") == SQRT_D:
        notes.append(
            "--scale sqrt-d follows from activations, so that the suite's hash was not compared here; the verdict will "
            "hold the one that is found"
        )
    if not submission.suite.startswith("hf://"):
        notes.append(f"the suite is a path on this machine, {submission.suite!r}: only here can it be verified")
    return notes


def _content(path: Path, most: int) -> bytes:
    try:
        if (size := path.stat().st_size) > most:
            raise InputError(f"{str(path)!r} has {size:,} bytes; at most {most:,} are read")
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(
            f"there is no card at {str(path)!r}: `ioi-bench evaluate SUITE --out DIR` writes one"
        ) from None
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read: {error.strerror or error}") from error
