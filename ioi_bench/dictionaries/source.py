"""Files that hold somebody's dictionary, wherever they came from, and reading them without trusting them.

Loaders see a `Source` and nothing else of the disk: names stay inside the folder, JSON and headers are bounded, tensors
are measured before they are read, ``.pt`` files are read with ``weights_only=True`` and ``.npz`` without pickles.
"""

from __future__ import annotations

import errno
import io
import json
import pickletools
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import torch
from torch import Tensor

from ioi_bench.atomic import storage_errors
from ioi_bench.errors import SuiteError

__all__ = ["MAX_TENSOR_BYTES", "Source", "TensorInfo"]

MAX_JSON_BYTES = 64 * 2**20
MAX_TENSOR_BYTES = 8 * 2**30
"""What one file may unpack to: an SAE of 131,072 features at d_in 2,304 in float32 has 2.4 GB."""
_PLAIN = re.compile(
    r"torch\._utils\.\w+|torch\.storage\.\w+|torch\.\w*Storage|torch\.(Size|device|dtype)|torch\.nn\.parameter\.Parameter"
    r"|collections\.OrderedDict|_codecs\.encode|numpy\.(core|_core)\.multiarray\._?\w+|numpy\.(dtype|ndarray)"
)
"""What pickles of tensors and arrays import."""
_BYTES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}


