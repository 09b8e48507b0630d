"""SAEs trained with dictionary_learning (MIT, github.com/saprmarks/dictionary_learning): ``ae.pt`` + ``config.json``.

Each run folder holds the final state dict ``ae.pt``, those from within training in ``checkpoints/ae_<step>.pt``, and
``config.json`` with the trainer's settings. By class (version 0.1.0, ``dictionary.py`` and ``trainers/``)::

    AutoEncoder             f = ReLU((x − b) W_enc + b_enc), decoder rows brought to norm 1 and features multiplied by
                            their norms, as its ``from_pretrained`` does
    AutoEncoderNew          f = ReLU(x W_enc + b_enc)
    GatedAutoEncoder        f = 1[u + b_gate > 0] · ReLU(exp(r_mag) u + b_mag), u = (x − b) W_enc
    JumpReluAutoEncoder     f = π · 1[π > threshold] through a ReLU, π = x W_enc + b_enc
    AutoEncoderTopK         f = TopK(ReLU((x − b) W_enc + b_enc))
    BatchTopKSAE, MatryoshkaBatchTopKSAE    the same with one threshold for all features in place of TopK

    x̂ = f W_dec + b

All of it is folded into built-in architectures. Where activations were normalised in training, the library has scaled
the biases back before saving: there is nothing to normalise. The library itself is not needed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any

from torch import Tensor

from ioi_bench.dictionaries.architectures import ARCHITECTURES
from ioi_bench.dictionaries.reading import (
    building,
    model_name,
    needed,
    state_dict,
    suite_name,
    unsubtracted,
)
from ioi_bench.dictionaries.source import Source
from ioi_bench.dictionaries.suite import Suite
from ioi_bench.errors import SuiteError, UnknownNameError
from ioi_bench.plugins import hookimpl
from ioi_bench.plugins.records import Loader, LoadOptions, Recognised
from ioi_bench.sites import HookPoint

__all__ = ["ioi_bench_loaders", "load", "recognise"]

CONFIG = "config.json"
LINEAR = {"W_enc": "encoder.weight", "b_enc": "encoder.bias", "W_dec": "decoder.weight"}
BARE = {"W_enc": "W_enc", "b_enc": "b_enc", "threshold": "threshold", "W_dec": "W_dec", "b_dec": "b_dec"}
GATED = {"r_mag": "r_mag", "b_gate": "gate_bias", "b_mag": "mag_bias", "b_dec": "decoder_bias"}
LAYOUTS: Mapping[str, tuple[str, Mapping[str, str]]] = MappingProxyType(
    {
        "AutoEncoder": ("relu", {**LINEAR, "b_dec": "bias"}),
        "AutoEncoderNew": ("relu", {**LINEAR, "b_dec": "decoder.bias"}),
        "GatedAutoEncoder": ("gated", {"W_enc": "encoder.weight", "W_dec": "decoder.weight", **GATED}),
        "JumpReluAutoEncoder": ("jumprelu", BARE),
        "AutoEncoderTopK": ("topk", {**LINEAR, "b_dec": "b_dec"}),
        "BatchTopKSAE": ("jumprelu", {**LINEAR, "threshold": "threshold", "b_dec": "b_dec"}),
        "MatryoshkaBatchTopKSAE": ("jumprelu", BARE),
    }
)
"""By the library's class: our architecture, and its tensors by our names. A ``.weight`` is stored transposed."""

UNSET = "its threshold was not set yet (−1), so that its features are those of a plain ReLU"
RAW = (
    "trained on the Hugging Face model as it is, whose residual stream is not centred as that of the models here: "
    "preflight says whether it fits"
)
_FILE = re.compile(r"(?P<folder>(?:.*/)?)(?P<inside>(?:checkpoints/)?)ae(?:_(?P<step>\d+))?\.pt")
_NAMED = re.compile(r"(?P<component>resid_pre|resid_mid|resid_post|attn_out|mlp_out)_layer_?(?P<layer>\d+)")
_MODULE = re.compile(r"(?:.*\.)?h\.(?P<layer>\d+)(?:\.(?P<part>attn|mlp))?")
_OUTPUTS = {None: "resid_post", "attn": "attn_out", "mlp": "mlp_out"}


@dataclass(frozen=True)
class _Found:
    """What names, keys and ``config.json`` say."""

    weights: str
    kind: str
    trainer: Mapping[str, Any]
    hook: HookPoint | None
    d_in: int
    d_sae: int
    model: str | None
    notes: tuple[str, ...]


def recognise(source: Source, options: LoadOptions) -> Recognised | None:
    """What the source is, where it is a run folder of dictionary_learning, or one of its state dicts.

    Raises:
        SuiteError: it is, and cannot be used, with the reason.
    """
    found = _find(source, options)
    if found is None:
        return None
    hooks = () if found.hook is None else (found.hook,)
    return Recognised(LAYOUTS[found.kind][0], hooks, found.d_in, found.d_sae, found.model, notes=found.notes)


