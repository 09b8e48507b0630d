"""The pages in Debian's chromium, opened as files: what a reader does, with the mouse, by keyboard and on a phone.

Every test fails on a message in the console, on an error of a script, and on any request that is not for a file.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from ioi_bench.evaluation.card import Card
from ioi_bench.pages import Site, write_report
from ioi_bench.pages.rows import row_of
from ioi_bench.pages.shown import of_card
from ioi_bench.uncertainty.draws import read_draws
from ioi_bench.uncertainty.ties import difference

AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text()
PHONE = {"width": 360, "height": 740}
WIDE = {"width": 1400, "height": 900}


@pytest.fixture
def opened(browser):
    """Opens a page, and afterwards looks at what it said and asked for."""
    contexts, said, asked = [], [], []

    def open_page(path, *, query="", dark=False, viewport=WIDE, script=True, clicks=()):
        context = browser.new_context(
            viewport=viewport, color_scheme="dark" if dark else "light", java_script_enabled=script, bypass_csp=False
        )
        context.set_default_timeout(60_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri() + query)
        if script:
            drawn = "[...document.querySelectorAll('section:not([hidden]) .chart')].every(c => c.matches('.drawn'))"
            page.wait_for_function(drawn)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []
    assert [url for url in asked if not url.startswith(("file://", "data:image/"))] == []


def names(page, track=1):
    return page.locator(f"section.track[data-track='{track}'] tbody.suites tr[data-name]").evaluate_all(
        "rows => rows.map(row => row.dataset.name)"
    )


def l0s(page):
    rows = page.locator("section:not([hidden]) tr[data-l0]")
    return rows.evaluate_all("rows => rows.map(row => row.dataset.l0 === '' ? -1 : Number(row.dataset.l0))")


def header(page, text):
    return page.locator("section.track:not([hidden]) thead th", has_text=re.compile(text)).first


def suite_page(site, name):
    return next((site / "suites").glob(f"{name}-*.html"))


def slug(site, name):
    return suite_page(site, name).stem


def test_it_loads_and_keeps_the_reference_rows(site, opened):
    page = opened(site / "index.html")
    first = page.locator("section.track:not([hidden]) table.ranking")
    assert first.locator("tbody").evaluate_all("bodies => bodies.map(b => b.className)") == [
        "reference skyline",
        "suites",
        "reference null",
    ]
    assert "owned" not in page.title()
    assert page.locator("text=6 suites.").count() == 1


def sort_by(page, heading, order):
    """Click, and wait until the table is drawn again: it sorts after the click."""
    header(page, heading).click()
    expect(header(page, heading)).to_have_attribute("aria-sort", order)
    drawn(page)


def drawn(page):
    """Wait for two frames."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def test_sorting_reorders_suites_and_not_the_reference_rows(site, opened):
    page = opened(site / "index.html")
    ranked = names(page)
    for order in ("descending", "ascending"):
        sort_by(page, "IOI score", order)
    scores = page.locator("section.track:not([hidden]) tbody.suites td.c-score").evaluate_all(
        "cells => cells.map(cell => Number(cell.dataset.order))"
    )
    assert scores == sorted(scores)
    assert len(set(scores)) >= 3
    assert page.locator("section:not([hidden]) table.ranking tbody").first.get_attribute("class") == "reference skyline"
    sort_by(page, "^\\s*Rank", "ascending")
    assert names(page) == ranked
    sort_by(page, "^\\s*L0", "descending")
    values = l0s(page)
    assert values == sorted(values, reverse=True)


def test_search_and_filters_work_together_and_can_be_reset(site, opened):
    page = opened(site / "index.html")
    every = names(page)
    page.get_by_label("Search").fill("topk some-lab")
    page.wait_for_selector("text=/Showing \\d of 6 suites/")
    assert names(page) == ["some-lab/topk-a", "some-lab/unscored"]
    page.get_by_label("Search").fill("no such suite")
    page.wait_for_selector("text=No suite fits these filters.")
    page.get_by_role("button", name="Reset").click()
    drawn(page)
    assert names(page) == every
    page.locator("select.f-badge").select_option("reproduced")
    page.wait_for_selector("text=Showing 2 of 6 suites")
    assert set(names(page)) == {"some-lab/topk-a", "other-lab/gated-low"}
    page.locator("select.f-architecture").select_option("gated")
    page.wait_for_selector("text=Showing 1 of 6 suites")
    page.get_by_role("button", name="Reset").click()
    drawn(page)
    page.get_by_label("L0 from").fill("6")
    page.wait_for_selector("text=/Showing \\d of 6 suites/")
    found = l0s(page)
    assert found
    assert min(found) >= 6  # gated has about 4.5, top-k 12


def test_one_track_is_shown_at_a_time(site, opened):
    page = opened(site / "index.html")
    assert page.locator("section.track:visible").count() == 1
    page.get_by_role("button", name="other-track").click()
    drawn(page)
    page.wait_for_function("document.querySelector('section.track:not([hidden]) .chart.drawn')")
    assert page.locator("section.track:visible h2").inner_text() == "other-track"
    assert names(page, 2) == ["some-lab/elsewhere"]


