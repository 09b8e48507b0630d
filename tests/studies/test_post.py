"""The post as a study: findings by their rules on planted tables, and the whole command on a small run."""

from __future__ import annotations

import json
import re
from itertools import product
from pathlib import Path

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from ioi_bench.cli.app import app
from ioi_bench.dictionaries.suite import load_suite
from ioi_bench.errors import InputError
from ioi_bench.evaluation.bootstrap import Bootstrap
from ioi_bench.evaluation.card import Card
from ioi_bench.evaluation.data import Capture, silent, split_of
from ioi_bench.evaluation.evaluate import evaluate
from ioi_bench.evaluation.inputs import gather
from ioi_bench.evaluation.score import SCORED_METHODS
from ioi_bench.lm.circuit import load_circuit
from ioi_bench.lm.model import load_model
from ioi_bench.studies.post.chosen import Chosen, chosen_suites
from ioi_bench.studies.post.correlations import MEASURES, mean_correlations, served_rows, site_correlations
from ioi_bench.studies.post.findings import find
from ioi_bench.studies.post.half import BOUND, HalfStudy, moved
from ioi_bench.studies.post.numbers import number
from ioi_bench.studies.post.tables import nothing_kept
from ioi_bench.studies.post.training_tables import choice_table, curve_table
from ioi_bench.studies.post.verdicts import (
    FAILS,
    HOLDS,
    UNKNOWN,
    Evidence,
    at_least,
    at_least_on_every_seed,
    at_most,
)
from ioi_bench.task import TaskSpec
from ioi_bench.training import read_recipe

ROOT = Path(__file__).parents[2]
CELLS = ("io@nm-out", "pos@nm-q")
PAIRS = {
    "skyline": ("accuracy", "gated", "skyline"),
    "gated": ("accuracy", "gated", "relu"),
    "topk": ("accuracy", "topk k=3, last epoch", "gated"),
    "frozen": ("accuracy", "frozen-decoder k=3", "topk k=3"),
}
ORDER = ("skyline", "gated", "topk", "price", "weight", "l0-io", "l0-pos", "ld-io", "ld-pos", "cosine", "frozen")


SEEDS = (0, 1, 2)
LAST = "topk k=3, last epoch"


def rows(kind, left, right, value, spread=0.01, ranked=True, cells=CELLS, seed=0, budget=2):
    return [
        {"seed": seed, "kind": kind, "budget": budget, "left": left, "right": right, "cell": cell}
        | {"ranked": ranked and cell != "mean", "value": value, "low": value - spread, "high": value + spread}
        for cell in (*cells, "mean")
    ]


def planted(seeds=SEEDS, **changes):
    """Differences of which every finding holds, but for those that are named, on the seeds that are given."""
    values = {"skyline": 0.0, "gated": 0.3, "topk": 0.0, "frozen": 0.0, "price": -0.2, "weight": 0.1}
    found = []
    for seed in SEEDS:
        own = {**values, **(changes if seed in seeds else {})}
        for name, (kind, left, right) in PAIRS.items():
            # the last epoch was judged on one seed; of the others the selected one is taken
            left = "topk k=3" if left == LAST and seed else left
            found += rows(kind, left, right, own[name], seed=seed)
        for label in ("relu", "gated", "topk k=3"):
            found += rows("weight", label, "skyline", own["weight"], seed=seed)
    for label in ("relu", "gated", "topk k=3"):
        pair = (f"{label} · aware", f"{label} · exchange")
        found += rows("accuracy", *pair, {**values, **changes}["price"], budget=1)
        found += rows("accuracy", *pair, 0.5, budget=2)  # twice the size: decides nothing
    return pd.DataFrame(found)


