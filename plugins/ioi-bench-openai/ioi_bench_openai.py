"""OpenAI's SAEs of GPT-2 small (Gao et al. 2024, arXiv 2406.04093): one ``.pt`` file with a state dict.

The equations of their released code (github.com/openai/sparse_autoencoder, ``model.py``)::

    x' = (x − μ) / (σ + 1e-5)            only where the activation is TopK; μ the mean, σ the unbiased deviation of x
    u  = (x' − pre_bias) W_enc + latent_bias
    f' = ReLU(u) (releases v1 and v4), or the k largest of u, through ReLU, and 0 elsewhere (v5)
    x̂  = (f' W_dec + pre_bias) σ + μ

Normalising each input makes the last line no affine function of ``f'`` alone. So features carry the scale,
``f = f' σ``, and the offset depends on the input, ``b(x) = pre_bias σ + μ``: then ``x̂ = f W_dec + b(x)`` (METHOD §4).
An input without any deviation has no features, and its reconstruction is its mean. With ``postact_fn`` ``Identity``
in place of the ReLU features may be negative.

The layer norm takes the mean over dimensions away, and ``b(x)`` puts it back: for v5 it makes no difference whether the
model's writing weights are centred (ioi-bench's ``gpt2`` has them centred, OpenAI's example has not).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from torch import Tensor

from ioi_bench.dictionaries.architectures import Relu, TopK
from ioi_bench.dictionaries.per_input import PerInputNorm
from ioi_bench.dictionaries.reading import building, needed, only_file, pick, state_dict, suite_name
from ioi_bench.dictionaries.signed import SignedTopK
from ioi_bench.dictionaries.source import Source
from ioi_bench.dictionaries.suite import Suite
from ioi_bench.errors import SuiteError
from ioi_bench.plugins import Loader, LoadOptions, Recognised, hookimpl
from ioi_bench.sites import HookPoint

__all__ = ["ioi_bench_loaders", "load", "path_hook", "recognise"]

PARAMETERS = ("encoder.weight", "latent_bias", "decoder.weight", "pre_bias")
LOCATIONS = {
    "resid_delta_attn": "attn_out",
    "resid_delta_mlp": "mlp_out",
    "resid_post_attn": "resid_mid",
    "resid_post_mlp": "resid_post",
}
UNCENTRED = (
    "OpenAI's example reads activations with center_writing_weights=False; ioi-bench's gpt2 has centred writing "
    "weights, so that its residual stream lacks the mean over dimensions that this SAE has seen."
)
_LOCATION = re.compile("|".join(LOCATIONS))


def path_hook(source: Source) -> HookPoint | None:
    """The hook point by OpenAI's own paths, such as ``resid_post_mlp_v5_32k/autoencoders/8.pt``."""
    parts = [*source.path.parts[:-1], PurePosixPath(only_file(source, ".pt") or "").name]
    location = next((match[0] for part in reversed(parts) if (match := _LOCATION.match(part))), None)
    layer = re.fullmatch(r"(\d+)\.pt", parts[-1])
    if location is None or layer is None:
        return None
    return HookPoint(LOCATIONS[location], int(layer[1]))


def _kind(found: Mapping[str, Any], where: str) -> tuple[str, int | None, bool]:
    """The architecture, k, and whether values pass a ReLU; from the keys that stray beside the tensors.

    Raises:
        SuiteError: an activation that OpenAI's code does not know, or no k.
    """
    activation = found.get("activation", "ReLU")
    if activation == "ReLU":
        return "relu", None, True
    state = found.get("activation_state_dict")
    k = state.get("k") if isinstance(state, Mapping) else None
    after = state.get("postact_fn", "ReLU") if isinstance(state, Mapping) else None
    if isinstance(k, Tensor) and k.numel() == 1:
        k = int(k)
    if activation != "TopK" or after not in ("ReLU", "Identity"):
        raise SuiteError(f"{where} has the activation {activation!r} ({after!r}), expected ReLU or TopK through ReLU")
    if not isinstance(k, int):
        raise SuiteError(f"{where} has no whole number k in its activation_state_dict: it gives {k!r}")
    return ("topk" if after == "ReLU" else "signed-topk"), k, after == "ReLU"


def recognise(source: Source, options: LoadOptions) -> Recognised | None:
    """Tell OpenAI's state dicts by ``pre_bias`` and ``latent_bias``."""
    name = only_file(source, ".pt")
    found = None if name is None else state_dict(source, name)
    if name is None or found is None or not {"pre_bias", "latent_bias"} <= set(found):
        return None
    where = f"{name!r} in {source.origin!r}"
    encoder = pick(found, PARAMETERS, where)["encoder.weight"]
    if encoder.ndim != 2:
        raise SuiteError(f"{where}: encoder.weight has the shape {list(encoder.shape)}, expected [d_sae, d_in]")
    architecture, _, _ = _kind(found, where)
    hook = options.hook or path_hook(source)
    normal = "none" if architecture == "relu" else "layer norm with the unbiased deviation"
    notes = (UNCENTRED,) if architecture == "relu" else ()
    hooks = () if hook is None else (hook,)
    return Recognised(architecture, hooks, encoder.shape[1], encoder.shape[0], "gpt2", normal, notes)


def load(source: Source, options: LoadOptions) -> Suite:
    """One dictionary, at all roles of its hook point.

    Raises:
        SuiteError: damaged, not of this layout, or no hook point.
    """
    name = needed(only_file(source, ".pt"), "which .pt file to read", source, "give one file")
    where = f"{name!r} in {source.origin!r}"
    found = source.pt(name)
    tensors = pick(found, PARAMETERS, where)
    architecture, k, relu = _kind(found, where)
    remedy = "add --hook, such as resid_post.8, mlp_out.8, attn_out.8 or resid_mid.8 (mlp_post_act has no site here)"
    hook = needed(options.hook or path_hook(source), "its hook point", source, remedy)
    weights = {
        "W_enc": tensors["encoder.weight"].T,
        "b_enc": tensors["latent_bias"],
        "W_dec": tensors["decoder.weight"].T,
        "b_dec": tensors["pre_bias"],
    }
    with building(where):
        dictionary = _build(weights, k, relu)
    metadata = {"format": "openai", "architecture": architecture}
    return Suite.at_hook(suite_name(source), options.model or "gpt2", hook, dictionary, metadata)


def _build(weights: dict[str, Any], k: int | None, relu: bool) -> Relu | PerInputNorm:
    if k is None:
        return Relu(**weights)
    return PerInputNorm((TopK if relu else SignedTopK)(**weights, k=k), layer_norm=True)


@hookimpl
def ioi_bench_loaders() -> list[Loader]:
    """The loader ``openai``."""
    return [Loader("openai", "OpenAI's GPT-2 small SAEs: one .pt file, top-k with layer norm or ReLU", recognise, load)]