def load(source: Source, options: LoadOptions) -> Suite:
    """The dictionary, at all roles of its hook point.

    Raises:
        SuiteError: another format, damaged, or a dictionary that cannot be used.
    """
    found = _find(source, options)
    if found is None:
        raise SuiteError(f"{source.origin!r} has no ae.pt or ae_<step>.pt: it is not of dictionary_learning")
    remedy = "its submodule_name is free text; add --hook, such as --hook resid_post.8"
    hook = needed(found.hook, "where it reads", source, remedy)
    where = f"{found.weights!r} in {source.origin!r}"
    architecture, names = LAYOUTS[found.kind]
    held = source.pt(found.weights)
    w = {ours: held[name].float().T if name.endswith(".weight") else held[name].float() for ours, name in names.items()}
    with building(where):
        settings = _folded(found, w, held)
        dictionary = ARCHITECTURES[architecture](**settings)
    told = {"format": "dictionary-learning", "architecture": found.kind, "weights": found.weights}
    name, stem = suite_name(source), PurePosixPath(found.weights).stem
    name = name if stem in ("ae", name) else f"{name}-{stem}"
    return Suite.at_hook(name, found.model or "unknown", hook, dictionary, told)


def _find(source: Source, options: LoadOptions) -> _Found | None:
    """Everything that can be told without reading weights."""
    files = _files(source, options)
    if files is None:
        return None
    weights, config_file = files
    config = {} if config_file is None else source.json(config_file)
    trainer, buffer = (part if isinstance(part := config.get(key), dict) else {} for key in ("trainer", "buffer"))
    held = state_dict(source, weights) if config_file is None else source.pt(weights, lazy=True)
    where = f"{weights!r} in {source.origin!r}"
    if held is None:
        return None
    if not isinstance(held, Mapping):
        raise SuiteError(f"{where} holds a {type(held).__name__}, expected a state dict")
    kind = _kind(held, trainer, options, where)
    if kind is None:
        return None
    if buffer.get("io") == "in_and_out":
        raise SuiteError(
            f"{where} is a transcoder (buffer.io is in_and_out): it reads at one place and writes at another, so that "
            "no edit of the site it reads follows from its features. Give an SAE"
        )
    d_in, d_sae = _sizes(kind, held, where)
    hook = options.hook or _hook(trainer.get("submodule_name"), buffer.get("io", "out"))
    notes = _notes(held, kind, hook, weights)
    model = model_name(options.model or trainer.get("lm_name"))
    return _Found(weights, kind, trainer, hook, d_in, d_sae, model, notes)


def _files(source: Source, options: LoadOptions) -> tuple[str, str | None] | None:
    """The state dict to read, and the ``config.json`` of its run folder, where it is there."""
    runs: dict[str, dict[str | None, str]] = {}
    for name in source.files:
        match = _FILE.fullmatch(name)
        if match:
            folder = match["folder"].removesuffix("checkpoints/")
            runs.setdefault(folder, {})[match["step"]] = name
    if not runs:
        return None
    if len(runs) > 1:
        folders = [repr(f"{source.origin.rstrip('/')}/{folder.rstrip('/')}") for folder in runs]
        raise SuiteError(
            f"{source.origin!r} holds {len(runs)} runs of dictionary_learning: give the folder of one, such as "
            + " or ".join(folders[:3])
        )
    ((folder, steps),) = runs.items()
    asked = options.settings.get("checkpoint")
    wanted = None if asked in (None, "final") else asked
    if wanted is None and asked is None and len(steps) == 1:
        wanted = next(iter(steps))
    if wanted not in steps:
        known = ["final" if step is None else step for step in sorted(steps, key=lambda s: (s is None, int(s or 0)))]
        raise SuiteError(
            f"{source.origin!r} has no {'final ae.pt' if wanted is None else f'checkpoint {wanted!r}'}: choose one of "
            f"{', '.join(known)}, such as --set checkpoint={known[-1]}"
        )
    return steps[wanted], folder + CONFIG if source.has(folder + CONFIG) else None


def _kind(held: Mapping[str, Any], trainer: Mapping[str, Any], options: LoadOptions, where: str) -> str | None:
    """The library's class. Its trainers write the name of their default class, whatever class they were given."""
    said = options.arch or trainer.get("dict_class")
    if said is not None and (not isinstance(said, str) or said not in LAYOUTS):
        raise UnknownNameError("class of dictionary_learning", str(said), LAYOUTS)
    if said == "AutoEncoder" and "bias" not in held and "decoder.bias" in held:
        return "AutoEncoderNew"
    if said is not None:
        return str(said)
    fitting = [kind for kind in LAYOUTS if _fits(held, kind)]
    if len(fitting) > 1:
        raise SuiteError(
            f"{where} has the tensors of {' and of '.join(fitting)}, and no {CONFIG} says which: give the run folder "
            f"that has it, or --arch {fitting[0]}"
        )
    return fitting[0] if fitting else None