def rho(l0=0.9, ld=-0.5, worst=None, unreliable=(), seeds=SEEDS):
    found = []
    for seed, (attribute, sites) in product(seeds, (("io", ("a", "b")), ("pos", ("c", "d")))):
        for i, site in enumerate(sites):
            for measure, value in (("l0", l0), ("ld_recovered", ld)):
                own = worst if worst is not None and measure == "l0" and i == 0 else value
                about = {
                    "seed": seed,
                    "group": "relu + gated",
                    "site": site,
                    "attribute": attribute,
                    "measure": measure,
                }
                about["reliable"] = measure == "l0" or site not in unreliable
                found.append({**about, "value": own, "low": own - 0.1, "high": own + 0.1, "n_points": 9})
    return pd.DataFrame(found)


def cosines(*values):
    """Of gated, one value a seed."""
    rows = []
    for seed, value in enumerate(values or (0.9, 0.8)):
        row = {"seed": seed, "label": "gated", "cross_section": "nm-out", "attribute": "io", "served": True}
        rows += [
            {**row, "direction": "codes → features", "value": value},
            {**row, "direction": "features → codes", "value": 0.1},
            {**row, "direction": "codes → features", "value": 0.1, "served": False, "attribute": "s"},
            {**row, "direction": "codes → features", "value": 0.1, "label": "relu"},
        ]
    return pd.DataFrame(rows)


def verdicts(differences=None, correlations=None, cosine=None):
    differences = planted() if differences is None else differences
    correlations = rho() if correlations is None else correlations
    found = find(differences, correlations, cosines() if cosine is None else cosine)
    return dict(zip(ORDER, (one.verdict for one in found), strict=True))


@pytest.mark.parametrize(
    ("value", "low", "high", "verdict"),
    [
        (0.3, 0.25, 0.35, HOLDS),
        (0.2, 0.2, 0.2, HOLDS),
        (0.1, 0.0, 0.19, FAILS),
        (0.21, 0.15, 0.27, UNKNOWN),
        (0.15, 0.0, 0.3, UNKNOWN),
        (float("nan"), float("nan"), float("nan"), UNKNOWN),
    ],
)
def test_an_interval_decides_or_does_not(value, low, high, verdict):
    assert at_least([Evidence("a", value, low, high)], 0.2)[0] == verdict
    assert at_most([Evidence("a", -value, -high, -low)], -0.2)[0] == verdict


def test_one_bad_cell_is_enough_and_is_named():
    good, bad = Evidence("io@nm-out", 0.5, 0.4, 0.6), Evidence("pos@nm-q", 0.0, -0.1, 0.1)
    assert at_least([good, bad], 0.2) == (FAILS, "not at pos@nm-q")
    assert at_least([], 0.2)[0] == UNKNOWN


def test_everything_holds_where_it_was_planted():
    assert set(verdicts().values()) == {HOLDS}


@pytest.mark.parametrize(
    ("name", "value"),
    [("skyline", -0.2), ("gated", 0.1), ("topk", -0.2), ("frozen", -0.2), ("price", 0.2), ("weight", -0.1)],
)
def test_a_finding_that_is_planted_otherwise_does_not_hold_and_no_other_changes(name, value):
    found = verdicts(planted(**{name: value}))
    assert {one for one, verdict in found.items() if verdict == FAILS} == {name}


@pytest.mark.parametrize(("name", "value"), [("skyline", -0.2), ("gated", 0.1), ("topk", -0.2), ("weight", -0.1)])
@pytest.mark.parametrize("seeds", [(0,), (1,), (1, 2)])
def test_where_seeds_disagree_nothing_is_decided(name, value, seeds):
    found = verdicts(planted(seeds, **{name: value}))
    assert {one for one, verdict in found.items() if verdict == UNKNOWN} == {name}
    assert FAILS not in found.values()


def test_a_seed_fails_at_one_cell_and_another_at_another():
    def of(cell, value, seed):
        return Evidence(cell, value, value, value, row=seed)

    evidence = [of("a", 0.5, "seed 0"), of("b", 0.0, "seed 0"), of("a", 0.0, "seed 1"), of("b", 0.5, "seed 1")]
    assert at_least_on_every_seed(evidence, 0.2) == (FAILS, "seed 0: not at b; seed 1: not at a")
    assert at_least_on_every_seed([*evidence[:2], of("a", 0.5, "seed 1"), of("b", 0.5, "seed 1")], 0.2) == (
        UNKNOWN,
        "seeds disagree: seed 0 does not hold, not at b; seed 1 holds",
    )
    assert at_least_on_every_seed(evidence[:2], 0.2) == (FAILS, "not at b (one seed)")
    assert at_least_on_every_seed([], 0.2)[0] == UNKNOWN


