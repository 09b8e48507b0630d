"""Files as dictionary_learning lays them out, made by hand: what is told from them, and what goes wrong."""

from __future__ import annotations

import json

import pytest
import torch
from ioi_bench_dictionary_learning import ioi_bench_loaders

from ioi_bench.dictionaries.source import Source
from ioi_bench.errors import SuiteError, UnknownNameError
from ioi_bench.plugins.records import LoadOptions
from ioi_bench.sites import HookPoint

D_IN, D_SAE = 4, 6
(LOADER,) = ioi_bench_loaders()
LINEAR = {"encoder.weight": (D_SAE, D_IN), "encoder.bias": (D_SAE,), "decoder.weight": (D_IN, D_SAE)}
TOP_K = {**LINEAR, "b_dec": (D_IN,), "threshold": (), "k": ()}


def tensors(shapes):
    generator = torch.Generator().manual_seed(0)
    held = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return held | ({"k": torch.tensor(2, dtype=torch.int)} if "k" in held else {})


STANDARD = tensors({**LINEAR, "bias": (D_IN,)})


def write(folder, held=STANDARD, kind="AutoEncoder", *, name="ae.pt", buffer=(), **trainer):
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(held, file)
    told = {"dict_class": kind, "submodule_name": "resid_post_layer_8"} | trainer
    told = {key: value for key, value in told.items() if value is not None}
    (folder / "config.json").write_text(json.dumps({"trainer": told, "buffer": dict(buffer)}))
    return Source(folder, str(folder))


def only(source, **options):
    return next(iter(LOADER.load(source, LoadOptions(**options)).dictionaries.values()))


def test_an_autoencoders_rows_are_brought_to_norm_1_by_hand(tmp_path):
    held = {"encoder.weight": torch.eye(2), "encoder.bias": torch.tensor([1.0, 0.0]), "bias": torch.zeros(2)}
    held["decoder.weight"] = torch.tensor([[3.0, 0.0], [4.0, 0.0]])  # columns: (3, 4) and a dead one
    dictionary = only(write(tmp_path, held))
    f = dictionary.encode(torch.tensor([[1.0, 1.0]]))
    assert f.tolist() == [[10.0, 1.0]]
    torch.testing.assert_close(dictionary.decode(f), torch.tensor([[6.0, 8.0]]))


@pytest.mark.parametrize(
    ("name", "buffer", "hook"),
    [
        ("resid_post_layer_8", {"io": "out"}, "blocks.8.hook_resid_post"),
        ("mlp_out_layer3", {}, "blocks.3.hook_mlp_out"),
        ("transformer.h.5", {"io": "out"}, "blocks.5.hook_resid_post"),
        ("transformer.h.5", {"io": "in"}, "blocks.5.hook_resid_pre"),
        ("h.5.attn", {"io": "out"}, "blocks.5.hook_attn_out"),
        ("h.5.mlp", {"io": "in"}, None),  # after the layer norm: no site
        ("resid_post_layer_8", {"io": "in"}, None),
        ("my layer 8", {}, None),
        (None, {}, None),
    ],
)
def test_hooks_are_told_where_the_name_tells(tmp_path, name, buffer, hook):
    source = write(tmp_path, buffer=buffer, submodule_name=name, layer=8)
    assert [str(found) for found in LOADER.recognise(source, LoadOptions()).hooks] == ([hook] if hook else [])
    if hook is None:
        with pytest.raises(
            SuiteError, match="does not say where it reads: its submodule_name is free text; add --hook"
        ):
            LOADER.load(source, LoadOptions())
    asked = HookPoint("resid_mid", 1)
    assert LOADER.load(source, LoadOptions(hook=asked)).hooks == (asked,)


def test_models_by_the_names_that_they_bear_here(tmp_path):
    assert LOADER.load(write(tmp_path, lm_name="openai-community/gpt2"), LoadOptions()).model == "gpt2"
    assert LOADER.load(write(tmp_path, lm_name="gpt2"), LoadOptions(model="mine")).model == "mine"


