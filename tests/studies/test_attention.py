"""Attention taken apart: exact against the model's scores, shares by their definition, kinds as planted."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ioi_bench.activations import capture_split
from ioi_bench.dictionaries.codes import Layout
from ioi_bench.dictionaries.suite_content import Suite
from ioi_bench.dictionaries.supervised import fit_mean_codes
from ioi_bench.dictionary import AffineDecoder
from ioi_bench.errors import InputError, SuiteError, UnknownNameError
from ioi_bench.evaluation.bootstrap import Bootstrap
from ioi_bench.evaluation.data import attribute_values, values_of
from ioi_bench.lm.circuit import load_circuit
from ioi_bench.lm.model import load_model
from ioi_bench.sites import ATTRIBUTES, Role, Site
from ioi_bench.studies.attention import (
    EXPECTED_PAIRS,
    KEY_ROLES,
    TARGETS,
    Parts,
    expected_mask,
    pair_terms,
    skyline_parts,
    target_figures,
)
from ioi_bench.studies.attention_features import KINDS, feature_pairs, know_features
from ioi_bench.studies.attention_study import SKYLINE, head_sites, study_attention
from ioi_bench.task import IOI_V1, IOI_V1_MINI, tokenize


class Random:
    """A ReLU dictionary with an offset, of no use to anybody."""

    def __init__(self, d_in: int, d_sae: int = 40, seed: int = 0) -> None:
        g = torch.Generator().manual_seed(seed)
        self.d_in, self.d_sae = d_in, d_sae
        self.w = torch.randn(d_in, d_sae, generator=g)
        self.decoder = AffineDecoder(torch.randn(d_sae, d_in, generator=g) / d_sae, torch.randn(d_in, generator=g))

    def encode(self, x):
        return (x @ self.w - 0.3).relu()

    def decode(self, f):
        return self.decoder(f)


@pytest.fixture(scope="session")
def mini():
    return load_model("ioi-mini")


def bridge_attention(model, batch, head):
    """TransformerLens's own scores and pattern from END to IO and S1: ``[prompt, key]`` each."""
    from transformer_lens.model_bridge import TransformerBridge

    bridge = TransformerBridge.boot_transformers(str(model.directory), device="cpu")
    bridge.enable_compatibility_mode(disable_warnings=True)
    with torch.no_grad():
        cache = bridge.run_with_cache(batch.tokens, prepend_bos=False)[1]
    layer, index = map(int, head.split("."))
    rows, end = torch.arange(len(batch)), batch.positions[Role.END]
    keys = [batch.positions[role] for role in KEY_ROLES]
    found = (cache[f"blocks.{layer}.attn.hook_{name}"][:, index] for name in ("attn_scores", "pattern"))
    return [torch.stack([values[rows, end, key] for key in keys], 1).double() for values in found]


def parts_of(kind, model, spec, head, test):
    """Query and key parts, by mean codes or by a random dictionary, of some prompts."""
    sites, train = head_sites(head), spec.split("train").prompts[:300]
    on_train, on_test = (capture_split(model, spec, some, list(sites.values())) for some in (train, test))
    (labels, sizes), (test_labels, _) = values_of(spec, train, ()), values_of(spec, test, ())
    if kind == "skyline":
        layout = Layout(attribute_values(spec))
        return {
            role: skyline_parts(on_test[site], fit_mean_codes(on_train[site], labels, layout), test_labels)
            for role, site in sites.items()
        }
    return {
        role: know_features(Random(model.d_head), on_train[site], labels, sizes).read(on_test[site]).parts
        for role, site in sites.items()
    }


@pytest.mark.parametrize("kind", ["skyline", "dictionary"])
@pytest.mark.parametrize(("which", "head"), [("mini", "4.0"), ("tiny_gpt2", "2.3"), ("tiny_gpt2", "1.0")])
def test_the_terms_add_up_to_the_model_s_own_scores_and_pattern(kind, which, head, request):
    model = request.getfixturevalue(which)
    spec = IOI_V1_MINI if which == "mini" else IOI_V1
    test = spec.split("test").prompts[:12]
    scores, pattern = bridge_attention(model, tokenize(spec, test, model.tokenizer), head)
    layer = model.weights.layers[int(head.split(".")[0])]
    assert layer.b_q.abs().max() > 1e-3, "without biases, a term that forgets them would pass"
    parts = parts_of(kind, model, spec, head, test)
    terms = pair_terms(parts[Role.END], {role: parts[role] for role in KEY_ROLES})
    ours = torch.stack([terms.terms[role].sum((1, 2)) for role in KEY_ROLES], 1)
    torch.testing.assert_close(ours, scores, atol=1e-3, rtol=1e-4)
    between_the_two = pattern / pattern.sum(1, keepdim=True)
    torch.testing.assert_close(ours.softmax(1), between_the_two, atol=1e-4, rtol=1e-3)
    assert terms.of("difference").sum((0, 2, 3)).allclose(ours[:, 0] - ours[:, 1])


