"""sparsify's folders, against the library itself where it is installed, and against its equations written out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from ioi_bench_sparsify import ioi_bench_loaders, load, module_hook, recognise
from safetensors.torch import load_file, save_file

from ioi_bench.dictionaries.source import Source
from ioi_bench.dictionary import affine_decoder
from ioi_bench.errors import SuiteError
from ioi_bench.plugins.records import LoadOptions
from ioi_bench.sites import HookPoint, Role

D_IN, D_SAE, K = 24, 96, 8
GPT2 = LoadOptions(model="gpt2")
MLP = HookPoint.parse("mlp_out.3")


def tensors(seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = {"encoder.weight": (D_SAE, D_IN), "encoder.bias": (D_SAE,), "W_dec": (D_SAE, D_IN), "b_dec": (D_IN,)}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def write(folder, *, weights=None, **config):
    folder.mkdir(parents=True)
    save_file(tensors() if weights is None else weights, folder / "sae.safetensors")
    default = {"activation": "topk", "k": K, "d_in": D_IN, "transcode": False, "skip_connection": False}
    (folder / "cfg.json").write_text(json.dumps({**default, **config}))
    return Source(folder, str(folder))


def only(suite):
    assert len(set(map(id, suite.dictionaries.values()))) == 1
    return next(iter(suite.dictionaries.values()))


def written_out(x, weights, activation):
    """The coder's equations, a row at a time."""
    f = torch.zeros(len(x), D_SAE)
    for row, input_ in enumerate(x):
        pre = weights["encoder.weight"] @ (input_ - weights["b_dec"]) + weights["encoder.bias"]
        u = [max(0.0, float(value)) for value in pre]
        if activation == "topk":
            kept = sorted(range(D_SAE), key=lambda j: -u[j])[:K]
        else:
            size = D_SAE // K
            kept = [max(range(g * size, (g + 1) * size), key=lambda j: u[j]) for g in range(K)]
        for j in kept:
            f[row, j] = u[j]
    return f, f @ weights["W_dec"] + weights["b_dec"]


@pytest.mark.parametrize("activation", ["topk", "groupmax"])
def test_the_equations(tmp_path, hard_inputs, assert_same, activation):
    source = write(tmp_path / "h.3.mlp", activation=activation)
    dictionary, x = only(load(source, GPT2)), hard_inputs(D_IN)
    f, x_hat = written_out(x, tensors(), activation)
    assert_same(dictionary.encode(x), f)
    assert_same(dictionary.decode(dictionary.encode(x)), x_hat)
    affine_decoder(dictionary)


@pytest.mark.parametrize("activation", ["topk", "groupmax"])
@pytest.mark.filterwarnings("ignore")  # the library's own
def test_the_library_itself(tmp_path, hard_inputs, assert_same, activation):
    sparsify = pytest.importorskip("sparsify", reason="pip install --no-deps -r plugins/real-libraries.txt")
    torch.manual_seed(0)
    coder = sparsify.SparseCoder(D_IN, sparsify.SparseCoderConfig(activation=activation, num_latents=D_SAE, k=K))
    with torch.no_grad():
        for parameter in (coder.encoder.bias, coder.b_dec):
            parameter.normal_()
    folder = tmp_path / "run" / "h.3.mlp"
    coder.save_to_disk(folder)
    dictionary, x = only(load(Source(folder, str(folder)), GPT2)), hard_inputs(D_IN)
    with torch.no_grad():
        encoded = coder.encode(x)
        f = torch.zeros(len(x), D_SAE).scatter_(1, encoded.top_indices, encoded.top_acts)
        x_hat = coder.decode(encoded.top_acts, encoded.top_indices)
    assert (f > 0).sum() > len(x)
    assert_same(dictionary.encode(x), f)
    assert_same(dictionary.decode(dictionary.encode(x)), x_hat)


