"""The main job end to end, on a tiny model."""

from __future__ import annotations

import json

import pandas as pd
import pytest
import torch

from ioi_bench.dictionaries.architectures import Relu
from ioi_bench.dictionaries.nulls import codebook
from ioi_bench.dictionaries.suite import Suite
from ioi_bench.errors import InputError, StorageError, SuiteError, UnknownNameError
from ioi_bench.evaluation.bootstrap import Bootstrap, name_pairs
from ioi_bench.evaluation.card import Card
from ioi_bench.evaluation.data import silent
from ioi_bench.evaluation.evaluate import evaluate
from ioi_bench.evaluation.ranking import rank_cells, rank_track
from ioi_bench.lm.circuit import RankedCell
from ioi_bench.sites import Cell, Site
from ioi_bench.task import task_spec

SMALL = {"prompts": 40, "train_prompts": 400, "budgets": (1, 2)}
LARGER = {"prompts": 100, "train_prompts": 1500, "budgets": (1, 2), "methods": ("exchange", "split", "universal")}


@pytest.fixture(scope="module")
def suite(tiny_inputs):
    made = {
        site: codebook(values, 50, i) for i, (site, values) in enumerate(sorted(tiny_inputs.train.activations.items()))
    }
    return Suite("codebook", "tiny", made)


@pytest.fixture(scope="module")
def written(suite, tiny_model, tiny_circuit, tmp_path_factory):
    folder = tmp_path_factory.mktemp("card")
    told = []
    card = evaluate(
        suite,
        model=tiny_model,
        circuit=tiny_circuit,
        out=folder,
        progress=lambda *what: told.append(what),
        **LARGER,
    )
    return card, folder, told


def test_the_card_says_what_made_it(written, suite, tiny_circuit):
    made = written[0].made
    assert (made.suite, made.suite_sha256) == ("codebook", suite.sha256)
    assert made.circuit_sha256 == tiny_circuit.sha256
    assert (made.n_prompts, made.n_train_prompts, made.full_train) == (100, 1500, False)
    assert set(made.timing) == {
        "load",
        "preflight",
        "activations and skyline",
        "ranking",
        "train statistics",
        "edits and patched runs",
        "bootstrap",
    }
    assert made.wall_seconds >= sum(made.timing.values())
    assert made.versions["torch"] == torch.__version__


def test_every_cell_method_and_budget_is_there(written):
    card = written[0]
    assert [cell.name for cell in card.cells] == ["io@out", "s@out", "s@mid", "pos+s@out"]
    for cell in card.cells:
        assert [(e.method, e.budget) for e in cell.edits] == [
            (method, budget) for method in ("exchange", "split", "universal") for budget in (1, 2)
        ]
        assert set(cell.skyline) == {"mean", "mse"}
        assert set(cell.scores) == ({"exchange", "universal"} if cell.ranked else set())
    assert set(card.headline) == {"exchange", "universal"}


def test_only_ranked_headline_cells_make_the_score(written):
    card = written[0]
    ranked = [cell for cell in card.cells if cell.ranked]
    assert [cell.name for cell in ranked] == ["s@out"]
    assert card.headline["exchange"].n_cells == 1
    assert card.headline["exchange"].score.value == pytest.approx(ranked[0].scores["exchange"].score.value)
    assert all(cell.reason for cell in card.cells if not cell.ranked)


def test_figures_lie_in_their_intervals(written):
    for cell in written[0].cells:
        for edit in (*cell.edits, *cell.skyline.values()):
            accuracy = edit.accuracy
            assert 0 <= accuracy.low <= accuracy.value <= accuracy.high <= 1
            assert edit.distance_relative.value >= 0


