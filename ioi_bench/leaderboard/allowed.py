"""``plugins.toml``: plugins whose loaders a leaderboard takes submissions of, each at one version.

Anybody who verifies a submission runs such a plugin, so the maintainers of a leaderboard read it before they list it.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ioi_bench.bounded import MAX_TOML_BYTES, bounded_bytes, stays_inside, toml_table
from ioi_bench.errors import InputError, StorageError

__all__ = ["PLUGINS", "AllowedPlugin", "read_allowed"]

PLUGINS = "plugins.toml"


class AllowedPlugin(BaseModel):
    """One ``[[plugin]]``.

    Attributes:
        name: under which it registers.
        package: the distribution that it comes in.
        version: the one version that was read.
        loaders: those that may be used.
        reads: which files these read, in words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    package: str
    version: str
    loaders: tuple[str, ...] = Field(min_length=1)
    reads: str

    @property
    def on_card(self) -> str:
        """What a card says of it (`Made.plugins`)."""
        return f"{self.name} ({self.package} {self.version})"


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    plugin: tuple[AllowedPlugin, ...] = ()


def read_allowed(leaderboard: Path) -> tuple[AllowedPlugin, ...]:
    """What ``plugins.toml`` in a leaderboard's folder lists; nothing without such a file.

    Raises:
        InputError: it is damaged, or absurdly large.
    """
    path = leaderboard / PLUGINS
    if not path.exists():
        return ()
    if not stays_inside(path, leaderboard):
        raise InputError(f"{str(path)!r} is a link that leaves the leaderboard: put the list itself there")
    try:
        return _File.model_validate(toml_table(bounded_bytes(path, MAX_TOML_BYTES))).plugin
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{str(path)!r}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except (StorageError, ValueError) as error:
        raise InputError(f"{str(path)!r} cannot be read: {error}") from error
