"""The preflight: what reads the wrong inputs is stopped with the remedy, and what is bad is let through."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from ioi_bench.dictionaries.architectures import TopK
from ioi_bench.dictionaries.nulls import codebook, standard_null
from ioi_bench.dictionaries.per_input import PerInputNorm
from ioi_bench.dictionaries.scaled import rescaled
from ioi_bench.dictionaries.suite import Suite
from ioi_bench.errors import InputError
from ioi_bench.evaluation.choices import to_sqrt_d
from ioi_bench.evaluation.evaluate import evaluate
from ioi_bench.evaluation.preflight import Preflight, Reading, _figures, preflight, require_readable
from ioi_bench.lm.raw import raw_activations
from ioi_bench.plugins.records import LoadOptions
from ioi_bench.sites import HookPoint, Role, Site
from ioi_bench.task import IOI_V1, task_spec, tokenize

HOOK = HookPoint.parse("resid_pre.1")
SPLIT = task_spec("ioi-v1-mini").split("train")


def memory_of(x):
    """Memorised inputs, one of them active: only of inputs like its own is it any good."""
    mean = x.mean(0)
    return Nearest(x - mean, mean, -0.5 * (x - mean).square().sum(1))


class Nearest:
    """A codebook: the nearest of some memorised inputs."""

    def __init__(self, rows, mean, bias):
        self.directions, self.offset, self.bias = rows, mean, bias
        self.d_sae, self.d_in = rows.shape

    def encode(self, x):
        score = (x - self.offset) @ self.directions.T + self.bias
        return torch.zeros_like(score).scatter_(1, score.argmax(1, keepdim=True), 1.0)

    def decode(self, f):
        return f @ self.directions + self.offset


def stream(model, change=lambda x: x, n=400):
    batch = tokenize(SPLIT.spec, SPLIT.prompts[:n], model.tokenizer)
    found = model.capture(batch, [HOOK.at(role) for role in Role])
    return change(torch.cat(list(found.values())))


def suite_of(x):
    return Suite.at_hook("s", "tiny", HOOK, memory_of(x))


def root_d(x):
    return x * (x.shape[1] ** 0.5 / x.norm(dim=1).mean())


def unit(x):
    return x / x.norm(dim=1, keepdim=True)


def layer_normed(x):
    return torch.nn.functional.layer_norm(x, x.shape[1:])


def test_a_dictionary_of_these_activations_passes_without_further_tries(tiny_model):
    found = preflight(suite_of(stream(tiny_model)), tiny_model, SPLIT)
    assert found.given.fvu < 0.05
    assert found.given.l0 == 1
    assert found.given.norm_ratio == pytest.approx(1, abs=0.05)
    assert found.others == ()


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (unit, "with each input at unit norm"),
        (layer_normed, "with each input layer-normed"),
    ],
)
def test_inputs_of_another_kind_are_recognised(tiny_model, change, name):
    model = replace(tiny_model, weights=scaled_embedding(tiny_model.weights, 10.0))
    found = preflight(suite_of(stream(model, change)), model, SPLIT)
    assert found.better.name == name
    with pytest.raises(InputError, match=rf"FVU .* as given .*but FVU .* {name}.*--no-preflight"):
        require_readable(found)


def test_a_lost_scale_is_recognised_and_the_option_helps(tiny_model, tiny_circuit):
    """The stream of the tiny model is scaled up first, so that √d is far from what it has."""
    model = replace(tiny_model, weights=scaled_embedding(tiny_model.weights, 10.0))
    suite = suite_of(stream(model, root_d))
    found = preflight(suite, model, SPLIT)
    assert found.better.name == "with √d scaling"
    with pytest.raises(InputError, match=r"with √d scaling .*: add --scale sqrt-d\."):
        require_readable(found)
    assert preflight(suite, model, SPLIT, sqrt_d=True).given.fvu < 0.1
    settings = {"prompts": 10, "train_prompts": 60, "budgets": (1,), "methods": ("exchange",), "circuit": HOOK}
    with pytest.raises(InputError, match="add --scale sqrt-d"):
        evaluate(suite, model=model, **settings)
    helped = evaluate(suite, model=model, options=LoadOptions(scale="sqrt-d"), **settings)
    overruled = evaluate(suite, model=model, preflight=False, **settings)
    assert helped.cell("io@s2").faithfulness.fvu.value < 0.5 < overruled.cell("io@s2").faithfulness.fvu.value


@pytest.mark.parametrize("scale", [3.0, "sqrt-d"])
def test_a_scale_that_was_not_needed_is_named_and_no_other_reading_is_blamed(tiny_model, scale):
    model = replace(tiny_model, weights=scaled_embedding(tiny_model.weights, 10.0))
    suite = suite_of(stream(model))
    given = suite if scale == "sqrt-d" else rescaled(suite, dict.fromkeys(suite.sites, scale))
    found = preflight(given, model, SPLIT, sqrt_d=scale == "sqrt-d")
    assert found.given.fvu > 0.2
    assert found.better.name == "without --scale"
    with pytest.raises(InputError, match="leave --scale out"):
        require_readable(found)


def test_a_number_given_in_python_scales_a_suite_as_it_scales_a_file(tiny_model):
    suite = suite_of(stream(tiny_model))
    settings = {"prompts": 10, "train_prompts": 60, "budgets": (1,), "methods": ("exchange",), "circuit": HOOK}
    plain, scaled = (
        evaluate(suite, model=tiny_model, preflight=False, options=LoadOptions(scale=scale), **settings)
        for scale in (None, 3.0)
    )
    by_hand = evaluate(rescaled(suite, dict.fromkeys(suite.sites, 3.0)), model=tiny_model, preflight=False, **settings)
    fvu = [card.cell("io@s2").faithfulness.fvu.value for card in (plain, scaled, by_hand)]
    assert fvu[1] == pytest.approx(fvu[2])
    assert fvu[1] > 2 * fvu[0]
    assert scaled.made.options == {"scale": "3.0", "preflight": "no"}


def test_root_d_is_the_mean_norm_over_all_roles_of_a_hook():
    sites = [HOOK.at(role) for role in (Role.IO, Role.END)]
    x = torch.randn(50, 9)
    activations = {site: x / x.norm(dim=1, keepdim=True) * norm for site, norm in zip(sites, (2.0, 4.0), strict=True)}
    inputs = SimpleNamespace(train=SimpleNamespace(activations=activations))
    scaled = to_sqrt_d(Suite("s", "tiny", dict.fromkeys(sites, memory_of(x))), inputs)
    assert [scaled.dictionaries[site].factor for site in sites] == pytest.approx(
        [3 / 3] * 2
    )  # √9 over the mean of 2 and 4


def test_a_dictionary_that_normalises_each_input_passes(tiny_model):
    """Its reconstruction has the input's own offset: without it the mean would be missing."""
    x = stream(tiny_model) + 5  # a mean over dimensions that layer norm takes out and the offset puts back
    dictionary = PerInputNorm(codebook(layer_normed(x), len(x), 0), layer_norm=True)
    fvu, active, ratio = _figures(dictionary, x)
    assert fvu < 0.1
    assert active == 1
    assert ratio == pytest.approx(1, abs=0.05)


