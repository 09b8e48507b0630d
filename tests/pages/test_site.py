"""The built files: what stands in them, what cannot, and what a second build does."""

from __future__ import annotations

import json
import math
import re
import shutil

import pytest
from page_examples import HOSTILE, SEASON_SHIFT, Page, changed, submit, verify
from season_boards import hold_season

from ioi_bench.errors import InputError
from ioi_bench.evaluation.card import Card, CardWarning, Figure
from ioi_bench.pages import Site
from ioi_bench.pages.drawing import curves
from ioi_bench.pages.lines import lines_of
from ioi_bench.pages.render import script_json
from ioi_bench.pages.shown import of_card


def pages(site):
    return [site / "index.html", site / "compare.html", *sorted((site / "suites").glob("*.html"))]


def row_names(page):
    return [attributes["data-name"] for attributes in page.all("tr") if "data-name" in attributes]


def test_suites_stand_by_score_and_refuted_ones_apart(site, cards):
    page = Page(site / "index.html")
    scores = {name: Card.read(folder).headline["exchange"].score.value for name, folder in cards.items()}
    top = [("some-lab/topk-a", scores["topk"]), ("other-lab/topk-b", scores["topk"])]
    top += [("some-lab/gated-a", scores["gated"]), ("other-lab/gated-low", scores["gated"] - 0.2)]
    top += [("evil-lab/hostile", scores["topk"])]
    expected = [name for name, _ in sorted(top, key=lambda pair: (-pair[1], pair[0]))]
    assert row_names(page) == [*expected, "some-lab/unscored", "some-lab/elsewhere"]
    assert "bad-lab/too-good" in page.text


def test_a_self_reported_score_that_the_prompts_do_not_give_is_listed_apart_with_the_reason(site, cards):
    page = Page(site / "index.html")
    true = Card.read(cards["gated"]).headline["exchange"].score.value
    assert f"prompts.parquet gives the score {true:.4f}, and the card says {true + 0.3:.4f}" in page.text
    assert "prompts.parquet' cannot be read as a table of prompts" in page.text
    assert not [name for name in row_names(page) if name.startswith("bad-lab/")]
    # The verified suite without a table of prompts is ranked: its verdict covers its files.
    assert "other-lab/gated-low" in row_names(page)
    listed = (site / "data" / "index.js").read_text()
    for name in ("more-than-it-has", "no-prompts"):
        own = next((site / "suites").glob(f"bad-lab__{name}-*.html"))
        assert "Not ranked, for its files do not agree" in Page(own).text
        assert own.stem in listed


@pytest.mark.parametrize("code", ["not-sparse", "suspicious-scale"])
def test_what_is_no_sparse_dictionary_is_shown_without_a_rank(code, cards, page_cache, tmp_path):
    gated = Card.read(cards["gated"])
    warned = gated.model_copy(update={"warnings": (*gated.warnings, CardWarning(code=code, message="so it is"))})
    prompts = cards["gated"] / "prompts.parquet"
    submit(tmp_path / "results", gated, prompts, "some-lab/gated")
    submit(tmp_path / "results", changed(warned, name="bits"), prompts, "some-lab/bits")
    Site(tmp_path / "results", tmp_path / "site", cache_dir=page_cache).build()
    page = Page(tmp_path / "site" / "index.html")
    assert row_names(page) == ["some-lab/gated", "some-lab/bits"]
    ranks = [cell["data-order"] for cell in page.all("td") if cell.get("class") == "c-rank num"]
    assert ranks == ["1", "999999"]
    assert "Shown without a rank: some-lab/bits" in page.text


def test_what_cannot_be_read_is_listed_with_its_reason(site):
    text = Page(site / "index.html").text
    assert "some-lab__broken" in text
    assert "cannot be read as a card" in text


def test_every_link_and_script_of_the_site_exists(site):
    for path in pages(site):
        page = Page(path)
        targets = [a.get("href", "") for a in page.all("a")] + [s["src"] for s in page.all("script") if "src" in s]
        targets += [link["href"] for link in page.all("link")]
        for target in targets:
            if target.startswith(("https://example.org/", "https://huggingface.co/some-lab/saes/tree/", "data:image/")):
                continue
            assert re.fullmatch(r"[\w./#?=-]*", target), target
            file = target.partition("?")[0].partition("#")[0]
            assert not file or (path.parent / file).resolve().is_file(), target


