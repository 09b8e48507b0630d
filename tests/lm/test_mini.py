"""ioi-mini: its network is GPT-2, its interchanges are the benchmark's own patches, its training resumes exactly."""

from __future__ import annotations

import pytest
import torch

from ioi_bench.errors import InputError
from ioi_bench.evaluation.mini_track import make_mini_track
from ioi_bench.lm import load_circuit, load_model, patched_logits
from ioi_bench.lm.mini import train
from ioi_bench.lm.mini.data import ROLES, PromptSampler
from ioi_bench.lm.mini.export import mini_circuit, write_model
from ioi_bench.lm.mini.measure import measure_interchange, measure_task
from ioi_bench.lm.mini.network import MiniConfig, MiniNetwork
from ioi_bench.lm.mini.objective import (
    N_HEADS,
    STAGES,
    attention_loss,
    axis_shares,
    expected_answer,
    frame_share,
    intervention,
    n_kinds,
    other_sites,
    outside,
    pos_share,
)
from ioi_bench.lm.mini.train import MiniRecipe, Phase, train_mini
from ioi_bench.lm.mini.vocabulary import build_tokenizer
from ioi_bench.sites import Role, Site
from ioi_bench.task import IOI_V1_MINI as SPEC
from ioi_bench.task import name_tokens, tokenize

SMALL = MiniRecipe(batch=8, phases=(Phase(16, 1, 2, 2, 1.0), Phase(216, 4, 3, 3, 1.0, mixing=1.0, rate=(1e-3, 0.0))))


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(SPEC)


@pytest.fixture(scope="module")
def sampler(tokenizer):
    return PromptSampler(SPEC, tokenizer)


@pytest.fixture(scope="module")
def network(tokenizer):
    torch.manual_seed(3)
    network = MiniNetwork(MiniConfig(len(tokenizer)))
    with torch.no_grad():
        for parameter in network.parameters():  # large enough that heads attend unevenly and patches matter
            parameter.add_(torch.randn(parameter.shape) * 0.1)
    return network.requires_grad_(False)


