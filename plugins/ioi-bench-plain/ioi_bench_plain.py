"""SAEs without a configuration: one safetensors file with the common key names, told by keys and shapes.

What the file does not say is decided by rules that `recognise` says aloud, and that the command line overrules:

- **architecture** (``--arch``): gated by ``r_mag b_gate b_mag``, jumprelu by ``threshold``, otherwise relu. A top-k SAE
  has the keys of a ReLU one: ``--arch topk --set k=32`` (a tensor ``k`` of one number says so too);
- **orientation**: by the lengths of the biases; where d_in = d_sae or biases lack, by name: ``*.weight`` is stored as
  torch's Linear stores it, ``[out, in]``, everything else as ``W_enc [d_in, d_sae]`` and ``W_dec [d_sae, d_in]``;
- **decoder bias** (``--set subtract-b-dec=yes|no``): subtracted from the input, as in Bricken et al. 2023, unless it is
  called ``decoder.bias``: a Linear layer's own bias is not;
- **hook point and model**: ``--hook``, ``--model``.

Files that another format owns are left to it; OpenMOSS's, which need their hyperparameters, are refused by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ioi_bench.dictionaries.architectures import Architecture, Gated, JumpRelu, Relu, TopK
from ioi_bench.dictionaries.reading import (
    building,
    needed,
    only_file,
    pick,
    suite_name,
    unsubtracted,
    whole_number,
)
from ioi_bench.dictionaries.source import Source, TensorInfo
from ioi_bench.dictionaries.suite import Suite
from ioi_bench.errors import SuiteError, UnknownNameError
from ioi_bench.plugins import Loader, LoadOptions, Recognised, hookimpl

__all__ = ["Layout", "ioi_bench_loaders", "layout", "load", "recognise"]

ARCHITECTURES: Mapping[str, type[Architecture]] = {cls.name: cls for cls in (Relu, TopK, Gated, JumpRelu)}
NAMES: Mapping[str, tuple[str, ...]] = {
    "W_enc": ("W_enc", "encoder.weight", "encoder_weight", "enc.weight", "W_gate"),
    "W_dec": ("W_dec", "decoder.weight", "decoder_weight", "dec.weight"),
    "b_enc": ("b_enc", "encoder.bias", "encoder_bias", "enc.bias", "latent_bias"),
    "b_dec": ("b_dec", "decoder.bias", "decoder_bias", "dec.bias", "pre_bias", "bias"),
    "threshold": ("threshold",),
    "r_mag": ("r_mag",),
    "b_gate": ("b_gate", "gate_bias"),
    "b_mag": ("b_mag", "mag_bias"),
}
"""What a parameter of ours is called elsewhere."""
OWNED = ("cfg.json", "suite.json")
OPENMOSS_CONFIGS = ("hyperparams.json", "lm_config.json")
OPENMOSS = (
    "is in the format of OpenMOSS's Language-Model-SAEs, whose activation function and input norm stand in its "
    "hyperparameters: load it with sae_lens (its Llama Scope loader), save it with save_model, and give that folder"
)
SETTINGS = {
    "k": "active features of a top-k SAE (--arch topk)",
    "subtract-b-dec": "yes or no: whether the encoder subtracts the decoder bias from its input",
}


@dataclass(frozen=True)
class Layout:
    """What a file holds and how it is read.

    Attributes:
        names: our parameters by the file's keys.
        architecture: one of `ARCHITECTURES`.
        turned: the parameters that are stored transposed.
        subtracts: whether the encoder subtracts the decoder bias.
        notes: what was decided, a sentence each.
    """

    names: Mapping[str, str]
    architecture: str
    d_in: int
    d_sae: int
    turned: frozenset[str]
    subtracts: bool
    notes: tuple[str, ...] = ()


def _find(keys: Iterable[str]) -> dict[str, str]:
    keys = set(keys)
    found = {ours: next((name for name in names if name in keys), None) for ours, names in NAMES.items()}
    return {ours: name for ours, name in found.items() if name is not None}


def _sizes(names: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]], where: str) -> tuple[int, int, str]:
    """``d_in``, ``d_sae``, and what they were told by.

    Raises:
        SuiteError: W_enc or W_dec is no matrix.
    """
    matrix = shapes["W_dec"]
    if len(matrix) != 2 or len(shapes["W_enc"]) != 2:
        raise SuiteError(
            f"{where}: {names['W_enc']} has the shape {list(shapes['W_enc'])} and {names['W_dec']} "
            f"{list(matrix)}, expected two matrices"
        )
    vectors = {name: shape[0] for name, shape in shapes.items() if len(shape) == 1}
    hidden = vectors.get("b_enc", vectors.get("b_gate", vectors.get("threshold")))
    outer = vectors.get("b_dec")
    for d_in, d_sae in (matrix[::-1], matrix):
        fits = (hidden is None or hidden == d_sae) and (outer is None or outer == d_in)
        if matrix[0] != matrix[1] and fits and (hidden, outer) != (None, None):
            return d_in, d_sae, "the lengths of its biases"
    turned = names["W_dec"].endswith("weight")
    return (matrix[0], matrix[1], "its key names") if turned else (matrix[1], matrix[0], "its key names")


def layout(infos: Mapping[str, TensorInfo], options: LoadOptions, where: str) -> Layout:
    """Decide how a file is read.

    Raises:
        SuiteError: no encoder or decoder matrix among its keys, or an answer that is none.
        UnknownNameError: an architecture that this loader cannot build.
    """
    names = _find(infos)
    missing = [name for name in ("W_enc", "W_dec") if name not in names]
    if missing:
        tried = "; ".join(f"{name}: {', '.join(NAMES[name])}" for name in missing)
        raise SuiteError(f"{where} has none of the keys of {tried}. It holds {', '.join(list(infos)[:8]) or 'nothing'}")
    d_in, d_sae, told = _sizes(names, {ours: infos[name].shape for ours, name in names.items()}, where)
    square = d_in == d_sae
    turned = {
        ours
        for ours, shape in (("W_enc", (d_in, d_sae)), ("W_dec", (d_sae, d_in)))
        if (names[ours].endswith("weight") if square else infos[names[ours]].shape == shape[::-1])
    }
    guess = "gated" if {"r_mag", "b_gate", "b_mag"} <= names.keys() else "jumprelu" if "threshold" in names else "relu"
    guess = "topk" if guess == "relu" and "k" in infos else guess
    architecture = options.arch or guess
    if architecture not in ARCHITECTURES:
        raise UnknownNameError("architecture", architecture, ARCHITECTURES)
    answer = options.settings.get("subtract-b-dec")
    if answer not in (None, "yes", "no"):
        raise SuiteError(f"--set subtract-b-dec={answer} is no answer: write yes or no")
    subtracts = names.get("b_dec") not in NAMES["b_dec"][1:4] if answer is None else answer == "yes"
    found = Layout(names, architecture, d_in, d_sae, frozenset(turned), subtracts)
    return replace(found, notes=_notes(found, told, options))


def _notes(found: Layout, told: str, options: LoadOptions) -> tuple[str, ...]:
    """What was decided, and how to decide otherwise."""
    read = (f"{name} as {ours}{' (transposed)' if ours in found.turned else ''}" for ours, name in found.names.items())
    does = "subtracts" if found.subtracts else "does not subtract"
    overrules = "." if "subtract-b-dec" in options.settings else ": --set subtract-b-dec=yes|no overrules."
    notes = [
        f"Read by keys and shapes: {', '.join(read)}; sizes told by {told}.",
        f"Architecture {found.architecture}, {'as given.' if options.arch else 'told by its keys: --arch overrules.'}",
        f"The encoder {does} the decoder bias from its input{overrules}",
    ]
    biases = ARCHITECTURES[found.architecture].axes.keys() & {"b_enc", "b_dec"}
    zeros = sorted(biases - found.names.keys(), reverse=True)
    return (*notes, f"No {' and no '.join(zeros)}: read as 0.") if zeros else tuple(notes)


def recognise(source: Source, options: LoadOptions) -> Recognised | None:
    """Tell a plain file by its keys, where no other format's configuration is there."""
    name = only_file(source, ".safetensors")
    beside = source.path.parent if source.path.is_file() else source.path
    if name is None or any((beside / owned).exists() for owned in OWNED):
        return None
    try:
        infos = source.tensors(name)
    except SuiteError:  # damaged, but whose? load says what is wrong with it
        return None
    _refuse_openmoss(source, name, infos)
    if not {"W_enc", "W_dec"} <= _find(infos).keys():
        return None
    found = layout(infos, options, f"{name!r} in {source.origin!r}")
    hooks = () if options.hook is None else (options.hook,)
    return Recognised(found.architecture, hooks, found.d_in, found.d_sae, options.model, notes=found.notes)


