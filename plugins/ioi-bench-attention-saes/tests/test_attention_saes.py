"""Kissane et al.'s SAEs: files of the published layout, against the published equations written out."""

from __future__ import annotations

import json

import pytest
import torch
from ioi_bench_attention_saes import ioi_bench_loaders, load, recognise

from ioi_bench.dictionaries.source import Source
from ioi_bench.dictionaries.suite import check_fits
from ioi_bench.dictionary import affine_decoder
from ioi_bench.errors import SuiteError
from ioi_bench.plugins.records import LoadOptions
from ioi_bench.sites import HookPoint

D_IN, D_SAE = 24, 96


def state(seed=0, **changes):
    generator = torch.Generator().manual_seed(seed)
    shapes = {"W_enc": (D_IN, D_SAE), "W_dec": (D_SAE, D_IN), "b_enc": (D_SAE,), "b_dec": (D_IN,)}
    found = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return {name: value for name, value in {**found, **changes}.items() if value is not None}


def write(folder, layer=7, *, found=None, **config):
    """A pair of files, named and configured as their ``train.py`` does."""
    name = f"gpt2-small_L{layer}_Hcat_z_lr1.20e-03_v9"
    default = {
        "model_name": "gpt2-small",
        "site": "z",
        "layer": layer,
        "head": "cat",
        "concat_heads": True,
        "act_name": f"blocks.{layer}.attn.hook_z",
        "act_size": D_IN,
        "dict_size": D_SAE,
        "enc_dtype": "fp32",
    }
    torch.save(state(layer) if found is None else found, folder / f"{name}.pt")
    (folder / f"{name}_cfg.json").write_text(json.dumps({**default, **config}))
    return Source(folder, str(folder))


def published(x, found):
    w = {name: value.double() for name, value in found.items()}
    acts = ((x.double() - w["b_dec"]) @ w["W_enc"] + w["b_enc"]).clamp(min=0)
    return acts.float(), (acts @ w["W_dec"] + w["b_dec"]).float()


def test_the_equations(tmp_path, hard_inputs, assert_same):
    suite, x = load(write(tmp_path), LoadOptions()), hard_inputs(D_IN)
    dictionary = next(iter(suite.dictionaries.values()))
    f, x_hat = published(x, state(7))
    assert_same(dictionary.encode(x), f)
    assert_same(dictionary.decode(dictionary.encode(x)), x_hat)
    affine_decoder(dictionary)


def test_all_heads_of_a_layer(tmp_path):
    source = write(tmp_path)
    found, suite = recognise(source, LoadOptions()), load(source, LoadOptions())
    assert found.hooks == suite.hooks == (HookPoint("z", 7, None),)
    assert (found.architecture, found.d_in, found.d_sae, found.model) == ("relu", D_IN, D_SAE, "gpt2")
    assert (suite.model, len(suite.dictionaries)) == ("gpt2", 5)

    class Shape:
        n_layers, n_heads, d_head, d_model = 12, 3, 8, 99

    check_fits(suite, Shape(), "0" * 64)  # three heads of eight dimensions side by side


@pytest.mark.filterwarnings("ignore")  # transformers' own
def test_heads_lie_side_by_side():
    """A site of all heads holds them one after the other, as ``concat_heads`` does."""
    from ioi_bench.lm import load_model
    from ioi_bench.sites import Role
    from ioi_bench.task.roles import TokenBatch

    tokens = torch.randint(1, 100, (4, 12), generator=torch.Generator().manual_seed(0))
    batch = TokenBatch(tokens, torch.full((4,), 12), {Role.END: torch.full((4,), 11)})
    model = load_model()
    sites = [HookPoint("z", 2, head).at(Role.END) for head in (None, *range(model.n_heads))]
    whole, *heads = model.capture(batch, sites).values()
    torch.testing.assert_close(whole, torch.cat(heads, dim=1))