def test_seeds_without_the_last_epoch_lend_the_selected_one():
    found = find(planted(), rho(), cosines())[ORDER.index("topk")]
    assert {one.row for one in found.evidence} == {
        "seed 0, last epoch",
        "seed 1, selected epoch",
        "seed 2, selected epoch",
    }


def test_the_price_is_decided_at_equal_size():
    found = find(planted(price=0.2), rho(), cosines())[ORDER.index("price")]
    assert found.verdict == FAILS
    assert [one.value for one in found.evidence] == [0.2] * 3 + [0.5] * 3
    differences = planted()
    assert verdicts(differences[differences["budget"] == 2])["price"] == UNKNOWN


def test_unranked_cells_do_not_count():
    differences = planted()
    hopeless = pd.DataFrame(rows("accuracy", "gated", "relu", -1.0, ranked=False, cells=("s@nm-q",)))
    hopeless = hopeless[hopeless["cell"] != "mean"]
    assert verdicts(pd.concat([differences, hopeless]))["gated"] == HOLDS


@pytest.mark.parametrize("name", PAIRS)
def test_without_the_suites_nothing_is_claimed(name):
    differences = planted()
    kind, left, right = PAIRS[name]
    pair = (differences["kind"] == kind) & (differences["left"] == left) & (differences["right"] == right)
    without = differences[~pair]
    assert verdicts(without)[name] == UNKNOWN


def test_correlations_decide_by_their_means_and_their_worst_site():
    assert verdicts(correlations=rho(l0=0.4))["l0-io"] == FAILS
    assert verdicts(correlations=rho(worst=-0.1))["l0-pos"] == FAILS
    assert verdicts(correlations=rho(ld=0.2))["ld-io"] == FAILS
    assert verdicts(correlations=rho(ld=-0.95))["ld-pos"] == FAILS
    assert verdicts(correlations=rho(l0=-0.9))["ld-io"] == FAILS  # L0 is no measure at all
    # sites without a meaning of LD recovered say nothing of it, and L0 is compared at the others
    assert verdicts(correlations=rho(unreliable=("a", "b")))["ld-io"] == UNKNOWN
    assert verdicts(correlations=rho(unreliable=("a", "b")))["l0-io"] == HOLDS
    assert verdicts(correlations=rho(worst=-0.9))["ld-pos"] == FAILS
    assert verdicts(correlations=rho(worst=-0.9, unreliable=("c",)))["ld-pos"] == HOLDS
    undefined = rho().assign(value=float("nan"))
    found = verdicts(correlations=undefined)
    assert {found[name] for name in ("l0-io", "l0-pos", "ld-io", "ld-pos")} == {UNKNOWN}
    assert verdicts(cosine=cosines(0.6, 0.5))["cosine"] == FAILS


@pytest.mark.parametrize("planted_seed", SEEDS)
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("l0-io", {"l0": 0.4}),
        ("l0-pos", {"worst": -0.1}),
        ("ld-io", {"ld": 0.2}),
        ("ld-pos", {"unreliable": ("c", "d")}),
    ],
)
def test_where_seeds_disagree_on_a_rank_correlation_nothing_is_decided(planted_seed, name, change):
    others = tuple(seed for seed in SEEDS if seed != planted_seed)
    table = pd.concat([rho(seeds=others), rho(seeds=(planted_seed,), **change)])
    found = find(planted(), table, cosines())[ORDER.index(name)]
    assert found.verdict == UNKNOWN
    assert f"seed {planted_seed} " in found.reason
    assert found.reason.startswith("seeds disagree: ")