def _refuse_openmoss(source: Source, name: str, infos: Mapping[str, TensorInfo]) -> None:
    folder = (source.path / name).parent if source.path.is_dir() else source.path.parent
    configured = any((place / config).is_file() for place in (folder, folder.parent) for config in OPENMOSS_CONFIGS)
    linear = {"encoder.weight", "encoder.bias", "decoder.weight"} <= infos.keys()
    if {"W_E", "W_D"} <= infos.keys() or (linear and configured):
        raise SuiteError(f"{name!r} in {source.origin!r} {OPENMOSS}")


def load(source: Source, options: LoadOptions) -> Suite:
    """One dictionary, at all roles of the hook point that the user gives.

    Raises:
        SuiteError: damaged, keys or shapes that do not fit, no hook point, no model, no k.
    """
    name = needed(only_file(source, ".safetensors"), "which safetensors file to read", source, "give one file")
    where = f"{name!r} in {source.origin!r}"
    infos = source.tensors(name)
    _refuse_openmoss(source, name, infos)
    found = layout(infos, options, where)
    hook = needed(options.hook, "its hook point", source, "add --hook, such as --hook resid_pre.8")
    model = needed(options.model, "its model", source, "add --model gpt2, or --model ioi-mini")
    stored = source.safetensors(name)
    with building(where):
        dictionary = _build(found, stored, options, where, source)
    metadata = {"format": "plain", "architecture": dictionary.name}
    return Suite.at_hook(suite_name(source), model, hook, dictionary, metadata)


