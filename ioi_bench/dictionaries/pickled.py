"""Pickles of tensors, looked at without running them, and what came out of them, looked at before it is used."""

from __future__ import annotations

import pickletools
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import torch
from torch import Tensor

__all__ = ["hungry", "is_zip", "require_plain", "wanted"]

_PLAIN = re.compile(
    r"torch\._utils\.\w+|torch\.storage\.\w+|torch\.\w*Storage|torch\.nn\.parameter\.Parameter"
    r"|torch\.(Size|device|dtype|serialization\._get_layout|(b?float|u?int|complex|bool)\w*)"
    r"|collections\.OrderedDict|_codecs\.encode|numpy\.(core|_core)\.multiarray\._?\w+|numpy\.(dtype|ndarray)"
)
"""What pickles of tensors and arrays import."""

_BEFORE_ZIP = 5
"""Pickles in a file of torch before 1.6: a magic number, a version, the machine, the object, the storages' keys."""

_VALUES = 100_000  # names, settings and tensors of a state dict, each as often as it is named
_DEPTH = 50
_DAMAGE = (
    ValueError,  # also of UTF-8
    IndexError,
    OverflowError,
    zipfile.BadZipFile,
    EOFError,
    KeyError,
    NotImplementedError,
    RuntimeError,
)


def is_zip(file: Path) -> bool:
    """Whether it is a zip file that can be read."""
    try:
        return zipfile.is_zipfile(file)
    except zipfile.BadZipFile:  # one of several volumes
        return False


def wanted(file: Path) -> list[str]:
    """What a pickle would import beyond tensors and plain values; nothing of it is run."""
    return [name for name in _imports(file) if not _PLAIN.fullmatch(name)]


def hungry(file: Path) -> str:
    """How a pickle asks for more memory than its file has; empty where it does not."""
    if any(name.endswith(".bytearray") for name in _imports(file)):
        return "makes a bytearray, of any size: give tensors alone"
    if _overlong(file):
        return "is damaged or was not written by torch.save (a value has more bytes than there are): fetch it again"
    size = file.stat().st_size
    if not is_zip(file) and any(number > size for number in _numbers(file)):
        return "is in torch's old layout and names a number larger than the file: give tensors alone"
    return ""


def _overlong(file: Path) -> bool:
    try:
        for stream in _streams(file):
            for _ in pickletools.genops(cast("IO[bytes]", stream)):
                pass
    except _DAMAGE as error:
        return "but only" in str(error) or "not enough data" in str(error)
    return False


def _imports(file: Path) -> list[str]:
    found: list[str] = []
    try:
        for stream in _streams(file):
            texts: list[str] = []
            for opcode, argument, _ in pickletools.genops(cast("IO[bytes]", stream)):
                if opcode.name == "GLOBAL":
                    found.append(str(argument).replace(" ", "."))
                elif opcode.name == "STACK_GLOBAL":
                    found.append(".".join(texts[-2:]))
                elif isinstance(argument, str):
                    texts = [*texts[-1:], argument]
    except _DAMAGE:
        pass  # damaged: what was found until there
    return found


def _numbers(file: Path) -> list[int]:
    """Whole numbers in the object of a file of torch before 1.6."""
    found: list[int] = []
    try:
        for i, stream in enumerate(_streams(file)):
            operations = pickletools.genops(cast("IO[bytes]", stream))
            numbers = [n for _, n, _ in operations if isinstance(n, int) and not isinstance(n, bool)]
            found += numbers if i == 3 else []
    except _DAMAGE:
        pass
    return found


@dataclass(frozen=True)
class _Bounded:
    """A stream that is never asked for more than there is: Python sets aside what a read asks for."""

    stream: IO[bytes]
    size: int

    def read(self, n: int = -1) -> bytes:
        return self.stream.read(self.size if n < 0 else min(n, self.size))

    def readline(self, n: int = -1) -> bytes:
        return self.stream.readline(n)


def _streams(file: Path) -> Iterator[_Bounded]:
    """The pickles of a file, one after the other."""
    if is_zip(file):
        with zipfile.ZipFile(file) as archive:
            for name in archive.namelist():
                if name.endswith("data.pkl"):
                    with archive.open(name) as stream:
                        yield _Bounded(stream, archive.getinfo(name).file_size)
        return
    with file.open("rb") as stream:
        for _ in range(_BEFORE_ZIP):
            yield _Bounded(stream, file.stat().st_size)


def require_plain(found: Any, most: int) -> None:
    """Check what was unpickled: dense tensors on the processor that together are no larger than the file allows.

    A view may repeat one number without end, and a list may hold another twice, and so on: small in the file, endless
    when copied or written out. Values are counted as often as they are named.

    Raises:
        ValueError: something else.
    """
    level, n_values, n_bytes = [found], 0, 0
    for _ in range(_DEPTH):
        n_values += len(level)
        if n_values > _VALUES:
            raise ValueError(f"it holds more than {_VALUES:,} values")
        n_bytes += sum(_size(value) for value in level)
        if n_bytes > most:
            raise ValueError(f"its values have more than {most:,} bytes when written out")
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return
    raise ValueError("it is nested too deeply")


def _inside(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        yield from value.keys()
        yield from value.values()
    elif isinstance(value, list | tuple | set | frozenset):
        yield from value


def _size(value: Any) -> int:
    if isinstance(value, Tensor):
        if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized:
            raise ValueError(f"it holds a tensor of the layout {value.layout} on {value.device}, expected dense ones")
        return value.numel() * value.element_size()
    if isinstance(value, int):
        if value.bit_length() > 64:
            raise ValueError("it holds a number of more than 64 bits")
        return 8
    return len(value) if isinstance(value, str | bytes | bytearray) else 0
