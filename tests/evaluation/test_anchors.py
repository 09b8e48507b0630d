"""The anchors: each against what it must be by hand or in closed form, on the card, and on disk."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ioi_bench.dictionaries.suite import load_suite
from ioi_bench.errors import InputError, UnknownNameError
from ioi_bench.evaluation.anchor_files import anchors_for, read_anchors, shipped_anchors, write_anchors
from ioi_bench.evaluation.anchors import OF_SUITE, OF_TRACK, track_anchors, track_baselines
from ioi_bench.evaluation.bootstrap import Bootstrap, name_pairs
from ioi_bench.evaluation.data import silent
from ioi_bench.evaluation.evaluate import evaluate
from ioi_bench.evaluation.ranking import rank_cells, untrained_gains
from ioi_bench.lm.circuit import load_circuit
from ioi_bench.lm.model import load_model
from ioi_bench.lm.patching import patched_logits
from ioi_bench.lm.untrained import untrained_model
from ioi_bench.plugins.discovery import BUILT_IN
from ioi_bench.plugins.manager import Plugins
from ioi_bench.plugins.records import Baseline
from ioi_bench.task import task_spec, tokenize

SUITE = Path(__file__).parents[2] / "reference_saes" / "ioi-mini" / "topk-k3-s0"
SMALL = {"prompts": 60, "train_prompts": 600}
ROWS = ("no-edit", "mean-ablation", "full-patch", "untrained", "shuffled-skyline", "skyline-encoded")


@pytest.fixture(scope="module")
def mini():
    return load_model("ioi-mini"), load_circuit("ioi-mini")


@pytest.fixture(scope="module")
def found(mini):
    return track_anchors(*mini, only=ROWS, **SMALL)


@pytest.fixture(scope="module")
def card():
    return evaluate(SUITE, budgets=(1, 2, 4), methods=("exchange", "aware"), baselines=("permuted-decoder",), **SMALL)


def runs(model, circuit, cell, write):
    """When ``write(train, base, target)`` is written, by hand: agreement with the truth-patched run, and the effect."""
    spec = task_spec(circuit.task)
    sites = circuit.cross_sections[cell.cross_section].sites
    judged, train = spec.split("test").head(60), spec.split("train").head(600)
    tokens, changed, others = (
        tokenize(spec, prompts, model.tokenizer)
        for prompts in (judged.prompts, judged.counterfactual(cell.attributes), train.prompts)
    )
    base, target, known = (model.capture(batch, sites) for batch in (tokens, changed, others))
    written = {site: write(known[site], base[site], target[site]) for site in sites}
    clean, truth, edited = (patched_logits(model, tokens, [values])[0] for values in (base, target, written))
    names = torch.tensor(
        [
            [model.tokenizer.encode(f" {name}", add_special_tokens=False)[0] for name in (p.io, p.s, q.io, q.s)]
            for p, q in zip(judged.prompts, judged.counterfactual(cell.attributes), strict=True)
        ]
    )
    start, end, there = ((x := logits.gather(1, names)) - x.mean(1, keepdim=True) for logits in (clean, truth, edited))
    effect = ((there - start) * (end - start)).sum(1) / (end - start).square().sum(1)
    return (truth.argmax(-1) == edited.argmax(-1)).float().mean().item(), effect.clamp(0.5, 1)


# -- edits of the whole activation ------------------------------------------------------------------------------------


def only(row, cell):
    """The figures of an anchor that brings its own edit."""
    (edits,) = next(one for one in row.cells if one.name == str(cell)).edits.values()
    assert edits.s is None
    assert edits.score is None
    return edits.accuracy, edits.weight


def test_no_edit_is_the_tracks_no_edit_and_moves_nothing(found):
    for cell in found.cells:
        accuracy, weight = only(found.row("no-edit"), cell.name)
        assert accuracy == (cell.no_edit.value,)
        assert weight == (0.0,)


def test_the_full_patch_is_always_right_and_moves_everything(found):
    for cell in found.cells:
        accuracy, weight = only(found.row("full-patch"), cell.name)
        assert accuracy == (1.0,)
        assert weight == pytest.approx((1.0,), abs=1e-4)


def weight_of_the_mean(train, base, target):
    """Per prompt, all coordinates set to the train mean: the most of what goes out, comes in and aside; how far."""
    mean, here = train.mean(0), base.mean(0)
    own, other = base - here, target - here
    put_in = ((mean - here) * other).clamp_min(0).sum(1) / other.square().sum(1)
    length = (mean - here).square().sum() / other.square().sum(1)
    step, way = mean - base, target - base
    along = (step * way).sum(1).square() / way.square().sum(1).clamp_min(1e-12)
    aside = (step.square().sum(1) - along) / own.square().sum(1)
    # What goes out is the whole: (x − E x)·(x − E x) / ‖x − E x‖².
    weight = torch.stack([torch.ones(len(base)), put_in, length, aside]).amax(0)
    return torch.stack([weight, step.square().sum(1) / own.square().sum(1).mean()])


def test_mean_ablation_writes_the_train_mean(found, mini):
    for cell in mini[1].headline[::2]:
        weights = []

        def write(train, base, target, weights=weights):
            weights.append(weight_of_the_mean(train, base, target))
            return train.mean(0).expand_as(base)

        accuracy, weight = only(found.row("mean-ablation"), cell)
        agreement, effect = runs(*mini, cell, write)
        assert accuracy[0] == pytest.approx(agreement, abs=1e-6)
        weights, moved = torch.stack(weights, 1)  # [site, prompt] each: sites, then prompts, count by how far they move
        of_prompts = (weights * moved).sum(0) / moved.sum(0) / effect
        moved = moved.mean(0)
        assert weight == pytest.approx(((of_prompts * moved).sum().item() / moved.sum().item(),), abs=1e-4)


# -- supervised rows --------------------------------------------------------------------------------------------------


def test_shuffled_labels_are_worth_nothing(found):
    """All 20,000 labels shuffled leave nothing of a code; 600 leave noise, which is far from one."""
    for cell in shipped_anchors("ioi-mini").row("shuffled-skyline").cells:
        for edits in cell.edits.values():
            assert edits.s is None or edits.s.value < 0.02
    shuffled, true = (found.row(name).headline["aware"].value for name in ("shuffled-skyline", "skyline-encoded"))
    assert shuffled < true - 0.6


# -- untrained --------------------------------------------------------------------------------------------------------


def test_the_untrained_row_is_measured_on_untrained_weights(found, mini):
    model, circuit = mini
    row, other = found.row("untrained"), untrained_model(model, 0)
    assert row.model == other.name != model.name
    own = {cell.name: cell for cell in row.track}
    for cell in circuit.headline[:3]:
        assert own[str(cell)].no_edit.value == pytest.approx(
            runs(other, circuit, cell, lambda _, a, __: a)[0], abs=1e-6
        )
        assert own[str(cell)].skyline.value - own[str(cell)].no_edit.value < 0.1
    assert row.headline == {}  # there is nothing to gain, and so nothing to score
    assert all(edits.s is edits.score is None for cell in row.cells for edits in cell.edits.values())
    trained = {cell.name: cell for cell in found.cells}
    assert trained["io@nm-out"].no_edit.value < 0.1 < own["io@nm-out"].no_edit.value


def test_a_cell_that_an_untrained_model_passes_is_not_ranked(tiny_inputs, monkeypatch):
    """The trained model itself in the untrained one's place passes wherever the rule lets a cell pass."""
    boot = Bootstrap.of(name_pairs(tiny_inputs.data.split.prompts))
    before = rank_cells(tiny_inputs, boot, batch_size=256, progress=silent)
    monkeypatch.setattr("ioi_bench.evaluation.ranking.untrained_model", lambda model, seed: model)
    after = rank_cells(tiny_inputs, boot, batch_size=256, progress=silent)
    assert any(one.ranked for one in before.values())
    for cell, one in before.items():
        assert not after[cell].ranked
        if one.ranked:
            assert "on an untrained model, too (seed 0)" in after[cell].reason
        else:
            assert after[cell].reason == one.reason