def point_of(page, name):
    """Where the figure draws a suite, in the window."""
    return page.evaluate(
        """name => {
          const holder = document.querySelector('section.track:not([hidden]) .vega');
          const view = holder.ioiView;
          const fits = (item) => item.datum?.name === name && item.datum.kind === 'suite' &&
            item.mark?.marktype === 'symbol';
          const find = (item) => fits(item) ? item : (item.items ?? []).map(find).find(Boolean);
          const item = find(view.scenegraph().root);
          const box = holder.querySelector('canvas').getBoundingClientRect(), [dx, dy] = view.origin();
          const { left, top } = view.padding();
          return { x: box.left + left + dx + item.x, y: box.top + top + dy + item.y };
        }""",
        name,
    )


def test_hovering_a_point_names_the_suite_and_clicking_it_opens_its_page(site, opened):
    page = opened(site / "index.html")
    page.locator("section.track:not([hidden]) .vega").scroll_into_view_if_needed()
    at = point_of(page, "some-lab/gated-a")
    page.mouse.move(at["x"] + 40, at["y"] + 40)
    page.mouse.move(at["x"], at["y"])
    tip = page.locator(".tip")
    tip.wait_for(state="visible")
    # gated-low is the same card with another score: its point lies on the same place.
    assert tip.locator("b").inner_text() in {"some-lab/gated-a", "other-lab/gated-low"}
    assert "accuracy" in tip.inner_text()
    page.mouse.click(at["x"], at["y"])
    page.wait_for_url("**/suites/*gated*.html")


def test_the_figure_shows_another_budget(site, opened):
    page = opened(site / "index.html")
    page.locator("section.track:not([hidden]) .vega").scroll_into_view_if_needed()
    before = point_of(page, "some-lab/topk-a")
    page.get_by_label("Budget").first.select_option("8")
    page.wait_for_timeout(300)
    assert point_of(page, "some-lab/topk-a")["y"] < before["y"]  # more features, more accurate


def test_a_suite_is_opened_and_its_command_copied(site, opened):
    page = opened(site / "index.html")
    page.get_by_role("link", name="topk-a", exact=True).click()
    page.wait_for_selector("h1:has-text('some-lab/topk-a')")
    assert page.locator(".panel").count() == page.locator(".panel svg.plot").count() / 2
    page.get_by_role("button", name="Copy").click()
    page.wait_for_selector("text=/Copied|Selected/")


def test_two_picked_suites_are_compared_draw_by_draw(site, cards, opened):
    page = opened(site / "index.html")
    page.get_by_label("Compare some-lab/topk-a").check()
    page.get_by_label("Compare some-lab/gated-a").check()
    page.get_by_label("Compare other-lab/topk-b").check()  # a third: the first gives way
    assert not page.get_by_label("Compare some-lab/topk-a").is_checked()
    page.get_by_role("link", name="Compare", exact=True).last.click()
    said = page.locator(".said").inner_text()
    rows = {
        kind: row_of(shown := of_card(cards[kind], 1), read_draws(shown.card, shown.folder))
        for kind in ("topk", "gated")
    }
    a, b = rows["gated"], rows["topk"]
    expected = difference(a.score, b.score, a.draws, b.draws)
    found = [float(text.replace("−", "-")) for text in re.findall(r"[−\d][\d.]*\d", said)][-3:]
    assert found == pytest.approx([expected.value, expected.low, expected.high], abs=0.0011)
    assert "draw by draw" in said
    table = page.locator("table.beside")
    assert table.locator("thead a").all_inner_texts() == ["some-lab/gated-a", "other-lab/topk-b"]
    score = Card.read(cards["gated"]).headline["exchange"].score.value
    assert f"{score:.3f}" in table.locator("tr", has_text="exchange").first.inner_text()
    page.get_by_role("button", name="Swap").click()
    drawn(page)
    page.wait_for_function("document.querySelector('table.beside thead a').textContent === 'other-lab/topk-b'")


def test_comparing_says_when_it_means_nothing(site, opened):
    across = f"?a={slug(site, 'some-lab__topk-a')}&b={slug(site, 'some-lab__elsewhere')}"
    page = opened(site / "compare.html", query=across)
    page.wait_for_selector("text=different tracks")
    page.select_option(".pick-b", slug(site, "some-lab__unscored"))
    page.wait_for_selector("text=One of them has no score.")
    forged = opened(site / "compare.html", query="?a=../../secret&b=%3Cscript%3E")
    forged.wait_for_selector("text=Choose two suites.")


FOCUSED = """(() => {
  const focused = document.activeElement, text = focused.textContent.trim();
  const order = focused.matches('.dt-column-order') ? focused.closest('th').textContent.trim() : null;
  return { tag: focused.tagName, text: text.slice(0, 40), order, outline: getComputedStyle(focused).outlineStyle };
})()"""


