"""SAEs of EleutherAI's sparsify (PyPI ``eai-sparsify``): ``cfg.json`` and ``sae.safetensors``, a folder a hook point.

With ``W_enc`` the transpose of ``encoder.weight`` (``SparseCoder`` and ``FusedEncoder`` of sparsify 1.3)::

    u  = ReLU((x − b_dec) W_enc + encoder.bias)
    f  = the k largest of u (topk), or the largest of each of k groups of neighbours (groupmax); 0 elsewhere
    x̂  = f W_dec + b_dec

**Hook points** are names of Hugging Face modules, and the activation is the module's *output*. In GPT-2, ``h.3`` gives
the residual stream after block 3, ``h.3.attn`` and ``h.3.mlp`` what they add to it (dropout is off). That is
TransformerLens's ``resid_post``, ``attn_out`` and ``mlp_out``, but for one thing: sparsify reads Hugging Face's
weights, whose writes to the residual stream have a mean over its dimensions, and ioi-bench's ``gpt2`` has it removed
(centred weights). Layer-norm folding changes none of the three. So the inputs here lack their component along the
vector of ones; whether that hurts is measured before scoring, not assumed here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ioi_bench.dictionaries.architectures import Architecture, TopK
from ioi_bench.dictionaries.reading import building, by_hook, model_name, needed, pick, suite_name
from ioi_bench.dictionaries.source import Source
from ioi_bench.dictionaries.suite import Suite
from ioi_bench.errors import DictionaryError, SuiteError
from ioi_bench.plugins import ArchitectureRecord, Loader, LoadOptions, Recognised, hookimpl
from ioi_bench.sites import HookPoint

__all__ = ["GroupMax", "ioi_bench_architectures", "ioi_bench_loaders", "load", "module_hook", "recognise"]

CONFIG, WEIGHTS = "cfg.json", "sae.safetensors"
PARAMETERS = ("encoder.weight", "encoder.bias", "W_dec", "b_dec")
CENTRING = (
    "Trained on Hugging Face activations; ioi-bench's gpt2 has centred writing weights, so that its residual stream "
    "lacks the mean over dimensions that this SAE has seen."
)
_MODULE = re.compile(
    r"(?:\w+\.)?(?:h|layers)\.(?P<layer>\d+)"
    r"(?:\.(?P<part>attn|attention|self_attn|mlp)(?:\.(?:c_proj|o_proj|down_proj))?)?"
)
_PARTS = {None: "resid_post", "attn": "attn_out", "attention": "attn_out", "self_attn": "attn_out", "mlp": "mlp_out"}


@dataclass(frozen=True, eq=False, kw_only=True)
class GroupMax(TopK):
    """The largest of each of ``k`` groups of neighbouring features (sparsify's ``groupmax``).

    Raises:
        DictionaryError: also where k does not divide d_sae.
    """

    name: ClassVar[str] = "groupmax"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.d_sae % self.k:
            raise DictionaryError(f"k is {self.k}, expected a divisor of d_sae = {self.d_sae}")

    def encode(self, x: Float[Tensor, "prompt d_in"]) -> Float[Tensor, "prompt d_sae"]:
        """``ReLU((scale · x − b_dec) W_enc + b_enc)`` at the maximum of each group."""
        groups = torch.relu(self.pre_activations(x) + self.b_enc.float()).unflatten(1, (self.k, -1))
        values, best = groups.max(dim=2, keepdim=True)
        return torch.zeros_like(groups).scatter_(2, best, values).flatten(1)


_ARCHITECTURES: Mapping[str, type[TopK]] = {"topk": TopK, "groupmax": GroupMax}


def module_hook(name: str) -> HookPoint | None:
    """The hook point that holds the output of a Hugging Face module; None where the benchmark has none.

    >>> str(module_hook("transformer.h.3.mlp"))
    'blocks.3.hook_mlp_out'
    >>> str(module_hook("layers.10"))
    'blocks.10.hook_resid_post'
    >>> module_hook("h.3.mlp.act")
    """
    match = _MODULE.fullmatch(name)
    return None if match is None else HookPoint(_PARTS[match["part"]], int(match["layer"]))


def _folders(source: Source) -> list[str]:
    """The folders with a coder in them, as prefixes of file names; ``""`` for the source itself."""
    names = set(source.files)
    folders = [name.removesuffix(WEIGHTS) for name in names if PurePosixPath(name).name == WEIGHTS]
    return sorted(folder for folder in folders if folder + CONFIG in names)


def _by_hook(source: Source, folders: list[str], options: LoadOptions) -> dict[HookPoint | None, str]:
    """Folders by hook point, without those of many whose module has no site here.

    Raises:
        SuiteError: also where none is left.
    """
    hooks = {}
    for folder in folders:
        parts = [*source.path.parts, *PurePosixPath(folder).parts][-2:]  # h.3.mlp, or h.3.mlp/seed1
        hook = next((hook for part in reversed(parts) if (hook := module_hook(part))), None)
        if hook is not None or len(folders) == 1:
            hooks[folder] = hook
    if not hooks:
        raise SuiteError(
            f"{source.origin!r} has dictionaries only at modules without a site here ({', '.join(folders[:5])}): those "
            "of blocks (h.3), of h.3.attn and of h.3.mlp can be scored"
        )
    return by_hook(source, hooks, options.hook)


def _config(source: Source, folder: str) -> dict[str, Any]:
    """A coder's configuration, once it is one that autoencodes.

    Raises:
        SuiteError: a transcoder, a skip connection, signed latents, an unknown activation, no k.
    """
    config = source.json(folder + CONFIG)
    where = f"{folder + CONFIG!r} in {source.origin!r}"
    reasons = {
        "transcode": "a transcoder: it predicts a module's output from its input, so it has no reconstruction to edit",
        "skip_connection": "a coder with a skip connection: part of its output bypasses the features",
        "signed": "a coder with signed latents (sparsify before 1.0), whose selection by magnitude is not read here",
    }
    for key, reason in reasons.items():
        if config.get(key):
            raise SuiteError(f"{where} describes {reason}; give an SAE trained without {key!r}")
    if config.get("activation", "topk") not in tuple(_ARCHITECTURES):  # it may be anything, also what has no hash
        raise SuiteError(f"{where} has the activation {config['activation']!r}, expected topk or groupmax")
    if not isinstance(config.get("k"), int):
        raise SuiteError(f"{where} has k = {config.get('k')!r}, expected a whole number")
    return config


def recognise(source: Source, options: LoadOptions) -> Recognised | None:
    """Tell sparsify's folders by ``cfg.json`` beside ``sae.safetensors``."""
    folders = _folders(source)
    if not folders:
        return None
    found = _by_hook(source, folders, options)
    first = next(iter(found.values()))
    config = _config(source, first)
    tensors = source.tensors(first + WEIGHTS)
    shape = tensors["W_dec"].shape if "W_dec" in tensors else ()
    if len(shape) != 2:
        raise SuiteError(f"{first + WEIGHTS!r} in {source.origin!r} has no matrix W_dec: it holds {', '.join(tensors)}")
    left_out = [folder.rstrip("/") for folder in folders if folder not in found.values()]
    notes = (CENTRING, f"Left out: {', '.join(left_out)}.") if left_out and options.hook is None else (CENTRING,)
    hooks = tuple(hook for hook in found if hook is not None)
    model = model_name(_trained_on(source))
    return Recognised(config.get("activation", "topk"), hooks, shape[1], shape[0], model, notes=notes)


def _trained_on(source: Source) -> str | None:
    """The model that the trainer's own ``config.json``, at the top of a run's folder, names."""
    model = source.json("config.json").get("model") if source.has("config.json") else None
    return model if isinstance(model, str) else None


def load(source: Source, options: LoadOptions) -> Suite:
    """One dictionary a folder, each at all roles of its hook point.

    Raises:
        SuiteError: damaged, or not an SAE that can be scored; the message says why.
    """
    folders = _folders(source)
    if not folders:
        raise SuiteError(
            f"{source.origin!r} is not of sparsify: expected {CONFIG} and {WEIGHTS}, a folder a hook point"
        )
    dictionaries: dict[HookPoint, Architecture] = {}
    for known, folder in _by_hook(source, folders, options).items():
        remedy = "name the folder by its module (h.3.mlp) or add --hook mlp_out.3"
        hook = needed(known, "its hook point", source, remedy)
        config = _config(source, folder)
        where = f"{folder + WEIGHTS!r} in {source.origin!r}"
        stored = source.safetensors(folder + WEIGHTS)
        if "W_skip" in stored:
            raise SuiteError(f"{where} has a skip connection (W_skip): part of its output bypasses the features")
        tensors = pick(stored, PARAMETERS, where)
        with building(where):
            dictionaries[hook] = _ARCHITECTURES[config.get("activation", "topk")](
                W_enc=tensors["encoder.weight"].T,
                b_enc=tensors["encoder.bias"],
                W_dec=tensors["W_dec"],
                b_dec=tensors["b_dec"],
                k=config["k"],
            )
    model = needed(
        options.model or model_name(_trained_on(source)), "its model", source, "add --model gpt2, or --model ioi-mini"
    )
    architectures = sorted({dictionary.name for dictionary in dictionaries.values()})
    metadata = {"format": "sparsify", "architecture": ", ".join(architectures)}
    return Suite.at_hooks(suite_name(source), model, dictionaries, metadata)


@hookimpl
def ioi_bench_architectures() -> list[ArchitectureRecord]:
    """The architecture ``groupmax``, so that a suite can be kept in the native format."""
    return [ArchitectureRecord(GroupMax.name, "the largest of each of k groups of neighbouring features", GroupMax)]


@hookimpl
def ioi_bench_loaders() -> list[Loader]:
    """The loader ``sparsify``."""
    return [Loader("sparsify", "EleutherAI's sparsify: cfg.json and sae.safetensors by module name", recognise, load)]