def random_terms(prompts=40, seed=0):
    g = torch.Generator().manual_seed(seed)
    names = ("mean", "io", "s", "pos", "error")
    q, at_io, at_s1 = (Parts(names, torch.randn(5, prompts, 8, generator=g, dtype=torch.float64)) for _ in range(3))
    return pair_terms(q, {Role.IO: at_io, Role.S1: at_s1})


@pytest.mark.parametrize("target", TARGETS)
def test_means_and_shares_are_what_numpy_says(target):
    terms = random_terms()
    found = target_figures(terms.of(target), expected_mask(terms), Bootstrap.of(range(40), draws=20))
    rows = terms.of(target).reshape(-1, 25).numpy()
    score = rows.sum(1)
    shares = np.array([np.cov(rows[:, i], score, bias=True)[0, 1] for i in range(25)]) / score.var()
    np.testing.assert_allclose(found.share.flatten().numpy(), shares, atol=1e-12)
    np.testing.assert_allclose(found.mean.flatten().numpy(), rows.mean(0), atol=1e-12)
    assert found.share.sum().item() == pytest.approx(1)
    assert found.mean.sum().item() == pytest.approx(found.score) == pytest.approx(score.mean())
    chosen = np.array([(q, k) in EXPECTED_PAIRS for q in terms.q for k in terms.k])
    assert found.expected_share.value == pytest.approx(shares[chosen].sum())
    assert found.expected_mean.value == pytest.approx(rows.mean(0)[chosen].sum() / score.mean())
    assert found.expected_share.low < found.expected_share.high


def test_a_draw_has_its_own_variance():
    """Prompts drawn twice count twice: an interval's draw is the share among the prompts drawn."""
    terms = random_terms().of("both")
    weights = torch.ones(2, 40, dtype=torch.float64)
    weights[1, :20], weights[1, 20:] = 2.0, 0.0
    expected = torch.zeros(5, 5, dtype=torch.bool)
    expected[3, 3] = True
    found = target_figures(terms, expected, Bootstrap(weights))
    half = target_figures(terms[:, :20], expected, Bootstrap.of(range(20), draws=2))
    assert found.expected_share.low == pytest.approx(half.share[3, 3].item())
    assert found.expected_mean.low == pytest.approx(half.mean[3, 3].item() / half.score)


def test_what_cannot_be_shared_out_or_does_not_fit():
    terms = random_terms()
    with pytest.raises(UnknownNameError, match="did you mean 'difference'"):
        terms.of("diference")
    same = terms.of("io")[:, :1].expand(-1, 4, -1, -1)
    with pytest.raises(InputError, match="the same"):
        target_figures(same, expected_mask(terms), Bootstrap.of(range(4), draws=2))
    parts = Parts(("mean", "error"), torch.zeros(2, 3, 4))
    with pytest.raises(InputError, match="expected io and s1"):
        pair_terms(parts, {Role.IO: parts})
    with pytest.raises(InputError, match="do not fit"):
        pair_terms(parts, {Role.IO: parts, Role.S1: Parts(("mean", "error"), torch.zeros(2, 5, 4))})
    with pytest.raises(InputError, match="do not fit"):
        pair_terms(parts, {Role.IO: parts, Role.S1: Parts(("mean", "io"), torch.zeros(2, 3, 4))})
    with pytest.raises(InputError, match="distinct names"):
        Parts(("mean", "mean"), torch.zeros(2, 3, 4))