def test_nothing_from_a_submission_becomes_markup(site):
    for path in pages(site):
        page = Page(path)
        assert not page.all("img")
        assert not [a for _, attributes in page.elements for a in attributes if a.startswith("on")]
        assert not [s for s in page.all("script") if "src" not in s and s.get("type") != "application/json"]
        links = [a.get("href", "").lower() for a in page.all("a")]
        assert not [link for link in links if link.strip().startswith(("javascript:", "data:", "vbscript:"))]
        assert not [attributes for _, attributes in page.elements if "style" in attributes]
    hostile = Page(next((site / "suites").glob("evil-lab__*.html")))
    assert hostile.text.count(HOSTILE) >= 6  # it is shown, as text
    assert "javascript:alert(1)" in hostile.text


def test_data_scripts_hold_json_and_no_tag(site):
    for path in (site / "data").glob("*.js"):
        text = path.read_text()
        call, _, rest = text.partition("(")
        assert call == ("ioiBench.suites" if path.stem == "index" else "ioiBench.suite")
        json.loads(rest.removesuffix(");\n"))
        assert "<" not in text


def test_embedded_json_cannot_end_its_element():
    data = {"</script><!--": "&\u2028"}
    text = script_json(data)
    assert "<" not in text
    assert json.loads(text) == data


def test_the_policy_allows_own_files_alone(site):
    for path in pages(site):
        policy = next(m["content"] for m in Page(path).all("meta") if m.get("http-equiv") == "Content-Security-Policy")
        assert "default-src 'none'" in policy
        assert "connect-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy


def test_the_licences_of_what_is_carried_go_with_the_site(site):
    text = (site / "assets" / "LICENSES.txt").read_text()
    assert "SpryMedia" in text
    assert "Interactive Data Lab" in text
    assert text.count("THE SOFTWARE IS PROVIDED") >= 2


def test_a_suite_page_says_what_was_verified_and_how_to_repeat_it(site):
    page = Page(next((site / "suites").glob("some-lab__topk-a-*.html")))
    assert "ioi-bench evaluate hf://some-lab/saes@" in page.text
    assert "per-prompt results" in page.text
    assert "not ranked" in page.text
    refuted = Page(next((site / "suites").glob("bad-lab__too-good-*.html")))
    assert "did not hold" in refuted.text


def test_a_score_on_secret_prompts_stands_beside_the_public_one_with_the_gap(site, cards):
    public = Card.read(cards["topk"]).headline["exchange"].score
    # Two independent intervals, each moved to the other's value: half-widths add in quadrature.
    down = math.hypot(public.value - public.low, public.high - public.value)
    text = "".join(Page(next((site / "suites").glob("other-lab__topk-b-*.html"))).text.split())
    gap = f"{-SEASON_SHIFT:.3f}[{-SEASON_SHIFT - down:.3f},{-SEASON_SHIFT + down:.3f}]"
    assert f"some-season{public.value + SEASON_SHIFT:.3f}" in text
    assert f"{gap}1202026-01-03sealedafterthecommitment" in text
    assert "Private seasons" not in Page(next((site / "suites").glob("some-lab__topk-a-*.html"))).text


def test_lines_hold_the_cards_figures(cards):
    card = Card.read(cards["topk"])
    lines = {line.key: line for line in lines_of(of_card(cards["topk"], 1))}
    assert lines["IOI score", "exchange"].value == card.headline["exchange"].score.value
    cell = next(cell for cell in card.cells if cell.headline and cell.ranked)
    assert lines[cell.name, "accuracy, budget 2"].value == cell.edit("exchange", 2).accuracy.value
    assert lines[cell.name, "weight of the edit, budget 2"].direction == "lower"


@pytest.fixture
def own(cards, tmp_path, page_cache):
    results = tmp_path / "results"
    card, prompts = Card.read(cards["topk"]), cards["topk"] / "prompts.parquet"
    folders = [submit(results, changed(card, name=name), prompts, f"lab/{name}") for name in ("one", "two")]
    return Site(results, tmp_path / "out", cache_dir=page_cache), folders, (card, prompts)


