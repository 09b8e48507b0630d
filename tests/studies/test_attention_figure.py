"""The heat maps: what they show is what was computed."""

from __future__ import annotations

import pytest
import torch

from ioi_bench.errors import InputError
from ioi_bench.evaluation.bootstrap import Bootstrap
from ioi_bench.sites import Role
from ioi_bench.studies.attention import TARGETS, Parts, expected_mask, pair_terms, target_figures
from ioi_bench.studies.attention_figure import attention_chart, write_attention_figures
from ioi_bench.studies.attention_study import AttentionStudy, HeadFigures


@pytest.fixture(scope="module")
def study():
    names, g = ("mean", "io", "s", "pos", "error"), torch.Generator().manual_seed(0)
    q, at_io, at_s1 = (Parts(names, torch.randn(5, 30, 4, generator=g, dtype=torch.float64)) for _ in range(3))
    terms = pair_terms(q, {Role.IO: at_io, Role.S1: at_s1})
    boot = Bootstrap.of(range(30), draws=20)
    targets = {name: target_figures(terms.of(name), expected_mask(terms), boot) for name in TARGETS}
    heads = tuple(HeadFigures(head, "skyline", names, names, targets, {}, ()) for head in ("1.0", "1.1"))
    return AttentionStudy("tiny", "0" * 64, "1" * 64, None, 30, 30, 0, heads)


def panels(chart):
    return [panel for row in chart["vconcat"] for panel in row["hconcat"]]


def rows(chart, panel):
    found = next(layer["data"]["name"] for layer in [panel, *panel["layer"]] if "data" in layer)
    return chart["datasets"][found]


def test_the_cells_are_the_figures(study):
    chart = attention_chart(study, "skyline").to_dict()
    found = panels(chart)
    assert len(found) == 10
    mean, both = (rows(chart, panel) for panel in found[:2])
    wanted = study.heads[0].targets
    assert [cell["value"] for cell in mean] == pytest.approx(wanted["difference"].mean.flatten().tolist())
    assert [cell["value"] for cell in both] == pytest.approx(wanted["both"].share.flatten().tolist())
    assert [(cell["q"], cell["k"]) for cell in mean if cell["expected"]] == [("s", "io"), ("s", "s"), ("pos", "pos")]


def test_panels_of_shares_have_one_scale_and_means_their_own(study):
    chart = attention_chart(study, "skyline").to_dict()
    domains = [tuple(panel["layer"][0]["encoding"]["color"]["scale"]["domain"]) for panel in panels(chart)]
    assert len(set(domains[1:5] + domains[6:])) == 1
    assert domains[0] != domains[1]
    assert chart["resolve"]["scale"]["color"] == "independent"
    assert all(row["resolve"]["scale"]["color"] == "independent" for row in chart["vconcat"])


def test_files_are_pictures_and_other_endings_are_refused(study, tmp_path):
    write_attention_figures(study, "skyline", tmp_path / "a.png", tmp_path / "a.svg")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "a.svg").read_text()
    with pytest.raises(InputError, match=r"\.png or a \.svg"):
        write_attention_figures(study, "skyline", tmp_path / "b.png", tmp_path / "b.pdf")
    assert not (tmp_path / "b.png").exists()
    with pytest.raises(InputError, match="there are skyline"):
        attention_chart(study, "topk")
