"""What loaders share: from the tensors of somebody's file to a dictionary of ours, with errors that name the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import PurePath
from typing import Any, TypeVar

from jaxtyping import Float
from torch import Tensor

from ioi_bench.dictionaries.source import Source
from ioi_bench.errors import DictionaryError, SuiteError
from ioi_bench.sites import HookPoint, Role

__all__ = [
    "building",
    "by_hook",
    "model_name",
    "needed",
    "only_file",
    "pick",
    "state_dict",
    "suite_name",
    "unsubtracted",
    "whole_number",
]

T = TypeVar("T")
MODEL_NAMES = {"gpt2-small": "gpt2", "openai-community/gpt2": "gpt2"}


def pick(found: Any, names: Iterable[str], where: str) -> dict[str, Any]:
    """The tensors of these names (Any, since they go into constructors by ``**``).

    Raises:
        SuiteError: not a mapping, or some are missing or no tensors; ``where`` names the file.
    """
    names = tuple(names)
    if not isinstance(found, Mapping):
        raise SuiteError(f"{where} holds a {type(found).__name__}, expected tensors by name: {', '.join(names)}")
    missing = [name for name in names if not isinstance(found.get(name), Tensor)]
    if missing:
        held = ", ".join(str(name) for name in list(found)[:8]) or "nothing"
        raise SuiteError(f"{where} lacks the tensors {', '.join(missing)}: it holds {held}")
    return {name: found[name] for name in names}


@contextmanager
def building(where: str) -> Iterator[None]:
    """Dictionaries built inside name their file when they break their contract (shapes, NaN, settings).

    Raises:
        SuiteError: in place of `DictionaryError`.
    """
    try:
        yield
    except DictionaryError as error:
        raise SuiteError(f"{where}: {error}") from error


def state_dict(source: Source, name: str) -> Mapping[str, Any] | None:
    """The state dict of a ``.pt`` file, to look at names and shapes; None where it is damaged or something else.

    Its weights stay on the disk until they are used.
    """
    try:
        found = source.pt(name, lazy=True)
    except SuiteError:
        return None
    return found if isinstance(found, Mapping) else None


def needed(value: T | None, what: str, source: Source, remedy: str) -> T:
    """What the source or the user must say.

    Raises:
        SuiteError: neither did.
    """
    if value is None:
        raise SuiteError(f"{source.origin!r} does not say {what}: {remedy}")
    return value


def whole_number(text: str, flag: str) -> int:
    """What ``--set`` gives as text.

    Raises:
        SuiteError: it is no whole number.
    """
    if not text.isdecimal():
        raise SuiteError(f"--set {flag}={text} is not a whole number: write --set {flag}=32")
    return int(text)


def only_file(source: Source, suffix: str) -> str | None:
    """The only file of that ending; None where there is none or there are several."""
    files = [name for name in source.files if name.endswith(suffix)]
    return files[0] if len(files) == 1 else None


def by_hook(
    source: Source, files: Mapping[str, HookPoint | None], wanted: HookPoint | None
) -> dict[HookPoint | None, str]:
    """Files by the hook point that they are for; ``--hook`` chooses one of many, and overrules where there is one.

    They are in the order in which a suite keeps its sites, so that the first file here is the first dictionary there.

    Raises:
        SuiteError: two for one hook point, or none for the one wanted.
    """
    if wanted is not None and len(files) == 1:
        return {wanted: next(iter(files))}
    found: dict[HookPoint | None, str] = {}
    for name, hook in files.items():
        if hook in found:
            where = hook or "a hook point that they do not say"
            raise SuiteError(
                f"{source.origin!r} has two dictionaries at {where}: {found[hook]!r} and {name!r}; give a folder with "
                "one of them"
            )
        found[hook] = name
    if wanted is None:
        return dict(sorted(found.items(), key=lambda item: str(item[0] and item[0].at(Role.END))))
    if wanted not in found:
        raise SuiteError(f"{source.origin!r} has no dictionary at {wanted}: it has {', '.join(map(str, found))}")
    return {wanted: found[wanted]}


def model_name(text: str | None) -> str | None:
    """A model by the name that it bears here: ``gpt2-small`` is ``gpt2``."""
    return None if text is None else MODEL_NAMES.get(text, text)


def suite_name(source: Source) -> str:
    """What a card calls the suite: the last part of where it came from, without ending or revision."""
    last = PurePath(source.origin.rstrip("/")).name
    if source.revision is not None:
        last = last.partition("@")[0]
    last = last if last.strip(".") else source.path.resolve().name
    return PurePath(last).stem if source.path.is_file() else last


def unsubtracted(
    b_enc: Float[Tensor, " d_sae"], W_enc: Float[Tensor, "d_in d_sae"], b_dec: Float[Tensor, " d_in"]
) -> Float[Tensor, " d_sae"]:
    """The encoder bias for an SAE that does not subtract ``b_dec`` from its input, as our architectures do.

    ``x W + b = (x − b_dec) W + (b + b_dec W)``; summed in double precision.

    Raises:
        DictionaryError: shapes that do not fit each other.
    """
    if W_enc.ndim != 2 or b_dec.shape != W_enc.shape[:1] or b_enc.shape != W_enc.shape[1:]:
        raise DictionaryError(
            f"b_enc {list(b_enc.shape)}, W_enc {list(W_enc.shape)} and b_dec {list(b_dec.shape)} do not fit: expected "
            "[d_sae], [d_in, d_sae] and [d_in]"
        )
    return (b_enc.double() + b_dec.double() @ W_enc.double()).float()
