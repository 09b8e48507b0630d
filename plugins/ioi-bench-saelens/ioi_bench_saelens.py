"""SAEs saved by SAELens (MIT, github.com/jbloomAus/SAELens), v6 and before: ``cfg.json`` + ``sae_weights.safetensors``.

With ``N`` the normalisation of an input and ``b = b_dec`` where ``apply_b_dec_to_input``, else 0 (SAELens 6.54,
``saes/sae.py`` and a file for each architecture)::

    π = (N(x) − b) W_enc + b_enc
    standard  f = ReLU(π)                jumprelu  f = ReLU(π) · 1[π > threshold]
    topk      f = TopK(π), then ReLU     gated     f = 1[π_gate > 0] · ReLU(π_mag)
    x̂ = N⁻¹(f W_dec + b_dec)

All is folded into the weights of a built-in architecture: ``b`` (into the encoder's biases), the factor of
``expected_average_only_in``, ``covariance_whitening``, ``rescale_acts_by_decoder_norm``, ``finetuning_scaling_factor``.
What depends on each input (``layer_norm``, ``constant_norm_rescale``) is `PerInputNorm`. Computing is float32, also
where ``cfg.json`` names another type. SAELens itself is not needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from ioi_bench.dictionaries.architectures import ARCHITECTURES
from ioi_bench.dictionaries.per_input import PerInputNorm
from ioi_bench.dictionaries.reading import building, model_name, needed, suite_name, unsubtracted
from ioi_bench.dictionaries.source import Source
from ioi_bench.dictionaries.suite import Suite
from ioi_bench.errors import InputError, SuiteError, UnknownNameError
from ioi_bench.plugins import hookimpl
from ioi_bench.plugins.records import Loader, LoadOptions, Recognised
from ioi_bench.sites import HookPoint

__all__ = ["ioi_bench_loaders", "load", "recognise"]

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"
SCALER, WHITENING = "activation_scaler.json", "activation_whitening.safetensors"
TEXTS = {"architecture", "hook_name", "hook_name_out", "model_name", "normalize_activations", "reshape_activations"}
OPENMOSS = {"W_E", "W_D", "encoder.weight", "decoder.weight"}
OURS = MappingProxyType(
    {
        "standard": "relu",
        "gated": "gated",
        "jumprelu": "jumprelu",
        "topk": "topk",
        "batchtopk": "jumprelu",  # only mid-training: the final one is saved as jumprelu
        "matryoshka_batchtopk": "jumprelu",
    }
)
ACROSS = "it reads at one hook and writes at another, so that no edit of the site it reads follows from its features"
REFUSED = MappingProxyType(
    {
        **dict.fromkeys(("transcoder", "skip_transcoder", "jumprelu_transcoder", "jumprelu_skip_transcoder"), ACROSS),
        "crosscoder": "it reads several layers at once, so that its features belong to no one site",
        "temporal": "its features depend on other positions of the prompt, and a dictionary sees one activation",
        "matching_pursuit": "its encoder is a search, which no architecture here does",
        "abstopk": "it ranks features by magnitude and keeps their signs, which no architecture here does",
    }
)
NORMALISATIONS = MappingProxyType(
    {
        "none": "none",
        "expected_average_only_in": "inputs × {factor:g}",
        "constant_norm_rescale": "each input to norm √d_in",
        "layer_norm": "layer norm",
        "covariance_whitening": "whitening, folded into the weights",
    }
)
UNFOLDED = (
    "trained on inputs × a factor that is not stored (expected_average_only_in); read as it is, as SAELens "
    "reads it. If the factor was not folded into the weights, give it: --set norm-factor=…"
)


@dataclass(frozen=True)
class _Found:
    """What ``cfg.json``, the tensors' shapes and the user say."""

    folder: str
    kind: str
    hook: HookPoint | None
    d_in: int
    d_sae: int
    model: str | None
    config: Mapping[str, Any]
    factor: float
    notes: tuple[str, ...]

    @property
    def normalisation(self) -> str:
        return str(self.config["normalize_activations"])


def recognise(source: Source, options: LoadOptions) -> Recognised | None:
    """What the source is, where it is SAELens's.

    Raises:
        SuiteError: it is, and cannot be used, with the reason.
    """
    found = _find(source, options)
    if found is None:
        return None
    hooks = () if found.hook is None else (found.hook,)
    normalisation = NORMALISATIONS[found.normalisation].format(factor=found.factor)
    return Recognised(OURS[found.kind], hooks, found.d_in, found.d_sae, found.model, normalisation, found.notes)