def test_gains_on_an_untrained_model_are_of_a_skyline_that_is_fitted_there(tiny_inputs):
    cells = tiny_inputs.circuit.headline
    boot = Bootstrap.of(name_pairs(tiny_inputs.data.split.prompts))
    gains = untrained_gains(tiny_inputs, cells, boot, 0, batch_size=256, progress=silent)
    assert set(gains) == set(cells)
    assert all(-1 <= gain.low <= gain.value <= gain.high <= 1 for gain in gains.values())


# -- what every card has ----------------------------------------------------------------------------------------------


def test_every_baseline_of_ours_is_an_anchor_of_the_track_or_of_the_suite():
    plugins = Plugins.load(packages=False)
    own = {name for name in plugins.all(Baseline) if plugins.owner(Baseline, name) == BUILT_IN}
    assert own == {*OF_TRACK, *OF_SUITE}
    assert not any(one.needs_suite for one in track_baselines(plugins))


def test_a_card_shows_the_anchors_of_its_suite(card):
    assert [row.name for row in card.anchors.suite] == list(OF_SUITE)
    matched, permuted = card.anchors.suite
    ranked = [cell for cell in card.cells if cell.headline and cell.ranked]
    assert [cell.name for cell in matched.cells] == [cell.name for cell in ranked]
    for cell, null, other in zip(ranked, matched.cells, permuted.cells, strict=True):
        for method, score in cell.scores.items():
            assert null.edits[method].s.value == score.s_null.value
            assert null.edits[method].accuracy == score.null.accuracy
            assert other.edits[method].s.value < score.s.value


