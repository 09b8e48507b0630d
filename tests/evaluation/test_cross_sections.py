"""What features mean and where they point, on the card: from the study to the figures."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ioi_bench.dictionaries.nulls import codebook
from ioi_bench.dictionaries.suite import Suite
from ioi_bench.evaluation.bootstrap import Bootstrap, name_pairs
from ioi_bench.evaluation.cross_sections import cross_section_figures
from ioi_bench.evaluation.data import silent
from ioi_bench.evaluation.evaluate import evaluate, make_study
from ioi_bench.evaluation.faithful import COLUMNS, KEPT, REMOVED
from ioi_bench.evaluation.study import run_study
from ioi_bench.lm.patching import clean_run, patched_logits
from ioi_bench.metrics import activity_counts, explanations
from ioi_bench.metrics.interpretability import KINDS, THRESHOLDS, Explanations
from ioi_bench.plugins.manager import Plugins
from ioi_bench.sites import Cell

CELL = Cell.parse("s@out")


@pytest.fixture(scope="module")
def study(tiny_inputs):
    """Memorised activations as dictionaries, in one cell."""
    made = {site: codebook(values, 60, i) for i, (site, values) in enumerate(tiny_inputs.train.activations.items())}
    found, _ = make_study(Suite("s", "tiny", made), tiny_inputs, [], ("exchange",), (1,), seed=0, progress=silent)
    return replace(found, cells=(CELL,))


@pytest.fixture(scope="module")
def oracle(tiny_inputs, study):
    """The skyline's oracle codes, with explanations: each feature is one value."""
    train = tiny_inputs.train
    suite = {}
    for site, codes in tiny_inputs.skylines["skyline"].items():
        f = codes.encode(train.activations[site], train.values)
        of = {attribute: train.values[attribute] for attribute in ("io", "s", "pos")}
        counts = activity_counts(f, **of, n_io=train.n_values["io"], n_s=train.n_values["s"])
        suite[site] = replace(codes, explanations=explanations(counts))
    return replace(study, suite=suite)


def runs(study):
    table = run_study(study, 50, silent).faithful["out"].runs
    return dict(zip(COLUMNS, table.unbind(1), strict=True))


def figures(study, inputs):
    table = run_study(study, 50, silent).faithful["out"]
    boot = Bootstrap.of(name_pairs(inputs.data.split.prompts), draws=20)
    return cross_section_figures("out", study.sites["out"], study.suite, inputs.mean_codes, table, boot)


def masked(study, of):
    """The study with other features explained."""

    def one(codes):
        alive = codes.explanations.alive
        f1 = torch.zeros(len(KINDS), len(alive), dtype=torch.float64)
        f1[0] = of(codes)
        return replace(codes, explanations=Explanations(f1, alive))

    return replace(study, suite={site: one(codes) for site, codes in study.suite.items()})