def test_the_files_agree_with_the_card(written):
    card, folder, _ = written
    assert sorted(path.name for path in folder.iterdir()) == ["card.json", "card.png", "card.svg", "prompts.parquet"]
    assert Card.read(folder) == card
    assert (folder / "card.png").read_bytes().startswith(b"\x89PNG")
    assert "s@out" in (folder / "card.svg").read_text()
    prompts = pd.read_parquet(folder / "prompts.parquet")
    prompts = prompts[(prompts["dictionary"] == "suite") & prompts["cell"].notna()]
    assert len(prompts) == 4 * 100 * (1 + 2 + 6)
    prompts["carried"] = prompts["weight"] * prompts["moved"]  # prompts count by how far an edit moves them
    means = prompts.groupby(["cell", "method", "budget"], observed=True)[["accuracy", "carried", "moved"]].mean()
    for cell in card.cells:
        for edit in cell.edits:
            row = means.loc[(cell.name, edit.method, edit.budget)]
            assert row["accuracy"] == pytest.approx(edit.accuracy.value, abs=1e-6)
            assert row["carried"] == pytest.approx(edit.weight.value * row["moved"], abs=1e-6)


def test_progress_is_told_to_its_end(written):
    last = {what: (done, total) for what, done, total in written[2]}
    assert {"train activations", "train statistics", "patched runs"} <= set(last)
    assert all(done == total for done, total in last.values())


def test_warnings_say_what_the_reader_should_know(written):
    assert {warning.code for warning in written[0].warnings} >= {"few-train-prompts", "unknown-ranking"}


@pytest.mark.parametrize(("left_out", "warned"), [(0, True), (1, False)])
def test_codes_with_as_many_active_features_as_dimensions_are_not_sparse(
    left_out, warned, tiny_inputs, tiny_model, tiny_circuit
):
    """Of each coordinate and its opposite one is active: with all of them L0 is d_in."""
    made = {}
    for site, values in tiny_inputs.train.activations.items():
        axes = torch.eye(values.shape[1])[left_out:]
        rows, zero = torch.cat([axes, -axes]), torch.zeros(values.shape[1])
        made[site] = Relu(W_enc=rows.T.contiguous(), b_enc=torch.zeros(len(rows)), W_dec=rows, b_dec=zero)
    settings = {"model": tiny_model, "circuit": tiny_circuit, "methods": ("exchange",), **SMALL}
    card = evaluate(Suite("axes", "tiny", made), **settings)
    assert ("not-sparse" in {warning.code for warning in card.warnings}) == warned


def test_the_same_seed_gives_the_same_card(written, suite, tiny_model, tiny_circuit):
    again = evaluate(suite, model=tiny_model, circuit=tiny_circuit, batch_size=17, **LARGER)
    first, second = (json.loads(card.model_dump_json(include={"cells", "headline"})) for card in (written[0], again))
    assert _rounded(first) == _rounded(second)


def _rounded(value):
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return pytest.approx(value, abs=1e-4, rel=1e-4) if isinstance(value, float) else value


def test_a_given_ranking_decides(suite, tiny_model, tiny_circuit):
    ranking = {cell: RankedCell(str(cell) == "io@out", "not today") for cell in tiny_circuit.headline}
    card = evaluate(suite, model=tiny_model, circuit=tiny_circuit, ranking=ranking, methods=("exchange",), **SMALL)
    assert {cell.name for cell in card.cells if cell.ranked} == {"io@out"}
    assert card.cell("s@out").reason == "not today"
    assert "unknown-ranking" not in {warning.code for warning in card.warnings}


def test_no_ranked_cell_means_no_score(suite, tiny_model, tiny_circuit):
    ranking = {cell: RankedCell(False, "none") for cell in tiny_circuit.headline}
    card = evaluate(suite, model=tiny_model, circuit=tiny_circuit, ranking=ranking, methods=("exchange",), **SMALL)
    assert (card.headline["exchange"].score.value, card.headline["exchange"].n_cells) == (None, 0)


def test_missing_sites_are_said(suite, tiny_model, tiny_circuit):
    first = Site.parse("z.1.0@end")
    partly = Suite("partly", "tiny", {first: suite.dictionaries[first]})
    card = evaluate(partly, model=tiny_model, circuit=tiny_circuit, methods=("exchange",), **SMALL)
    assert card.cell("s@out").missing_sites == ("z.1.1@end", "z.1.2@end", "z.1.3@end")
    assert "missing-sites" in {warning.code for warning in card.warnings}


