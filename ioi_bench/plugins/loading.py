"""Which loader reads a source, and reading it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from ioi_bench.dictionaries.scaled import rescaled
from ioi_bench.dictionaries.source import Source
from ioi_bench.dictionaries.suite import HEADER_FILE
from ioi_bench.dictionaries.suite_content import Suite
from ioi_bench.errors import InputError, IoiBenchError, PluginError, SuiteError, UnknownNameError
from ioi_bench.plugins.manager import Plugins
from ioi_bench.plugins.records import Loader, LoadOptions, Recognised

__all__ = ["SQRT_D", "Claim", "Loaded", "claim_source", "load_source", "scaled_by"]

SQRT_D = "sqrt-d"
"""The value of ``--scale`` that asks for a mean norm of √d_in; who has the activations must apply it."""


@dataclass(frozen=True)
class Claim:
    """The loader that knows a source, and what it says of it."""

    loader: Loader
    recognised: Recognised


@dataclass(frozen=True)
class Loaded:
    """A suite, and where it came from."""

    suite: Suite
    source: Source
    claim: Claim


def load_source(
    source: Source, options: LoadOptions | None = None, loader: str | None = None, *, plugins: Plugins | None = None
) -> Loaded:
    """Read a source with the one loader that knows it, or with the one that is named.

    A number in ``options.scale`` is applied here, for all loaders alike; ``"sqrt-d"`` is left to the caller.

    Raises:
        SuiteError: no loader knows it, several do, or it is damaged or cannot be used.
        InputError: it needs ``hook``, or an option makes no sense; `UnknownNameError` among them.
        PluginError: a loader of a plugin fails.
    """
    options = options or LoadOptions()
    claim = claim_source(source, options, loader, plugins=plugins)
    for key in options.settings:
        if key not in claim.loader.keys:
            raise UnknownNameError(f"setting of the loader {claim.loader.name!r}", key, claim.loader.keys)
    if not claim.recognised.hooks and options.hook is None:
        raise InputError(
            f"{source.origin!r} does not say where its dictionary reads: add --hook, such as "
            "--hook blocks.2.hook_resid_pre, or --hook 'blocks.3.attn.hook_z[1]' for one head"
        )
    suite = claim.loader.load(source, replace(options, scale=None))
    return Loaded(scaled_by(suite, options.scale), source, claim)


def scaled_by(suite: Suite, scale: float | str | None) -> Suite:
    """The suite on inputs multiplied by a number; as it is for None, and for ``"sqrt-d"``, which needs activations.

    Raises:
        InputError: the scale is none of these, or not positive.
    """
    if isinstance(scale, int | float):
        return rescaled(suite, dict.fromkeys(suite.sites, float(scale)))
    if scale not in (None, SQRT_D):
        raise InputError(f"the scale is {scale!r}, expected a number or {SQRT_D!r}")
    return suite


def claim_source(
    source: Source, options: LoadOptions, loader: str | None = None, *, plugins: Plugins | None = None
) -> Claim:
    """The loader for a source. Specific loaders come before generic ones; of these, exactly one must know it.

    Raises:
        as `load_source`.
    """
    plugins = plugins or Plugins.load()
    if loader is not None:
        chosen = plugins.find(Loader, loader)
        recognised = chosen.recognise(source, options)
        if recognised is None:
            raise SuiteError(f"{source.origin!r} is not in the format of the loader {loader!r}: {_holds(source)}")
        return _noted(Claim(chosen, recognised), source, options)
    loaders = plugins.all(Loader)
    broken: list[PluginError] = []
    for generic in (False, True):
        some = {name: one for name, one in loaders.items() if one.generic == generic}
        claim = _only_claim(source, options, some, broken)
        if claim is not None:
            return _noted(claim, source, options)
    raise SuiteError(_unknown(source, loaders, broken) + _hint(source, options, loaders))


def _noted(claim: Claim, source: Source, options: LoadOptions) -> Claim:
    """With a note where ``--hook`` says otherwise than the source itself."""
    if options.hook is None:
        return claim
    own = claim.loader.recognise(source, replace(options, hook=None))
    if own is None or not own.hooks or options.hook in own.hooks:
        return claim
    said = f"The source itself says {', '.join(map(str, own.hooks[:3]))}; --hook {options.hook} overrules it."
    return replace(claim, recognised=replace(claim.recognised, notes=(*claim.recognised.notes, said)))


def _only_claim(
    source: Source, options: LoadOptions, loaders: Mapping[str, Loader], broken: list[PluginError]
) -> Claim | None:
    """The one claim among these loaders. A loader that refuses the source with a reason knows it, too."""
    claims: dict[str, Claim] = {}
    refusals: dict[str, IoiBenchError] = {}
    for name, one in loaders.items():
        try:
            recognised = one.recognise(source, options)
        except PluginError as error:
            broken.append(error)  # it was not asked for: the others go on
        except IoiBenchError as error:
            refusals[name] = error
        else:
            if recognised is not None:
                claims[name] = Claim(one, recognised)
    if len(claims) + len(refusals) > 1:
        told = [f"{name} ({claim.loader.summary})" for name, claim in claims.items()]
        told += [f"{name} (refuses it: {error})" for name, error in refusals.items()]
        raise SuiteError(
            f"{len(told)} loaders know {source.origin!r}: {', '.join(told)}; choose one, such as "
            f"--loader {next(iter(claims or refusals))}"
        )
    for refusal in refusals.values():
        raise refusal
    return next(iter(claims.values()), None)


def _unknown(source: Source, loaders: Mapping[str, Loader], broken: Sequence[PluginError]) -> str:
    files = source.files
    suffix = PurePosixPath(files[0]).suffix if len(files) == 1 else ""
    # No loader knows a damaged file, nor a pickle that wants to run code: say what is wrong with it.
    if suffix == ".safetensors":
        source.tensors(files[0])
    elif suffix == ".npz":
        source.npz_tensors(files[0])
    elif suffix in (".pt", ".pth"):
        source.pt(files[0], lazy=True)
    width = max(map(len, loaders))
    formats = [f"  {name:<{width}}  {loader.summary}" for name, loader in loaders.items()]
    return "\n".join(
        [
            f"no loader knows {source.origin!r}: {_holds(source)}. The loaders are",
            *formats,
            "A plugin may add one: --plugin FILE.py",
            *(f"Also, {error}" for error in broken),
        ]
    )


def _hint(source: Source, options: LoadOptions, loaders: Mapping[str, Loader]) -> str:
    """A line for what is often given instead of a suite: a folder that ioi-bench wrote, or one file of several."""
    files, given = source.files, source.origin
    suites = [name.removesuffix(f"/{HEADER_FILE}") for name in files if name.endswith(f"/{HEADER_FILE}")]
    if suites:
        return f"\nThere are suites in it: give one, such as {given.rstrip('/')}/{suites[0]}"
    if "run.json" in files:
        return f"\nIt is a training run: `ioi-bench select {given}` makes suites of it, in its folder selected/"
    if "card.json" in files:
        return "\nIt is a score card (`ioi-bench report` shows it): give the suite that was judged"
    folder = source.path.parent
    if source.revision is None and source.path.is_file() and _known(Source(folder, str(folder)), options, loaders):
        return f"\nIt is one file of several: give the folder, {folder}"
    return ""


def _known(source: Source, options: LoadOptions, loaders: Mapping[str, Loader]) -> bool:
    """Whether some loader would read it."""
    for one in loaders.values():
        try:
            if one.recognise(source, options) is not None:
                return True
        except IoiBenchError:
            continue
    return False


def _holds(source: Source) -> str:
    names = source.files
    if not names:
        return "the folder is empty"
    return "it holds " + ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