def test_checkpoints_are_chosen_by_step(tmp_path):
    for step in (0, 100, 20):
        source = write(
            tmp_path, {**STANDARD, "bias": torch.full((D_IN,), float(step))}, name=f"checkpoints/ae_{step}.pt"
        )
    with pytest.raises(
        SuiteError, match=r"has no final ae\.pt: choose one of 0, 20, 100, such as --set checkpoint=100"
    ):
        LOADER.recognise(source, LoadOptions())
    assert only(source, settings={"checkpoint": "20"}).b_dec.tolist() == [20.0] * D_IN
    with pytest.raises(SuiteError, match="has no checkpoint '3': choose one of 0, 20, 100"):
        LOADER.load(source, LoadOptions(settings={"checkpoint": "3"}))
    write(tmp_path, {**STANDARD, "bias": torch.full((D_IN,), 7.0)})
    assert only(source).b_dec.tolist() == [7.0] * D_IN  # the final one, where nothing is asked for
    assert only(source, settings={"checkpoint": "final"}).b_dec.tolist() == [7.0] * D_IN


def test_the_only_run_below_is_taken_and_several_are_named(tmp_path):
    write(tmp_path / "trainer_0")
    source = Source(tmp_path, "runs")
    assert only(source).d_sae == D_SAE
    write(tmp_path / "trainer_1")
    with pytest.raises(SuiteError, match=r"holds 2 runs .* such as 'runs/trainer_0' or 'runs/trainer_1'"):
        LOADER.recognise(source, LoadOptions())


def test_a_state_dict_alone_is_told_by_its_tensors(tmp_path):
    hook = HookPoint("resid_post", 8)
    write(tmp_path, name="checkpoints/ae_100.pt")
    alone = Source(tmp_path / "checkpoints" / "ae_100.pt", "ae_100.pt")
    assert LOADER.recognise(alone, LoadOptions(hook=hook)).architecture == "relu"
    assert only(alone, hook=hook).d_in == D_IN
    write(tmp_path, tensors(TOP_K), name="checkpoints/ae_100.pt")
    with pytest.raises(SuiteError, match=r"AutoEncoderTopK and of BatchTopKSAE, and no config\.json says which"):
        LOADER.recognise(alone, LoadOptions())
    assert only(alone, hook=hook, arch="AutoEncoderTopK").k == 2
    assert only(alone, hook=hook, arch="BatchTopKSAE").name == "jumprelu"
    bare = {"W_enc": (D_IN, D_SAE), "b_enc": (D_SAE,), "W_dec": (D_SAE, D_IN), "b_dec": (D_IN,)}
    for extra in ({"threshold": (D_SAE,)}, {"threshold": (), "k": (), "group_sizes": (2,)}):
        write(tmp_path, tensors(bare | extra), name="checkpoints/ae_100.pt")
        assert only(alone, hook=hook).name == "jumprelu"
    assert LOADER.load(alone, LoadOptions(hook=hook)).name == "ae_100"
    run = Source(tmp_path, "runs/trainer_3")
    assert LOADER.load(run, LoadOptions(arch="MatryoshkaBatchTopKSAE")).name == "trainer_3-ae_100"


