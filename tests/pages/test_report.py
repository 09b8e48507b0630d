"""One's own cards in one file, and the command line that makes a card again."""

from __future__ import annotations

import base64
import hashlib
import re
import shlex
import shutil

import pytest
from page_examples import Page
from typer.testing import CliRunner

from ioi_bench.cli.app import app
from ioi_bench.errors import InputError
from ioi_bench.evaluation.card import Card
from ioi_bench.pages import write_report
from ioi_bench.pages.shown import of_card


@pytest.fixture(scope="module")
def report(cards, page_cache, tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "report.html"
    write_report([cards["topk"], cards["gated"] / "card.json"], out, cache_dir=page_cache)
    return out


def test_it_holds_all_that_it_needs(report):
    page = Page(report)
    assert not [a for _, a in page.elements if "src" in a]
    assert all(a["href"].startswith("#") for a in page.all("a"))
    assert all(a["href"].startswith("data:") for a in page.all("link"))
    report = report.read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', report)[1].replace("&#39;", "'")
    kinds = {"script": "script-src", "style": "style-src"}
    for tag, kind in kinds.items():
        allowed = re.search(rf"{kind} ([^;]+)", policy)[1].split()
        bodies = re.findall(rf"<{tag}>(.*?)</{tag}>", report, flags=re.S)
        hashes = [base64.b64encode(hashlib.sha256(body.encode()).digest()).decode() for body in bodies]
        assert allowed == [f"'sha256-{one}'" for one in hashes]


def test_it_has_every_card(report, cards):
    report = report.read_text()
    for folder in cards.values():
        made = Card.read(folder).made
        assert made.suite_sha256 in report
        assert f">{made.suite}<" in report


@pytest.mark.parametrize(
    ("paths", "out", "message"),
    [
        ([], "a.html", "at least one card"),
        (["nowhere"], "a.html", "no card at"),
        (["nowhere"], "a.pdf", "an .html file"),
    ],
)
def test_what_cannot_be_reported(paths, out, message, tmp_path):
    with pytest.raises(InputError, match=message):
        write_report([tmp_path / path for path in paths], tmp_path / out)
    assert not list(tmp_path.iterdir())


def test_the_command_on_the_page_gives_the_card_again(cards, tmp_path, monkeypatch):
    monkeypatch.setenv("IOI_BENCH_CACHE", str(tmp_path / "cache"))
    program, *words = shlex.split(of_card(cards["topk"], 1).command)
    assert program == "ioi-bench"
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "again")])
    assert done.exit_code == 0, done.stderr
    before, after = Card.read(cards["topk"]), Card.read(tmp_path / "again")
    assert after.headline == before.headline
    assert after.cells == before.cells
    same = {"wall_seconds", "timing", "hardware"}
    assert after.made.model_dump(exclude=same) == before.made.model_dump(exclude=same)


def test_every_option_of_a_card_is_on_its_command_line_and_quoted(cards, tmp_path):
    folder = shutil.copytree(cards["topk"], tmp_path / "card")
    card = Card.read(folder)
    options = {"hook": "blocks.1.attn.hook_z[0]", "arch": "topk", "scale": "2.0", "set k": "3; rm -rf /"}
    made = card.made.model_copy(
        update={"options": {**options, "cross-site": "yes"}, "loader": "native", "source": "a b; c", "seed": 7}
    )
    card.model_copy(update={"made": made}).write(folder / "card.json")
    words = shlex.split(of_card(folder, 1).command)
    assert words[2] == "a b; c"
    for option, value in {
        "--hook": options["hook"],
        "--arch": "topk",
        "--scale": "2.0",
        "--set": "k=3; rm -rf /",
        "--loader": "native",
        "--prompts": "120",
        "--train-prompts": "500",
        "--budgets": "1,2,4,8",
        "--methods": "exchange,aware,universal",
        "--seed": "7",
    }.items():
        assert words[words.index(option) + 1] == value
    assert "--cross-site" in words
    assert "--no-preflight" not in words


def test_the_commands_write_files(cards, results, tmp_path, monkeypatch, page_cache):
    monkeypatch.setenv("IOI_BENCH_CACHE", str(page_cache))
    out = tmp_path / "site"
    built = CliRunner().invoke(app, ["leaderboard", "build", "--results", str(results), "--out", str(out)])
    assert built.exit_code == 0, built.stderr
    assert "warning: not shown: ioi-mini/some-lab__broken/" in built.stderr
    assert (out / "index.html").is_file()
    page = tmp_path / "r.html"
    assert CliRunner().invoke(app, ["report", str(cards["topk"]), "--out", str(page)]).exit_code == 0
    assert page.stat().st_size > 100_000
    missing = CliRunner().invoke(app, ["leaderboard", "build", "--results", str(tmp_path / "none")])
    assert missing.exit_code == 2