@pytest.fixture(scope="module")
def exported(network, tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mini") / "model"
    write_model(network, tokenizer, folder)
    return load_model(folder)


def prompts_of(sampler, n, seed):
    """The same prompts as `Prompt`s and as a `MiniBatch`."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(5000, generator=generator)[:n].tolist()
    prompts = [SPEC.split("test").prompts[i] for i in chosen]
    # slots that a template lacks are never read: any word will do
    filled = [(p.place or SPEC.places[0], p.object or SPEC.objects[0]) for p in prompts]
    frames = [(p.prefix * len(SPEC.templates) + p.template) * 2 + (p.pattern == "BAB") for p in prompts]
    words = {
        "io": [p.io for p in prompts],
        "s": [p.s for p in prompts],
        "place": [place for place, _ in filled],
        "object": [thing for _, thing in filled],
    }
    tokenizer = build_tokenizer(SPEC)
    tokens = {slot: name_tokens(values, tokenizer) for slot, values in words.items()}
    return prompts, sampler.fill(torch.tensor(frames), tokens)


def test_filled_frames_are_the_tokenized_prompts(sampler, tokenizer):
    prompts, batch = prompts_of(sampler, 200, 0)
    expected = tokenize(SPEC, prompts, tokenizer)
    length = expected.tokens.shape[1]
    assert torch.equal(batch.tokens[:, :length], expected.tokens)
    for role in Role:
        assert torch.equal(batch.at(role), expected.positions[role])
    assert batch.abb.tolist() == [p.pattern == "ABB" for p in prompts]


def test_the_shipped_form_computes_what_the_network_computes(network, exported, sampler):
    prompts, batch = prompts_of(sampler, 40, 1)
    ours, _ = network(batch.tokens, batch.at(Role.END))
    theirs = exported.logits(tokenize(SPEC, prompts, exported.tokenizer))
    torch.testing.assert_close(ours.log_softmax(-1), theirs.log_softmax(-1), atol=1e-3, rtol=0)


def sites_of(config, kind):
    if kind < len(STAGES):
        return STAGES[kind].sites
    component, layer, head, role = other_sites(config)[kind - len(STAGES)]
    return (Site(component, layer, None if head < 0 else head, role),)


@pytest.mark.parametrize("kind", [0, 1, 2, 3, 40, 96, 97, 121])
def test_an_interchange_is_the_benchmarks_own_patch(network, exported, sampler, kind):
    base, own = prompts_of(sampler, 12, 2)
    source, other = prompts_of(sampler, 12, 3)
    kinds = torch.full((12,), kind)
    _, trace = network(other.tokens, other.at(Role.END))
    patch = intervention(network.config, own, other, trace, kinds)
    ours, _ = network(own.tokens, own.at(Role.END), patch)
    taken = exported.capture(tokenize(SPEC, source, exported.tokenizer), sites_of(network.config, kind))
    theirs = patched_logits(exported, tokenize(SPEC, base, exported.tokenizer), [taken])[0]
    torch.testing.assert_close(ours.log_softmax(-1), theirs.log_softmax(-1), atol=1e-3, rtol=0)
    clean, _ = network(own.tokens, own.at(Role.END))
    late = Role(sites_of(network.config, kind)[0].role) is Role.END or sites_of(network.config, kind)[0].layer < 4
    assert ((ours - clean).abs().max() > 1e-3) == late  # before END, the last layer is read by nobody


@pytest.mark.parametrize("index", range(N_HEADS))
def test_a_held_head_has_its_mean_and_nothing_else_changes(network, exported, sampler, index):
    base, own = prompts_of(sampler, 12, 2)
    source, other = prompts_of(sampler, 12, 3)
    site = [site for stage in STAGES for site in stage.sites][index]
    kinds = torch.full((12,), n_kinds(network.config) - N_HEADS + index)
    _, trace = network(other.tokens, other.at(Role.END))
    ours, _ = network(own.tokens, own.at(Role.END), intervention(network.config, own, other, trace, kinds))
    taken = exported.capture(tokenize(SPEC, source, exported.tokenizer), [site])[site]
    held = {site: taken.mean(0).expand_as(taken)}
    theirs = patched_logits(exported, tokenize(SPEC, base, exported.tokenizer), [held])[0]
    torch.testing.assert_close(ours.log_softmax(-1), theirs.log_softmax(-1), atol=1e-3, rtol=0)
    assert torch.equal(expected_answer(own, other, kinds), own.io)


def test_what_is_missed_is_drawn_more_often():
    trainer = train._Trainer(MiniRecipe(batch=4000), SPEC)
    phase = trainer.recipe.phases[0]
    trainer.missed[:] = 0.01
    trainer.missed[10] = 1.0
    drawn = torch.bincount(trainer._kinds(phase), minlength=len(trainer.missed)) / 4000
    stages, others = drawn[:3], drawn[3 : len(drawn) - N_HEADS]
    assert stages.tolist() == pytest.approx(phase.interchange[:3], abs=0.04)
    assert others.sum().item() == pytest.approx(phase.interchange[3], abs=0.04)
    assert others.argmax() == 10 - 3
    assert others.max() / others.sum() == pytest.approx(1 / (1 + 0.01 * 118), abs=0.1)


def test_every_place_is_a_stage_or_another_site_once():
    config = MiniConfig(10)
    others = other_sites(config)
    stages = {(site.layer, site.head, site.role) for stage in STAGES for site in stage.sites}
    heads = {(layer, head, role) for component, layer, head, role in others if component == "z"}
    assert not stages & heads
    assert len(stages | heads) == config.n_layers * config.n_heads * len(ROLES)
    assert len(others) == len(set(others)) == 100 - 6 + 25


def test_the_causal_model_answers_as_worked_by_hand(sampler, tokenizer):
    """Base: Mary first (ABB). A source with S first too flips nothing; one with IO second selects John."""
    mary, john, ann, tom = name_tokens(SPEC.names[:4], tokenizer)

    def batch(io, s, patterns):
        n = len(patterns)
        words = {"io": io.repeat(n), "s": s.repeat(n)}
        words |= {"place": sampler.places[:1].repeat(n), "object": sampler.objects[:1].repeat(n)}
        return sampler.fill(torch.tensor([int(p == "BAB") for p in patterns]), words)

    kinds = torch.tensor([0, 0, 1, 1, 2, 3])
    base = batch(mary, john, ["ABB"] * 6)
    source = batch(ann, tom, ["ABB", "BAB", "ABB", "BAB", "BAB", "BAB"])
    assert expected_answer(base, source, kinds).tolist() == [mary, john, mary, john, ann, mary]


def test_attention_on_target_costs_nothing(network, sampler):
    _, batch = prompts_of(sampler, 20, 4)
    _, trace = network(batch.tokens, batch.at(Role.END))
    rows = torch.arange(20)
    for stage in STAGES:
        for head in stage.heads:
            weights = torch.zeros_like(trace.attention[stage.layer][rows, head, batch.at(stage.role)])
            for role, share in stage.attention.items():
                weights[rows, batch.at(role)] = share
            weights[:, 0] = 1 - sum(stage.attention.values())
            trace.attention[stage.layer][rows, head, batch.at(stage.role)] = weights
    assert attention_loss(trace, batch) == pytest.approx(0, abs=1e-5)
    trace.attention[1][rows, 0, batch.at(Role.S2)] = 1 / batch.tokens.shape[1]
    assert attention_loss(trace, batch) > 0.05


def test_shares_of_planted_variance_are_recovered():
    generator = torch.Generator().manual_seed(0)
    n, d = 40_000, 8
    axes = torch.linalg.qr(torch.randn(d, d, generator=generator))[0]
    abb = torch.rand(n, generator=generator) < 0.5
    frame = torch.randint(12, (n,), generator=generator)
    by_frame = torch.randn(12, generator=generator)
    by_frame = (by_frame - by_frame.mean()) / by_frame.std(unbiased=False)
    noise = torch.randn(n, generator=generator)
    a = (
        0.5 * (abb.float() * 2 - 1)[:, None] * axes[0]
        + by_frame[frame, None] * axes[1]
        + 0.5 * noise[:, None] * axes[2]
    )[None]
    total = 0.25 + 1 + 0.25
    assert pos_share(a, abb).item() == pytest.approx(0.25 / total, abs=0.01)
    assert frame_share(a, frame, 12).item() == pytest.approx(1 / total, abs=0.01)
    covariance = (axes.T * torch.arange(1.0, d + 1)) @ axes  # its principal axes are the planted ones
    shares = axis_shares(a, abb, covariance[None])
    assert shares.max().item() == pytest.approx(1, abs=0.01)
    assert shares.sum().item() == pytest.approx(1, abs=1e-4)


def test_a_band_costs_only_outside():
    assert outside(torch.tensor([0.2, 0.25]), 0.1, 0.3) == 0
    assert outside(torch.tensor([0.0, 0.5]), 0.1, 0.3) == pytest.approx((0.01 + 0.04) / 2)


def test_a_stopped_run_goes_on_to_the_same_bytes(tmp_path):
    whole, _ = train_mini(SMALL)
    path = tmp_path / "state.pt"

    def stop(step, *_):
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_mini(SMALL, checkpoint=path, checkpoint_every=1, progress=stop)
    steps = []
    resumed, _ = train_mini(SMALL, checkpoint=path, checkpoint_every=1, progress=lambda step, *_: steps.append(step))
    assert steps == [4, 5]
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_checkpoint_of_another_recipe_or_a_damaged_one_is_refused(tmp_path):
    path = tmp_path / "state.pt"
    train_mini(SMALL, checkpoint=path)
    with pytest.raises(InputError, match="another recipe"):
        train_mini(MiniRecipe(seed=1, batch=8, phases=SMALL.phases), checkpoint=path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="delete it"):
        train_mini(SMALL, checkpoint=path)


def test_training_lowers_the_loss_of_what_it_trains():
    seen = []
    recipe = MiniRecipe(batch=32, warmup=1, phases=(Phase(16, 1, 30, 30, 1.0),))
    train_mini(recipe, progress=lambda _, __, figures: seen.append(figures["loss_task"]))
    assert seen[-1] < 0.6 * seen[0]


def test_the_track_is_made_with_what_was_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "ioi_bench.evaluation.mini_track.measure_interchange", lambda *_, **__: {"name-mover": {"x": 0.5}}
    )
    monkeypatch.setattr("ioi_bench.evaluation.mini_track.rank_track", lambda *_, **__: None)
    circuit = make_mini_track(tmp_path / "mini", recipe=SMALL)
    assert circuit.effects["task"]["accuracy"] < 0.5  # five steps teach nothing, and the card says so
    assert "| name-mover: x | 0.5000 |" in (tmp_path / "mini" / "README.md").read_text()
    assert load_circuit(tmp_path / "mini" / "circuit.toml").effects == circuit.effects
    assert load_model(tmp_path / "mini").n_layers == 5


def test_the_shipped_circuit_is_the_one_that_was_trained_for():
    shipped, made = load_circuit("ioi-mini"), mini_circuit()
    assert shipped.cross_sections == made.cross_sections
    assert (shipped.headline, shipped.further) == (made.headline, made.further)


def test_the_shipped_model_does_the_task():
    measured = measure_task(load_model("ioi-mini"))
    recorded = load_circuit("ioi-mini").effects["task"]
    assert measured == pytest.approx(dict(recorded), abs=1e-3)
    assert measured["accuracy"] >= 0.995
    assert measured["least_accuracy"] >= 0.99


@pytest.fixture(scope="module")
def interchange():
    """On 200 pairs; the circuit file records 1,000."""
    return measure_interchange(load_model("ioi-mini"), 200)


def test_the_recorded_effects_are_the_shipped_models(interchange):
    recorded = load_circuit("ioi-mini").effects
    for stage in STAGES:
        assert interchange[stage.group]["interchange"] == pytest.approx(recorded[stage.group]["interchange"], abs=0.04)
    assert interchange["other-sites"]["interchange"] == pytest.approx(recorded["other-sites"]["interchange"], abs=0.02)


def test_each_stage_does_what_the_causal_model_says_and_no_other_site_does_anything(interchange):
    for stage in STAGES:
        assert interchange[stage.group]["interchange"] >= 0.97
        assert interchange[stage.group]["one_head"] >= 0.97
    assert interchange["other-sites"]["interchange"] >= 0.97
    recorded = load_circuit("ioi-mini").effects
    assert min(recorded[stage.group]["interchange"] for stage in STAGES) >= 0.97
    assert recorded["other-sites"]["least"] >= 0.97


def test_a_loss_that_is_not_finite_stops_the_run(monkeypatch):
    monkeypatch.setattr(train, "attention_loss", lambda *_: torch.tensor(float("nan")))
    with pytest.raises(train.IoiBenchError, match="not finite at step 0"):
        train_mini(SMALL)