def test_other_formats_are_left_alone(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    torch.save(STANDARD, tmp_path / "8.pt")
    assert LOADER.recognise(Source(tmp_path, "x"), LoadOptions()) is None
    torch.save({"something": torch.zeros(2)}, tmp_path / "sub.pt")
    (tmp_path / "sub.pt").rename(tmp_path / "ae.pt")
    (tmp_path / "config.json").unlink()
    assert LOADER.recognise(Source(tmp_path, "x"), LoadOptions()) is None
    with pytest.raises(SuiteError, match=r"it is not of dictionary_learning"):
        LOADER.load(Source(tmp_path, "x"), LoadOptions())


def changed(shapes, **changes):
    return {name: tensor for name, tensor in (tensors(shapes) | changes).items() if tensor is not None}


STANDARD_SHAPES = {**LINEAR, "bias": (D_IN,)}
NAN = torch.full((D_SAE,), float("nan"))
BAD = {
    "near miss": (STANDARD, "AutoEncodr", UnknownNameError, "did you mean 'AutoEncoder'"),
    "crosscoder": (STANDARD, "CrossCoder", UnknownNameError, "unknown class of dictionary_learning 'CrossCoder'"),
    "missing": (
        changed(STANDARD_SHAPES, bias=None),
        "AutoEncoder",
        SuiteError,
        r"lacks the tensors bias of AutoEncoder: it holds enc.*name its class with --arch",
    ),
    "other class": (
        STANDARD,
        "GatedAutoEncoder",
        SuiteError,
        "lacks the tensors r_mag, gate_bias, mag_bias, decoder_b",
    ),
    "shape": (
        changed(STANDARD_SHAPES, **{"encoder.bias": torch.zeros(3)}),
        "AutoEncoder",
        SuiteError,
        r"encoder\.bias has the shape \[3\], which in AutoEncoder does not fit decoder\.weight with d_in = 4",
    ),
    "flat": (
        changed(STANDARD_SHAPES, **{"decoder.weight": torch.zeros(3)}),
        "AutoEncoder",
        SuiteError,
        r"decoder\.weight has the shape \[3\], expected two axes",
    ),
    "thresholds": (
        changed(TOP_K, threshold=torch.zeros(2)),
        "BatchTopKSAE",
        SuiteError,
        r"threshold has the shape \[2\]",
    ),
    "NaN": (changed(STANDARD_SHAPES, **{"encoder.bias": NAN}), "AutoEncoder", SuiteError, "b_enc has 6 NaN or Inf"),
    "no k": (changed(TOP_K, k=None), "AutoEncoderTopK", SuiteError, "holds a whole number k: got None"),
    "k too large": (changed(TOP_K, k=torch.tensor(99)), "AutoEncoderTopK", SuiteError, "k is 99, expected 1 to d_sae"),
    "a list": ([1, 2], "AutoEncoder", SuiteError, "holds a list, expected a state dict"),
    "no tensor": ({**STANDARD, "bias": 3.0}, "AutoEncoder", SuiteError, "lacks the tensors bias"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_with_the_fix(tmp_path, case):
    held, kind, error, message = BAD[case]
    with pytest.raises(error, match=message):
        LOADER.load(write(tmp_path, held, kind), LoadOptions())


def test_k_of_the_configuration_serves_older_files(tmp_path):
    held = changed(TOP_K, k=None, threshold=None)
    assert only(write(tmp_path, held, "AutoEncoderTopK", k=3)).k == 3


def test_transcoders_are_refused_with_the_reason(tmp_path):
    source = write(tmp_path, buffer={"io": "in_and_out"})
    with pytest.raises(SuiteError, match=r"is a transcoder .* it reads at one place and writes at another"):
        LOADER.recognise(source, LoadOptions())


@pytest.mark.parametrize("keep", [0, 40, -60])
def test_truncated_weights(tmp_path, keep):
    source = write(tmp_path)
    file = tmp_path / "ae.pt"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(SuiteError, match=r"'ae\.pt' in .* is damaged"):
        LOADER.recognise(source, LoadOptions())


def test_a_pickle_that_wants_code_is_refused_and_named(tmp_path, hostile_pickle):
    source = write(tmp_path)
    witness = hostile_pickle(tmp_path / "ae.pt")
    for read in (LOADER.recognise, LOADER.load):
        with pytest.raises(SuiteError, match=r"'ae\.pt' in .* wants to run code \(\w+\.mkdir\), which is never done"):
            read(source, LoadOptions())
    assert not witness.exists()


def test_a_configuration_that_is_none(tmp_path):
    source = write(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(SuiteError, match=r"'config\.json' in .* is not JSON"):
        LOADER.recognise(source, LoadOptions())