@pytest.mark.parametrize("flag", ["transcode", "skip_connection"])
@pytest.mark.filterwarnings("ignore")  # the library's own
def test_the_librarys_transcoders_are_refused(tmp_path, flag):
    sparsify = pytest.importorskip("sparsify", reason="pip install --no-deps -r plugins/real-libraries.txt")
    config = sparsify.SparseCoderConfig(num_latents=D_SAE, k=K, **{flag: True})
    sparsify.SparseCoder(D_IN, config).save_to_disk(tmp_path / "h.3.mlp")
    source = Source(tmp_path / "h.3.mlp", "h.3.mlp")
    for call in (recognise, load):
        with pytest.raises(SuiteError, match=f"give an SAE trained without {flag!r}"):
            call(source, GPT2)


@pytest.mark.parametrize(
    ("module", "hook"),
    [
        ("h.3", "blocks.3.hook_resid_post"),
        ("transformer.h.11", "blocks.11.hook_resid_post"),
        ("h.3.attn", "blocks.3.hook_attn_out"),
        ("h.3.attn.c_proj", "blocks.3.hook_attn_out"),
        ("h.0.mlp", "blocks.0.hook_mlp_out"),
        ("layers.10", "blocks.10.hook_resid_post"),
        ("gpt_neox.layers.4.mlp", "blocks.4.hook_mlp_out"),
        ("model.layers.4.self_attn", "blocks.4.hook_attn_out"),
    ],
)
def test_module_names(module, hook):
    assert str(module_hook(module)) == hook


@pytest.mark.parametrize("module", ["h.0.mlp.act", "h.3.ln_1", "wte", "ln_f", "h", "h.x", "seed0", ""])
def test_modules_without_a_site(module):
    assert module_hook(module) is None


@pytest.mark.filterwarnings("ignore")  # transformers' own
def test_the_modules_outputs_are_those_activations():
    """The mapping, measured: Hugging Face's outputs are the activations here, up to their mean over dimensions."""
    from transformers import GPT2Model

    import ioi_bench.lm
    from ioi_bench.task.roles import TokenBatch

    tokens = torch.randint(1, 100, (4, 12), generator=torch.Generator().manual_seed(0))
    batch = TokenBatch(tokens, torch.full((4,), 12), {Role.END: torch.full((4,), 11)})
    weights = Path(ioi_bench.lm.__file__).parent / "mini" / "weights"
    original = GPT2Model.from_pretrained(weights).eval()
    sites = {}
    outputs = {}
    for module in ("h.1", "h.1.attn", "h.2.mlp", "h.2.mlp.c_proj"):
        sites[module] = module_hook(module).at(Role.END)
        original.get_submodule(module).register_forward_hook(
            lambda _, __, out, module=module: outputs.update({module: out[0] if isinstance(out, tuple) else out})
        )
    with torch.no_grad():
        original(tokens)
    ours = ioi_bench.lm.load_model().capture(batch, list(dict.fromkeys(sites.values())))
    for module, site in sites.items():
        theirs = outputs[module][:, -1]
        torch.testing.assert_close(ours[site], theirs - theirs.mean(1, keepdim=True), rtol=1e-4, atol=1e-4)


def test_recognised_without_reading_weights(tmp_path):
    source = write(tmp_path / "h.3.mlp", activation="groupmax")
    found = recognise(source, LoadOptions())
    assert (found.architecture, found.d_in, found.d_sae, found.hooks) == ("groupmax", D_IN, D_SAE, (MLP,))
    assert "centred" in " ".join(found.notes)
    assert recognise(Source(tmp_path / "h.3.mlp" / "cfg.json", "cfg.json"), LoadOptions()) is None


def test_many_hooks_are_one_suite(tmp_path):
    for name in ("h.3.mlp", "h.3", "h.10.attn"):
        write(tmp_path / "run" / name)
    write(tmp_path / "run" / "h.0.mlp.act")
    (tmp_path / "run" / "config.json").write_text(json.dumps({"model": "openai-community/gpt2"}))
    source = Source(tmp_path / "run", "run")
    hooks = {HookPoint.parse(text) for text in ("mlp_out.3", "resid_post.3", "attn_out.10")}
    found, suite = recognise(source, LoadOptions()), load(source, LoadOptions())
    assert set(found.hooks) == set(suite.hooks) == hooks
    assert found.model == suite.model == "gpt2"
    assert "h.0.mlp.act" in found.notes[-1]
    assert len(suite.dictionaries) == 3 * 5
    one = load(source, LoadOptions(hook=MLP))
    assert one.hooks == (MLP,)
    with pytest.raises(SuiteError, match=r"no dictionary at blocks.5.hook_resid_pre: it has"):
        load(source, LoadOptions(hook=HookPoint.parse("resid_pre.5")))