def scaled_embedding(weights, factor):
    return replace(weights, embed=weights.embed * factor, pos=weights.pos * factor)


def test_training_without_bos_is_recognised(tiny_model):
    batch = tokenize(SPLIT.spec, SPLIT.prompts[:400], tiny_model.tokenizer)
    positions = {role: at - 1 for role, at in batch.positions.items()}
    # moving every position by one moves the position embeddings: make that large enough to matter
    weights = replace(tiny_model.weights, pos=tiny_model.weights.pos * 30)
    model = replace(tiny_model, weights=weights)
    without = replace(batch, tokens=batch.tokens[:, 1:], lengths=batch.lengths - 1, positions=positions)
    x = torch.cat(list(model.capture(without, [HOOK.at(role) for role in Role]).values()))
    found = preflight(suite_of(x), model, SPLIT)
    assert found.better.name == "without BOS"


def test_training_on_unprocessed_weights_is_recognised(tiny_model, monkeypatch):
    """What processing takes out of the stream, its mean over dimensions, is put back."""
    sites = [HOOK.at(role) for role in Role]
    batch = tokenize(SPLIT.spec, SPLIT.prompts[:400], tiny_model.tokenizer)
    raw = {site: x + 20 for site, x in tiny_model.capture(batch, sites).items()}
    monkeypatch.setattr("ioi_bench.evaluation.preflight.raw_activations", lambda *_: raw)
    found = preflight(suite_of(torch.cat(list(raw.values()))), tiny_model, SPLIT)
    assert found.better.name == "on the model's unprocessed weights"


