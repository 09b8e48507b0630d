"""What is fuzzed: readers of what others wrote, each with valid inputs and the loosest result that is still sound."""

from __future__ import annotations

import functools
import importlib
import io
import itertools
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import safetensors.torch
import torch
from hostile_files import Files

from ioi_bench.dictionaries.architectures import Gated, JumpRelu, Relu, TopK
from ioi_bench.dictionaries.source import Source
from ioi_bench.dictionaries.suite import Suite, save_suite
from ioi_bench.plugins.records import LoadOptions
from ioi_bench.sites import HookPoint, Site

D_IN, D_SAE = 8, 32
ROOT = Path(__file__).parents[2]
HOOK = LoadOptions(hook=HookPoint.parse("resid_pre.3"), model="gpt2")


@dataclass(frozen=True)
class Target:
    """A reader.

    Attributes:
        name: of the target.
        seeds: makes valid inputs; a list of files by name.
        read: the reader; it raises one of our errors, or what it gives is sound.
        share: of a campaign's inputs that this target has, against others.
        only: the end of the names that are mutated; by default all files are.
        writes: whether the reader may write into its folder: a cache is made whole again.
        named: whether the file is one that the user names, so that links are followed, to regular files.
    """

    name: str
    seeds: Callable[[], Sequence[Files]]
    read: Callable[[Path], object]
    share: float = 1.0
    only: str = ""
    writes: bool = False
    named: bool = False


# -- dictionaries ------------------------------------------------------------------------------------------------------