def _build(
    found: Layout, stored: Mapping[str, Tensor], options: LoadOptions, where: str, source: Source
) -> Architecture:
    cls = ARCHITECTURES[found.architecture]
    weights = {ours: stored[name].T if ours in found.turned else stored[name] for ours, name in found.names.items()}
    for zeros, size in (("b_enc", found.d_sae), ("b_dec", found.d_in)):
        weights.setdefault(zeros, torch.zeros(size))
    given = pick(weights, cls.axes, where)
    if not found.subtracts:
        for bias in {"b_enc", "b_gate"} & given.keys():
            given[bias] = unsubtracted(given[bias], given["W_enc"], given["b_dec"])
        if cls is Gated:
            tied = given["r_mag"].float().exp() * given["W_enc"].float()
            given["b_mag"] = unsubtracted(given["b_mag"], tied, given["b_dec"])
    if cls is TopK:
        held = str(int(stored["k"])) if "k" in stored and stored["k"].numel() == 1 else None
        given["k"] = whole_number(needed(options.settings.get("k", held), "its k", source, "add --set k=32"), "k")
    return cls(**given)


@hookimpl
def ioi_bench_loaders() -> list[Loader]:
    """The loader ``plain``."""
    return [Loader("plain", "one safetensors file with the common key names", recognise, load, SETTINGS, generic=True)]