def test_where_seeds_disagree_on_cosines_nothing_is_decided():
    found = find(planted(), rho(), cosines(0.9, 0.6, 0.9))[ORDER.index("cosine")]
    assert found.verdict == UNKNOWN
    assert "seed 1 does not hold, not at io@nm-out" in found.reason
    assert [(one.row, one.value) for one in found.evidence] == [("seed 0", 0.9), ("seed 1", 0.6), ("seed 2", 0.9)]


def test_a_rank_correlation_is_shown_by_seed_and_by_site_with_its_range():
    table = pd.concat([rho(l0=0.9, seeds=(0,)), rho(l0=0.7, worst=0.5, seeds=(1,))])
    found = find(planted(), table, cosines())[ORDER.index("l0-io")]
    shown = {one.row: (one.value, one.low, one.high) for one in found.evidence}
    assert found.verdict == HOLDS
    assert shown["seed 0, mean over 2 sites"] == (0.9, 0.9, 0.9)
    assert shown["seed 1, mean over 2 sites"] == (pytest.approx(0.6), 0.5, 0.7)
    assert shown["a, mean over 2 seeds"] == (pytest.approx(0.7), 0.5, 0.9)
    one_seed = find(planted(), rho(seeds=(0,)), cosines())[ORDER.index("l0-io")]
    assert one_seed.reason == "mean ρ .90, at worst .90 (one seed)"


def test_rank_correlations_are_of_one_site_and_its_own_attribute():
    points = [(0.5, 1), (0.5, 2), (1.0, 1), (1.0, 2), (2.5, 1), (2.5, 2)]
    table = pd.DataFrame(
        [
            {"variant": variant, "sparsity": lam, "seed": seed, "site": site, "epoch": epoch, "method": method}
            | {"ld_reliable": site == "a"}
            | {
                "attribute": attribute,
                "l0": i,
                "l2": -i,
                "ld_recovered": 1 - i,
                "distance": sign * i,
            }
            for variant, site, seed, method in product(("relu", "gated"), ("a", "b"), (0, 1), ("exchange", "aware"))
            for i, (lam, epoch) in enumerate(points)
            for attribute, sign in (("io", 1 if method == "exchange" and seed == 0 else -1), ("pos", -1))
        ]
    )
    both = site_correlations(served_rows(table, {"a": "io", "b": "io"}))
    assert (both[(both["seed"] == 1) & (both["measure"] == "l0")]["value"] == -1).all()
    assert set(mean_correlations(both)[["seed", "measure"]].itertuples(index=False, name=None)) == set(
        product((0, 1), MEASURES)
    )
    found = both[both["seed"] == 0]
    assert set(found["group"]) == {"relu", "gated", "relu + gated", "all"}
    values = found.pivot_table(index=["group", "site"], columns="measure", values="value")
    assert (values["l0"] == 1).all()
    assert (values["l2_loss"] == -1).all()
    assert (values["ld_recovered"] == -1).all()
    assert (values["ld_recovered_off"] == 1).all()  # |1 − (1 − i)| = i
    assert set(found[found["group"] == "relu + gated"]["n_points"]) == {12}
    assert set(found[~found["reliable"]][["site", "measure"]].itertuples(index=False, name=None)) == {
        ("b", "ld_recovered"),
        ("b", "ld_recovered_off"),
    }
    means = mean_correlations(found)
    sites = means.groupby("measure")["n_sites"].unique().map(list).to_dict()
    assert sites == {"l0": [2], "l2_loss": [2], "ld_recovered": [1], "ld_recovered_off": [1]}
    assert set(means["measure"]) == set(MEASURES)


def test_suites_of_all_variants_methods_and_seeds():
    table = pd.DataFrame(
        [
            {"variant": variant, "sparsity": sparsity, "seed": seed}
            for variant, values in (("topk", (3.0, 6.0)), ("gated", (0.5, 1.0)))
            for sparsity in values
            for seed in (0, 1)
        ]
    )
    found = chosen_suites(table, seed=0)
    labels = ["topk k=3", "topk k=6", "gated"]
    assert {(one.label, one.method, one.seed) for one in found if not one.last_epoch} == {
        *product(labels, ("exchange", "aware"), (0,)),
        *product(labels, ("exchange",), (1,)),
    }
    assert [one for one in found if one.last_epoch] == [Chosen("topk", 3.0, 0, "exchange", last_epoch=True)]
    assert len({one.name for one in found}) == len(found)


