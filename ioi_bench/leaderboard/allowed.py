"""``plugins.toml``: plugins whose loaders a leaderboard takes submissions of, each at one version.

Anybody who verifies a submission runs such a plugin, so the maintainers of a leaderboard read it before they list it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ioi_bench.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["PLUGINS", "AllowedPlugin", "read_allowed"]

PLUGINS = "plugins.toml"
_MAX_BYTES = 1 << 20


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
    try:
        if (size := path.stat().st_size) > _MAX_BYTES:
            raise InputError(f"{str(path)!r} has {size:,} bytes; at most {_MAX_BYTES:,} are read")
        return _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).plugin
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{str(path)!r}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{str(path)!r} cannot be read: {error}") from error