def load(source: Source, options: LoadOptions) -> Suite:
    """The SAE, at all roles of its hook point.

    Raises:
        SuiteError: another format, damaged, or an SAE that cannot be used.
    """
    found = _find(source, options)
    if found is None:
        raise SuiteError(f"{source.origin!r} has no {CONFIG} with {WEIGHTS} beside it: it is not in SAELens's format")
    hook = needed(found.hook, "where it reads", source, "add --hook, such as --hook resid_pre.2 or --hook z.3.1")
    cls = ARCHITECTURES[OURS[found.kind]]
    weights = _folded(source, found)
    settings: dict[str, Any] = {"k": found.config["k"]} if found.kind == "topk" else {}
    settings |= {name: weights[name] for name in cls.axes}
    with building(f"{found.folder + WEIGHTS!r} in {source.origin!r}"):
        sae = cls(**settings)
    per_input = found.normalisation in ("layer_norm", "constant_norm_rescale")
    dictionary = PerInputNorm(sae, layer_norm=found.normalisation == "layer_norm") if per_input else sae
    told = {"architecture": found.kind, "normalize_activations": found.normalisation, "norm_factor": found.factor}
    return Suite.at_hook(suite_name(source), found.model or "unknown", hook, dictionary, {"format": "saelens", **told})


def _find(source: Source, options: LoadOptions) -> _Found | None:
    """Everything that can be told without reading weights."""
    folder = _folder(source)
    if folder is None:
        return None
    where = f"{folder + WEIGHTS!r} in {source.origin!r}"
    shapes = {key: info.shape for key, info in source.tensors(folder + WEIGHTS).items()}
    if "W_enc" not in shapes and OPENMOSS & set(shapes):
        raise SuiteError(
            f"{where} is of OpenMOSS's Language-Model-SAEs, which use SAELens's file name: its tensors are "
            f"{', '.join(sorted(shapes)[:4])}. It is not read as SAELens's; name another loader with --loader"
        )
    if not source.has(folder + CONFIG):
        return None
    config = _config(source, folder)
    kind = _kind(config, shapes, options, where)
    d_in, d_sae = _sizes(kind, shapes, config, where)
    factor, notes = _factor(source, folder, config, options)
    hook, model = _hook(config, options, where), model_name(options.model or config.get("model_name"))
    return _Found(folder, kind, hook, d_in, d_sae, model, config, factor, notes + _remarks(config))


def _folder(source: Source) -> str | None:
    """Where the weights are: ``""``, or the only folder below that has them."""
    files = source.files
    if WEIGHTS in files:
        return ""
    below = [name.removesuffix(WEIGHTS) for name in files if name.endswith("/" + WEIGHTS)]
    below = [folder for folder in below if folder + CONFIG in files]
    if len(below) > 1:
        raise SuiteError(
            f"{source.origin!r} holds {len(below)} SAEs of SAELens: give the folder of one, such as "
            + " or ".join(repr(f"{source.origin.rstrip('/')}/{folder.rstrip('/')}") for folder in below[:3])
        )
    return below[0] if below else None


def _config(source: Source, folder: str) -> dict[str, Any]:
    """``cfg.json`` in one form: v6 keeps what concerns the model in ``metadata``, older versions beside the rest."""
    config = source.json(folder + CONFIG)
    metadata = config.get("metadata")
    config |= metadata if isinstance(metadata, dict) else {}
    for key in TEXTS & set(config):
        if not isinstance(config[key], str | bool | None):
            raise SuiteError(f"{CONFIG} in {source.origin!r} has {key} = {config[key]!r}, expected text")
    for old, new in (("hook_point", "hook_name"), ("hook_point_head_index", "hook_head_index")):
        config.setdefault(new, config.get(old))
    if config.get("normalize_activations") in (None, False, True):  # before v4 a yes or no
        config["normalize_activations"] = "expected_average_only_in" if config.get("normalize_activations") else "none"
    activation = config.get("activation_fn") or config.get("activation_fn_str") or "relu"
    config.setdefault("architecture", "standard")
    if activation == "topk":  # before v6 an activation of the standard architecture
        config["architecture"] = "topk"
        arguments = config.get("activation_fn_kwargs")
        config.setdefault("k", arguments.get("k") if isinstance(arguments, dict) else None)
    elif activation != "relu":
        raise SuiteError(f"{CONFIG} in {source.origin!r} has activation_fn {activation!r}, expected 'relu' or 'topk'")
    return config


