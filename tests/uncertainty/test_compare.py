"""Differences of suites: by hand from their draws, and what cannot be compared."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from ioi_bench.errors import InputError
from ioi_bench.evaluation.card import Card
from ioi_bench.uncertainty.compare import IOI_SCORE, compare, detectable
from ioi_bench.uncertainty.draws import draw_cells

SUITES = Path(__file__).parents[2] / "reference_saes" / "ioi-mini"


def rewritten(source, folder, change):
    """A copy of a card's folder, with the card changed as JSON."""
    shutil.copytree(source, folder)
    data = json.loads((folder / "card.json").read_text())
    change(data)
    (folder / "card.json").write_text(json.dumps(data))
    return folder


def test_differences_are_those_of_the_draws(cards):
    found = compare([cards["topk"], cards["gated"]])
    a, b = (draw_cells(Card.read(cards[kind]), cards[kind])["pair"] for kind in ("topk", "gated"))
    assert [one.what for one in found.contrasts] == [IOI_SCORE, *a.cells]
    assert found.notes == ()
    for one in found.contrasts:
        at = slice(None) if one.what == IOI_SCORE else [a.cells.index(one.what)]
        draws = (a.scores[:, at] - b.scores[:, at]).mean(1)
        low, high = np.quantile(draws[1:], [0.025, 0.975])
        bias = draws[1:].mean() - draws[0]
        assert one.difference.paired
        assert one.difference.value == pytest.approx(draws[0])
        assert one.difference.low == pytest.approx(low - 2 * max(bias, 0))
        assert one.difference.high == pytest.approx(high - 2 * min(bias, 0))
        assert one.se == pytest.approx(draws[1:].std(ddof=1))
        assert one.other_low <= one.difference.low
        assert one.difference.high <= one.other_high


def test_the_detectable_difference_is_found_four_times_out_of_five():
    effect = detectable(1.0)
    assert stats.norm.sf(stats.norm.ppf(0.975) - effect) == pytest.approx(0.8, abs=1e-5)
    assert detectable(0.5) == pytest.approx(effect / 2)


def test_a_suite_is_tied_with_itself_and_the_two_have_names_of_their_own(cards, tmp_path):
    copy = shutil.copytree(cards["topk"], tmp_path / "copy")
    found = compare([cards["topk"], copy / "card.json", cards["gated"]])
    names = [suite.name for suite in found.suites]
    assert names == ["topk-k12-s0 (1)", "topk-k12-s0 (2)", "gated-s0"]
    same = [one for one in found.contrasts if (one.a, one.b) == tuple(names[:2])]
    assert all((one.difference.value, one.detectable) == (0, 0) and one.difference.tied for one in same)
    groups = {place.row.name: place.group for place in found.places}
    assert groups[names[0]] == groups[names[1]]
    assert len(found.contrasts) == 3 * len(found.whats)
    assert all(one.other_low == one.other_high == 0 for one in same)


def test_other_prompts_are_compared_unpaired_and_it_is_said(cards, small_card):
    found = compare([small_card.folder, cards["gated"]])
    assert [note for note in found.notes if "100 of test; 120 of test" in note] == list(found.notes)
    assert found.notes
    score = found.contrasts[0]
    a, b = (draw_cells(Card.read(path), path)["pair"].mean.scores[1:] for path in (small_card.folder, cards["gated"]))
    assert not score.difference.paired
    assert score.se == pytest.approx(np.hypot(a.std(ddof=1), b.std(ddof=1)))


def test_another_seed_is_unpaired_too(cards, tmp_path):
    other = rewritten(cards["topk"], tmp_path / "seed", lambda card: card["made"].update(seed=1))
    assert "another seed" in compare([cards["topk"], other]).notes[0]


def _no_score(card):
    card["headline"] = {}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(lambda card: card.update(track="gpt2"), "cards of one track are compared", id="track"),
        pytest.param(lambda card: card["made"].update(model_sha256="0"), "another model", id="model"),
        pytest.param(
            lambda card: card["made"].update(budgets=[1, 2]), "does not have each row|scored at|gives the", id="rows"
        ),
        pytest.param(lambda card: card["made"].update(scoring="ioi-v1"), "scored by versions", id="scoring"),
        pytest.param(_no_score, "has no IOI score: evaluate", id="no score"),
        pytest.param(
            lambda card: card["headline"]["exchange"]["score"].update(value=0.9), "gives the score", id="forged"
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(cards, tmp_path, change, said):
    with pytest.raises(InputError, match=said):
        compare([cards["topk"], rewritten(cards["topk"], tmp_path / "other", change)])


def test_other_scored_budgets_are_refused(cards, tmp_path):
    """A real card of budget 1 alone: its score is the mean of other values."""
    from ioi_bench.evaluation.evaluate import evaluate

    card = Card.read(cards["gated"])
    evaluate(
        SUITES / "gated-s0",
        prompts=card.made.n_prompts,
        train_prompts=500,
        budgets=(1,),
        methods=("exchange",),
        preflight=False,
        out=tmp_path / "one",
    )
    with pytest.raises(InputError, match="scored at budgets 1,2,4 and 1: their scores mean different things"):
        compare([cards["topk"], tmp_path / "one"])


def test_one_card_and_a_card_alone_are_refused(cards, tmp_path):
    with pytest.raises(InputError, match="1 card was given, and a comparison needs two"):
        compare([cards["topk"]])
    shutil.copy(cards["gated"] / "card.json", tmp_path / "card.json")
    with pytest.raises(InputError, match=r"no prompts\.parquet beside the card"):
        compare([cards["topk"], tmp_path / "card.json"])
    with pytest.raises(InputError, match="there is no card at"):
        compare([cards["topk"], tmp_path / "nothing"])
