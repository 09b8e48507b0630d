"""The native format of a suite on disk.

A **directory** with ``suite.json`` (the header, `SuiteHeader`) and the safetensors files that it lists under
``weights``; or **one safetensors file** that carries the same header as JSON in its metadata, under the key
``ioi_bench_suite``. A tensor is named ``<site>/<parameter>``, such as ``z.9.9@end/W_enc``; its precision is kept. The
header's ``sha256`` is that of the content (`Suite.sha256`) and is checked where it is given.

Nothing from outside is executed or trusted: no pickles, no path out of the folder, and every shape is compared with
the architecture's declaration before a tensor is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Literal

import safetensors
import safetensors.torch
from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from ioi_bench.atomic import storage_errors, write_file
from ioi_bench.bounded import bounded_bytes, require_small, stays_inside
from ioi_bench.dictionaries.architectures import ARCHITECTURES, Architecture, architecture
from ioi_bench.dictionaries.folder import write_folder
from ioi_bench.dictionaries.source import MAX_TENSOR_BYTES
from ioi_bench.dictionaries.suite_content import Suite, check_fits, describe, require_native
from ioi_bench.dictionary import Dictionary
from ioi_bench.errors import DictionaryError, InputError, SuiteError, UnknownNameError
from ioi_bench.sites import Site

__all__ = [
    "HEADER_FILE",
    "HEADER_KEY",
    "MAX_HEADER_BYTES",
    "DictionaryHeader",
    "Suite",
    "SuiteHeader",
    "check_fits",
    "load_suite",
    "read_header",
    "save_suite",
]

HEADER_FILE = "suite.json"
HEADER_KEY = "ioi_bench_suite"
WEIGHTS_FILE = "weights.safetensors"
MAX_HEADER_BYTES = 64 * 2**20
PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt")
PICKLE_PROTOCOLS = (b"\x02", b"\x03", b"\x04", b"\x05")
FLOATS = ("F16", "BF16", "F32", "F64")
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class DictionaryHeader(BaseModel):
    """One dictionary: its architecture, sizes and settings."""

    model_config = ConfigDict(extra="forbid", strict=True)

    architecture: str
    d_in: int = Field(gt=0)
    d_sae: int = Field(gt=0)
    settings: dict[str, JsonValue]


class SuiteHeader(BaseModel):
    """``suite.json``. ``weights`` lists files of the same folder; one safetensors file holds its own and lists none."""

    model_config = ConfigDict(extra="forbid", strict=True)

    schema_version: Literal[1]
    name: str
    model: str
    model_sha256: Sha256 | None = None
    metadata: dict[str, JsonValue] = {}
    dictionaries: dict[str, DictionaryHeader] = Field(min_length=1)
    weights: list[str] = []
    sha256: Sha256 | None = None


def save_suite(suite: Suite, path: str | Path, *, overwrite: bool = False) -> None:
    """Write a suite: one file if the path ends in ``.safetensors``, otherwise a directory. Whole or not at all.

    Raises:
        InputError: the path exists (and is not a suite, or ``overwrite`` is false); a dictionary is not native.
        StorageError: no permission, no space.
    """
    path = Path(path)
    single = path.suffix == ".safetensors"
    if path.exists():
        replaceable = path.is_file() if single else (path / HEADER_FILE).is_file()
        if not (overwrite and replaceable) and not _is_empty_folder(path):
            hint = "pass overwrite=True or choose another path" if replaceable else "choose another path"
            raise InputError(f"{str(path)!r} exists already: {hint}")
    tensors = {
        f"{site}/{name}": tensor.detach().contiguous().clone()  # clone: safetensors refuses tensors that share memory
        for site, dictionary in suite.dictionaries.items()
        for name, tensor in require_native(site, dictionary).tensors.items()
    }
    header = {**describe(suite), "sha256": suite.sha256}
    if single:
        write_file(path, safetensors.torch.save(tensors, {HEADER_KEY: json.dumps(header)}))
    else:
        text = json.dumps({**header, "weights": [WEIGHTS_FILE]}, indent=1) + "\n"
        write_folder(path, {WEIGHTS_FILE: safetensors.torch.save(tensors), HEADER_FILE: text.encode()})


def load_suite(
    path: str | Path,
    circuit_sites: Iterable[Site] | None = None,
    architectures: Mapping[str, type[Architecture]] = ARCHITECTURES,
) -> Suite:
    """Read a suite in the native format.

    Args:
        path: a directory with ``suite.json``, or one safetensors file with its header.
        circuit_sites: the sites that exist here; a suite that names another is refused, with near misses.
        architectures: what its dictionaries may be; plugins add theirs.

    Raises:
        SuiteError: missing, damaged, not what its header says, or a pickle.
        UnknownNameError: a site or an architecture that does not exist.
        StorageError: no permission to read.
    """
    path = Path(path)
    with _opened(path) as (header, files):
        dictionaries = _read_dictionaries(header, files, path, circuit_sites, architectures)
    suite = Suite(header.name, header.model, dictionaries, header.model_sha256, header.metadata)
    if header.sha256 is not None and header.sha256 != suite.sha256:
        raise SuiteError(
            f"{str(path)!r} is damaged or was edited: its content has sha256 {suite.sha256[:12]}…, but its header says "
            f"{header.sha256[:12]}…; fetch it again, or save it again after editing"
        )
    return suite


def read_header(path: str | Path) -> SuiteHeader:
    """The header of a suite; none of its weights are read.

    Raises:
        SuiteError, StorageError: as `load_suite`.
    """
    with _opened(Path(path)) as (header, _):
        return header


@contextmanager
def _opened(path: Path) -> Iterator[tuple[SuiteHeader, list[Any]]]:
    """The header, and the opened safetensors files that it lists."""
    with storage_errors("read", path), ExitStack() as stack:
        if not path.exists():
            raise SuiteError(
                f"there is no suite at {str(path)!r}: give a directory with {HEADER_FILE}, or a .safetensors file"
            )
        _refuse_pickle(path)
        if path.is_dir():
            header = _read_header(_folder_header(path), path / HEADER_FILE)
            files = [stack.enter_context(_open(file)) for file in _weight_paths(path, header.weights)]
        else:
            files = [stack.enter_context(_open(path))]
            text = (files[0].metadata() or {}).get(HEADER_KEY)
            if text is None:
                raise SuiteError(
                    f"{str(path)!r} has no ioi-bench header (metadata {HEADER_KEY!r}): it is not in the native format"
                )
            header = _read_header(text, path)
        yield header, files


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _refuse_pickle(path: Path) -> None:
    """Pickles run code when they are read. A renamed one is known by its first bytes: a zip, or a protocol mark."""
    pickled = path.suffix.lower() in PICKLES
    if path.is_file() and not pickled:
        with path.open("rb") as file:
            start = file.read(9)
        marked = start.startswith(b"PK\x03\x04") or (start[:1] == b"\x80" and start[1:2] in PICKLE_PROTOCOLS)
        pickled = marked and start[8:] != b"{"  # safetensors may begin with any length, but then comes JSON
    if pickled:
        raise SuiteError(
            f"{str(path)!r} is a pickle, which can run code when it is read: convert it, where you trust it, with "
            "safetensors.torch.save_file(torch.load(path, weights_only=True), 'weights.safetensors')"
        )


def _folder_header(folder: Path) -> str:
    file = folder / HEADER_FILE
    if not file.is_file():
        names = sorted(entry.name for entry in folder.iterdir())
        for name in names:
            if stays_inside(folder / name, folder):
                _refuse_pickle(folder / name)
        found = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        raise SuiteError(f"{str(folder)!r} has no {HEADER_FILE}: " + (f"it holds {found}" if names else "it is empty"))
    if not stays_inside(file, folder):
        raise SuiteError(f"{str(file)!r} is a link that leaves the folder: put the file itself there")
    try:
        return bounded_bytes(file, MAX_HEADER_BYTES).decode()
    except UnicodeDecodeError as error:
        raise SuiteError(f"{str(file)!r} is not UTF-8 text: {error}") from error
    except InputError as error:
        raise SuiteError(str(error)) from error


def _read_header(text: str, path: Path) -> SuiteHeader:
    try:
        return SuiteHeader.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the text"
        raise SuiteError(f"{str(path)!r} is not a suite header: {where}: {first['msg']}") from error


def _weight_paths(folder: Path, names: list[str]) -> Iterator[Path]:
    """The listed files, which must be real files of this folder."""
    if not names:
        raise SuiteError(f"{str(folder / HEADER_FILE)!r} lists no weights: expected 'weights': ['{WEIGHTS_FILE}']")
    for name in names:
        file = folder / name
        rooted = PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor
        if rooted or ".." in PureWindowsPath(name).parts or not stays_inside(file, folder):
            raise SuiteError(
                f"weights {name!r} in {HEADER_FILE} leave the folder {str(folder)!r}: list real files inside it, by "
                "relative paths without '..' or links to the outside"
            )
        if not file.is_file():
            raise SuiteError(f"weights {name!r} in {HEADER_FILE} do not exist in {str(folder)!r}")
        _refuse_pickle(file)
        yield file


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    """A safetensors file; opening checks its own header against its length and allocates nothing."""
    try:
        require_small(path, MAX_TENSOR_BYTES)
    except InputError as error:
        raise SuiteError(str(error)) from error
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            yield file
    except safetensors.SafetensorError as error:
        raise SuiteError(
            f"{str(path)!r} is truncated, corrupt or not safetensors ({error}): fetch or save it again"
        ) from error


def _parse_sites(header: SuiteHeader, circuit_sites: Iterable[Site] | None) -> dict[Site, str]:
    """Sites with the text by which the header calls them."""
    known = None if circuit_sites is None else [str(site) for site in circuit_sites]
    sites: dict[Site, str] = {}
    for text in header.dictionaries:
        site = Site.parse(text)
        if known is not None and str(site) not in known:
            raise UnknownNameError("site", str(site), known)
        if site in sites:
            raise SuiteError(f"the suite has two dictionaries for {site}: {sites[site]!r} and {text!r}")
        sites[site] = text
    return sites


def _read_dictionaries(
    header: SuiteHeader,
    files: list[Any],
    path: Path,
    circuit_sites: Iterable[Site] | None,
    architectures: Mapping[str, type[Architecture]],
) -> dict[Site, Dictionary]:
    """Check names, types and shapes of all tensors, and only then read them."""
    sites = _parse_sites(header, circuit_sites)
    owner: dict[str, Any] = {}
    for file in files:
        for key in file.keys():  # noqa: SIM118 (not a mapping)
            if key in owner:
                raise SuiteError(f"{str(path)!r} holds the tensor {key!r} twice")
            owner[key] = file
    expected = {
        f"{text}/{name}": shape
        for text, entry in header.dictionaries.items()
        for name, shape in architecture(entry.architecture, architectures).shapes(entry.d_in, entry.d_sae).items()
    }
    missing, extra = sorted(expected.keys() - owner.keys()), sorted(owner.keys() - expected.keys())
    if missing or extra:
        said = [f"{label} {keys[:4]}" for label, keys in (("missing", missing), ("not expected", extra)) if keys]
        raise SuiteError(f"{str(path)!r} does not hold the tensors that its header declares: {'; '.join(said)}")
    for key, shape in expected.items():
        view = owner[key].get_slice(key)
        if tuple(view.get_shape()) != shape or view.get_dtype() not in FLOATS:
            raise SuiteError(
                f"{key} has the shape {view.get_shape()} of {view.get_dtype()}, expected {list(shape)} of one of "
                f"{', '.join(FLOATS)}"
            )
    return {site: _build(site, text, header.dictionaries[text], owner, architectures) for site, text in sites.items()}


def _build(
    site: Site,
    text: str,
    entry: DictionaryHeader,
    owner: dict[str, Any],
    architectures: Mapping[str, type[Architecture]],
) -> Architecture:
    cls = architecture(entry.architecture, architectures)
    if entry.settings.keys() != cls.settings.keys():
        raise SuiteError(
            f"{site}: the header gives the settings {sorted(entry.settings)}, but {cls.name} has {sorted(cls.settings)}"
        )
    settings = {}
    for name, kind in cls.settings.items():
        try:
            settings[name] = TypeAdapter(kind).validate_json(json.dumps(entry.settings[name]), strict=True)
        except ValidationError as error:
            raise SuiteError(
                f"{site}: setting {name} is {entry.settings[name]!r}: {error.errors()[0]['msg'].lower()}"
            ) from error
    tensors = {name: owner[f"{text}/{name}"].get_tensor(f"{text}/{name}").clone() for name in cls.axes}
    try:
        return cls(**tensors, **settings)
    except DictionaryError as error:
        raise SuiteError(f"{site}: {error}") from error