def test_only_what_changed_is_read_and_written_again(own):
    site, folders, (card, prompts) = own
    assert site.build().fresh == 2
    before = {path: path.stat().st_mtime_ns for path in site.out.rglob("*") if path.is_file()}
    assert site.build().fresh == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    verify(folders[0], "reproduced")
    assert site.build().fresh == 1
    assert "reproduced" in next(site.out.glob("suites/lab__one-*.html")).read_text()
    season = hold_season(site.results.parent, {folders[0]: card})
    assert site.build().fresh == 1
    assert "private-season" in next(site.out.glob("suites/lab__one-*.html")).read_text()
    shutil.rmtree(season)
    assert site.build().fresh == 1
    shutil.rmtree(folders[1].parent)
    submit(site.results, changed(card, name="three"), prompts, "lab/three")
    assert site.build().suites == 2
    assert {path.stem.split("-")[0] for path in site.out.glob("suites/*.html")} == {"lab__one", "lab__three"}
    assert len(list(site.out.glob("data/*.js"))) == 3


def test_the_same_submissions_give_the_same_bytes_in_one_process_and_in_many(own, page_cache, monkeypatch, tmp_path):
    site, _, _ = own
    site.build()
    monkeypatch.setattr("ioi_bench.pages.site._FEW", 0)
    other = Site(site.results, tmp_path / "other", cache_dir=page_cache)
    other.build()
    files = {path.relative_to(site.out): path.read_bytes() for path in site.out.rglob("*") if path.is_file()}
    assert {path.relative_to(other.out): path.read_bytes() for path in other.out.rglob("*") if path.is_file()} == files


def test_a_folder_of_something_else_is_left_alone(own, tmp_path):
    site, _, _ = own
    site.out.mkdir()
    (site.out / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="not a site of ioi-bench"):
        site.build()
    assert [path.name for path in site.out.iterdir()] == ["thesis.txt"]


def test_no_results_and_no_folder(tmp_path, page_cache):
    with pytest.raises(InputError, match="there is no folder"):
        Site(tmp_path / "nothing", tmp_path / "out", cache_dir=page_cache).build()
    (tmp_path / "results").mkdir()
    assert Site(tmp_path / "results", tmp_path / "out", cache_dir=page_cache).build().suites == 0
    assert "No submissions yet" in Page(tmp_path / "out" / "index.html").text


def test_a_method_that_failed_the_audit_is_shown_and_nothing_is_sorted_by_it(
    results, page_cache, tmp_path, monkeypatch
):
    from ioi_bench.pages import tables

    def only(*figures):
        monkeypatch.setattr(tables, "may_rank", lambda figure, scoring: figure in figures)
        monkeypatch.setattr(tables, "why_not", lambda figure, scoring: f"{figure} failed")
        Site(results, tmp_path / "site", cache_dir=page_cache).build()
        return Page(tmp_path / "site" / "index.html")

    def header(text):
        found = re.search(rf"<th [^>]*>{text}", (tmp_path / "site" / "index.html").read_text())
        return found.group(0)

    page = only("score.exchange", "score.aware")
    assert 'data-dt-order="disable"' in header("universal")
    assert "score.universal failed" in header("universal")
    assert "disable" not in header("aware") + header("IOI score")
    assert "universal does not: score.universal failed." in re.sub(r"\s+", " ", page.text)
    assert next(one for one in page.all("td") if one.get("class") == "c-rank num")["data-order"] == "1"
    page = only("score.aware")
    assert 'data-dt-order="disable"' in header("IOI score")
    ranks = [one["data-order"] for one in page.all("td") if one.get("class") == "c-rank num"]
    assert set(ranks) == {"999999"}
    first = row_names(page)[:-1]  # the last suite is of another track
    assert first == sorted(first, key=str.lower)  # in no order of merit


def test_an_edit_that_weighs_more_than_the_activation_is_drawn_where_it_is(cards):
    """And not at the edge of 1, where it would look like a whole exchange."""
    card = Card.read(cards["gated"])
    cell = next(cell for cell in card.cells if cell.edits)
    own = [edit for edit in cell.edits if edit.method == "exchange"][:3]
    edits = [
        edit.model_copy(update={"weight": Figure(value=weight)})
        for edit, weight in zip(own, (0.5, 1.0, 1.4), strict=True)
    ]
    plot, *_ = str(curves(cell.model_copy(update={"edits": tuple(edits)}), ["exchange"])).split("</svg>")
    first, second, third = (float(x) for x in re.findall(r'class="m-exchange" transform="translate\(([\d.]+)', plot))
    assert third - second == pytest.approx(0.8 * (second - first), abs=0.2)