def test_curves_say_how_much_the_error_moved_over_a_span():
    curves = pd.DataFrame(
        [
            {"variant": "relu", "site": site, "sparsity": 1.0, "seed": 0, "epoch": epoch, "loss": 0.0}
            | {"error": error * factor, "l0": 3.0, "dead": 0.0}
            for site, factor in (("a", 1), ("b", 3))
            for epoch, error in ((10, 4.0), (15, 2.0), (20, 1.0))
        ]
    )
    found = curve_table(curves, (10, 15)).set_index("epoch")
    assert found.loc[20, "error"] == 2.0
    assert found.loc[20, "change"] == pytest.approx(-0.5)
    assert pd.isna(found.loc[15, "change"])


def test_choices_are_counted_where_they_landed():
    table = pd.DataFrame(
        [
            {"variant": variant, "sparsity": sparsity, "epoch": epoch}
            for variant in ("gated", "topk")
            for sparsity, epoch in product((1.0, 2.0, 3.0), (1, 4, 8))
        ]
    )
    choices = pd.DataFrame(
        [
            ("gated-s0", "gated", 1.0, 8),
            ("gated-s1", "gated", 3.0, 4),
            ("gated-s1", "gated", 2.0, 1),
            ("topk-k1-s0", "topk", 1.0, 8),
            ("topk-k3-s0", "topk", 3.0, 4),
        ],
        columns=["suite", "variant", "sparsity", "epoch"],
    )
    found = choice_table(choices, table).fillna(-1).to_dict("split")["data"]
    assert found == [["gated", -1, 3, 1, 1, 2, 1], ["topk", 1, 1, -1, -1, 0, 1], ["topk", 3, 1, -1, -1, 1, 0]]


def test_nothing_kept_is_read_where_nothing_is_explained():
    figures = {"kept_low": 0.0, "kept_high": 1.0, "removed": 0.0, "removed_low": 0.0, "removed_high": 0.0}
    found = nothing_kept(
        pd.DataFrame(
            [
                {"cross_section": "nm-out", "share": 0.4, "kept": 0.9, **figures},
                {"cross_section": "nm-out", "share": 0.0, "kept": 0.6, **figures},
                {"cross_section": "nm-q", "share": 0.4, "kept": 0.9, **figures},
            ]
        )
    )
    assert found["kept"].to_dict() == {"nm-out": 0.6}


RECIPE = """
model = "ioi-mini"
d_sae = 24
epochs = 4
learning_rate = 3e-3
batch_size = 100
train_prompts = 300
checkpoints = [1, 2, 4]
seeds = [0, 1]

[variants]
topk = [3]
gated = [0.3, 1.0]
"""
SMALL = ["--prompts", "20", "--train-prompts", "300", "--selection-prompts", "12", "--selection-train-prompts", "300"]


