"""Where a model's files are, and whether they can be what they claim to be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ioi_bench.bounded import bounded_bytes, json_value, stays_inside
from ioi_bench.errors import InputError, ModelUnavailableError, UnknownNameError
from ioi_bench.lm.forward import ACTIVATIONS

__all__ = ["MINI_DIRECTORY", "load_tokenizer", "load_weights", "locate", "quiet", "read_config"]

MINI_DIRECTORY = Path(__file__).parent / "mini" / "weights"
"""Where ioi-mini's weights are shipped."""

_HUB_NAMES = {"gpt2": "openai-community/gpt2"}
_FILES = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"]
_HUB_TIMEOUT = 10.0
_MAX_CONFIG_BYTES = 1 << 20
_MAX_TOKENIZER_BYTES = 256 << 20
_LARGEST_SIZE = 10**7  # of vocabularies, widths and labels


def locate(given: str) -> tuple[str, Path]:
    """The model's name and the directory that holds it."""
    if given == "ioi-mini":
        return given, MINI_DIRECTORY
    if given in _HUB_NAMES:
        return given, _from_hub(given, _HUB_NAMES[given])
    path = Path(given).expanduser()
    if path.is_dir():
        return path.resolve().name, path
    if path.exists():
        raise InputError(f"{given!r} is a file: give the directory that holds config.json and model.safetensors")
    if path.name != given:  # it was meant as a path
        raise InputError(f"the model directory {given!r} does not exist")
    raise UnknownNameError("model", given, ["ioi-mini", *_HUB_NAMES])


def _from_hub(name: str, repository: str) -> Path:
    """The cached snapshot where it is whole, else a download."""
    from huggingface_hub import snapshot_download

    for candidate in (repository, name):  # older caches hold it under the short name
        try:
            found = Path(snapshot_download(candidate, allow_patterns=_FILES, local_files_only=True))
        except OSError:
            continue
        if (found / "config.json").is_file() and (found / "model.safetensors").is_file():
            return found
    try:
        return Path(snapshot_download(repository, allow_patterns=_FILES, etag_timeout=_HUB_TIMEOUT))
    except Exception as error:  # the Hub's client raises its own, requests' and httpx's errors, by version
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelUnavailableError(
            f"{name} is not in the local cache and the Hub cannot be reached: {reason}. Connect once, point HF_HOME "
            f"at a cache that holds {repository}, or give a local directory with config.json, model.safetensors and "
            "the tokenizer's files"
        ) from error


def read_config(directory: Path) -> dict[str, Any]:
    """``config.json``, if it describes a GPT-2 that our forward pass computes."""
    path = directory / "config.json"
    if not path.is_file():
        content = "is empty" if not directory.exists() or not any(directory.iterdir()) else "has no config.json"
        raise InputError(
            f"{directory} {content}: a Hugging Face model directory holds config.json, model.safetensors and the "
            "tokenizer's files"
        )
    _require_inside(directory)
    try:
        config = json_value(bounded_bytes(path, _MAX_CONFIG_BYTES))
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from error
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind != "gpt2":
        raise InputError(f"{directory} holds a model of type {kind!r}; only GPT-2's architecture is supported")
    for option, usual in (("scale_attn_weights", True), ("scale_attn_by_inverse_layer_idx", False)):
        if config.get(option, usual) != usual:
            raise InputError(f"{path} sets {option} = {config[option]}, which is not supported: expected {usual}")
    _check_sizes(directory, config)
    activation = config.setdefault("activation_function", "gelu_new")
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise UnknownNameError("activation function", str(activation), ACTIVATIONS)
    return config


