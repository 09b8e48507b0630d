"""The study of tactics, on two sites of ioi-mini; what a difference and its interval are, by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch

from ioi_bench.errors import InputError
from ioi_bench.evaluation.bootstrap import Interval
from ioi_bench.evaluation.candidate_figures import SiteView
from ioi_bench.lm.circuit import Circuit, Part
from ioi_bench.lm.model import load_model
from ioi_bench.sites import Cell, Role, Site
from ioi_bench.studies import ablation_study
from ioi_bench.studies.ablation import effect, final, reading, same_weights, without
from ioi_bench.studies.ablation_estimate import estimate_ablation
from ioi_bench.studies.ablation_figure import ablation_chart, write_ablation_figure
from ioi_bench.studies.ablation_report import ablation_markdown
from ioi_bench.studies.ablation_study import recipes_to_train, study_ablation
from ioi_bench.training import Recipe, Tactics, TrainInputs, capture_inputs, train_run
from ioi_bench.training.runs import Run

TACTICS = list(Tactics.model_fields)
RECIPE = Recipe(
    variants={"topk": (2,), "relu": (0.5,)},
    seeds=(0, 1),
    d_sae=24,
    epochs=5,
    batch_size=50,
    learning_rate=1e-2,
    train_prompts=200,
    checkpoints=(1, 3, 5),
    resampling={"after": (2,), "warmup": 1},
)
CIRCUIT = Circuit(
    track="two-sites",
    task="ioi-v1-mini",
    heads={"late": ("4.0", "4.1")},
    parts={"out": (Part("z", Role.END, ("late",)),)},
    headline=(Cell.parse("io@out"), Cell.parse("pos@out")),
)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Bytes are promised for one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Studied:
    """A study in a folder, which counts what it trains and what it judges."""

    def __init__(self, folder, cache):
        self.model, self.folder, self.cache = load_model("ioi-mini"), folder, cache
        self.inputs = capture_inputs(RECIPE, self.model, CIRCUIT, cache_dir=cache)
        self.trained, self.judged, self.stop_at = [], 0, None

    def run(self, recipe=RECIPE):
        def judge(*args, **kwargs):
            self.judged += 1
            return real(*args, **kwargs)

        def progress(what, done, total):
            if "epochs of SAEs" in what:
                self.trained.append(what.split(":")[0])
                if len(self.trained) == self.stop_at:
                    raise KeyboardInterrupt

        real = SiteView.judge
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(SiteView, "judge", judge)
            args = (recipe, self.inputs, self.model, CIRCUIT, self.folder)
            return study_ablation(*args, prompts=12, cache_dir=self.cache, progress=progress)


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    """Stopped in its third run, and gone on with."""
    made = Studied(tmp_path_factory.mktemp("ablation") / "study", tmp_path_factory.mktemp("captures"))
    made.stop_at = 2 * 10 + 3
    with pytest.raises(KeyboardInterrupt):
        made.run()
    made.stop_at = None
    made.study = made.run()
    return made


def test_every_tactic_has_a_row_for_every_variant(studied):
    rows = [(row.tactic, row.variant) for row in studied.study.removed]
    assert rows == [(tactic, variant) for tactic in TACTICS for variant in ("topk", "relu")]
    assert [(row.tactic, row.variant) for row in studied.study.full] == [("full", "topk"), ("full", "relu")]
    for row in studied.study.removed:
        for found in row.effects.values():
            assert found.difference.value == pytest.approx(found.removed - found.full)
            assert (found.sites, found.pairs) == (2, 2 * 2 * 2)  # sites; seeds, sites, attributes
        assert row.final.error > 0
        assert 0 <= row.final.dead <= 1
    assert all(row.final.l0 == pytest.approx(2, abs=0.1) for row in studied.study.rows("topk"))


def test_work_that_was_stopped_is_not_done_twice(studied):
    # 8 runs of 2 chunks (variants), 5 epochs each; the epoch in which it was stopped had been finished
    assert len(studied.trained) == 8 * 2 * 5
    assert studied.judged == 8 * 8 * 3  # runs, SAEs, checkpoints
    before = {path: path.stat().st_mtime_ns for path in studied.folder.rglob("*") if path.is_file()}
    again = studied.run()
    assert len(studied.trained) == 8 * 2 * 5
    assert studied.judged == 8 * 8 * 3
    assert again == studied.study
    assert before == {path: path.stat().st_mtime_ns for path in studied.folder.rglob("*") if path.is_file()}


def test_another_recipe_in_the_same_folder_is_refused(studied):
    with pytest.raises(InputError, match="holds another run"):
        studied.run(RECIPE.model_copy(update={"learning_rate": 2e-2}))


def test_dense_checkpoints_are_not_trained_without(studied):
    """The same weights, fewer checkpoints to select among."""
    assert sorted(path.name for path in studied.folder.iterdir()) == sorted({"full", *TACTICS} - {"dense_checkpoints"})
    assert "dense_checkpoints" not in recipes_to_train(RECIPE)
    for row in studied.study.removed:
        full = next(one for one in studied.study.full if one.variant == row.variant)
        if row.tactic == "dense_checkpoints":
            assert "checkpoints" in row.same_weights
            assert row.final == full.final
            assert all(found.difference.value >= 0 for found in row.effects.values())
        else:
            assert row.same_weights == ""
    assert without(RECIPE, "dense_checkpoints").kept == (3, 5)


def test_a_row_is_its_own_run_against_the_full_run(studied):
    """Recomputed from the rows on disk, without the study's own selection and averages."""

    def distances(name, variant):
        (file,) = (studied.folder / name / "selection").iterdir()
        table = pd.read_parquet(file)
        own = table[(table["variant"] == variant) & (table["method"] == "exchange")]
        best = own.loc[own.groupby(["seed", "site", "attribute"])["distance"].idxmin()]
        return best["distance_relative"].mean()  # as many seeds and attributes at either site

    for row in studied.study.removed:
        if row.same_weights:
            continue
        found = row.effects["exchange"]
        assert found.full == pytest.approx(distances("full", row.variant))
        assert found.removed == pytest.approx(distances(row.tactic, row.variant))