def invoke(*args):
    result = CliRunner().invoke(app, [str(arg) for arg in args], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small run, and the study of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IOI_BENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        folder = tmp_path_factory.mktemp("post")
        (folder / "small.toml").write_text(RECIPE)
        invoke("train", folder / "small.toml", "--out", folder / "run")
        result = invoke("study", "post", folder / "run", "--out", folder / "out", *SMALL)
    return folder, result


def test_the_command_writes_page_figures_and_json(made):
    folder, result = made
    page = (folder / "out" / "RESULTS.md").read_text()
    drawn = re.findall(r"!\[.*?\]\((.*?)\)", page)
    assert len(drawn) == 9
    assert all((folder / "out" / one).read_bytes().startswith(b"\x89PNG") for one in drawn)
    assert sorted(path.name for path in (folder / "out" / "figures").iterdir()) == sorted(
        d.split("/")[1] for d in drawn
    )
    results = json.loads((folder / "out" / "results.json").read_text())
    assert results["made"]["prompts"] == 20
    assert len(results["findings"]) == len(ORDER)
    for finding in results["findings"]:
        assert f"{finding['claim']}: {finding['verdict']}." in page
        assert finding["claim"][:20] in result.stdout
    assert "**needs weights**" in page
    assert "README.md" not in page  # there is none beside it
    posts = [finding for finding in results["findings"] if finding["of_the_post"]]
    assert f"(#findings-of-the-post), {len(posts)}, by verdict" in page
    assert len(posts) == len(ORDER) - 2
    assert not re.search(r"\b(nan|inf|None)\b", page)


def test_tables_have_as_many_columns_in_every_row(made):
    page = (made[0] / "out" / "RESULTS.md").read_text()
    for block in re.findall(r"(?:^\|.*\n)+", page, flags=re.M):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1, block


def cards(folder):
    return {
        path.parent.name.rpartition("-")[0]: Card.read(path) for path in (folder / "run" / "post").glob("*/card.json")
    }


def test_the_numbers_are_the_cards(made):
    folder, _ = made
    found = cards(folder)
    # topk and gated: two selections of seed 0, one of seed 1; and top-k at its last epoch
    assert len(found) == 7
    results = json.loads((folder / "out" / "results.json").read_text())
    page = (folder / "out" / "RESULTS.md").read_text()
    for label, name in (("gated", "gated-s0"), ("topk k=3", "topk-k3-s0")):
        for method, word in (("exchange", "agnostic"), ("aware", "aware")):
            card = found[name if method == "exchange" else f"{name}-{method}"]
            edits = [
                card.cell(cell).edit(method, 2).accuracy for cell in dict.fromkeys(r["cell"] for r in results["edits"])
            ]
            row = " | ".join(f"{number(e.value)} [{number(e.low)} {number(e.high)}]" for e in edits)
            assert f"| {label} | {word} | {row} |" in page
        score = found[name].headline["exchange"].score
        wanted = (label, 0, "exchange", "exchange")
        shown = [r for r in results["scores"] if (r["label"], r["seed"], r["method"], r["selected"]) == wanted]
        assert [r["value"] for r in shown] == [score.value]


def test_differences_are_paired_over_prompts(made):
    folder, _ = made
    results = json.loads((folder / "out" / "results.json").read_text())
    own = {path.name.rpartition("-")[0]: path for path in (folder / "run" / "post").iterdir()}
    outcome = {}
    for method, name in (("aware", "gated-s0-aware"), ("exchange", "gated-s0")):
        frame = pd.read_parquet(own[name] / "prompts.parquet")
        frame = frame[frame["dictionary"] == "suite"]
        frame = frame[(frame["cell"] == "pos@nm-q") & (frame["method"] == method) & (frame["budget"] == 2)]
        outcome[method] = torch.tensor(frame.sort_values("prompt")["accuracy"].to_numpy(dtype=float))
        clusters = [tuple(sorted(pair)) for pair in zip(frame["io"], frame["s"], strict=True)]
    draws = Bootstrap.of(clusters).mean(outcome["aware"] - outcome["exchange"])
    shown = [
        r
        for r in results["differences"]
        if r["left"] == "gated · aware" and r["cell"] == "pos@nm-q" and r["budget"] == 2
    ]
    assert shown[0]["value"] == pytest.approx(draws[0].item())
    bias = (draws[1:].mean() - draws[0]).clamp_min(0)
    assert shown[0]["low"] == pytest.approx((torch.quantile(draws[1:], 0.025) - 2 * bias).item())


def test_a_second_time_nothing_is_judged_again(made, monkeypatch):
    folder, _ = made
    before = (folder / "out" / "RESULTS.md").read_text()

    def never(*args, **kwargs):
        raise AssertionError("judged again")

    for name in ("evaluate", "gather"):
        monkeypatch.setattr(f"ioi_bench.studies.post.judging.{name}", never)
    monkeypatch.setattr("ioi_bench.evaluation.candidate_figures.SiteView.judge", never)
    result = invoke("study", "post", folder / "run", "--out", folder / "out", *SMALL, "--json")
    assert (folder / "out" / "RESULTS.md").read_text() == before
    assert json.loads(result.stdout)["made"] == json.loads((folder / "out" / "results.json").read_text())["made"]
    assert "7 have a card, 0 are to be judged" in result.stderr


def files(folder):
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_an_estimate_takes_off_what_is_done(made):
    folder, _ = made
    before = files(folder / "run")
    done = invoke("study", "post", folder / "run", "--estimate", *SMALL, "--json")
    assert json.loads(done.stdout)["seconds"] == 0
    assert "all are judged" in done.stderr
    assert "7 suites: all have a card" in done.stderr
    other = json.loads(
        invoke("study", "post", folder / "run", "--estimate", *SMALL[2:], "--prompts", "21", "--json").stdout
    )
    assert (other["candidates"]["left"], other["left"]) == (0, 7)  # judged prompts are others, selection's are not
    assert other["seconds"] == other["judging"] > 0
    assert files(folder / "run") == before


def test_a_run_that_is_only_planned_has_an_estimate_that_reads_nothing_of_test(made, tmp_path, monkeypatch):
    folder, _ = made
    split, asked = TaskSpec.split, set()

    def watched(self, name):
        asked.add(name)
        return split(self, name)

    monkeypatch.setattr(TaskSpec, "split", watched)
    invoke("train", folder / "small.toml", "--out", tmp_path / "run", "--estimate")
    result = invoke("study", "post", tmp_path / "run", "--estimate", *SMALL, "--json")
    found = json.loads(result.stdout)
    members = 2 * 3 * 14  # seeds × sparsities × sites
    assert found["candidates"] | {"seconds": 0} == {"dictionaries": 3 * members, "left": 3 * members, "seconds": 0}
    assert (found["suites"], found["left"]) == (7, 7)
    assert found["seconds"] > found["judging"] > 0
    assert asked == {"train", "validation"}
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"run.json", "data.safetensors"}


