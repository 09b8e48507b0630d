"""A suite's score from its results per prompt: it is the card's, or it is not used."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from parquet_files import bounded_memory, repeat_string

from ioi_bench.errors import InputError
from ioi_bench.evaluation.bootstrap import interval
from ioi_bench.evaluation.card import Card
from ioi_bench.uncertainty.draws import draw_cells, draw_score, read_draws


@pytest.fixture
def folder(cards, tmp_path):
    return shutil.copytree(cards["topk"], tmp_path / "card")


def read(folder):
    return read_draws(Card.read(folder), folder)


def rewritten(folder, change):
    path = folder / "prompts.parquet"
    change(pd.read_parquet(path)).to_parquet(path, index=False)
    return read(folder)


@pytest.mark.parametrize("kind", ["topk", "gated"])
def test_the_sample_gives_the_cards_score_and_the_draws_its_interval(cards, kind):
    card, draws = Card.read(cards[kind]), read(cards[kind])
    score = card.headline["exchange"].score
    assert len(draws.scores) == card.made.n_draws + 1
    assert draws.scores[0] == pytest.approx(score.value, abs=1e-9)
    found = interval(torch.from_numpy(draws.scores))
    assert (found.low, found.high) == pytest.approx((score.low, score.high), abs=1e-9)


def test_the_mean_of_the_cells_is_the_score_however_prompts_are_drawn(cards):
    card = Card.read(cards["topk"])
    found = draw_cells(card, cards["topk"], ("pair", "io", "s"))
    np.testing.assert_array_equal(found["pair"].mean.scores, read(cards["topk"]).scores)
    for one in found.values():  # row 0 is the sample
        assert dict(zip(one.cells, one.scores[0], strict=True)) == pytest.approx(
            {name: card.cell(name).scores["exchange"].score.value for name in one.cells}
        )
    assert not np.allclose(found["io"].scores[1:], found["s"].scores[1:])


def test_suites_on_the_same_prompts_are_paired_and_on_fewer_are_not(cards, folder):
    a, b = (read(cards[kind]) for kind in ("topk", "gated"))
    assert a.paired_with == b.paired_with
    renamed = rewritten(folder, lambda frame: frame.assign(io=frame["s"], s=frame["io"]))
    assert renamed.paired_with != a.paired_with


def test_the_order_of_rows_does_not_matter(cards, folder):
    before = read(cards["topk"])
    after = rewritten(folder, lambda frame: frame.sample(frac=1, random_state=0))
    np.testing.assert_allclose(after.scores, before.scores)
    assert after.paired_with == before.paired_with


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(lambda f: f.assign(accuracy=True), "gives the score", id="forged"),
        pytest.param(lambda f: f.drop(f.index[f["method"] == "exchange"][0]), "each row", id="a row missing"),
        pytest.param(lambda f: pd.concat([f, f[f["method"] == "exchange"].head(1)]), "each row", id="a row twice"),
        pytest.param(
            lambda f: f.drop(f.index[f["dictionary"] == "random 1"][0]), "each row", id="a random row missing"
        ),
        pytest.param(lambda f: f.drop(columns="budget"), "budget", id="a column missing"),
        pytest.param(lambda f: f.assign(prompt=f["prompt"] - 1), "each row", id="prompts out of range"),
        pytest.param(lambda f: f.assign(budget="two"), "of type (large_)?string", id="words for numbers"),
        pytest.param(lambda f: f.assign(accuracy=None), "of type null", id="nothing"),
        pytest.param(lambda f: f.assign(weight=np.inf), "gives the score", id="infinite"),
        pytest.param(lambda f: f.head(0), "each row", id="empty"),
    ],
)
def test_a_table_that_does_not_give_the_cards_score_is_not_used(folder, change, said):
    with pytest.raises(InputError, match=said):
        rewritten(folder, change)


@pytest.mark.parametrize("dictionary", ["suite", "random 0"])
def test_a_row_in_the_place_of_another_gives_no_score(folder, dictionary):
    """As many rows as there should be, and one prompt is judged twice, another never."""
    path = folder / "prompts.parquet"
    frame = pd.read_parquet(path)
    cell = next(cell.name for cell in Card.read(folder).cells if cell.headline and cell.ranked)
    of = (frame["cell"] == cell) & (frame["method"] == "exchange") & (frame["budget"] == 1)
    first, second = frame.index[of & (frame["dictionary"] == dictionary)][:2]
    frame.loc[second] = frame.loc[first]
    frame.to_parquet(path, index=False)
    with pytest.raises(InputError, match="does not have each row that the card's score is made of exactly once"):
        draw_score(Card.read(folder), folder)


def test_a_damaged_or_missing_file_is_not_used(folder):
    path = folder / "prompts.parquet"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match="cannot be read"):
        read(folder)
    path.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        read(folder)


def test_random_dictionaries_in_the_file_are_the_null_that_is_read(folder):
    """By hand: random dictionaries that do what the suite does have its S, and the score of any cell is 0 then."""
    path = folder / "prompts.parquet"
    frame = pd.read_parquet(path)
    own = frame[frame["dictionary"] == "suite"]
    nulls = [own[own["method"] == "exchange"].assign(dictionary=f"random {i}") for i in range(3)]
    pd.concat([own, *nulls]).to_parquet(path, index=False)
    np.testing.assert_allclose(draw_score(Card.read(folder), folder).scores, 0, atol=1e-12)
    with pytest.raises(InputError, match=r"gives the score -?0\.0000, and the card says"):
        read(folder)


def test_without_random_dictionaries_in_the_file_the_null_is_the_cards(folder):
    path = folder / "prompts.parquet"
    frame, stated = pd.read_parquet(path), Card.read(folder).headline["exchange"].score.value
    frame[frame["dictionary"] == "suite"].to_parquet(path, index=False)
    assert read(folder).scores[0] == pytest.approx(stated, abs=1e-3)


def test_a_long_string_in_every_row_takes_no_more_memory_than_in_the_file(folder):
    path = folder / "prompts.parquet"
    repeat_string(path, "dictionary", "x" * 100_000)  # 2 GB, written out row by row
    with bounded_memory(20_000_000), pytest.raises(InputError, match="strings of up to 100,000 bytes"):
        read(folder)


def test_a_file_of_before_random_dictionaries_and_sites_were_written_is_read(folder):
    path, before = folder / "prompts.parquet", read(folder)
    frame = pd.read_parquet(path)
    old = frame[(frame["dictionary"] == "suite") & frame["cell"].notna()]
    old.drop(columns=["dictionary", "cross_section", "site"]).to_parquet(path, index=False)
    after = read(folder)
    assert after.paired_with == before.paired_with
    assert after.scores[0] == pytest.approx(before.scores[0], abs=1e-3)