def test_a_suite_for_other_sites_is_refused(suite, tiny_model, tiny_circuit):
    elsewhere = Suite("elsewhere", "tiny", {Site.parse("q.0.0@end"): next(iter(suite.dictionaries.values()))})
    with pytest.raises(SuiteError, match=r"no dictionary for any site.*q\.0\.0@end"):
        evaluate(elsewhere, model=tiny_model, circuit=tiny_circuit, **SMALL)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"budgets": (2, 1)}, InputError, "increasing"),
        ({"methods": ("exchagne",)}, UnknownNameError, "exchange"),
        ({"methods": ()}, InputError, "none"),
        ({"batch_size": 0}, InputError, "batch size"),
        ({"split": "tset"}, UnknownNameError, "test"),
        ({"prompts": 10**6}, InputError, "prompts"),
        ({"model": "ioi-mimi"}, UnknownNameError, "ioi-mini"),
    ],
)
def test_what_makes_no_sense_is_refused(suite, tiny_model, tiny_circuit, options, error, says):
    with pytest.raises(error, match=says):
        evaluate(suite, **{"model": tiny_model, "circuit": tiny_circuit, **SMALL, **options})


def test_a_folder_that_cannot_be_written_is_found_before_the_work(suite, tiny_model, tiny_circuit, tmp_path):
    (tmp_path / "file").write_text("")
    told = []
    with pytest.raises(StorageError):
        evaluate(
            suite,
            model=tiny_model,
            circuit=tiny_circuit,
            out=tmp_path / "file" / "out",
            progress=lambda *what: told.append(what),
            **SMALL,
        )
    assert not told


def test_a_track_is_ranked_by_the_rule(tiny_model, tiny_circuit, tiny_inputs):
    ranked = rank_track(tiny_model, tiny_circuit, prompts=120, train_prompts=1500)
    assert {str(cell) for cell, found in ranked.items() if found.ranked} == {"s@out"}
    assert "gains only" in ranked[Cell.parse("s@mid")].reason
    boot = Bootstrap.of(name_pairs(tiny_inputs.data.split.prompts))
    assert rank_cells(tiny_inputs, boot, batch_size=256, progress=silent) == ranked


def test_the_intervals_are_of_name_pairs(suite, tiny_model, tiny_circuit, monkeypatch):
    clusters = []
    of = Bootstrap.of
    monkeypatch.setattr(Bootstrap, "of", lambda pairs, **how: clusters.append(list(pairs)) or of(pairs, **how))
    evaluate(suite, model=tiny_model, circuit=tiny_circuit, **SMALL)
    assert clusters == [name_pairs(task_spec(tiny_circuit.task).split("test").head(40).prompts)]


def test_a_cell_is_ranked_by_the_lower_end_of_the_gain(tiny_inputs, monkeypatch):
    """METHOD §7: the gain must be at least 0.10, and its interval above 0.05."""
    asked = []
    monkeypatch.setattr(
        "ioi_bench.evaluation.ranking.ranking_reason", lambda gap, low, s_null: asked.append((gap, low, s_null)) or "no"
    )
    boot = Bootstrap.of(name_pairs(tiny_inputs.data.split.prompts))
    rank_cells(tiny_inputs, boot, batch_size=256, progress=silent)
    uncertain = [(gap, low) for gap, low, _ in asked if 0 < gap < 1]
    assert uncertain
    assert all(low < gap for gap, low in uncertain)


@pytest.mark.parametrize("split", ["held-out-train", "held-out-test"])
def test_a_held_out_split_is_refused(suite, tiny_model, tiny_circuit, split):
    """The skyline and the rankings come from `train`, which shows its names and its template."""
    with pytest.raises(InputError, match="give test or validation"):
        evaluate(suite, model=tiny_model, circuit=tiny_circuit, split=split, **SMALL)