def test_many_layers_are_one_suite(tmp_path, hard_inputs, assert_same):
    for layer in (5, 7, 11):
        source = write(tmp_path, layer)
    suite, x = load(source, LoadOptions()), hard_inputs(D_IN)
    assert {hook.layer for hook in suite.hooks} == {5, 7, 11}
    for site, dictionary in suite.dictionaries.items():
        assert_same(dictionary.encode(x), published(x, state(site.layer))[0])
    one = LoadOptions(hook=HookPoint("z", 11))
    assert load(source, one).hooks == recognise(source, one).hooks == (HookPoint("z", 11),)
    with pytest.raises(SuiteError, match="it has"):
        load(source, LoadOptions(hook=HookPoint("z", 0)))


def test_two_of_one_layer_must_be_chosen(tmp_path):
    write(tmp_path)
    write(tmp_path, 8, act_name="blocks.7.attn.hook_z")
    with pytest.raises(SuiteError, match="two dictionaries at"):
        load(Source(tmp_path, "x"), LoadOptions())


def test_single_heads(tmp_path):
    source = write(tmp_path, concat_heads=False, head=3)
    assert load(source, LoadOptions()).hooks == (HookPoint("z", 7, 3),)
    source = write(tmp_path, concat_heads=False, head="all")
    with pytest.raises(SuiteError, match="which head"):
        load(source, LoadOptions())
    assert load(source, LoadOptions(hook=HookPoint("z", 7, 1))).hooks == (HookPoint("z", 7, 1),)


def test_heads_are_concatenated_where_nothing_is_said(tmp_path):
    source = write(tmp_path)
    (config,) = tmp_path.glob("*_cfg.json")
    said = json.loads(config.read_text())
    config.write_text(json.dumps({key: said[key] for key in ("act_name", "act_size", "dict_size", "model_name")}))
    assert load(source, LoadOptions()).hooks == (HookPoint("z", 7, None),)


def test_the_model_must_be_known(tmp_path):
    source = write(tmp_path, model_name=None)
    with pytest.raises(SuiteError, match="add --model"):
        load(source, LoadOptions())
    assert load(source, LoadOptions(model="gpt2")).model == "gpt2"


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (state(b_enc=None), "lacks the tensors b_enc"),
        (state(W_enc=torch.zeros(D_IN + 1, D_SAE)), "W_enc has the shape"),
        (state(b_dec=torch.full((D_IN,), float("inf"))), "NaN or Inf"),
        ([1], "holds a list"),
    ],
)
def test_damaged(tmp_path, found, message):
    with pytest.raises(SuiteError, match=message):
        load(write(tmp_path, found=found), LoadOptions())


@pytest.mark.parametrize(
    ("config", "message"),
    [({"act_name": "blocks.7.mlp.hook_post"}, "no site here"), ({"act_size": "big"}, "expected whole numbers")],
)
def test_unusable_configurations(tmp_path, config, message):
    with pytest.raises(SuiteError, match=message):
        recognise(write(tmp_path, **config), LoadOptions())


def test_truncated_and_hostile(tmp_path, hostile_pickle):
    source = write(tmp_path)
    (file,) = tmp_path.glob("*.pt")
    file.write_bytes(file.read_bytes()[:-300])
    with pytest.raises(SuiteError, match="damaged"):
        load(source, LoadOptions())
    witness = hostile_pickle(file)
    with pytest.raises(SuiteError, match=r"\.pt' in .* wants to run code .*mkdir"):
        load(source, LoadOptions())
    assert not witness.exists()


def test_other_pairs_are_left_alone(tmp_path):
    torch.save(state(), tmp_path / "sae.pt")
    source = Source(tmp_path, "x")
    assert recognise(source, LoadOptions()) is None
    (tmp_path / "sae_cfg.json").write_text(json.dumps({"hook_name": "blocks.0.hook_resid_pre"}))
    assert recognise(source, LoadOptions()) is None
    with pytest.raises(SuiteError, match="no pair"):
        load(source, LoadOptions())


def test_registered():
    (loader,) = ioi_bench_loaders()
    assert (loader.name, loader.load) == ("attention-saes", load)