def test_other_prompts_have_cards_of_their_own(made, monkeypatch):
    folder, _ = made
    judged = []

    def judge(self, suite, methods):
        if self.split == "test":  # others are judged for the estimate of time
            judged.append(suite)

    monkeypatch.setattr("ioi_bench.studies.post.judging.Bench.judge", judge)
    args = ["study", "post", folder / "run", "--out", folder / "other", *SMALL[2:], "--prompts", "21"]
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert "there is no card" in result.stderr  # nothing was judged, so that there is nothing to show
    assert len(judged) == 7
    assert not (folder / "other").exists()


def test_inputs_that_are_given_change_nothing_and_must_fit(tmp_path):
    model, circuit = load_model("ioi-mini"), load_circuit("ioi-mini")
    suite = min((ROOT / "reference_saes" / "ioi-mini").iterdir())
    inputs = gather(
        Capture(model, 512, None, silent),
        circuit,
        split_of(circuit, "test", 10),
        split_of(circuit, "train", 100),
        cells=circuit.headline,
    )
    settings = {"model": model, "circuit": circuit, "train_prompts": 100, "budgets": (1, 2), "methods": ("exchange",)}
    given = evaluate(suite, prompts=10, inputs=inputs, **settings)
    plain = evaluate(suite, prompts=10, **settings)
    assert given.headline == plain.headline
    assert given.cells == tuple(cell for cell in plain.cells if cell.headline)
    assert given.cross_sections == plain.cross_sections
    with pytest.raises(InputError, match="gather them with the same arguments"):
        evaluate(suite, prompts=11, inputs=inputs, **settings)