def test_errors_are_in_the_same_units_whatever_the_inputs_were(studied):
    """Without input_scale the SAE's units are the model's: the row is in those of scaled inputs, as all are."""
    row = next(one for one in studied.study.removed if (one.tactic, one.variant) == ("input_scale", "topk"))
    run, errors = Run(studied.folder / "input_scale"), []
    base = pd.read_parquet(next((studied.folder / "input_scale" / "selection").iterdir()))
    for site, x in studied.inputs.activations.items():
        own = base[(base["site"] == str(site)) & (base["variant"] == "topk") & (base["epoch"] == 5)]
        scale = math.sqrt(32) / float(x.norm(dim=1).mean())
        assert run.scale(site) == 1.0
        errors.append(scale**2 * own["l2"].mean())
    assert row.final.error == pytest.approx(np.mean(errors), rel=1e-4)


def test_an_estimate_counts_the_work(studied, tmp_path):
    args = (RECIPE, studied.inputs, studied.model, CIRCUIT, tmp_path / "planned")
    found = estimate_ablation(*args, prompts=12, cache_dir=studied.cache)
    assert (found.runs, found.saes, found.judged) == (8, 64, 8 * 8 * 3)
    assert found.training > 0
    assert found.judging > 0
    assert not list((tmp_path / "planned").rglob("chunks"))