def test_activations_must_be_finite_and_as_long_as_the_codes():
    layout = Layout({"pos": ("ABB", "BAB")}, (("pos",),))
    labels = {"pos": torch.tensor([0, 1])}
    codes = fit_mean_codes(torch.randn(2, 3), labels, layout)
    with pytest.raises(InputError, match="NaN or Inf"):
        skyline_parts(torch.tensor([[1.0, 2.0, float("nan")], [0.0, 0.0, 0.0]]), codes, labels)
    with pytest.raises(InputError, match=r"\(2, 3\)"):
        skyline_parts(torch.zeros(2, 4), codes, labels)


class Planted:
    """Passes its input through: a feature a dimension."""

    def __init__(self, d: int) -> None:
        self.d_in = self.d_sae = d

    def encode(self, x):
        return x

    def decode(self, f):
        return f


@pytest.fixture
def planted():
    """Train with one feature a kind: a union of three names of io, one name of s, pos, noise, a constant."""
    g = torch.Generator().manual_seed(0)
    n, n_values = 4000, {"io": 50, "s": 50, "pos": 2}
    labels = {name: torch.randint(size, (n,), generator=g) for name, size in n_values.items()}
    columns = [
        (labels["io"] < 3).float(),
        (labels["s"] == 7).float(),
        labels["pos"] * 2.0 + torch.rand(n, generator=g),
        torch.randn(n, generator=g),
        torch.full((n,), 5.0),
    ]
    return torch.stack(columns, 1), labels, n_values


def test_kinds_of_features_are_those_planted(planted):
    train, labels, n_values = planted
    known = know_features(Planted(5), train, labels, n_values)
    assert [KINDS[kind] for kind in known.kind] == ["io", "s", "pos", "other", "other"]
    assert known.counts == {"io": 1, "s": 1, "pos": 1, "other": 1}
    assert known.explained[0, 0].item() == pytest.approx(1)
    assert known.explained[:, 3].abs().max() < 0.01, "50 values must not explain noise by their number"


def test_few_prompts_explain_nothing_by_chance():
    """120 prompts in 50 values: their means alone would explain 41 % of any noise."""
    g = torch.Generator().manual_seed(0)
    labels = {name: torch.randint(50, (120,), generator=g) for name in ATTRIBUTES}
    known = know_features(Planted(500), torch.randn(120, 500, generator=g), labels, dict.fromkeys(ATTRIBUTES, 50))
    assert known.explained.mean(1).abs().max() < 0.02
    few = {name: torch.arange(20) for name in ATTRIBUTES}
    known = know_features(Planted(5), torch.randn(20, 5, generator=g), few, dict.fromkeys(ATTRIBUTES, 50))
    assert known.counts == {"io": 0, "s": 0, "pos": 0, "other": 5}, "a value a prompt explains nothing"
    with pytest.raises(InputError, match="as many labels"):
        know_features(Planted(5), torch.zeros(19, 5), few, dict.fromkeys(ATTRIBUTES, 50))


def test_the_parts_of_features_are_centred_on_train_and_add_up(planted):
    train, labels, n_values = planted
    dictionary = Random(5)
    known = know_features(dictionary, train, labels, n_values)
    parts = known.read(train).parts
    torch.testing.assert_close(parts.total, train.double())
    assert parts.vectors[1:].mean(1).abs().max() < 1e-5
    reconstruction = parts.vectors[:-1].sum(0)
    expected = dictionary.decode(dictionary.encode(train)).double()
    torch.testing.assert_close(reconstruction - reconstruction.mean(0), expected - expected.mean(0), atol=1e-5, rtol=0)


def test_feature_pairs_are_the_shares_by_definition(planted):
    train, labels, n_values = planted
    known = [know_features(Random(5, 12, seed), train, labels, n_values) for seed in range(3)]
    g = torch.Generator().manual_seed(1)
    read = [(one, one.read(torch.randn(50, 5, generator=g))) for one in known]
    keys = {Role.IO: read[1], Role.S1: read[2]}
    pairs = feature_pairs(read[0], keys, most=7)
    scores = np.stack([(read[0][1].parts.total * keys[role][1].parts.total).sum(1) for role in KEY_ROLES]) / 5**0.5
    every = []
    for place, role in enumerate(KEY_ROLES):
        q, k = read[0][1], keys[role][1]
        for j, a in enumerate(q.index.tolist()):
            for m, b in enumerate(k.index.tolist()):
                term = np.zeros((2, 50))
                term[place] = q.values[:, j] * k.values[:, m] * (q.directions[j] @ k.directions[m]) / 5**0.5
                every.append((a, role, b, np.cov(term.ravel(), scores.ravel(), bias=True)[0, 1] / scores.var()))
    every.sort(key=lambda row: -abs(row[3]))
    assert [(pair.q, pair.key, pair.k) for pair in pairs] == [row[:3] for row in every[:7]]
    np.testing.assert_allclose([pair.share for pair in pairs], [row[3] for row in every[:7]], atol=1e-9)
    kinds = [(KINDS[known[0].kind[pair.q]], pair.q_kind) for pair in pairs]
    assert all(a == b for a, b in kinds)


