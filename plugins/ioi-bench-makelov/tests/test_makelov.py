"""Makelov et al.'s state dicts: files of the published layout, against the published equations written out."""

from __future__ import annotations

import json

import pytest
import torch
from ioi_bench_makelov import ioi_bench_loaders, load, parse_sites, recognise

from ioi_bench.dictionaries.source import Source
from ioi_bench.dictionary import affine_decoder
from ioi_bench.errors import SuiteError
from ioi_bench.plugins.records import LoadOptions
from ioi_bench.sites import HookPoint, Site

D_IN, D_SAE, K = 64, 512, 3
WITH_K = LoadOptions(settings={"k": str(K)})
SHAPES = {
    "relu": {"W_dec": (D_SAE, D_IN), "W_enc": (D_IN, D_SAE), "b_enc": (D_SAE,), "b_dec": (D_IN,)},
    "signed-gated": {
        "W_dec": (D_SAE, D_IN),
        "W_gate": (D_IN, D_SAE),
        "r_mag": (D_SAE,),
        "b_gate": (D_SAE,),
        "b_mag": (D_SAE,),
        "b_dec": (D_IN,),
    },
    "signed-topk": {"W_enc": (D_IN, D_SAE), "W_dec": (D_SAE, D_IN), "b_pre": (D_IN,)},
}
END = Site.parse("z.9.9@end")


def state(kind, **changes):
    generator = torch.Generator().manual_seed(0)
    found = {name: torch.randn(shape, generator=generator) for name, shape in SHAPES[kind].items()}
    return {name: value for name, value in {**found, **changes}.items() if value is not None}


def write(folder, found, name="z@L9H9@end"):
    torch.save(found, folder / f"{name}.pt")
    return Source(folder, str(folder))


def published(x, found, kind):
    """``get_feature_magnitudes`` and ``get_reconstructions`` of ``sae_variants.py``, in double precision."""
    w = {name: value.double() for name, value in found.items()}
    b = w["b_pre" if kind == "signed-topk" else "b_dec"]
    centred = x.double() - b
    if kind == "signed-gated":
        pi = centred @ w["W_gate"] + w["b_gate"]
        f = (pi > 0).double() * (centred @ (w["r_mag"].exp() * w["W_gate"]) + w["b_mag"])
    elif kind == "relu":
        f = (centred @ w["W_enc"] + w["b_enc"]).clamp(min=0)
    else:
        acts = centred @ w["W_enc"]
        f = torch.zeros_like(acts)
        for row, order in enumerate(acts.argsort(dim=1, descending=True)[:, :K]):
            f[row, order] = acts[row, order]
    return f.float(), (f @ w["W_dec"] + b).float()


@pytest.mark.parametrize("kind", SHAPES)
def test_the_equations(tmp_path, hard_inputs, assert_same, kind):
    source, x = write(tmp_path, state(kind)), hard_inputs(D_IN)
    dictionary = load(source, WITH_K).dictionaries[END]
    f, x_hat = published(x, state(kind), kind)
    assert_same(dictionary.encode(x), f)
    assert_same(dictionary.decode(dictionary.encode(x)), x_hat)
    affine_decoder(dictionary)
    found = recognise(source, WITH_K)
    assert (found.architecture, found.d_in, found.d_sae) == (kind, D_IN, D_SAE)
    assert (found.hooks, found.sites) == ((HookPoint("z", 9, 9),), (END,))
    assert "refactor_factored_attn_matrices" in found.notes[0]


def test_features_may_be_negative(tmp_path):
    x = torch.randn(64, D_IN, generator=torch.Generator().manual_seed(2))
    gated = load(write(tmp_path, state("signed-gated")), LoadOptions()).dictionaries[END].encode(x)
    assert (gated < 0).any()
    minus = {"W_enc": -torch.eye(D_IN), "W_dec": torch.eye(D_IN), "b_pre": torch.zeros(D_IN)}
    topk = load(write(tmp_path, minus), WITH_K).dictionaries[END].encode(x.abs() + 1)
    assert ((topk < 0).sum(1) == K).all()


def test_a_folder_of_sites_is_one_suite(tmp_path):
    sites = {
        "z@L9H9@end": "z.9.9@end",
        "q@L10H0@end": "q.10.0@end",
        "k@L9H6@s1+1": "k.9.6@s1+1",
        "v.7.3@s2": "v.7.3@s2",
    }
    for name in sites:
        write(tmp_path, state("signed-gated"), name)
    torch.save({"state": {}}, tmp_path / "optimizer.pt")
    source = Source(tmp_path, "folder")
    assert {str(site) for site in load(source, LoadOptions()).sites} == set(sites.values())
    assert len(recognise(source, LoadOptions()).hooks) == len(sites)