def test_it_is_written_down(studied, tmp_path):
    study = studied.study
    record = json.loads(json.dumps(study.to_json(), allow_nan=False))
    assert {(row["tactic"], row["variant"]) for row in record["removed"]} == {
        (tactic, variant) for tactic in TACTICS for variant in ("topk", "relu")
    }
    page = ablation_markdown(study)
    for tactic in TACTICS:
        assert f"**{tactic}**" in page
        assert page.count(f"| {tactic} |") == 2
    lines = [line for line in page.splitlines() if line.startswith("| ")]
    assert len(lines) == 2 * (2 + len(TACTICS))  # heads, the full recipe and tactics, of two variants
    for row in study.removed:
        line = lines[2 + TACTICS.index(row.tactic) + len(lines) // 2 * study.variants.index(row.variant)]
        assert line.startswith(f"| {row.tactic} |")
        straddling = [f.difference.low < 0 < f.difference.high for f in row.effects.values()]
        assert line.count("interval includes 0") >= sum(straddling)
        assert line.count("helps") == sum(found.difference.low > 0 for found in row.effects.values())
    write_ablation_figure(study, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    drawn = ablation_chart(study).to_dict()
    values = [one for rows in drawn["datasets"].values() for one in rows if "tactic" in one]
    assert len(values) == 2 * len(METHODS) * len(TACTICS)
    assert all(one["low"] <= one["difference"] <= one["high"] for one in values)


METHODS = ablation_study.METHODS


def choices(**distances):
    """By ``suite_site_attribute``."""
    rows = [(*key.split("_"), value) for key, value in distances.items()]
    return pd.DataFrame(rows, columns=["suite", "site", "attribute", "distance_relative"])


def test_a_difference_by_hand():
    """Site p: differences .1 and .3, mean .2. Site q: −.1 alone. Mean of sites .05, of rows it would be .1."""
    full = choices(s0_p_io=0.5, s0_p_pos=0.2, s0_q_io=0.4)
    removed = choices(s0_q_io=0.3, s0_p_pos=0.5, s0_p_io=0.6)
    found = effect(full, removed)
    assert (found.sites, found.pairs) == (2, 3)
    assert found.full == pytest.approx((0.35 + 0.4) / 2)
    assert found.removed == pytest.approx((0.55 + 0.3) / 2)
    assert found.difference.value == pytest.approx(0.05)
    # two sites are drawn as pp, pq, qp or qq: a quarter, a half, a quarter
    low, high = -0.1 - found.difference.low, found.difference.high - 0.2
    # one end goes out, by twice what the mean of a thousand draws happens to be off: 3 of its standard errors at most
    assert min(low, high) == pytest.approx(0)
    assert 0 <= max(low, high) < 2 * 3 * 0.106 / 1000**0.5
    assert reading(found.difference) == "interval includes 0"


def test_the_interval_is_of_the_mean_of_sites():
    """Many sites with normal differences: ± 1.96 standard errors."""
    g = np.random.default_rng(0)
    spread = g.normal(0.1, 0.05, 60)
    full = choices(**{f"s0_site{i}_io": 0.5 for i in range(60)})
    removed = choices(**{f"s0_site{i}_io": 0.5 + one for i, one in enumerate(spread)})
    found = effect(full, removed).difference
    half = 1.96 * spread.std() / math.sqrt(60)
    assert found.value == pytest.approx(spread.mean())
    assert found.low == pytest.approx(spread.mean() - half, abs=0.15 * half)
    assert found.high == pytest.approx(spread.mean() + half, abs=0.15 * half)
    assert reading(found) == "helps"
    assert effect(full, removed) == effect(full, removed)


def test_what_is_missing_in_one_run_is_in_no_pair():
    found = effect(choices(s0_p_io=0.5, s0_q_io=0.4), choices(s0_p_io=0.6, s0_r_io=0.1))
    assert (found.sites, found.pairs, found.full) == (1, 1, 0.5)
    assert math.isnan(found.difference.low)  # one site has no spread
    assert reading(found.difference) == "no interval"
    with pytest.raises(InputError, match="nothing can be compared"):
        effect(choices(s0_p_io=0.5), choices(s1_p_io=0.5))


def test_final_figures_are_of_the_last_checkpoint_once_a_dictionary():
    columns = ["sparsity", "seed", "site", "epoch", "l2", "l0", "dead_share", "attribute"]
    rows = [(1.0, 0, "p", 2, 4.0, 3.0, 0.5, edit) for edit in ("io", "pos", "s")]
    rows += [(1.0, 0, "q", 2, 1.0, 1.0, 0.0, "io"), (1.0, 0, "q", 1, 99.0, 99.0, 0.9, "io")]
    found = final(pd.DataFrame(rows, columns=columns), {"p": 0.5, "q": 3.0})
    assert (found.error, found.l0, found.dead) == (2.5, 2.0, 0.25)


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, {"dense_checkpoints"}),
        ({"resampling": {"warmup": 0}}, {"dense_checkpoints", "resample_warmup"}),
        ({"tactics": {"decay": False}}, {"dense_checkpoints", "decay"}),
        ({"resampling": {"after": []}}, set(TACTICS) - {"decay", "input_scale"}),
        ({"tactics": {"resample": False}}, set(TACTICS) - {"decay", "input_scale"}),
    ],
)
def test_what_trains_the_same_weights(changes, same):
    recipe = Recipe.model_validate({"variants": {"topk": [2]}, "epochs": 40, **changes})
    assert {tactic for tactic in TACTICS if same_weights(recipe, tactic)} == same
    assert set(recipes_to_train(recipe)) == {"full", *TACTICS} - same
    for tactic in TACTICS:
        removed = without(recipe, tactic)
        off = {name for name in TACTICS if not getattr(removed.tactics, name)}
        assert off == {tactic} | {name for name in TACTICS if not getattr(recipe.tactics, name)}
        assert removed.model_copy(update={"tactics": recipe.tactics}) == recipe


def test_without_resampling_more_features_are_dead(tmp_path):
    """Six directions, 48 features, and a penalty that kills most of these."""
    g = torch.Generator().manual_seed(0)
    site = Site.parse("z.4.0@end")
    rows = torch.nn.functional.normalize(torch.randn(6, 16, generator=g), dim=1)
    x = (torch.rand(300, 6, generator=g) > 0.7).float() @ rows + 0.02 * torch.randn(300, 16, generator=g)
    settings = {"d_sae": 48, "epochs": 24, "batch_size": 50, "learning_rate": 1e-2}
    resampling = {"after": (10, 18), "warmup": 1}
    recipes = recipes_to_train(Recipe(variants={"relu": (5.0,)}, resampling=resampling, **settings))
    inputs, dead = TrainInputs({site: x}, None, {}), {}
    for name in ("full", "resample"):
        run = train_run(inputs.plan(tmp_path / name, recipes[name]).folder)
        f = run.dictionary(run.members[0], 24).encode(x)
        dead[name] = float((f == 0).all(0).float().mean())
    assert dead["resample"] > dead["full"] + 0.2


def test_readings_state_no_more_than_the_interval():
    assert reading(Interval(0.3, -1e-9, 0.6)) == "interval includes 0"
    assert reading(Interval(-0.3, -0.6, 0.0)) == "interval includes 0"