def test_everything_is_reached_by_keyboard(site, opened):
    page = opened(site / "index.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    reached, order = set(), names(page)
    for _ in range(120):
        page.keyboard.press("Tab")
        told = page.evaluate(FOCUSED)
        reached.add(f"{told['tag']} {told['text']}")
        assert told["outline"] != "none", f"no focus to be seen on {told}"
        if told["order"] == "L0":
            page.keyboard.press("Enter")
            expect(page.locator("th:focus, th:has(:focus)")).to_have_attribute("aria-sort", "descending")
            drawn(page)
        if told["text"] == "gated-a":
            break
    assert {"INPUT ", "A topk-a", "A gated-a", "BUTTON Reset"} <= reached
    assert names(page) != order
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:has-text('some-lab/gated-a')")


PAGES = ["index", "compare", "suite", "hostile", "refuted", "contradicted", "report", "empty"]


@pytest.fixture(scope="session")
def addresses(site, cards, page_cache, tmp_path_factory):
    """Every kind of page: its file, and what to ask of it."""
    folder = tmp_path_factory.mktemp("pages")
    write_report(list(cards.values()), folder / "report.html", cache_dir=page_cache)
    (folder / "results").mkdir()
    Site(folder / "results", folder / "empty", cache_dir=page_cache).build()
    pair = f"?a={slug(site, 'some-lab__topk-a')}&b={slug(site, 'some-lab__gated-a')}"
    return {
        "index": (site / "index.html", ""),
        "compare": (site / "compare.html", pair),
        "suite": (suite_page(site, "some-lab__topk-a"), ""),
        "hostile": (suite_page(site, "evil-lab__hostile"), ""),
        "refuted": (suite_page(site, "bad-lab__too-good"), ""),
        "contradicted": (suite_page(site, "bad-lab__no-prompts"), ""),
        "report": (folder / "report.html", ""),
        "empty": (folder / "empty" / "index.html", ""),
    }


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_serious(name, dark, addresses, opened):
    path, query = addresses[name]
    page = opened(path, query=query, dark=dark)
    if name == "compare":
        page.wait_for_selector("table.beside")
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations'], preload: false})")["violations"]
    serious = [f"{one['id']}: {one['nodes'][0]['html']}" for one in found if one["impact"] in ("serious", "critical")]
    assert serious == []


@pytest.mark.parametrize("name", PAGES)
def test_a_phone_never_scrolls_sideways(name, addresses, opened):
    path, query = addresses[name]
    page = opened(path, query=query, viewport=PHONE)
    page.wait_for_timeout(200)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_a_phone_shows_rank_name_and_score(site, opened):
    page = opened(site / "index.html", viewport=PHONE)
    shown = page.locator("section:not([hidden]) thead th:visible .dt-column-title").all_inner_texts()
    assert [text.split("\n")[0] for text in shown if text.strip()][-3:] == ["Rank", "Suite", "IOI score"]
    right = page.locator("section:not([hidden]) tbody.suites td.c-score").first.bounding_box()
    assert right["x"] + right["width"] <= PHONE["width"]


def background(page):
    return page.evaluate("getComputedStyle(document.documentElement).backgroundColor")


def test_dark_follows_the_system_and_the_button_and_is_kept(site, opened):
    light, page = opened(site / "index.html"), opened(site / "index.html", dark=True)
    dark = background(page)
    assert dark != background(light)
    page.get_by_role("button", name=re.compile("light and dark")).click()
    assert background(page) == background(light)
    page.reload()
    assert background(page) == background(light)


@pytest.mark.parametrize("name", PAGES)
def test_without_scripts_all_is_there_to_read(name, addresses, opened):
    page = opened(addresses[name][0], script=False)
    assert page.locator(".needs-js:visible").count() == 0
    assert page.locator("h1").is_visible()
    if name in ("index", "report"):
        assert page.locator("table.ranking:visible tbody.suites tr").count() >= 2
        assert page.locator(".chart svg.plot g.suite").first.is_visible()
    if name in ("suite", "report"):
        assert page.locator(".panel svg.plot:visible").count() >= 2
    if name == "compare":
        assert page.locator("noscript").count() == 1


def test_a_report_sorts_and_its_figure_leads_to_the_card(addresses, opened):
    page = opened(addresses["report"][0])
    before = page.locator("tbody.suites tr").evaluate_all("rows => rows.map(r => r.dataset.slug)")
    sort_by(page, "IOI score", "descending")
    sort_by(page, "IOI score", "ascending")
    after = page.locator("tbody.suites tr").evaluate_all("rows => rows.map(r => r.dataset.slug)")
    assert after == before[::-1]
    page.locator("tbody.suites a").first.click()
    assert page.evaluate("decodeURIComponent(location.hash.slice(1))") == after[0]
    assert page.locator(f"article[id='{after[0]}']").is_visible()
