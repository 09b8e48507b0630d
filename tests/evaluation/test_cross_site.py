"""Stream dictionaries on heads: exact where it must be, close on the skyline itself, refused where it cannot be."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ioi_bench.dictionaries.cross_site import project_codes, project_suite, source_of
from ioi_bench.dictionaries.nulls import Linear
from ioi_bench.dictionaries.suite import Suite
from ioi_bench.dictionaries.supervised import CodesFitter, Layout
from ioi_bench.dictionary import PerInputOffset, affine_decoder
from ioi_bench.errors import InputError, SuiteError
from ioi_bench.evaluation.codes import oracle_codes
from ioi_bench.evaluation.cross_site import cross_site_track
from ioi_bench.evaluation.data import Capture, attribute_values, silent
from ioi_bench.evaluation.evaluate import evaluate
from ioi_bench.evaluation.inputs import gather
from ioi_bench.evaluation.study import Study, run_study
from ioi_bench.lm.circuit import Part, load_circuit
from ioi_bench.lm.model import load_model
from ioi_bench.sites import Cell, HookPoint, Role, Site
from ioi_bench.task import task_spec, tokenize

SITES = [Site.parse(text) for text in ("q.1.2@end", "k.1.0@io", "v.1.3@s2")]


def rotation(width, seed=0):
    g = torch.Generator().manual_seed(seed)
    directions = torch.linalg.qr(torch.randn(width, width, generator=g)).Q
    return Linear(directions, torch.randn(width, generator=g))


@pytest.fixture
def activations(tiny_gpt2):
    spec = task_spec("ioi-v1")
    batch = tokenize(spec, spec.split("train").prompts[:12], tiny_gpt2.tokenizer)
    stream = [Site("resid_pre", 1, None, role) for role in (Role.END, Role.IO, Role.S2)]
    return tiny_gpt2.capture(batch, [*SITES, *stream])


def projected(tiny_gpt2, dictionary):
    suite = Suite.at_hook("s", "gpt2-tiny", HookPoint.parse("resid_pre.1"), dictionary)
    return project_suite(suite, tiny_gpt2.weights, SITES)


def test_a_perfect_dictionary_of_the_stream_gives_the_very_q_k_and_v(tiny_gpt2, activations):
    suite, sources = projected(tiny_gpt2, rotation(32))
    for site in SITES:
        own, x = suite.dictionaries[site], activations[sources[site]]
        assert isinstance(own, PerInputOffset)
        decoder = affine_decoder(own)
        reconstruction = own.encode(x) @ decoder.directions + own.offset_for(x)
        torch.testing.assert_close(reconstruction, activations[site], atol=1e-4, rtol=1e-4)


def test_the_error_is_the_projection_of_the_streams_error(tiny_gpt2, activations):
    """By Hugging Face's formula of a layer norm, at the prompt's own scale."""
    half = rotation(32)
    half = Linear(half.directions[:10], half.offset)
    suite, sources = projected(tiny_gpt2, half)
    site = SITES[0]
    own, x = suite.dictionaries[site], activations[sources[site]]
    error = x - half.decode(half.encode(x))
    scale = (x.var(1, unbiased=False, keepdim=True) + tiny_gpt2.weights.eps).sqrt()
    weight = tiny_gpt2.weights.layers[1].w_q[:, 16:24]
    expected = ((error - error.mean(1, keepdim=True)) / scale) @ weight
    reconstruction = own.encode(x) @ own.directions + own.offset_for(x)
    torch.testing.assert_close(activations[site] - reconstruction, expected, atol=1e-4, rtol=1e-3)


def test_a_dictionary_with_an_offset_of_its_own_for_each_input(tiny_gpt2, activations):
    class Normed:
        """It explains an input less its own mean vector, and gives the mean back as an offset."""

        d_in, d_sae = 32, 32

        def __init__(self):
            self.directions, self.offset = torch.eye(32), torch.zeros(32)

        def offset_for(self, x):
            return 0.3 * x

        def encode(self, x):
            return 0.7 * x

        def decode(self, f):
            return f

    suite, sources = projected(tiny_gpt2, Normed())
    for site in SITES:
        own, x = suite.dictionaries[site], activations[sources[site]]
        reconstruction = own.encode(x) @ own.directions + own.offset_for(x)
        torch.testing.assert_close(reconstruction, activations[site], atol=1e-4, rtol=1e-4)


def test_what_a_head_reads_is_the_stream_before_its_layer_at_its_role():
    have = [Site.parse(text) for text in ("resid_pre.9@end", "resid_post.6@s2", "resid_pre.9@io")]
    assert source_of(Site.parse("q.9.6@end"), have) == have[0]
    assert source_of(Site.parse("v.7.3@s2"), have) == have[1]
    for text in ("z.9.6@end", "q.9@end", "q.8.6@end", "k.9.6@s1", "resid_pre.9@end"):
        assert source_of(Site.parse(text), have) is None


def test_no_stream_dictionary_is_an_error_that_says_what_is_needed(tiny_gpt2):
    suite = Suite("s", "gpt2-tiny", {Site.parse("resid_pre.2@end"): rotation(32)})
    with pytest.raises(SuiteError, match="needs resid_pre of such a layer"):
        project_suite(suite, tiny_gpt2.weights, SITES)


def test_the_track_keeps_cells_over_q_k_and_v(tiny_circuit):
    gpt2 = load_circuit("gpt2")
    track = cross_site_track(gpt2)
    assert track.track == "gpt2/cross-site"
    assert set(track.parts) == {"nm-q", "nm-qk", "si-v"}
    assert {str(cell) for cell in track.headline} == {"pos@nm-q", "pos@nm-qk", "pos@si-v"}
    with pytest.raises(SuiteError, match="over q, k or v alone"):
        cross_site_track(tiny_circuit)


@pytest.fixture(scope="module")
def track(tiny_circuit):
    """Values of both layers' heads: the tiny model's heads add up what they saw."""
    return replace(
        tiny_circuit,
        heads={"first": tuple(f"1.{head}" for head in range(4))},
        parts={"v": (Part("v", Role.S2, ("first",)), Part("v", Role.S1, ("first",)))},
        headline=(Cell.parse("s@v"), Cell.parse("io@v")),
        further=(),
    )


def test_an_evaluation_across_sites(tiny_model, track):
    suite = Suite.at_hook("identity", "tiny", HookPoint.parse("resid_pre.1"), rotation(32))
    settings = {"prompts": 40, "train_prompts": 400, "budgets": (1, 2, 16), "methods": ("exchange", "universal")}
    card = evaluate(suite, model=tiny_model, circuit=track, cross_site=True, **settings)
    assert card.track == "tiny/cross-site"
    assert card.made.suite == "identity"
    for cell in card.cells:
        assert cell.missing_sites == ()
        assert cell.faithfulness.fvu.value == pytest.approx(0, abs=1e-5)
        far, near = (cell.edit("exchange", budget).distance_relative.value for budget in (1, 16))
        assert near < far < 1
    other = Suite.at_hook("s", "tiny", HookPoint.parse("resid_post.0"), rotation(32))
    same = evaluate(other, model=tiny_model, circuit=track, cross_site=True, **settings)
    assert same.cell("s@v").edits == card.cell("s@v").edits


def test_across_sites_at_a_hook_point_makes_no_sense(tiny_model):
    hook = HookPoint.parse("resid_pre.1")
    suite = Suite.at_hook("identity", "tiny", hook, rotation(32))
    with pytest.raises(InputError, match="heads of a circuit"):
        evaluate(suite, model=tiny_model, circuit=hook, cross_site=True)


def test_the_skyline_projected_from_the_stream_is_nearly_the_skyline_fitted_at_the_heads():
    """The method on the supervised codes themselves: fitted at resid_pre, edited at q, k and v of ioi-mini."""
    model, circuit = load_model("ioi-mini"), cross_site_track(load_circuit("ioi-mini"))
    spec = task_spec(circuit.task)
    every = {Site("resid_pre", site.layer, None, site.role) for site in circuit.sites}
    sources = {site: Site("resid_pre", site.layer, None, site.role) for site in circuit.sites}
    capture = Capture(model, 256, None, silent)
    inputs = gather(
        capture, circuit, spec.split("test").head(200), spec.split("train").head(2000), mse=False, sources=sources
    )
    fitter = CodesFitter(Layout(attribute_values(spec)))
    fitter.update(inputs.train.activations, {name: inputs.train.values[name] for name in ("io", "s", "pos")})
    codes = fitter.mean_codes()
    stream = {site: codes[site] for site in every}
    heads = {site: codes[site] for site in circuit.sites}
    across = project_codes(stream, model.weights, heads, inputs.train.activations)
    assert across.keys() == heads.keys()
    kinds = {"fitted": heads, "projected": across}
    study = Study(
        model=model,
        data=inputs.data,
        cells=inputs.cells,
        sites=inputs.sites,
        suite={},
        skylines=oracle_codes(
            kinds, inputs.train.values, inputs.train.n_values, inputs.data.base_values, inputs.data.base
        ),
        nulls=(),
        null_cells=frozenset(),
        methods=("exchange",),
        budgets=(1,),
    )
    for cell, table in run_study(study, 200, silent).cells.items():
        accuracy = dict(zip([key[0] for key in table.keys], table.edits[..., 0].mean(0).tolist(), strict=True))
        assert accuracy["projected"] == pytest.approx(accuracy["fitted"], abs=0.06), (cell, accuracy)
