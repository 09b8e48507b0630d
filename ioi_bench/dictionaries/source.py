"""Files that hold somebody's dictionary, wherever they came from, and reading them without trusting them.

Loaders see a `Source` and nothing else of the disk: names stay inside the folder, JSON and headers are bounded, tensors
are measured before they are read, ``.pt`` files are read with ``weights_only=True`` and ``.npz`` without pickles.
"""

from __future__ import annotations

import errno
import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import torch
from torch import Tensor

from ioi_bench.atomic import storage_errors
from ioi_bench.bounded import bounded_bytes, json_value, stays_inside
from ioi_bench.dictionaries.pickled import hungry, is_zip, require_plain, wanted
from ioi_bench.errors import InputError, SuiteError

__all__ = ["MAX_TENSOR_BYTES", "Source", "TensorInfo"]

MAX_JSON_BYTES = 64 * 2**20
MAX_TENSOR_BYTES = 8 * 2**30
"""What one file may unpack to: an SAE of 131,072 features at d_in 2,304 in float32 has 2.4 GB."""
_MAX_NPY_HEADER = 1 << 16
_UNPACKED, _RATIO = 16 * 2**20, 8
"""What a file may also unpack to: so many bytes, and so many times its own. Weights hardly pack; bombs do."""
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
        if not stays_inside(found, self.path):
            raise SuiteError(f"{name!r} in {self.origin!r} is a link that leaves the folder: put the file itself there")
        return found

    def text(self, name: str) -> str:
        """A text file of at most 64 MB.

        Raises:
            SuiteError: missing, too large, not UTF-8.
        """
        try:
            return bounded_bytes(self.file(name), MAX_JSON_BYTES).decode()
        except UnicodeDecodeError as error:
            raise SuiteError(f"{name!r} in {self.origin!r} is not UTF-8 text: {error}") from error
        except InputError as error:
            raise SuiteError(f"in {self.origin!r}, {error}") from error

    def json(self, name: str) -> dict[str, Any]:
        """A JSON object.

        Raises:
            SuiteError: missing, too large, not a JSON object.
        """
        try:
            found = json_value(self.text(name))
        except ValueError as error:
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
        self._refuse_large(name, file.stat().st_size)
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
            SuiteError: missing, damaged, too large, with tensors that are not dense or are larger than the file, or a
                pickle that wants to run code; the message names what.
        """
        file = self.file(name)
        with storage_errors("read", file):
            most = self._refuse_bomb(name, file)
            if greedy := hungry(file):
                raise SuiteError(f"{name!r} in {self.origin!r} {greedy}")
            try:
                mapped = lazy and is_zip(file)  # torch maps only the layout that it writes since 1.6
                found = torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
                require_plain(found, most)
                return found
            except Exception as error:  # torch raises UnpicklingError, RuntimeError, EOFError, KeyError, … by damage
                refused = (
                    isinstance(error, OSError) and error.errno != errno.EINVAL
                )  # EINVAL: it sought before the start
                if refused or isinstance(error, MemoryError):
                    raise
                imports = wanted(file)
                if imports:  # torch's own advice, to load it all the same, is not passed on
                    said = f"is a pickle that wants to run code ({imports[0][:200]}), which is never done: give tensors"
                    said += " alone"
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

        self.npz_tensors(name)  # what the arrays say of themselves fits what is there
        file = self.file(name)
        with (
            storage_errors("read", file),
            self._damage_of_npz(name),
            file.open("rb") as opened,
            np.load(opened, allow_pickle=False) as arrays,
        ):
            return {key: torch.from_numpy(arrays[key]) for key in arrays.files}

    def npz_tensors(self, name: str) -> dict[str, TensorInfo]:
        """Names, shapes and types of the arrays in a ``.npz`` file; nothing of them is read.

        Raises:
            SuiteError: missing, damaged, too large, or an array that is larger than its file says.
        """
        import numpy as np

        file, found = self.file(name), {}
        with storage_errors("read", file), self._damage_of_npz(name):
            self._refuse_bomb(name, file)
            with zipfile.ZipFile(file) as archive:
                for entry in archive.infolist():
                    with archive.open(entry) as array:
                        _refuse_long_header(array.read(12))
                    with archive.open(entry) as array:
                        old = np.lib.format.read_magic(array) == (1, 0)
                        read = np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
                        try:
                            shape, _, dtype = read(array)
                        except MemoryError:  # of Python's parser, whose stack is full
                            raise ValueError("the header of an array is nested too deeply") from None
                    if math.prod(shape) * dtype.itemsize > entry.file_size or min(shape, default=0) < 0:
                        raise ValueError(f"{entry.filename!r} says {shape} of {dtype}, which is more than it holds")
                    if dtype.kind not in "fiub":
                        raise ValueError(f"{entry.filename!r} is of {dtype}, expected real numbers")
                    kind = f"{dtype.kind}{8 * dtype.itemsize}".upper()
                    found[entry.filename.removesuffix(".npy")] = TensorInfo(shape, kind)
        return found

    @contextmanager
    def _damage_of_npz(self, name: str) -> Iterator[None]:
        """zipfile, its decompressors and numpy raise some ten kinds of errors for damage."""
        try:
            yield
        except (SuiteError, OSError, MemoryError):
            raise
        except Exception as error:
            said = f"{name!r} in {self.origin!r} is no .npz of plain arrays: {str(error)[:200]}"
            raise SuiteError(said) from error

    def _refuse_large(self, name: str, n_bytes: int, most: int = MAX_TENSOR_BYTES) -> None:
        if n_bytes > most:
            raise SuiteError(f"{name!r} in {self.origin!r} unpacks to {n_bytes:,} bytes; at most {most:,} are read")

    def _refuse_bomb(self, name: str, file: Path) -> int:
        """What the file may unpack to, which is little more than it has."""
        size = file.stat().st_size
        self._refuse_large(name, size)
        most = min(MAX_TENSOR_BYTES, _UNPACKED + _RATIO * size)
        self._refuse_large(name, _unpacked(file), most)
        return most


def _refuse_long_header(start: bytes) -> None:
    """numpy sets aside what the header says of its own length: 4 bytes since version 2 of the format."""
    if start[6:7] != b"\x01" and int.from_bytes(start[8:12], "little") > _MAX_NPY_HEADER:
        raise ValueError(f"the header of an array says that it has more than {_MAX_NPY_HEADER:,} bytes")


def _n_bytes(info: TensorInfo) -> int:
    return _BYTES.get(info.dtype, 1) * math.prod(info.shape)


def _unpacked(file: Path) -> int:
    """What a zip says that it unpacks to; the size of anything else."""
    if not is_zip(file):
        return file.stat().st_size
    try:
        with zipfile.ZipFile(file) as archive:
            return sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return file.stat().st_size