def _check_sizes(directory: Path, config: dict[str, Any]) -> None:
    """The model is made before its weights are read, at the sizes that config.json gives."""
    for name, value in config.items():
        if isinstance(value, int) and abs(value) > _LARGEST_SIZE:
            raise InputError(f"{directory / 'config.json'} has {name} beyond {_LARGEST_SIZE:,}, as no GPT-2 has")
    usual = {"n_layer": 12, "n_embd": 768, "n_head": 12, "n_positions": 1024, "vocab_size": 50257}
    sizes = {name: config.get(name, size) for name, size in usual.items()}
    inner = config.get("n_inner")
    sizes["n_inner"] = 4 * sizes["n_embd"] if inner is None and isinstance(sizes["n_embd"], int) else inner
    for name, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise InputError(f"{directory / 'config.json'} has {name} = {size!r}, expected a positive whole number")
    if sizes["n_embd"] % sizes["n_head"]:
        raise InputError(f"{directory / 'config.json'} has n_embd {sizes['n_embd']} for {sizes['n_head']} heads")
    numbers = sizes["n_embd"] * (sizes["vocab_size"] + sizes["n_positions"])
    numbers += sizes["n_layer"] * sizes["n_embd"] * (4 * sizes["n_embd"] + 2 * sizes["n_inner"])
    path = directory / "model.safetensors"
    if path.is_file() and numbers > 2 * path.stat().st_size + _LARGEST_SIZE:
        raise InputError(
            f"{directory / 'config.json'} is of a model of {numbers:,} numbers, and {path.name} has "
            f"{path.stat().st_size:,} bytes: the files do not belong together"
        )


def _require_inside(directory: Path) -> None:
    """What transformers reads is there, and is no link to somebody else's file."""
    for path in directory.iterdir():
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise InputError(f"{path} is not a regular file: remove it")
        if not stays_inside(path, directory):
            raise InputError(f"{path} is a link that leaves {directory}: put the file itself there")
        if path.suffix in (".json", ".txt") and (size := path.stat().st_size) > _MAX_TOKENIZER_BYTES:
            raise InputError(f"{path} has {size:,} bytes; at most {_MAX_TOKENIZER_BYTES:,} are read")


def _check_weight_file(directory: Path) -> None:
    """The weights must be one whole safetensors file: nothing from outside is unpickled."""
    from safetensors import SafetensorError, safe_open

    path = directory / "model.safetensors"
    if not path.is_file():
        raise InputError(
            f"{directory} has no model.safetensors: save the model with save_pretrained (pickled weights, "
            "pytorch_model.bin, are not read)"
        )
    try:
        with safe_open(path, framework="pt") as file:
            file.keys()
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is damaged or not a safetensors file ({error}): fetch it again") from error


def load_weights(directory: Path) -> Any:
    """The Hugging Face model, in float32 and complete."""
    _check_weight_file(directory)
    from transformers import GPT2LMHeadModel

    try:
        hf_model, info = GPT2LMHeadModel.from_pretrained(
            directory,
            dtype=torch.float32,
            attn_implementation="eager",
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except Exception as error:  # transformers has errors of its own for each kind of wrong value
        raise InputError(f"the weights in {directory} do not fit its config.json: {str(error)[:500]}") from error
    missing = sorted(info["missing_keys"])
    if missing:
        raise InputError(f"{directory / 'model.safetensors'} lacks {len(missing)} tensors, such as {missing[0]!r}")
    for name, value in hf_model.state_dict().items():
        if not value.isfinite().all():
            raise InputError(f"the weights in {directory} have NaN or Inf in {name!r}: the file is damaged")
    return hf_model


def load_tokenizer(directory: Path) -> Any:
    """The fast tokenizer that lies beside the weights."""
    from transformers import AutoTokenizer

    if not (directory / "tokenizer.json").is_file():  # transformers would quietly make up an empty one
        raise InputError(f"{directory} has no tokenizer.json: save the tokenizer beside the model (save_pretrained)")
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            directory, use_fast=True, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # tokenizers, which is Rust, raises Exception itself for damage
        reason = str(error)[:500]
        raise InputError(f"{directory} holds no readable tokenizer (tokenizer.json): {reason}") from error
    if not tokenizer.is_fast:
        raise InputError(f"the tokenizer in {directory} gives no character offsets: a fast one is needed")
    return tokenizer


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars or load reports on stderr; the libraries' settings are restored."""
    from transformers.utils import logging as hf_logging

    bars, verbosity = hf_logging.is_progress_bar_enabled(), hf_logging.get_verbosity()
    hf_logging.disable_progress_bar()
    hf_logging.set_verbosity_error()
    try:
        yield
    finally:
        hf_logging.set_verbosity(verbosity)
        if bars:
            hf_logging.enable_progress_bar()