def _weights(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


VANILLA = {"W_enc": (D_IN, D_SAE), "W_dec": (D_SAE, D_IN), "b_enc": (D_SAE,), "b_dec": (D_IN,)}


def _vanilla(**more: torch.Tensor) -> dict[str, torch.Tensor]:
    return {name: _weights(*shape) for name, shape in VANILLA.items()} | more


def _linear(**names: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"encoder.weight": _weights(D_SAE, D_IN), "decoder.weight": _weights(D_IN, D_SAE), **names}


def _tensors(tensors: dict[str, torch.Tensor]) -> bytes:
    return safetensors.torch.save(tensors)


def _torch(value: Any, *, new: bool = True) -> bytes:
    out = io.BytesIO()
    torch.save(value, out, _use_new_zipfile_serialization=new)
    return out.getvalue()


def _text(**values: Any) -> bytes:
    return json.dumps(values).encode()


def _suite() -> Suite:
    common = {name: _weights(*VANILLA[name]) for name in ("W_enc", "W_dec", "b_dec")}
    hidden = _weights(D_SAE)
    dictionaries = {
        "z.3.0@end": Relu(**common, b_enc=hidden),
        "z.3.1@end": TopK(**common, b_enc=hidden, k=3),
        "v.1.0@s2": Gated(**common, r_mag=hidden, b_gate=hidden, b_mag=hidden),
        "q.2.1@end": JumpRelu(**common, b_enc=hidden, threshold=hidden.abs()),
    }
    placed = {Site.parse(text): dictionary for text, dictionary in dictionaries.items()}
    return Suite("fuzzed", "ioi-mini", placed, "a" * 64, {"variant": "mixed", "selection": {"chosen": {}}})


def _native(suffix: str) -> Callable[[], list[Files]]:
    def seeds() -> list[Files]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"suite{suffix}"
            save_suite(_suite(), path)
            return [_read(path if path.is_dir() else path.parent)]

    return seeds


def _read(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def _saelens() -> list[Files]:
    old = {"hook_point": "blocks.3.hook_resid_pre", "d_in": D_IN, "d_sae": D_SAE, "activation_fn_str": "relu"}
    new = {"architecture": "topk", "k": 4, "metadata": {"hook_name": "blocks.3.attn.hook_z", "hook_head_index": 1}}
    gated = {"r_mag": _weights(D_SAE), "b_gate": _weights(D_SAE), "b_mag": _weights(D_SAE)}
    jump = {"architecture": "jumprelu", "hook_name": "blocks.3.hook_mlp_out", "normalize_activations": "layer_norm"}
    expected = {"normalize_activations": "expected_average_only_in", "model_name": "gpt2-small"}
    white = {"mean": _weights(D_IN), "matrix": torch.eye(D_IN), "inverse_matrix": torch.eye(D_IN)}
    plain = _vanilla()
    del plain["b_enc"]
    weights = "sae_weights.safetensors"
    return [
        {
            "cfg.json": _text(**old, **expected),
            weights: _tensors(_vanilla()),
            "activation_scaler.json": b'{"scaling_factor": 1.5}',
        },
        {"cfg.json": _text(**new, normalize_activations="none"), weights: _tensors(_vanilla())},
        {"cfg.json": _text(**old, architecture="gated"), weights: _tensors(plain | gated)},
        {"cfg.json": _text(**jump), weights: _tensors(_vanilla(threshold=_weights(D_SAE).abs()))},
        {
            "cfg.json": _text(**{**old, "normalize_activations": "covariance_whitening"}),
            weights: _tensors(_vanilla()),
            "activation_whitening.safetensors": _tensors(white),
        },
    ]


def _dictionary_learning() -> list[Files]:
    trainer = {"submodule_name": "resid_post_layer_3", "lm_name": "openai-community/gpt2"}
    relu = _linear(**{"encoder.bias": _weights(D_SAE), "bias": _weights(D_IN)})
    topk = _linear(**{"encoder.bias": _weights(D_SAE), "b_dec": _weights(D_IN), "k": torch.tensor(4)})
    batch = topk | {"threshold": torch.tensor(0.5)}
    gate = {"r_mag": _weights(D_SAE), "gate_bias": _weights(D_SAE), "mag_bias": _weights(D_SAE)}
    gated = _linear(**gate, decoder_bias=_weights(D_IN))
    kinds = {"AutoEncoder": relu, "AutoEncoderTopK": topk, "BatchTopKSAE": batch, "GatedAutoEncoder": gated}
    return [
        {"ae.pt": _torch(held), "config.json": _text(trainer={"dict_class": kind, **trainer}, buffer={"io": "out"})}
        for kind, held in kinds.items()
    ] + [{"ae.pt": _torch(relu)}, {"ae.pt": _torch(relu, new=False)}]


def _sparsify() -> list[Files]:
    others = {"encoder.bias": _weights(D_SAE), "W_dec": _weights(D_SAE, D_IN), "b_dec": _weights(D_IN)}
    held = _tensors({"encoder.weight": _weights(D_SAE, D_IN), **others})
    config = {"k": 4, "d_in": D_IN, "expansion_factor": 4, "normalize_decoder": True, "num_latents": 0}
    return [
        {"layers.3/sae.safetensors": held, "layers.3/cfg.json": _text(**config)},
        {"h.3.mlp/sae.safetensors": held, "h.3.mlp/cfg.json": _text(**config, activation="groupmax")},
        {"sae.safetensors": held, "cfg.json": _text(**config)},
    ]


def _openai() -> list[Files]:
    held = _linear(pre_bias=_weights(D_IN), latent_bias=_weights(D_SAE))
    topk = {"activation": "TopK", "activation_state_dict": {"k": 3, "postact_fn": "ReLU"}}
    return [{"8.pt": _torch(held | topk)}, {"8.pt": _torch(held | {"activation": "ReLU"})}, {"8.pt": _torch(held)}]


def _gemma_scope() -> list[Files]:
    arrays = {name: tensor.numpy() for name, tensor in _vanilla(threshold=_weights(D_SAE).abs()).items()}
    plain, packed = io.BytesIO(), io.BytesIO()
    np.savez(plain, **arrays)
    np.savez_compressed(packed, **arrays)
    return [{"params.npz": plain.getvalue()}, {"layer_3/width_16k/average_l0_9/params.npz": packed.getvalue()}]


def _attention_saes() -> list[Files]:
    config = {"act_name": "blocks.3.attn.hook_z", "act_size": D_IN, "dict_size": D_SAE, "layer": 3, "seed": 49}
    return [{"z.3.pt": _torch(_vanilla()), "z.3_cfg.json": _text(**config)}]


def _makelov() -> list[Files]:
    topk = {"W_enc": _weights(D_IN, D_SAE), "W_dec": _weights(D_SAE, D_IN), "b_pre": _weights(D_IN)}
    return [{"z@L9H9@end.pt": _torch(_vanilla())}, {"z.3.1.pt": _torch(topk)}]


def _plain() -> list[Files]:
    biases = {"encoder.bias": _weights(D_SAE), "decoder.bias": _weights(D_IN)}
    return [
        {"sae.safetensors": _tensors(_vanilla())},
        {"sae.safetensors": _tensors(_linear(**biases))},
        {"sae.safetensors": _tensors(_vanilla(k=torch.tensor(3)))},
        {"sae.safetensors": _tensors(_vanilla(threshold=_weights(D_SAE).abs()))},
    ]


LOADERS: dict[str, Callable[[], list[Files]]] = {
    "saelens": _saelens,
    "dictionary-learning": _dictionary_learning,
    "sparsify": _sparsify,
    "openai": _openai,
    "gemma-scope": _gemma_scope,
    "attention-saes": _attention_saes,
    "makelov": _makelov,
    "plain": _plain,
}
SETTINGS = {"makelov": {"k": "3"}}


def _sound(suite: object) -> None:
    """What a loader gives can be named, hashed and used."""
    assert isinstance(suite, Suite), f"a loader gave {type(suite).__name__}"
    assert len(suite.sha256) == 64
    for dictionary in {id(one): one for one in suite.dictionaries.values()}.values():
        if dictionary.d_in <= 4096 and dictionary.d_sae <= 65536:
            f = dictionary.encode(_weights(2, dictionary.d_in))
            assert f.shape == (2, dictionary.d_sae), f"codes of the shape {list(f.shape)}"
            assert dictionary.decode(f).shape == (2, dictionary.d_in)


def _opened(folder: Path) -> Source:
    """The folder; or its only file, as `ioi-bench evaluate FILE` gives it."""
    names = list(folder.iterdir())
    path = names[0] if len(names) == 1 and names[0].is_file() and not names[0].is_symlink() else folder
    return Source(path, str(path))


def _by_loader(name: str) -> Callable[[Path], object]:
    """Without the guard around plugins, so that their own mistakes are seen."""

    def read(folder: Path) -> None:
        (loader,) = importlib.import_module(f"ioi_bench_{name.replace('-', '_')}").ioi_bench_loaders()
        source = _opened(folder)
        settings = SETTINGS.get(name, {})
        for options in (LoadOptions(model="gpt2", settings=settings), replace(HOOK, settings=settings)):
            recognised = loader.recognise(source, options)
            if recognised is None:
                continue
            if recognised.hooks or options.hook is not None:
                _sound(loader.load(source, options))

    return read


def _native_read(folder: Path) -> None:
    from ioi_bench.dictionaries.suite import load_suite, read_header

    given = _opened(folder).path
    read_header(given)
    _sound(load_suite(given))


@functools.cache
def _plugins() -> Any:
    from ioi_bench.plugins.manager import Plugins

    return Plugins.load([str(path) for path in sorted(ROOT.glob("plugins/*/ioi_bench_*.py"))], packages=False)


def _any_loader(folder: Path) -> None:
    """As `ioi-bench evaluate` does it: every loader is asked, the one that knows it reads."""
    from ioi_bench.plugins.loading import load_source

    _sound(load_source(_opened(folder), HOOK, plugins=_plugins()).suite)


def _all_formats() -> list[Files]:
    found = [*_native("")(), *_native(".safetensors")(), *(files for seeds in LOADERS.values() for files in seeds())]
    return [files for files in found if "z.3.1.pt" not in files]  # which needs --set k


# -- cards, prompts, submissions ---------------------------------------------------------------------------------------


@functools.cache
def small_result() -> SimpleNamespace:
    """A shipped suite on ten prompts: its folder, its card, and what is needed to read its prompts."""
    from ioi_bench.evaluation.card import Card
    from ioi_bench.evaluation.evaluate import evaluate
    from ioi_bench.evaluation.recompute import layout_of, scope_of
    from ioi_bench.lm.circuit import load_circuit
    from ioi_bench.task import task_spec

    folder = Path(tempfile.mkdtemp(prefix="hostile-"))
    suite = ROOT / "reference_saes" / "ioi-mini" / "topk-k3-s0"
    asked = {"prompts": 10, "train_prompts": 200, "budgets": (1, 2, 4), "methods": ("exchange",)}
    evaluate(suite, cells=("io@nm-out", "pos@si-out"), preflight=False, out=folder, **asked)
    card, files = Card.read(folder), _read(folder)
    split = task_spec(card.made.spec).split("test").head(card.made.n_prompts)
    layout = layout_of(card, scope_of(card, load_circuit("ioi-mini"), split))
    shutil.rmtree(folder)
    return SimpleNamespace(card=card, files=files, layout=layout, prompts=split.prompts)


def _card() -> list[Files]:
    return [{"card.json": small_result().files["card.json"]}]


def _card_read(folder: Path) -> None:
    from ioi_bench.evaluation.card import Card

    card = Card.read(folder)
    assert Card.model_validate_json(card.model_dump_json()) == card
    card.to_frame()


def _prompts() -> list[Files]:
    return [{"prompts.parquet": small_result().files["prompts.parquet"]}]


def _prompts_read(folder: Path) -> None:
    from ioi_bench.evaluation.prompts_reading import read_prompts

    found = small_result()
    read_prompts(folder / "prompts.parquet", found.layout, found.prompts)


@functools.cache
def _submission() -> list[Files]:
    import hashlib

    import tomli_w

    from ioi_bench.leaderboard.records import Submission

    result = small_result()
    said = {"name": "my-lab/topk", "authors": ("Ada",), "training_data": "train", "licence": "Apache-2.0"}
    sha256 = result.card.made.suite_sha256
    submission = Submission(suite="hf://a/b@c/d", suite_sha256=sha256, url="https://example.org/x", **said)
    files = {
        "card.json": result.files["card.json"],
        "prompts.parquet": result.files["prompts.parquet"],
        "submission.toml": tomli_w.dumps(submission.model_dump(mode="json", exclude_none=True)).encode(),
    }
    hashes = {f"{name.partition('.')[0]}_sha256": hashlib.sha256(data).hexdigest() for name, data in files.items()}
    check = {"name": "figures", "passed": True, "detail": "equal", "worst": 0.0, "tolerance": 1e-6}
    verdict = {"badge": "reproduced", "suite": "hf://a/b@c/d", "checks": [check], "date": "2026-11-25"}
    files["verdict.json"] = _text(schema_version=1, versions={"torch": "2"}, **verdict, **hashes)
    place = f"results/{result.card.track}/{submission.folder}"
    return [{f"{place}/{name}": data for name, data in files.items()}]


def _submission_read(folder: Path) -> None:
    from ioi_bench.leaderboard.results import find_entries, read_entry
    from ioi_bench.leaderboard.submit import read_declaration

    for place in find_entries(folder):
        read_entry(place)
        read_declaration(place / "submission.toml")  # which a user names, so that it follows links


def _verdict_read(folder: Path) -> None:
    from ioi_bench.leaderboard.results import find_entries, read_entry

    for place in find_entries(folder):
        read_entry(place)


# -- manifests, TOML ---------------------------------------------------------------------------------------------------


def _manifest() -> list[Files]:
    folder = ROOT / "reference_saes"
    data = json.loads((folder / "manifest.json").read_bytes())
    name, suite = next(iter(data["suites"].items()))
    files = {f"{suite['path']}/{one}": (folder / suite["path"] / one).read_bytes() for one in suite["files"]}
    return [{"manifest.json": json.dumps({**data, "suites": {name: suite}}).encode(), **files}]


def _manifest_read(folder: Path) -> None:
    from ioi_bench.reference.copies import find_copies
    from ioi_bench.reference.files import differing, read_checked

    for copy in find_copies([], manifest=folder / "manifest.json"):
        differing(copy.folder, copy.suite)
        read_checked(copy.folder, copy.suite)


def _toml_files(*places: str) -> Callable[[], list[Files]]:
    def seeds() -> list[Files]:
        return [{f"x{p.suffix}": p.read_bytes()} for place in places for p in sorted(ROOT.glob(place))]

    return seeds


def _recipe_read(folder: Path) -> None:
    from ioi_bench.training.recipe import read_recipe

    found = read_recipe(folder / "x.toml")
    assert found.kept[-1] == found.epochs
    assert len(found.sha256) == 64


def _circuit_read(folder: Path) -> None:
    from ioi_bench.lm.circuit import load_circuit

    found = load_circuit(folder / "x.toml")
    assert len(found.sha256) == 64


def _allowed() -> list[Files]:
    return [{"plugins.toml": (ROOT / "leaderboard" / "plugins.toml").read_bytes()}]


def _allowed_read(folder: Path) -> None:
    from ioi_bench.leaderboard.allowed import read_allowed

    read_allowed(folder)


CANDIDATES_KEY = "0123456789abcdef" * 4


@functools.cache
def _candidates() -> list[Files]:
    from ioi_bench.evaluation.candidate_rows import Finished

    g = torch.Generator().manual_seed(0)
    judged = {"prompts": 60, "train_prompts": 300, "budget": 2, "method": "exchange", "sha256": "0" * 64, "problem": ""}
    with tempfile.TemporaryDirectory() as folder:
        finished = Finished(Path(folder), CANDIDATES_KEY)
        for seed, site, epoch in itertools.product(range(3), ("z.4.0@end", "v.1.3@s2"), (1, 4)):
            own = {"variant": "topk", "sparsity": 3.0, "seed": seed, "site": site, "epoch": epoch, "ld_reliable": True}
            for attribute in ("io", "pos"):
                measured = ("l0", "dead_share", "l2", "fvu", "ld_recovered", "distance", "distance_relative")
                values = dict(zip(measured, torch.rand(7, generator=g).tolist(), strict=True))
                finished.add([{**own, **judged, **values, "attribute": attribute}])
        finished.save()
        return [_read(Path(folder))]


@functools.cache
def _true_candidates() -> dict[Any, Any]:
    from ioi_bench.evaluation.candidate_rows import Finished

    with tempfile.TemporaryDirectory() as folder:
        for name, data in _candidates()[0].items():
            (Path(folder) / name).write_bytes(data)
        return dict(Finished(Path(folder), CANDIDATES_KEY).rows)


def _candidates_read(folder: Path) -> None:
    """A row that is taken up is one that was written."""
    from ioi_bench.evaluation.candidate_rows import Finished

    found, true = Finished(folder, CANDIDATES_KEY).rows, _true_candidates()
    assert len(true) == 12
    assert found in ({}, true), "damaged rows were believed"


# -- models, caches, training runs -------------------------------------------------------------------------------------


@functools.cache
def _mini() -> Any:
    from ioi_bench.lm import load_model

    return load_model("ioi-mini")


def _model() -> list[Files]:
    from transformers import GPT2Config, GPT2LMHeadModel

    shipped = _read(ROOT / "ioi_bench" / "lm" / "mini" / "weights")
    kept = {name: data for name, data in shipped.items() if "token" in name}
    sizes = json.loads(shipped["config.json"])
    small = {"n_layer": 1, "n_embd": 8, "n_head": 2, "n_inner": 16, "n_positions": 32}
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        model = GPT2LMHeadModel(GPT2Config(**{**sizes, **small}))
        model.save_pretrained(folder)
        saved = _read(Path(folder))
    return [{"config.json": saved["config.json"], "model.safetensors": saved["model.safetensors"], **kept}]


def _model_read(folder: Path) -> None:
    from ioi_bench.lm import load_model

    model = load_model(folder)
    assert model.n_layers > 0


CACHED = tuple(Site.parse(text) for text in ("z.3.0@end", "v.1.0@s2"))


def _captured(cache: Path | None) -> dict[Site, torch.Tensor]:
    from ioi_bench.activations import capture_split
    from ioi_bench.task import task_spec

    spec = task_spec("ioi-v1-mini")
    return capture_split(_mini(), spec, _some_prompts(), CACHED, cache_dir=cache)


@functools.cache
def _some_prompts() -> Any:
    from ioi_bench.task import task_spec

    return task_spec("ioi-v1-mini").split("validation").prompts[:4]


@functools.cache
def _fresh() -> dict[Site, torch.Tensor]:
    return _captured(None)


def _cache() -> list[Files]:
    with tempfile.TemporaryDirectory() as folder:
        _captured(Path(folder))
        return [_read(Path(folder))]


def _cache_read(folder: Path) -> None:
    """Whatever lies in the cache, the activations are those of the model; what is written there is the cache's own."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a folder in a file's place: "captures are not kept"
        found = _captured(folder)
    for site, values in _fresh().items():
        assert torch.allclose(found[site], values, atol=1e-5), f"{site}: a damaged capture was believed"


@functools.cache
def _runs() -> tuple[Files, Files]:
    """A training run that is finished, and one that was stopped half-way."""
    from ioi_bench.training import Recipe, create_run, train_run
    from ioi_bench.training.chunk import train_chunk

    small = {"d_sae": 16, "epochs": 4, "batch_size": 32, "checkpoints": [1, 2], "seeds": [0]}
    data = {Site.parse(text): _weights(64, 8, seed=i) for i, text in enumerate(("z.4.0@end", "v.1.3@s2"))}
    recipe = Recipe.model_validate({"variants": {"topk": [2, 4], "relu": [0.3]}, **small})
    with tempfile.TemporaryDirectory() as folder:
        run = create_run(Path(folder), recipe, data, provenance={"model": "ioi-mini"})

        def stop(report: Any) -> None:
            if report.epoch == 2:
                raise KeyboardInterrupt

        for index in range(len(run.chunks)):
            try:
                train_chunk(folder, index, save_every=0.0, progress=stop)
            except KeyboardInterrupt:
                continue
        half = _read(Path(folder))
        train_run(folder)
        return _read(Path(folder)), half


def _run_read(folder: Path) -> None:
    from ioi_bench.training.runs import Run

    run = Run(folder)
    assert len(run.identity) > 0
    for member in run.members:
        for epoch in run.checkpoints:
            run.dictionary(member, epoch)
        run.data(member.site)
    assert len(run.curves) > 0


def _state_read(folder: Path) -> None:
    """Going on from a damaged state."""
    from ioi_bench.training.chunk import train_chunk
    from ioi_bench.training.runs import Run

    for chunk in Run(folder).chunks:
        train_chunk(folder, chunk.index)


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target("native-folder", _native(""), _native_read, 2),
        Target("native-file", _native(".safetensors"), _native_read, 2),
        *(Target(name, seeds, _by_loader(name), 1.5) for name, seeds in LOADERS.items()),
        Target("any-loader", _all_formats, _any_loader),
        Target("manifest", _manifest, _manifest_read),
        Target("card", _card, _card_read),
        Target("prompts", _prompts, _prompts_read),
        Target("submission", _submission, _submission_read),
        Target("verdict", _submission, _verdict_read, only="verdict.json"),
        Target("recipe", _toml_files("reference_saes/recipes/*.toml"), _recipe_read, named=True),
        Target("circuit", _toml_files("ioi_bench/lm/circuits/*.toml"), _circuit_read, named=True),
        Target("plugins-toml", _allowed, _allowed_read),
        Target("model", _model, _model_read, 0.3),
        Target("cache", _cache, _cache_read, writes=True),
        Target("candidates", _candidates, _candidates_read),
        Target("run", lambda: [_runs()[0]], _run_read),
        Target("training-state", lambda: [_runs()[1]], _state_read, only="state.safetensors", writes=True),
    )
}
