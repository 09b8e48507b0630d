"""A figure that no evaluation gives takes its own card off the page, and nobody else's."""

from __future__ import annotations

from page_examples import Page, changed, submit

from ioi_bench.evaluation.card import Card
from ioi_bench.pages import Site


def test_an_absurd_figure_keeps_only_its_own_card_off_the_page(cards, page_cache, tmp_path):
    results = tmp_path / "board" / "results"
    card, prompts = Card.read(cards["topk"]), cards["topk"] / "prompts.parquet"
    submit(results, card, prompts, "some-lab/topk")
    submit(results, changed(card, name="huge", shift=1.7e308), prompts, "evil-lab/huge")
    built = Site(results, tmp_path / "out", cache_dir=page_cache).build()
    assert built.suites == 1
    assert [("beyond 1e+12" in why, "evil-lab__huge" in where) for where, why in built.unreadable] == [(True, True)]
    names = [a["data-name"] for a in Page(tmp_path / "out" / "index.html").all("tr") if "data-name" in a]
    assert names == ["some-lab/topk"]
