"""The loader of ioi-bench's own format (`ioi_bench.dictionaries.suite`)."""

from __future__ import annotations

from collections.abc import Mapping

from safetensors import SafetensorError, safe_open

from ioi_bench.bounded import require_small
from ioi_bench.dictionaries.architectures import Architecture, architecture
from ioi_bench.dictionaries.source import MAX_TENSOR_BYTES, Source
from ioi_bench.dictionaries.suite import HEADER_FILE, HEADER_KEY, SuiteHeader, load_suite, read_header
from ioi_bench.dictionaries.suite_content import Suite
from ioi_bench.errors import IoiBenchError
from ioi_bench.plugins.records import Loader, LoadOptions, Recognised
from ioi_bench.sites import Site

__all__ = ["loader"]


def loader(architectures: Mapping[str, type[Architecture]]) -> Loader:
    """The loader, for these architectures."""

    def recognise(source: Source, _: LoadOptions) -> Recognised | None:
        if not _is_native(source):
            return None
        header = read_header(source.path)
        for entry in header.dictionaries.values():
            architecture(entry.architecture, architectures)
        return _told(header)

    def load(source: Source, _: LoadOptions) -> Suite:
        return load_suite(source.path, architectures=architectures)

    return Loader("native", "ioi-bench's own (docs/formats.md): suite.json, or one .safetensors", recognise, load)


def _is_native(source: Source) -> bool:
    if source.path.is_dir():
        return (source.path / HEADER_FILE).is_file()
    if source.path.suffix != ".safetensors":
        return False
    try:
        require_small(source.path, MAX_TENSOR_BYTES)
        with safe_open(source.path, framework="pt") as file:
            return HEADER_KEY in (file.metadata() or {})
    except (SafetensorError, OSError, IoiBenchError):
        return False


def _told(header: SuiteHeader) -> Recognised:
    first = next(iter(header.dictionaries.values()))
    sites = tuple(sorted((Site.parse(text) for text in header.dictionaries), key=str))
    hooks = {site.point for site in sites}
    names = sorted({entry.architecture for entry in header.dictionaries.values()})
    return Recognised(
        architecture=", ".join(names),
        hooks=tuple(sorted(hooks, key=str)),
        d_in=first.d_in,
        d_sae=first.d_sae,
        model=header.model,
        normalisation=_normalisation(header),
        sites=sites,
    )


def _normalisation(header: SuiteHeader) -> str:
    given = [entry.settings.get("scale", 1.0) for entry in header.dictionaries.values()]
    scales = [float(scale) for scale in given if isinstance(scale, int | float)]
    low, high = min(scales, default=1.0), max(scales, default=1.0)
    if low == high:
        return "none" if low == 1 else f"inputs × {low:.3g}"
    return f"inputs × {low:.3g} to {high:.3g}"