def test_the_suites_are_those_that_select_writes(made, tmp_path):
    folder, _ = made
    invoke(
        "select", folder / "run", "--out", tmp_path / "selected", "--prompts", "12", "--train-prompts", "300", "--half"
    )
    selected = {
        path.parent.name: load_suite(path.parent).sha256 for path in (tmp_path / "selected").glob("*/suite.json")
    }
    assert set(selected) == {"gated-s0", "gated-s1", "topk-k3-s0", "topk-k3-s1"}
    found = cards(folder)
    assert {name: found[name].made.suite_sha256 for name in selected} == selected
    assert all(found[name].made.methods == ("exchange", "aware", "universal") for name in selected)


def test_half_precision_is_judged_beside_full_precision(made, tmp_path):
    folder, _ = made
    args = ["study", "half", folder / "run", *SMALL, "--seed", "1", "--json", "--out", tmp_path / "half.json"]
    result = CliRunner().invoke(app, [str(arg) for arg in args], catch_exceptions=False)
    found = json.loads(result.stdout)
    assert json.loads((tmp_path / "half.json").read_text()) == found
    assert set(found["suites"]) == {"gated-s1", "topk-k3-s1"}
    assert "2 have a card, 0 are to be judged" in result.stderr  # in half precision the study has judged them
    assert result.exit_code == (0 if found["holds"] else 1)
    invoke("select", folder / "run", "--out", tmp_path / "full", "--prompts", "12", "--train-prompts", "300")
    settings = {"prompts": 20, "train_prompts": 300, "budgets": (1, 2, 4), "methods": SCORED_METHODS}
    full = evaluate(tmp_path / "full" / "gated-s1", **settings)
    half_card = next(
        Card.read(path)
        for path in (folder / "run" / "post").glob("gated-s1-*/card.json")
        if Card.read(path).made.suite_sha256 == found["suites"]["gated-s1"]["sha256"]
    )
    assert full.made.suite_sha256 != half_card.made.suite_sha256
    for method, difference in found["suites"]["gated-s1"]["scores"].items():
        expected = full.headline[method].score.value - half_card.headline[method].score.value
        assert difference == pytest.approx(expected, abs=1e-9)


def test_a_card_that_moves_is_seen(made):
    folder, _ = made
    card = Card.read(next((folder / "run" / "post").glob("gated-s0-*/card.json")))
    same = moved("gated-s0", card, card)
    assert (same.score, same.cell, same.accuracy) == (0, 0, 0)
    assert HalfStudy("ioi-mini", "", 20, (same,)).holds
    method, headline = next(iter(card.headline.items()))
    score = headline.score.model_copy(update={"value": headline.score.value - BOUND})
    other = card.model_copy(
        update={"headline": {**card.headline, method: headline.model_copy(update={"score": score})}}
    )
    found = HalfStudy("ioi-mini", "", 20, (same, moved("gated-s1", card, other)))
    assert found.suites[1].scores[method] == pytest.approx(BOUND)
    assert not found.holds
    gone = headline.model_copy(update={"score": score.model_copy(update={"value": None, "low": None, "high": None})})
    lost = moved("gated-s1", card, card.model_copy(update={"headline": {**card.headline, method: gone}}))
    assert not HalfStudy("ioi-mini", "", 20, (lost,)).holds
    assert HalfStudy("ioi-mini", "", 20, (lost,)).to_json()["suites"]["gated-s1"]["largest_score"] is None


def test_half_precision_of_a_seed_that_is_not_there(made):
    result = CliRunner().invoke(app, ["study", "half", str(made[0] / "run"), "--seed", "7", *SMALL])
    assert result.exit_code == 2
    assert "no seed 7: it has [0, 1]" in result.stderr


def test_the_recipe_for_gpt2_is_the_method():
    recipe = read_recipe(ROOT / "reference_saes" / "recipes" / "gpt2.toml")
    assert (recipe.model, recipe.d_sae, recipe.epochs, recipe.learning_rate) == ("gpt2", 512, 2000, 3e-4)
    assert recipe.kept == (1, 2, 4, 8, 16, 32, 64, 128, 500, 750, 1000, 1250, 1500, 2000)
    assert recipe.variants["gated"] == (0.5, 1, 2.5, 5)
    assert recipe.variants["topk"] == (3, 6, 12, 24)