def test_the_study_of_ioi_mini(mini):
    """Both sets of features take the same scores apart; the shipped codes and the fitted ones agree."""
    circuit = load_circuit("ioi-mini")
    sites = [site for head in circuit.heads["name-mover"] for site in head_sites(head).values()]
    suite = Suite("random", "ioi-mini", {site: Random(mini.d_head) for site in sites})
    study = study_attention(mini, circuit, suite=suite, prompts=60, train_prompts=400)
    assert [(one.head, one.features) for one in study.heads] == [
        (head, features) for features in (SKYLINE, "random") for head in circuit.heads["name-mover"]
    ]
    by_skyline, by_suite = study.heads[0], study.heads[2]
    assert by_skyline.q == ("mean", *ATTRIBUTES, "error")
    assert by_suite.q == ("mean", *KINDS, "error")
    for target in TARGETS:
        assert by_skyline.targets[target].score == pytest.approx(by_suite.targets[target].score)
        assert by_skyline.targets[target].spread == pytest.approx(by_suite.targets[target].spread)
        always = (one.targets[target].mean[0, 0].item() for one in (by_skyline, by_suite))
        assert next(always) == pytest.approx(next(always), abs=1e-4), "mean × mean is the same for both"
    assert by_skyline.targets["difference"].score > 0, "a name mover attends to IO"
    assert set(by_suite.kinds) == {str(site) for site in head_sites(circuit.heads["name-mover"][0]).values()}


def test_shipped_codes_are_the_ones_fitted_on_all_train(mini):
    circuit = load_circuit("ioi-mini")
    head = circuit.heads["name-mover"][0]
    study = study_attention(mini, circuit, heads=[head], prompts=80)
    assert study.n_train_prompts == len(IOI_V1_MINI.split("train"))
    sites = head_sites(head)
    test, train = (IOI_V1_MINI.split(name).prompts for name in ("test", "train"))
    activations = capture_split(mini, IOI_V1_MINI, train, list(sites.values()), batch_size=512)
    labels, _ = values_of(IOI_V1_MINI, train, ())
    layout = Layout(attribute_values(IOI_V1_MINI))
    on_test = capture_split(mini, IOI_V1_MINI, test[:80], list(sites.values()))
    test_labels, _ = values_of(IOI_V1_MINI, test[:80], ())
    parts = {
        role: skyline_parts(on_test[site], fit_mean_codes(activations[site], labels, layout), test_labels)
        for role, site in sites.items()
    }
    terms = pair_terms(parts[Role.END], {role: parts[role] for role in KEY_ROLES})
    torch.testing.assert_close(
        study.heads[0].targets["difference"].mean, terms.of("difference").mean((0, 1)), atol=1e-4, rtol=1e-3
    )


def test_heads_and_suites_that_cannot_be_studied(mini):
    circuit = load_circuit("ioi-mini")
    for head, message in (("9.9", "layers are 0 to"), ("4", "write 'layer.head'"), ("4.x", "write 'layer.head'")):
        with pytest.raises(InputError, match=message):
            study_attention(mini, circuit, heads=[head], prompts=10)
    site = Site.parse("q.4.0@end")
    with pytest.raises(SuiteError, match=r"no dictionary at k\.4\.0@io, k\.4\.0@s1"):
        study_attention(
            mini, circuit, suite=Suite("part", "ioi-mini", {site: Random(mini.d_head)}), heads=["4.0"], prompts=10
        )
    every = {place: Random(7) for place in head_sites("4.0").values()}
    with pytest.raises(SuiteError, match="d_in = 7"):
        study_attention(mini, circuit, suite=Suite("short", "ioi-mini", every), heads=["4.0"], prompts=10)