def test_raw_activations_differ_from_processed_ones_only_by_what_processing_does(tiny_gpt2):
    """Writing weights are centred: the stream without its mean over dimensions is the same; q and k are the same."""
    batch = tokenize(IOI_V1, IOI_V1.split("train").prompts[:5], tiny_gpt2.tokenizer)
    texts = ("resid_pre.1@s2", "resid_mid.1@end", "resid_post.2@io", "attn_out.0@s1", "mlp_out.1@end")
    stream_sites = [Site.parse(text) for text in texts]
    same_sites = [Site.parse(text) for text in ("q.1.2@end", "k.2.0@io")]
    shifted_sites = [Site.parse(text) for text in ("v.1.1@s2", "z.1@end")]
    sites = stream_sites + same_sites + shifted_sites
    ours, raw = tiny_gpt2.capture(batch, sites), raw_activations(tiny_gpt2, batch, sites)
    for site in stream_sites[:3]:
        centred = raw[site] - raw[site].mean(1, keepdim=True)
        torch.testing.assert_close(centred, ours[site], atol=1e-3, rtol=1e-3)
    for site in same_sites:
        torch.testing.assert_close(raw[site], ours[site], atol=1e-3, rtol=1e-3)
    for site in shifted_sites:  # the values' bias is folded away: a constant
        difference = raw[site] - ours[site]
        torch.testing.assert_close(difference, difference[:1].expand_as(difference), atol=1e-3, rtol=1e-3)


def test_a_model_made_in_memory_has_no_unprocessed_weights(tiny_model):
    batch = tokenize(SPLIT.spec, SPLIT.prompts[:3], tiny_model.tokenizer)
    assert raw_activations(tiny_model, batch, [HOOK.at(Role.END)]) is None


def test_a_model_whose_directory_is_gone_has_no_unprocessed_weights(tiny_model, tmp_path):
    batch = tokenize(SPLIT.spec, SPLIT.prompts[:3], tiny_model.tokenizer)
    gone = replace(tiny_model, directory=tmp_path / "gone")
    assert raw_activations(gone, batch, [HOOK.at(Role.END)]) is None


def test_a_random_dictionary_gets_its_card(tiny_model):
    width = tiny_model.d_model
    g = torch.Generator().manual_seed(0)
    rows = torch.randn(64, width, generator=g)
    bad = TopK(
        W_enc=torch.randn(width, 64, generator=g), b_enc=torch.zeros(64), W_dec=rows, b_dec=torch.zeros(width), k=8
    )
    for dictionary in (bad, standard_null(stream(tiny_model), 0)):
        suite = Suite.at_hook("bad", "tiny", HOOK, dictionary)
        require_readable(preflight(suite, tiny_model, SPLIT))


def test_better_must_be_clearly_better_and_the_given_one_bad():
    def found(given, other):
        return Preflight(Reading("as given", given, 1, 1), (Reading("with √d scaling", other, 1, 1),)).better

    assert found(2.1, 0.08).fvu == 0.08
    assert found(0.8, 0.5) is None
    assert found(2.1, 0.6) is None
    assert found(0.4, 0.01).fvu == 0.01
    assert found(0.15, 0.01) is None


def test_the_message_gives_both_figures_and_the_remedy():
    given, other = Reading("as given", 2.1, 30, 0.4), Reading("with √d scaling", 0.08, 25, 0.98)
    with pytest.raises(InputError, match=r"FVU 2\.1 as given .*FVU 0\.08 with √d scaling .*: add --scale sqrt-d"):
        require_readable(Preflight(given, (other,)))