def _kind(config: Mapping[str, Any], shapes: Mapping[str, Any], options: LoadOptions, where: str) -> str:
    """SAELens's architecture, known to be one that can be used."""
    kind = options.arch or config["architecture"]
    kind = "standard" if kind == "relu" else kind
    hook, out = config.get("hook_name"), config.get("hook_name_out")
    if kind in OURS and ("W_skip" in shapes or (out and out != hook)):
        kind = "transcoder"  # before v6 not told apart from SAEs
    if kind in REFUSED:
        raise SuiteError(f"{where} is a SAELens {kind}, which cannot be scored: {REFUSED[kind]}. Give an SAE")
    if kind not in OURS:
        raise UnknownNameError("SAELens architecture", str(kind), OURS)
    if kind == "topk" and not isinstance(config.get("k"), int):
        raise SuiteError(f"{where} is a top-k SAE, but {CONFIG} has k = {config.get('k')!r}: put its number k there")
    if config["normalize_activations"] not in NORMALISATIONS:
        raise UnknownNameError("normalize_activations", str(config["normalize_activations"]), NORMALISATIONS)
    if config.get("reshape_activations", "none") not in ("none", "hook_z"):  # hook_z: all heads side by side, as here
        raise UnknownNameError("reshape_activations", str(config["reshape_activations"]), ("none", "hook_z"))
    return kind


def _sizes(kind: str, shapes: Mapping[str, tuple[int, ...]], config: Mapping[str, Any], where: str) -> tuple[int, int]:
    """``d_in`` and ``d_sae``, with every tensor known to fit them."""
    names = {name: name for name in ARCHITECTURES[OURS[kind]].axes}
    if "batchtopk" in kind:
        names["threshold"] = "topk_threshold"
    elif "log_threshold" in shapes:
        names["threshold"] = "log_threshold"
    missing = [name for name in names.values() if name not in shapes]
    if missing:
        raise SuiteError(
            f"{where} lacks {', '.join(missing)}, which a {kind} SAE has; it holds {', '.join(sorted(shapes)[:8])}. "
            "Fetch it again, or name its architecture with --arch"
        )
    if len(shapes["W_dec"]) != 2:
        raise SuiteError(f"{where}: W_dec has the shape {list(shapes['W_dec'])}, expected [d_sae, d_in]")
    d_sae, d_in = shapes["W_dec"]
    for ours, shape in ARCHITECTURES[OURS[kind]].shapes(d_in, d_sae).items():
        name = names[ours]
        expected = () if name == "topk_threshold" else shape
        if shapes[name] != expected:
            raise SuiteError(
                f"{where}: {name} has the shape {list(shapes[name])}, expected {list(expected)} beside W_dec "
                f"[d_sae, d_in] = {[d_sae, d_in]}: the files do not belong together, or the SAE is of another kind"
            )
    for name, size in (("d_in", d_in), ("d_sae", d_sae)):
        if config.get(name, size) != size:
            raise SuiteError(f"{where}: {CONFIG} has {name} = {config[name]}, but its tensors have {size}: wrong files")
    return d_in, d_sae


def _hook(config: Mapping[str, Any], options: LoadOptions, where: str) -> HookPoint | None:
    name, head = config.get("hook_name"), config.get("hook_head_index")
    if options.hook is not None or name is None:
        return options.hook
    try:
        hook = HookPoint.parse(str(name))
        return hook if head is None else replace(hook, head=int(head))
    except (InputError, TypeError, ValueError) as error:
        raise SuiteError(
            f"{where} reads at {name!r}{'' if head is None else f', head {head}'}, where there are no sites; give the "
            f"hook point that holds the same activation, if there is one, with --hook ({error})"
        ) from error


def _factor(
    source: Source, folder: str, config: Mapping[str, Any], options: LoadOptions
) -> tuple[float, tuple[str, ...]]:
    """The factor on the inputs that is not in the weights yet, and what to say of it."""
    given = options.settings.get("norm-factor")
    if config["normalize_activations"] != "expected_average_only_in":
        if given is not None:
            raise SuiteError(
                f"norm-factor is given, but {source.origin!r} has normalize_activations "
                f"{config['normalize_activations']!r}, folded in or never used: leave it out, or use --scale"
            )
        return 1.0, ()
    note = UNFOLDED
    if given is None and source.has(folder + SCALER):
        given, note = source.json(folder + SCALER).get("scaling_factor"), f"the factor on inputs is from {SCALER}"
    if given is None:
        return 1.0, (UNFOLDED,)
    try:
        factor = float(given)
    except (TypeError, ValueError, OverflowError):
        factor = float("nan")
    if not 0 < factor < float("inf"):
        raise SuiteError(f"the norm factor is {given!r}, expected a positive number such as --set norm-factor=1.37")
    return factor, () if note is UNFOLDED else (note,)


