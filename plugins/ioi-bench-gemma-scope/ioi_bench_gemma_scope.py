"""Gemma Scope (Lieberum et al. 2024, arXiv 2408.05147): ``params.npz`` with ``W_enc W_dec b_enc b_dec threshold``.

The equations of its tutorial, JumpReLU with a threshold a feature (arXiv 2407.14435); the decoder bias is not
subtracted from the input::

    u = x W_enc + b_enc
    f = 1[u > threshold] · ReLU(u)
    x̂ = f W_dec + b_dec

Inputs are the model's own: no scale is left to apply. The hook point and the model are told from the repository's name
and its folders, such as ``gemma-scope-2b-pt-res/layer_20/width_16k/average_l0_71``: ``res`` is ``resid_post``, ``mlp``
is ``mlp_out``, ``att`` is ``hook_z`` over all heads. Gemma normalises by RMSNorm, so that nothing of it is centred.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from ioi_bench.dictionaries.architectures import JumpRelu
from ioi_bench.dictionaries.reading import building, needed, pick, suite_name, unsubtracted
from ioi_bench.dictionaries.source import Source
from ioi_bench.dictionaries.suite import Suite
from ioi_bench.errors import SuiteError
from ioi_bench.plugins import Loader, LoadOptions, Recognised, hookimpl
from ioi_bench.sites import HookPoint

__all__ = ["ioi_bench_loaders", "load", "recognise"]

PARAMETERS = ("W_enc", "W_dec", "b_enc", "b_dec", "threshold")
COMPONENTS = {"res": "resid_post", "mlp": "mlp_out", "att": "z"}
_REPOSITORY = re.compile(r"gemma-scope-(?P<size>\d+b)-(?P<tuning>pt|it)-(?P<what>res|mlp|att|transcoders)")
_LAYER = re.compile(r"layer_(\d+)")


def _files(source: Source) -> list[str]:
    """The ``.npz`` files that hold these parameters, by their headers."""
    files = [name for name in source.files if PurePosixPath(name).name == "params.npz"]
    return [name for name in files if source.npz_tensors(name).keys() >= set(PARAMETERS)]


def _said(source: Source, name: str) -> tuple[HookPoint | None, str | None]:
    """The hook point and the model, from the names of the repository and the folders.

    Raises:
        SuiteError: a transcoder.
    """
    text = "/".join((source.origin, source.path.as_posix(), name))
    repository, layer = _REPOSITORY.search(text), _LAYER.search(text)
    if repository is None:
        return None, None
    if repository["what"] == "transcoders":
        raise SuiteError(
            f"{source.origin!r} is a transcoder: it predicts an MLP's output from its input, so it has no "
            "reconstruction to edit; give an SAE (-res, -mlp or -att)"
        )
    model = f"gemma-2-{repository['size']}" + ("-it" if repository["tuning"] == "it" else "")
    hook = None if layer is None else HookPoint(COMPONENTS[repository["what"]], int(layer[1]))
    return hook, model


def _only(source: Source, files: list[str]) -> str:
    if len(files) > 1:
        shown = ", ".join(files[:4]) + (", …" if len(files) > 4 else "")
        raise SuiteError(f"{source.origin!r} holds {len(files)} SAEs ({shown}): give the folder of one")
    return files[0]


def recognise(source: Source, options: LoadOptions) -> Recognised | None:
    """Tell Gemma Scope by the arrays of ``params.npz``."""
    files = _files(source)
    if not files:
        return None
    name = _only(source, files)
    shape = source.npz_tensors(name)["W_dec"].shape
    if len(shape) != 2:
        raise SuiteError(f"{name!r} in {source.origin!r}: W_dec has the shape {list(shape)}, expected [d_sae, d_in]")
    hook, model = _said(source, name)
    hook = options.hook or hook
    return Recognised("jumprelu", () if hook is None else (hook,), shape[1], shape[0], options.model or model)


def load(source: Source, options: LoadOptions) -> Suite:
    """One dictionary, at all roles of its hook point.

    Raises:
        SuiteError: damaged, several SAEs, a transcoder, no hook point or no model.
    """
    files = [name for name in source.files if name.endswith(".npz")]
    if not files:
        raise SuiteError(f"{source.origin!r} has no params.npz: it holds {', '.join(source.files[:5]) or 'nothing'}")
    name = _only(source, files)
    where = f"{name!r} in {source.origin!r}"
    weights = pick(source.npz(name), PARAMETERS, where)
    said_hook, said_model = _said(source, name)
    hook = needed(options.hook or said_hook, "its hook point", source, "add --hook, such as --hook resid_post.20")
    model = needed(options.model or said_model, "its model", source, "add --model gemma-2-2b")
    with building(where):
        weights["b_enc"] = unsubtracted(weights["b_enc"], weights["W_enc"], weights["b_dec"])
        weights["threshold"] = weights["threshold"].clamp(min=0.0)  # below 0, the ReLU decides
        dictionary = JumpRelu(**weights)
    metadata = {"format": "gemma-scope", "architecture": "jumprelu"}
    return Suite.at_hook(suite_name(source), model, hook, dictionary, metadata)


@hookimpl
def ioi_bench_loaders() -> list[Loader]:
    """The loader ``gemma-scope``."""
    return [Loader("gemma-scope", "Gemma Scope: params.npz, JumpReLU", recognise, load)]
