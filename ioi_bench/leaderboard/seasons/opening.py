"""The commitment's cryptography: what is hashed, how the seed is kept, and what prompts are drawn from.

The commitment is ``sha256(encode(terms, seed))``. It hides the seed, which has 256 random bits: who would open it must
find a preimage. It binds to it, and to every term: two openings are a collision of sha256. The encoding is unambiguous,
since each part is preceded by its length, and begins with a domain of its own, so that no hash made for another purpose
is a commitment.

Prompts are drawn from ``HMAC-sha256(seed, encode(season, spec, beacon))``: without the seed it cannot be told from
chance, whatever the beacon; and a beacon that nobody knew when the commitment was published takes from its author the
choice among seeds.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Iterable
from pathlib import Path

from ioi_bench.atomic import storage_errors
from ioi_bench.errors import InputError
from ioi_bench.leaderboard.seasons.records import SeedFile, Terms

__all__ = ["SEED_BYTES", "commitment_of", "draw_key", "encode", "keep_seed", "read_seed"]

SEED_BYTES = 32
_COMMITMENT, _DRAW = "ioi-bench season commitment 1", "ioi-bench season draw 1"
_MAX_BYTES = 1 << 16


def encode(domain: str, parts: Iterable[bytes]) -> bytes:
    """Bytes that no other domain and parts have: each is preceded by its length in eight bytes.

    >>> encode("d", [b"ab", b"c"]) == encode("d", [b"a", b"bc"])
    False
    """
    return b"".join(len(part).to_bytes(8, "big") + part for part in (domain.encode(), *parts))


def commitment_of(terms: Terms, seed: bytes) -> str:
    """The hash that binds terms and seed: fields by name, each as its name and its canonical JSON, then the seed."""
    fields = terms.model_dump(mode="json")
    parts = []
    for name in sorted(fields):
        text = json.dumps(fields[name], ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        parts += [name.encode(), text.encode()]
    return hashlib.sha256(encode(_COMMITMENT, [*parts, seed])).hexdigest()


def draw_key(season: str, spec_sha256: str, seed: bytes, beacon: str | None = None) -> str:
    """What a season's prompts are drawn from."""
    parts = [season.encode(), spec_sha256.encode(), *(() if beacon is None else (beacon.encode(),))]
    return hmac.new(seed, encode(_DRAW, parts), hashlib.sha256).hexdigest()


def keep_seed(path: Path, kept: SeedFile) -> None:
    """Write the seed for its owner's eyes alone (0600, in a folder of 0700 if it is new); never over another file.

    Raises:
        InputError: the file is there already.
        StorageError: it cannot be written.
    """
    with storage_errors("write", path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise InputError(f"{str(path)!r} is there already, and may hold the seed of a season: it stays") from None
        with os.fdopen(descriptor, "wb") as file:
            file.write((kept.model_dump_json(indent=1) + "\n").encode())
            file.flush()
            os.fsync(file.fileno())


def read_seed(path: Path, terms: Terms, commitment: str) -> bytes:
    """The seed in a file, which opens this commitment.

    Raises:
        InputError: no such file, no seed, or that of another season; the message never shows it.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"{str(path)!r} is no seed file: it has {path.stat().st_size:,} bytes")
        kept = SeedFile.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"the seed file {str(path)!r} cannot be read: {error.strerror or error}; `season commit` wrote one, and "
            "--seed-file names it"
        ) from error
    except ValueError:  # what it holds is nobody's business
        raise InputError(f"{str(path)!r} is no seed file of `ioi-bench season commit`") from None
    if kept.season != terms.season:
        raise InputError(f"{str(path)!r} is the seed of the season {kept.season!r}, not of {terms.season!r}")
    seed = bytes.fromhex(kept.seed)
    if commitment_of(terms, seed) != commitment:
        raise InputError(
            f"the seed in {str(path)!r} does not open the commitment {commitment[:12]}… of {terms.season!r}: the seed, "
            "or the terms in commitment.json, are not those that were committed to"
        )
    return seed