def test_names_without_a_role_are_at_all_roles(tmp_path):
    suite = load(write(tmp_path, state("relu"), "z.9.9"), LoadOptions())
    assert suite.hooks == (HookPoint("z", 9, 9),)
    assert len(suite.sites) == 5


@pytest.mark.parametrize("text", ["optimizer", "resid_pre.8@end", "z.9@end", "z@L9H9@nowhere", "z@L9", ""])
def test_names_that_are_no_heads_site(text):
    assert parse_sites(text) == ()


def test_a_single_file_takes_its_site_from_the_user(tmp_path):
    source = write(tmp_path, state("signed-gated"), "mine")
    assert recognise(source, LoadOptions()).hooks == ()
    with pytest.raises(SuiteError, match="--set site="):
        load(source, LoadOptions())
    assert load(source, LoadOptions(settings={"site": "z.9.9@end"})).sites == (END,)
    assert len(load(source, LoadOptions(hook=HookPoint("z", 9, 9))).sites) == 5
    with pytest.raises(SuiteError, match="no site of a head"):
        load(source, LoadOptions(settings={"site": "end"}))


def test_two_files_for_a_site(tmp_path):
    write(tmp_path, state("relu"), "z.9.9@end")
    with pytest.raises(SuiteError, match=r"two files for z\.9\.9@end"):
        load(write(tmp_path, state("relu"), "z@L9H9@end"), LoadOptions())


@pytest.mark.parametrize("kind", SHAPES)
def test_scales(tmp_path, hard_inputs, assert_same, kind):
    x = hard_inputs(D_IN)
    source = write(tmp_path, state(kind))
    assert "--scale" in recognise(source, WITH_K).notes[-1]
    f, x_hat = published(0.25 * x, state(kind), kind)
    (tmp_path / "scales.json").write_text(json.dumps({"z@L9H9@end": 0.25}))
    listed = load(source, WITH_K).dictionaries[END]
    assert_same(listed.encode(x), f)
    assert_same(listed.decode(f), 4 * x_hat)
    assert recognise(source, WITH_K).normalisation == "inputs × scales.json"
    (tmp_path / "scales.json").write_text("{}")
    with pytest.raises(SuiteError, match="expected a number"):
        load(source, WITH_K)


@pytest.mark.parametrize(
    ("settings", "message"), [({}, "add --set k=3"), ({"k": "three"}, "whole number"), ({"k": "0"}, "k is 0")]
)
def test_k_must_be_given(tmp_path, settings, message):
    with pytest.raises(SuiteError, match=message):
        load(write(tmp_path, state("signed-topk")), LoadOptions(settings=settings))


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (state("signed-gated", b_mag=None), "expected the keys of one of the authors' SAEs"),
        (state("signed-gated", r_mag=torch.zeros(D_SAE + 1)), "r_mag has the shape"),
        (state("relu", b_enc=torch.full((D_SAE,), float("nan"))), "NaN"),
        (state("relu", b_enc="text"), "lacks the tensors b_enc"),
        ([1], "holds list"),
    ],
)
def test_damaged(tmp_path, found, message):
    with pytest.raises(SuiteError, match=message):
        load(write(tmp_path, found), LoadOptions())


def test_truncated_and_hostile(tmp_path, hostile_pickle):
    source = write(tmp_path, state("relu"))
    file = tmp_path / "z@L9H9@end.pt"
    file.write_bytes(file.read_bytes()[:-300])
    assert recognise(source, LoadOptions()) is None
    with pytest.raises(SuiteError, match="damaged"):
        load(source, LoadOptions())
    witness = hostile_pickle(file)
    assert recognise(source, LoadOptions()) is None
    with pytest.raises(SuiteError, match="wants to run code"):
        load(source, LoadOptions())
    assert not witness.exists()


def test_others_state_dicts_are_left_alone(tmp_path):
    for found in (state("relu"), {"W_enc": torch.zeros(2, 3)}, {1: 2}, [3]):
        assert recognise(write(tmp_path, found, "sae"), LoadOptions()) is None


def test_registered():
    (loader,) = ioi_bench_loaders()
    assert loader.name == "makelov"
    assert set(loader.keys) == {"site", "k"}