def test_all_features_explained_is_sufficiency_and_necessity(oracle):
    found = runs(oracle)
    for threshold in THRESHOLDS:
        torch.testing.assert_close(found[KEPT[threshold]], found["ld_sae"], atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(found[REMOVED[threshold]], found["ld_without"], atol=1e-3, rtol=1e-3)
    assert (found["ld_sae"] - found["ld_mean"]).abs().mean() > 0.1, "or this says nothing"


def test_no_feature_explained_is_mean_ablation_and_the_clean_run(study):
    found = runs(masked(study, lambda codes: 0.0))
    for threshold in THRESHOLDS:
        torch.testing.assert_close(found[KEPT[threshold]], found["ld_mean"], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(found[REMOVED[threshold]], found["ld_clean"], atol=1e-4, rtol=1e-4)


def test_kept_and_removed_are_of_the_features_above_each_threshold(tiny_inputs, study):
    """Every threshold has features of its own; the activations are written here one feature after the other."""
    levels = torch.tensor([0.2, 0.55, 0.7, 0.85, 0.95])
    study = masked(study, lambda codes: levels[torch.arange(len(codes.fires)) % 5])
    found, data = runs(study), tiny_inputs.data
    rows = slice(0, len(data))
    batch = data.batch(CELL, study.sites["out"], rows)
    clean = clean_run(study.model, data.tokens.slice(0, len(data)), 0)
    for threshold in THRESHOLDS:
        kept, removed = {}, {}
        for site, a in batch.a_s.items():
            codes = study.suite[site]
            f = codes.encode(a, batch.base)
            moved = torch.zeros_like(a)
            for j in range(f.shape[1]):
                if codes.fires[j] and levels[j % 5] >= threshold:
                    moved += (f[:, j, None] - codes.mean[j]) * codes.decoder.directions[j]
            kept[site], removed[site] = codes.train_mean + moved, a - moved
        for column, written in ((KEPT[threshold], kept), (REMOVED[threshold], removed)):
            logits = patched_logits(study.model, clean, [written])[0]
            prompts = torch.arange(len(logits))
            expected = logits[prompts, batch.names[:, 0]] - logits[prompts, batch.names[:, 1]]
            torch.testing.assert_close(found[column], expected, atol=1e-3, rtol=1e-3)


def test_the_skyline_is_explained_and_points_where_it_points(oracle, tiny_inputs):
    found = figures(oracle, tiny_inputs)
    at = found.at(0.9)
    assert at.share.value == pytest.approx(1)
    assert at.kinds["pos"].value == pytest.approx(2 / sum(oracle.suite[oracle.sites["out"][0]].fires).item())
    assert at.kinds["io"].value + at.kinds["s"].value + at.kinds["pos"].value == pytest.approx(1)
    assert set(found.geometry) == {"io", "s", "pos"}
    assert all(cosines.codes_to_features.value == pytest.approx(1) for cosines in found.geometry.values())
    assert all(cosines.features_to_codes.value < 1 for cosines in found.geometry.values())


def test_codes_that_nobody_explained_have_no_figures(oracle, tiny_inputs):
    bare = replace(oracle, suite={site: replace(codes, explanations=None) for site, codes in oracle.suite.items()})
    assert runs(bare)[KEPT[0.5]].isnan().all()
    at = figures(bare, tiny_inputs).at(0.5)
    assert (at.share.value, at.kept.value, at.removed.value) == (None, None, None)


def test_explanations_come_from_train(study, tiny_inputs):
    """The same as from a second encoding of the train prompts."""
    train = tiny_inputs.train
    for site, codes in study.suite.items():
        f = codes.encode(train.activations[site], train.values)
        of = {attribute: train.values[attribute] for attribute in ("io", "s", "pos")}
        again = explanations(activity_counts(f, **of, n_io=train.n_values["io"], n_s=train.n_values["s"]))
        assert torch.equal(codes.explanations.f1, again.f1)
        assert torch.equal(codes.explanations.alive, codes.fires)


def test_nulls_are_not_explained(tiny_inputs, study):
    made = Suite("s", "tiny", {site: codebook(v, 60, 0) for site, v in tiny_inputs.train.activations.items()})
    found, _ = make_study(made, tiny_inputs, [CELL], ("exchange",), (1,), seed=0, progress=silent)
    assert all(codes.explanations is None for null in found.nulls for codes in null.values())


def test_every_cross_section_is_on_the_card_and_on_the_rows_of_baselines(tiny_model, tiny_circuit, tiny_inputs):
    made = Suite("s", "tiny", {site: codebook(v, 60, 0) for site, v in tiny_inputs.train.activations.items()})
    card = evaluate(
        made,
        model=tiny_model,
        circuit=tiny_circuit,
        prompts=40,
        train_prompts=400,
        budgets=(1,),
        methods=("exchange",),
        baselines=("pca",),
        plugins=Plugins.load(packages=False),
    )
    assert [found.name for found in card.cross_sections] == ["out", "mid"]
    for found in card.cross_sections:
        assert found.sites == next(cell.sites for cell in card.cells if cell.cross_section == found.name)
        assert [at.threshold for at in found.explained] == list(THRESHOLDS)
        shares = [at.share.value for at in found.explained]
        assert shares == sorted(shares, reverse=True)
        for at in found.explained:
            assert set(at.kinds) == set(KINDS)
            assert sum(kind.value for kind in at.kinds.values()) == pytest.approx(at.share.value)
            assert at.kept.low <= at.kept.value <= at.kept.high
            assert at.removed.low <= at.removed.value <= at.removed.high
            assert at.share.low is None, "a figure of train has no interval over prompts"
    dense = card.baselines[0].cross_sections[0]
    assert dense.at(0.5).share.value == 0, "principal components are active on every prompt"
