"""The attention output SAEs of Kissane et al. 2024 (arXiv 2406.17759): pairs of ``NAME.pt`` and ``NAME_cfg.json``.

Vanilla SAEs of ``hook_z`` over all heads, concatenated head by head (``concat_heads`` in their code,
github.com/ckkissane/attention-output-saes, ``common/torch_modules/autoencoder.py``)::

    f = ReLU((z − b_dec) W_enc + b_enc)
    ẑ = f W_dec + b_dec

They were trained on TransformerLens's default GPT-2 small, whose weights are processed as ioi-bench's ``gpt2`` has them
(folded layer norm and value biases): ``z`` is the same there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ioi_bench.dictionaries.architectures import Relu
from ioi_bench.dictionaries.reading import building, by_hook, model_name, needed, pick, suite_name
from ioi_bench.dictionaries.source import Source
from ioi_bench.dictionaries.suite import Suite
from ioi_bench.errors import InputError, SuiteError
from ioi_bench.plugins import Loader, LoadOptions, Recognised, hookimpl
from ioi_bench.sites import HEAD_COMPONENTS, HookPoint

__all__ = ["ioi_bench_loaders", "load", "recognise"]

PARAMETERS = ("W_enc", "b_enc", "W_dec", "b_dec")
KEYS = {"act_name", "act_size", "dict_size"}
"""What their configuration has and nobody else's."""


def _configs(source: Source) -> dict[str, Mapping[str, Any]]:
    """The configurations of all pairs, by the name of the ``.pt`` file."""
    names = set(source.files)
    pairs = {f"{name.removesuffix('_cfg.json')}.pt": name for name in names if name.endswith("_cfg.json")}
    configs = {weights: source.json(config) for weights, config in sorted(pairs.items()) if weights in names}
    return {weights: config for weights, config in configs.items() if config.keys() >= KEYS}


def _hook(config: Mapping[str, Any], where: str) -> HookPoint | None:
    """The hook point; None for an SAE of single heads that does not say which.

    Raises:
        SuiteError: it names a hook that the benchmark has not.
    """
    try:
        hook = HookPoint.parse(str(config["act_name"]))
    except InputError as error:
        raise SuiteError(f"{where} was trained at {config['act_name']!r}, which has no site here: {error}") from error
    if hook.component not in HEAD_COMPONENTS or config.get("concat_heads", True):
        return hook
    head = config.get("head")
    return HookPoint(hook.component, hook.layer, head) if isinstance(head, int) else None


def _by_hook(
    source: Source, configs: Mapping[str, Mapping[str, Any]], options: LoadOptions
) -> dict[HookPoint | None, str]:
    hooks = {name: _hook(config, f"{name!r} in {source.origin!r}") for name, config in configs.items()}
    return by_hook(source, hooks, options.hook)


def recognise(source: Source, options: LoadOptions) -> Recognised | None:
    """Tell the pairs by the keys of their configuration."""
    configs = _configs(source)
    if not configs:
        return None
    found = _by_hook(source, configs, options)
    config = configs[next(iter(found.values()))]
    sizes = config["act_size"], config["dict_size"]
    if not all(isinstance(size, int) for size in sizes):
        raise SuiteError(f"{source.origin!r} gives act_size and dict_size as {sizes}, expected whole numbers")
    hooks = tuple(hook for hook in found if hook is not None)
    return Recognised("relu", hooks, *sizes, model=_model(config))


def _model(config: Mapping[str, Any]) -> str | None:
    model = config.get("model_name")
    return model_name(model) if isinstance(model, str) else None


def load(source: Source, options: LoadOptions) -> Suite:
    """One dictionary a pair of files, each at all roles of its hook point.

    Raises:
        SuiteError: damaged, not of this layout, or two SAEs at one hook point.
    """
    configs = _configs(source)
    if not configs:
        raise SuiteError(f"{source.origin!r} has no pair NAME.pt and NAME_cfg.json with {', '.join(sorted(KEYS))}")
    dictionaries = {}
    for known, name in _by_hook(source, configs, options).items():
        hook = needed(known, "which head it reads", source, "add --hook, such as z.5.1")
        where = f"{name!r} in {source.origin!r}"
        with building(where):
            dictionaries[hook] = Relu(**pick(source.pt(name), PARAMETERS, where))
    said = _model(next(iter(configs.values())))
    model = needed(options.model or said, "its model", source, "add --model gpt2, or --model ioi-mini")
    metadata = {"format": "attention-saes", "architecture": "relu"}
    return Suite.at_hooks(suite_name(source), model, dictionaries, metadata)


@hookimpl
def ioi_bench_loaders() -> list[Loader]:
    """The loader ``attention-saes``."""
    return [Loader("attention-saes", "Kissane et al.'s SAEs of hook_z: NAME.pt with NAME_cfg.json", recognise, load)]