def test_seeds_must_be_chosen(tmp_path):
    for seed in (0, 1):
        write(tmp_path / "run" / "h.3.mlp" / f"seed{seed}")
    with pytest.raises(SuiteError, match=r"two dictionaries at blocks.3.hook_mlp_out"):
        load(Source(tmp_path / "run", "run"), GPT2)
    folder = tmp_path / "run" / "h.3.mlp" / "seed1"
    assert load(Source(folder, str(folder)), GPT2).hooks == (MLP,)


def test_what_the_user_must_say(tmp_path):
    source = write(tmp_path / "mine")
    assert recognise(source, LoadOptions()).hooks == ()
    with pytest.raises(SuiteError, match="add --hook"):
        load(source, GPT2)
    with pytest.raises(SuiteError, match="add --model"):
        load(source, LoadOptions(hook=MLP))
    assert load(source, LoadOptions(hook=MLP, model="gpt2")).hooks == (MLP,)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"transcode": True}, "transcoder"),
        ({"skip_connection": True}, "skip connection"),
        ({"signed": True}, "signed"),
        ({"activation": "relu"}, "expected topk or groupmax"),
        ({"activation": ["topk"]}, "expected topk or groupmax"),
        ({"k": None}, "expected a whole number"),
    ],
)
def test_refused_with_the_reason(tmp_path, config, message):
    source = write(tmp_path / "h.3.mlp", **config)
    for call in (recognise, load):
        with pytest.raises(SuiteError, match=message):
            call(source, GPT2)


def test_a_skip_matrix_is_refused_whatever_the_configuration_says(tmp_path):
    source = write(tmp_path / "h.3.mlp", weights={**tensors(), "W_skip": torch.zeros(D_IN, D_IN)})
    with pytest.raises(SuiteError, match="W_skip"):
        load(source, GPT2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder.bias": None}, "lacks the tensors encoder.bias"),
        ({"encoder.weight": torch.zeros(D_SAE, D_IN + 1)}, "W_enc has the shape"),
        ({"b_dec": torch.full((D_IN,), float("nan"))}, "b_dec has 24 NaN"),
    ],
)
def test_damaged_weights(tmp_path, change, message):
    weights = {name: tensor for name, tensor in {**tensors(), **change}.items() if tensor is not None}
    with pytest.raises(SuiteError, match=message):
        load(write(tmp_path / "h.3.mlp", weights=weights), GPT2)


def test_k_must_fit(tmp_path):
    with pytest.raises(SuiteError, match="divisor of d_sae"):
        load(write(tmp_path / "h.1.mlp", activation="groupmax", k=7), GPT2)
    with pytest.raises(SuiteError, match="k is 97"):
        load(write(tmp_path / "h.2.mlp", k=97), GPT2)


def test_truncated(tmp_path):
    source = write(tmp_path / "h.3.mlp")
    file = tmp_path / "h.3.mlp" / "sae.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    for call in (recognise, load):
        with pytest.raises(SuiteError, match="truncated"):
            call(source, GPT2)


def test_other_formats_are_left_alone(tmp_path):
    save_file(tensors(), tmp_path / "sae_weights.safetensors")
    (tmp_path / "cfg.json").write_text("{}")
    assert recognise(Source(tmp_path, "x"), LoadOptions()) is None
    with pytest.raises(SuiteError, match="not of sparsify"):
        load(Source(tmp_path, "x"), GPT2)


def test_half_precision_is_read(tmp_path, hard_inputs, assert_same):
    half = {name: tensor.to(torch.bfloat16) for name, tensor in tensors().items()}
    source, x = write(tmp_path / "h.3.mlp", weights=half), hard_inputs(D_IN)
    stored = {name: t.float() for name, t in load_file(tmp_path / "h.3.mlp" / "sae.safetensors").items()}
    assert_same(only(load(source, GPT2)).encode(x), written_out(x, stored, "topk")[0])


def test_registered():
    (loader,) = ioi_bench_loaders()
    assert (loader.name, loader.load) == ("sparsify", load)