def _remarks(config: Mapping[str, Any]) -> tuple[str, ...]:
    notes = []
    if config.get("prepend_bos") is False:
        notes.append("trained without BOS; the prompts here begin with it")
    processing = config.get("model_from_pretrained_kwargs")
    if processing:
        notes.append(f"trained on a model loaded with {processing}; preflight says whether it fits the model here")
    if "batchtopk" in str(config["architecture"]):
        notes.append("a checkpoint from within training; its running threshold is taken for all features")
    return tuple(notes)


def _folded(source: Source, found: _Found) -> dict[str, Tensor]:
    """Weights of a built-in architecture that does the same, in the order in which SAELens folds."""
    w, config = {n: tensor.float() for n, tensor in source.safetensors(found.folder + WEIGHTS).items()}, found.config
    if "topk_threshold" in w:
        w["threshold"] = w["topk_threshold"].expand(found.d_sae)
    elif "log_threshold" in w:
        w["threshold"] = w["log_threshold"].exp()
    if "threshold" in w:
        w["threshold"] = w["threshold"].clamp(min=0)  # below 0 the ReLU decides
    w["W_enc"], w["W_dec"], w["b_dec"] = w["W_enc"] * found.factor, w["W_dec"] / found.factor, w["b_dec"] / found.factor
    if not config.get("apply_b_dec_to_input", True):
        for name in {"b_enc", "b_gate", "b_mag"} & set(w):
            read_by = w["W_enc"] * w["r_mag"].exp() if name == "b_mag" else w["W_enc"]
            w[name] = unsubtracted(w[name], read_by, w["b_dec"])
    if "topk" in found.kind and config.get("rescale_acts_by_decoder_norm", False):
        norms = w["W_dec"].norm(dim=1).clamp(min=1e-8)
        w["W_enc"], w["b_enc"], w["W_dec"] = w["W_enc"] * norms, w["b_enc"] * norms, w["W_dec"] / norms[:, None]
    factors = w.get("finetuning_scaling_factor", w.get("scaling_factor"))
    if factors is not None and not torch.allclose(factors, torch.ones_like(factors)):
        if not config.get("finetuning_scaling_factor", False) or tuple(factors.shape) != (found.d_sae,):
            raise SuiteError(
                f"{source.origin!r} holds scaling factors of the shape {list(factors.shape)}, and {CONFIG} has "
                f"finetuning_scaling_factor {config.get('finetuning_scaling_factor')}, expected true and [d_sae]: set "
                "it if decoding multiplies features by them, or remove the tensor"
            )
        w["W_dec"] = w["W_dec"] * factors[:, None]
    if found.normalisation == "covariance_whitening":
        _fold_whitening(source, found, w)
    return w


def _fold_whitening(source: Source, found: _Found, w: dict[str, Tensor]) -> None:
    """``z = (x − mean) matrix`` and back; the encoder subtracts ``b_dec`` by now, and the mean with it."""
    if not source.has(found.folder + WHITENING):
        raise SuiteError(
            f"{source.origin!r} was trained on whitened inputs and lacks {WHITENING}: give the checkpoint folder that "
            "holds it, or the final SAE, in which it is folded"
        )
    whitening = {name: tensor.float() for name, tensor in source.safetensors(found.folder + WHITENING).items()}
    square = (found.d_in, found.d_in)
    for name, shape in (("mean", square[:1]), ("matrix", square), ("inverse_matrix", square)):
        if name not in whitening or tuple(whitening[name].shape) != shape:
            raise SuiteError(f"{WHITENING} in {source.origin!r} has no {name} of the shape {list(shape)}")
    w["W_enc"] = whitening["matrix"] @ w["W_enc"]
    w["W_dec"] = w["W_dec"] @ whitening["inverse_matrix"]
    w["b_dec"] = w["b_dec"] @ whitening["inverse_matrix"] + whitening["mean"]


@hookimpl
def ioi_bench_loaders() -> list[Loader]:
    """The loader ``saelens``."""
    keys = {"norm-factor": "factor on the inputs, for normalize_activations expected_average_only_in"}
    return [Loader("saelens", f"SAELens: a folder with {CONFIG} and {WEIGHTS}", recognise, load, keys)]