def _fits(held: Mapping[str, Any], kind: str) -> bool:
    """Whether these are a class's tensors, and no more."""
    buffers = {
        "AutoEncoderTopK": {"k", "threshold"},
        "BatchTopKSAE": {"k"},
        "MatryoshkaBatchTopKSAE": {"k", "group_sizes"},
    }
    names, further = set(LAYOUTS[kind][1].values()), buffers.get(kind, set())
    needed_too = further - {"k", "threshold"}
    return names | needed_too <= set(held) <= names | further


def _sizes(kind: str, held: Mapping[str, Any], where: str) -> tuple[int, int]:
    """``d_in`` and ``d_sae``, with every tensor known to fit them."""
    architecture, names = LAYOUTS[kind]
    missing = [name for name in names.values() if not isinstance(held.get(name), Tensor)]
    if missing:
        raise SuiteError(
            f"{where} lacks the tensors {', '.join(missing)} of {kind}: it holds {', '.join(map(str, held))[:200]}; "
            "name its class with --arch, or fetch it again"
        )
    shapes = {ours: tuple(held[theirs].shape) for ours, theirs in names.items()}
    shapes = {ours: shape[::-1] if names[ours].endswith(".weight") else shape for ours, shape in shapes.items()}
    if len(shapes["W_dec"]) != 2:
        raise SuiteError(f"{where}: {names['W_dec']} has the shape {list(shapes['W_dec'])}, expected two axes")
    d_sae, d_in = shapes["W_dec"]
    expected = ARCHITECTURES[architecture].shapes(d_in, d_sae)
    if "BatchTopK" in kind:
        expected["threshold"] = ()
    for ours, shape in expected.items():
        if shapes[ours] != shape:
            raise SuiteError(
                f"{where}: {names[ours]} has the shape {list(held[names[ours]].shape)}, which in {kind} does not fit "
                f"{names['W_dec']} with d_in = {d_in} and d_sae = {d_sae}: name another class with --arch, or fetch "
                "it again"
            )
    return d_in, d_sae


def _hook(name: Any, io: str) -> HookPoint | None:
    """From a submodule's name, where it tells: ``resid_post_layer_8``, or a module of Hugging Face's GPT-2.

    >>> str(_hook("resid_post_layer_8", "out")), str(_hook("transformer.h.3.mlp", "out")), _hook("layer 8", "out")
    ('blocks.8.hook_resid_post', 'blocks.3.hook_mlp_out', None)
    """
    named, module = _NAMED.fullmatch(str(name)), _MODULE.fullmatch(str(name))
    if named and io == "out":
        return HookPoint(named["component"], int(named["layer"]))
    if module and io == "out":
        return HookPoint(_OUTPUTS[module["part"]], int(module["layer"]))
    if module and io == "in" and module["part"] is None:
        return HookPoint("resid_pre", int(module["layer"]))
    return None


def _notes(held: Mapping[str, Any], kind: str, hook: HookPoint | None, weights: str) -> tuple[str, ...]:
    threshold = held.get("threshold")
    unset = "BatchTopK" in kind and isinstance(threshold, Tensor) and threshold.numel() == 1 and float(threshold) < 0
    within = f"a checkpoint from within training: {weights}" if "_" in weights.rpartition("/")[2] else None
    raw = RAW if hook is not None and hook.component.startswith("resid") else None
    return tuple(note for note in (within, UNSET if unset else None, raw) if note)


def _folded(found: _Found, w: dict[str, Tensor], held: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a built-in architecture that does the same."""
    settings: dict[str, Any] = w
    if found.kind == "AutoEncoder":
        norms = w["W_dec"].norm(dim=1)
        norms = norms.where(norms > 0, norms.new_ones(()))  # a dead row stays
        w["W_enc"], w["b_enc"], w["W_dec"] = w["W_enc"] * norms, w["b_enc"] * norms, w["W_dec"] / norms[:, None]
    if found.kind in ("AutoEncoderNew", "JumpReluAutoEncoder"):
        w["b_enc"] = unsubtracted(w["b_enc"], w["W_enc"], w["b_dec"])
    if "threshold" in w:
        w["threshold"] = w["threshold"].expand(found.d_sae).clamp(min=0)  # below 0 the ReLU decides
    if found.kind == "AutoEncoderTopK":
        k = held.get("k", found.trainer.get("k"))
        if isinstance(k, Tensor) and k.numel() == 1:
            k = int(k)
        if not isinstance(k, int):
            raise SuiteError(
                f"{found.weights!r} is top-k, but neither it nor {CONFIG} holds a whole number k: got {k!r}"
            )
        settings = {**w, "k": k}
    return settings


@hookimpl
def ioi_bench_loaders() -> list[Loader]:
    """The loader ``dictionary-learning``."""
    keys = {"checkpoint": "the step of a checkpoint from within training, or 'final' (the default)"}
    summary = f"dictionary_learning: a run folder with ae.pt and {CONFIG}"
    return [Loader("dictionary-learning", summary, recognise, load, keys)]
