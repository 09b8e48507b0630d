"""The weights of a submission, at the revision that was handed in, and what may read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ioi_bench.errors import AccessError, InputError, PluginError, StorageError
from ioi_bench.leaderboard.allowed import AllowedPlugin
from ioi_bench.leaderboard.records import Check, Submission

if TYPE_CHECKING:
    from ioi_bench.dictionaries.source import Source
    from ioi_bench.evaluation.card import Made
    from ioi_bench.evaluation.data import Progress
    from ioi_bench.plugins.manager import Plugins

__all__ = ["check_revision", "loader_plugins", "open_weights"]

_HUB = "hf://"


def check_revision(submission: Submission, *, hub_only: bool) -> Check:
    """The address names a whole commit, which never moves; a path only on one's own disk.

    Args:
        hub_only: a path is refused: somebody else's submission must not name files of this machine.
    """
    from ioi_bench.hub import HubAddress

    def check(passed: bool, detail: str) -> Check:
        return Check(name="revision", passed=passed, detail=detail)

    if not submission.suite.startswith(_HUB):
        if hub_only:
            return check(False, f"{submission.suite!r} is no address on the Hub: give {_HUB}org/repo@<commit>/folder")
        return check(True, "a path on this machine, which may change")
    try:
        address = HubAddress.parse(submission.suite)
    except InputError as error:
        return check(False, str(error))
    if not address.pinned:
        return check(False, f"{address} can move: {address.asked!r} is no whole commit of 40 hexadecimal digits")
    return check(True, f"commit {address.asked}")


def loader_plugins(made: Made, allowed: Sequence[AllowedPlugin]) -> Plugins | Check:
    """ioi-bench's own, with the one plugin that the card's loader comes from; a check that failed if it is not allowed.

    Nothing else that may be installed here is imported, so that it cannot take part.

    Raises:
        PluginError: it is allowed, and not installed here at that version.
    """
    from ioi_bench.plugins.discovery import built_in, installed
    from ioi_bench.plugins.manager import Plugins
    from ioi_bench.plugins.records import Loader

    own = Plugins([built_in()])
    said = made.plugins.get(f"loader {made.loader}")
    if said is None and (made.loader is None or made.loader in own.all(Loader)):
        return own
    one = next((one for one in allowed if one.on_card == said and made.loader in one.loaders), None)
    if one is None:
        listed = ", ".join(one.on_card for one in allowed) or "none"
        detail = f"the loader {made.loader!r} of {said or 'no known plugin'} is not on the leaderboard's list: {listed}"
        return Check(name="loader", passed=False, detail=detail)
    candidates = [
        found for found in installed() if (found.name, f"{found.name} ({found.origin})") == (one.name, one.on_card)
    ]
    if not candidates:
        raise PluginError(
            f"the loader {made.loader!r} comes from {one.on_card}, which is not installed here: "
            f"pip install {one.package}=={one.version}"
        )
    return Plugins([built_in(), *candidates])


def open_weights(suite: str, progress: Progress | None) -> Source | Check:
    """What lies at the address that a submission names; a check that failed where it is not there.

    Raises:
        HubUnavailableError: no answer now.
        AccessError: the Hub has it and refuses it to us.
        StorageError: the cache cannot be written.
    """
    from ioi_bench.plugins.sources import open_source

    try:
        source = open_source(suite, progress)
        source.files  # noqa: B018 (an empty folder, or one that cannot be read, is found here)
    except AccessError:
        raise
    except InputError as error:
        return Check(name="weights", passed=False, detail=str(error))
    except StorageError as error:
        if suite.startswith(_HUB):
            raise
        return Check(name="weights", passed=False, detail=str(error))
    return source
