"""``manifest.json``: what the reference suites are, their hashes and their scores, as frozen records.

It is what a suite is checked against, so it is itself read without trusting it: every hash has the form of one, and
every path stays inside the folder that the manifest lies in.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from ioi_bench.atomic import write_file
from ioi_bench.bounded import bounded_bytes, stays_inside
from ioi_bench.errors import InputError, UnknownNameError
from ioi_bench.evaluation.card_records import Figure

__all__ = ["MANIFEST", "Choice", "Manifest", "ReferenceSuite", "Selection"]

MANIFEST = "manifest.json"

_MAX_BYTES = 16 << 20  # 42 suites have 0.1 MB
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def _plain(text: str) -> str:
    if not _PART.fullmatch(text):
        raise ValueError(f"{text!r} is no plain name: letters, digits, '.', '_' and '-', and first a letter or digit")
    return text


def _inside(text: str) -> str:
    for part in text.split("/"):
        _plain(part)
    return text


Name = Annotated[str, AfterValidator(_plain)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Choice(_Record):
    """What was selected at one site: the sparsity (λ, or k), the epoch, and its edit distance there."""

    sparsity: float
    epoch: int
    distance: float


class Selection(_Record):
    """How a suite's dictionaries were chosen among those trained, and which they are, by site."""

    split: str
    method: str
    attribute: str
    budget: int
    prompts: int
    chosen: dict[str, Choice]


class ReferenceSuite(_Record):
    """One suite.

    Attributes:
        path: its folder, relative to the manifest, with ``/``.
        seed: of its training.
        suite_sha256: of its content, as on the card; ``files`` has those of the files.
        prompts: test prompts that the scores are of.
        scores: the IOI score by edit method, with its interval.
        files: sha256 by file name; there are no others.
        train_prompts: train prompts that the scores are of.
    """

    path: Annotated[str, AfterValidator(_inside)]
    variant: str
    seed: int
    model: str
    model_sha256: Sha256
    spec_sha256: Sha256
    suite_sha256: Sha256
    recipe_sha256: Sha256
    selection: Selection
    prompts: int = Field(gt=0)
    scores: dict[str, Figure] = Field(min_length=1)
    files: dict[Name, Sha256] = Field(min_length=1)
    train_prompts: int = Field(20_000, gt=0)

    @property
    def file_paths(self) -> tuple[str, ...]:
        """Its files, relative to the manifest."""
        return tuple(f"{self.path}/{name}" for name in self.files)


class Manifest(_Record):
    """``manifest.json``: suites by name."""

    schema_version: Literal[2] = 2
    suites: dict[Name, ReferenceSuite]

    def suite(self, name: str) -> ReferenceSuite:
        """One suite.

        Raises:
            UnknownNameError: no such suite; the message names near misses.
        """
        if name not in self.suites:
            raise UnknownNameError("reference suite", name, self.suites)
        return self.suites[name]

    @classmethod
    def read(cls, path: Path, origin: str | None = None) -> Manifest:
        """Read a manifest.

        Args:
            path: the file.
            origin: what messages call it; by default the path.

        Raises:
            InputError: not a manifest; the message says where.
            StorageError: missing, or no permission.
        """
        what = origin or str(path)
        if not stays_inside(path, path.parent):
            raise InputError(f"{what!r} is a link that leaves its folder: put the manifest itself there")
        data = bounded_bytes(path, _MAX_BYTES)
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the whole"
            raise InputError(
                f"{what!r} is no manifest that this version of ioi-bench reads: {where}: {first['msg']}; fetch it "
                "again, or upgrade ioi-bench if it is of a later version"
            ) from error

    def write(self, path: Path) -> None:
        """Write it as JSON, one value a line.

        Raises:
            StorageError: no permission, no space.
        """
        content: dict[str, Any] = self.model_dump(mode="json", exclude_unset=True)
        content = {"schema_version": self.schema_version, **content}
        write_file(path, (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())