def test_the_permuted_decoder_on_a_card_is_the_baseline_of_that_name(card):
    (row,) = card.baselines
    for cell in card.anchors.suite[1].cells:
        edits = next(one for one in row.cells if one.name == cell.name).edits
        for method, found in cell.edits.items():
            own = [edit for edit in edits if edit.method == method]
            assert found.accuracy == tuple(edit.accuracy.value for edit in own)
            assert found.weight == pytest.approx([edit.weight.value for edit in own], abs=1e-5)


def test_a_card_shows_the_anchors_that_ship(card, mini):
    assert card.anchors.track == shipped_anchors("ioi-mini")
    assert card.anchors.note == ""
    made = card.anchors.track.made
    assert (made.model_sha256, made.circuit_sha256) == (mini[0].sha256, mini[1].sha256)
    assert made.n_prompts >= 1000
    assert tuple(row.name for row in card.anchors.track.rows) == OF_TRACK


def test_what_ships_is_what_the_card_found_within_its_interval(card):
    """Other prompts and fewer train prompts, but the same model: no edit does not depend on train."""
    for known in card.anchors.track.cells:
        own = card.cell(known.name)
        assert (own.ranked, own.reason) == (known.ranked, known.reason)
        assert own.no_edit.value == pytest.approx(known.no_edit.value, abs=0.15)


def test_a_track_without_anchors_says_so(mini):
    model, circuit = mini
    track, note = anchors_for(model, replace(circuit, track="another"))
    assert track is None
    assert "none ship with the track 'another'" in note
    changed = replace(circuit, further=())
    track, note = anchors_for(model, changed)
    assert track is None
    assert "of another circuit" in note


# -- on disk ----------------------------------------------------------------------------------------------------------


def test_they_survive_the_disk_to_six_digits(found, tmp_path):
    write_anchors(found, tmp_path / "anchors.json")
    again = read_anchors(tmp_path / "anchors.json")
    assert again.made == found.made
    for one, other in zip(again.cells, found.cells, strict=True):
        assert one.skyline_weight.value == pytest.approx(other.skyline_weight.value, abs=1e-6)


def test_a_card_takes_anchors_from_a_file(found, tmp_path):
    write_anchors(found, tmp_path / "anchors.json")
    settings = {"methods": ("exchange",), "budgets": (1, 2, 4), "prompts": 20, "train_prompts": 200}
    card = evaluate(SUITE, anchors=tmp_path / "anchors.json", cells=("pos@si-out",), **settings)
    assert card.anchors.track == read_anchors(tmp_path / "anchors.json")
    assert card.made.options == {"anchors": "given"}


@pytest.mark.parametrize("field", ["model_sha256", "circuit_sha256", "spec_sha256", "scoring"])
def test_anchors_of_something_else_are_refused(found, mini, field):
    other = found.model_copy(update={"made": found.made.model_copy(update={field: "0" * 64})})
    with pytest.raises(InputError, match=r"are (of another|scored by) .* compute them anew with `ioi-bench anchors`"):
        anchors_for(*mini, other)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda text: text[:500], "cannot be read as anchors"),
        (lambda text: text.replace('"low": 0.', '"low": NaN, "low": 0.', 1), "NaN is no number"),
        (lambda text: json.dumps(json.loads(text) | {"schema_version": 2}), "schema_version: Input should be 1"),
        (lambda text: json.dumps(json.loads(text) | {"rows": 3}), "no anchors of this version: rows"),
        (lambda text: json.dumps(json.loads(text) | {"more": 3}), "no anchors of this version: more"),
        (lambda text: "[]", "no anchors of this version"),
        (lambda text: "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "cannot be read as anchors"),
    ],
)
def test_damaged_files_are_refused(found, tmp_path, damage, says):
    path = tmp_path / "anchors.json"
    write_anchors(found, path)
    path.write_text(damage(path.read_text()))
    with pytest.raises(InputError, match=says):
        read_anchors(path)


def test_a_missing_file_says_how_to_get_one(tmp_path):
    with pytest.raises(InputError, match="ioi-bench anchors --out FILE"):
        read_anchors(tmp_path / "none.json")


def test_an_unknown_baseline_is_named(mini):
    with pytest.raises(UnknownNameError, match="did you mean 'das'"):
        track_anchors(*mini, only=["dsa"], prompts=5, train_prompts=50)


def test_a_suite_without_ranked_cells_has_no_anchors_of_its_own():
    none = {cell: replace(found, ranked=False, reason="no") for cell, found in load_circuit("ioi-mini").ranked.items()}
    settings = {"methods": ("exchange",), "budgets": (1, 2, 4), "prompts": 20, "train_prompts": 200}
    card = evaluate(load_suite(SUITE), ranking=none, **settings)
    assert card.anchors.suite == ()