@dataclass(frozen=True)
class TensorInfo:
    """What a file says of a tensor before it is read. ``dtype`` as in safetensors, such as ``F32``."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Source:
    """A file or a folder of files.

    Attributes:
        path: where it lies on this machine.
        origin: what it is called in messages and on the card: the path as given, or ``hf://org/repo@commit/folder``.
        revision: the commit, for what came from a Hub.
        names: the files that count, where others may lie beside them (a cache holds what was asked for before); by
            default all.
    """

    path: Path
    origin: str
    revision: str | None = None
    names: tuple[str, ...] | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """Names of all files, relative, with ``/``; that of the file alone for a single one."""
        if self.names is not None:
            return tuple(sorted(self.names))
        with storage_errors("read", self.path):
            if self.path.is_file():
                return (self.path.name,)
            if not self.path.is_dir():
                raise SuiteError(f"there is nothing at {self.origin!r}: give a file, a folder or hf://org/repo")
            return tuple(sorted(p.relative_to(self.path).as_posix() for p in self.path.rglob("*") if p.is_file()))

    def has(self, *names: str) -> bool:
        """Whether all these files are there."""
        return set(names) <= set(self.files)

    def file(self, name: str) -> Path:
        """The path of one of `files`.

        Raises:
            SuiteError: there is no such file, or the name leaves the folder.
        """
        if self.path.is_file() and name == self.path.name:
            return self.path
        rooted = PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor
        if rooted or ".." in PureWindowsPath(name).parts:
            raise SuiteError(f"{name!r} leaves the folder {self.origin!r}: name a file inside it")
        found = self.path / name
        if not found.is_file() or (self.names is not None and name not in self.names):
            raise SuiteError(f"{self.origin!r} has no file {name!r}: it holds {', '.join(self.files[:5]) or 'nothing'}")
        return found

    def text(self, name: str) -> str:
        """A text file of at most 64 MB.

        Raises:
            SuiteError: missing, too large, not UTF-8.
        """
        file = self.file(name)
        with storage_errors("read", file):
            size = file.stat().st_size
            if size > MAX_JSON_BYTES:
                raise SuiteError(f"{name!r} in {self.origin!r} has {size:,} bytes; at most {MAX_JSON_BYTES:,} are read")
            try:
                return file.read_text(encoding="utf-8")
            except UnicodeDecodeError as error:
                raise SuiteError(f"{name!r} in {self.origin!r} is not UTF-8 text: {error}") from error

    def json(self, name: str) -> dict[str, Any]:
        """A JSON object.

        Raises:
            SuiteError: missing, too large, not a JSON object.
        """
        try:
            found = json.loads(self.text(name))
        except (ValueError, RecursionError) as error:
            raise SuiteError(f"{name!r} in {self.origin!r} is not JSON: {error}") from error
        if not isinstance(found, dict):
            raise SuiteError(f"{name!r} in {self.origin!r} holds a {type(found).__name__}, expected an object")
        return found

    def tensors(self, name: str) -> dict[str, TensorInfo]:
        """Names, shapes and types of the tensors in a safetensors file; nothing of them is read.

        Raises:
            SuiteError: missing, truncated or not safetensors.
        """
        from safetensors import SafetensorError, safe_open

        file = self.file(name)
        try:
            with storage_errors("read", file), safe_open(file, framework="pt") as opened:
                slices = {key: opened.get_slice(key) for key in opened.keys()}  # noqa: SIM118 (not a mapping)
                return {key: TensorInfo(tuple(s.get_shape()), s.get_dtype()) for key, s in slices.items()}
        except SafetensorError as error:
            raise SuiteError(
                f"{name!r} in {self.origin!r} is truncated, corrupt or not safetensors ({error}): fetch it again"
            ) from error

    def safetensors(self, name: str) -> dict[str, Tensor]:
        """All tensors of a safetensors file.

        Raises:
            SuiteError: as `tensors`, or too large.
        """
        import safetensors.torch

        self._refuse_large(name, sum(_n_bytes(info) for info in self.tensors(name).values()))
        return safetensors.torch.load_file(self.file(name))

    def pt(self, name: str, *, lazy: bool = False) -> Any:
        """What ``torch.save`` wrote, read with ``weights_only=True``: tensors and plain values, never code.

        Args:
            name: one of `files`.
            lazy: leave the tensors on the disk until they are used: to look at names and shapes.

        Raises:
            SuiteError: missing, damaged, too large, or a pickle that wants to run code; the message names what.
        """
        file = self.file(name)
        with storage_errors("read", file):
            self._refuse_large(name, _unpacked(file))
            try:
                mapped = lazy and zipfile.is_zipfile(file)  # torch maps only the layout that it writes since 1.6
                return torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
            except Exception as error:  # torch raises UnpicklingError, RuntimeError, EOFError, KeyError, … by damage
                refused = (
                    isinstance(error, OSError) and error.errno != errno.EINVAL
                )  # EINVAL: it sought before the start
                if refused or isinstance(error, MemoryError):
                    raise
                wanted = _wanted(file)
                if wanted:  # torch's own advice, to load it all the same, is not passed on
                    said = f"is a pickle that wants to run code ({wanted[0]}), which is never done: give tensors alone"
                else:
                    reason = str(error).partition("\n")[0].partition(" Re-running")[0]
                    said = f"is damaged or was not written by torch.save ({reason[:200]}): fetch it again"
                raise SuiteError(f"{name!r} in {self.origin!r} {said}") from error

    def npz(self, name: str) -> dict[str, Tensor]:
        """All arrays of a ``.npz`` file, read without pickles.

        Raises:
            SuiteError: missing, damaged, too large, or with pickled objects in it.
        """
        import numpy as np

        file = self.file(name)
        with storage_errors("read", file):
            self._refuse_large(name, _unpacked(file))
            try:
                with file.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
                    return {key: torch.from_numpy(arrays[key]) for key in arrays.files}
            except (ValueError, TypeError, zipfile.BadZipFile, EOFError, KeyError) as error:
                raise SuiteError(f"{name!r} in {self.origin!r} is no .npz of plain arrays: {error}") from error

    def npz_tensors(self, name: str) -> dict[str, TensorInfo]:
        """Names, shapes and types of the arrays in a ``.npz`` file; nothing of them is read.

        Raises:
            SuiteError: missing or damaged.
        """
        import numpy as np

        file, found = self.file(name), {}
        with storage_errors("read", file):
            try:
                with zipfile.ZipFile(file) as archive:
                    for entry in archive.namelist():
                        with archive.open(entry) as array:
                            old = np.lib.format.read_magic(array) == (1, 0)
                            read = np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
                            shape, _, dtype = read(array)
                        kind = f"{dtype.kind}{8 * dtype.itemsize}".upper()
                        found[entry.removesuffix(".npy")] = TensorInfo(shape, kind)
            except (ValueError, zipfile.BadZipFile, EOFError) as error:
                raise SuiteError(f"{name!r} in {self.origin!r} is no .npz of plain arrays: {error}") from error
        return found

    def _refuse_large(self, name: str, n_bytes: int) -> None:
        if n_bytes > MAX_TENSOR_BYTES:
            raise SuiteError(
                f"{name!r} in {self.origin!r} unpacks to {n_bytes:,} bytes; at most {MAX_TENSOR_BYTES:,} are read"
            )


def _wanted(file: Path) -> list[str]:
    """What a pickle would import beyond tensors and plain values; nothing of it is run."""
    found: list[str] = []
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                names = [name for name in archive.namelist() if name.endswith("data.pkl")]
                streams = [io.BytesIO(archive.read(name)) for name in names]
        else:
            streams = [io.BytesIO(file.read_bytes())]
        for stream in streams:
            texts: list[str] = []
            for opcode, argument, _ in pickletools.genops(stream):
                if opcode.name == "GLOBAL":
                    found.append(str(argument).replace(" ", "."))
                elif opcode.name == "STACK_GLOBAL":
                    found.append(".".join(texts[-2:]))
                elif isinstance(argument, str):
                    texts.append(argument)
    except (ValueError, IndexError, OverflowError, zipfile.BadZipFile, EOFError, KeyError, NotImplementedError):
        pass  # damaged: what was found until there
    return [name for name in found if not _PLAIN.fullmatch(name)]


def _n_bytes(info: TensorInfo) -> int:
    size = _BYTES.get(info.dtype, 1)
    for length in info.shape:
        size *= length
    return size


def _unpacked(file: Path) -> int:
    """What a zip says that it unpacks to; the size of anything else."""
    if not zipfile.is_zipfile(file):
        return file.stat().st_size
    try:
        with zipfile.ZipFile(file) as archive:
            return sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, ValueError):
        return file.stat().st_size
