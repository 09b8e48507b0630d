"""Discovery: each figure is what a single patched run says, and the drawings say what the figures say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from ioi_bench.errors import InputError, UnknownNameError
from ioi_bench.lm import LanguageModel, load_circuit, load_model, patched_logits
from ioi_bench.lm.discovery import Discovery, discover, find_cross_sections
from ioi_bench.lm.heatmap import heat_chart, heat_table, write_heat_map
from ioi_bench.sites import Role, Site
from ioi_bench.task import IOI_V1, IOI_V1_MINI, Split, name_tokens, tokenize


@pytest.fixture(scope="module")
def split() -> Split:
    return IOI_V1.split("test").head(5)


@pytest.fixture(scope="module")
def found(tiny_gpt2: LanguageModel, split: Split) -> Discovery:
    return discover(tiny_gpt2, split, batch_size=3)


def one_by_one(model: LanguageModel, split: Split, attribute: str, site: Site) -> tuple[float, float]:
    base = tokenize(IOI_V1, split.prompts, model.tokenizer)
    other = tokenize(IOI_V1, split.counterfactual((attribute,)), model.tokenizer)
    clean = model.logits(base)
    patched = patched_logits(model, base, [model.capture(other, [site])])[0]
    io, s = (name_tokens([getattr(p, name) for p in split.prompts], model.tokenizer) for name in ("io", "s"))
    rows = torch.arange(len(split))
    before, after = (x[rows, io] - x[rows, s] for x in (clean, patched))
    flipped = (clean.argmax(-1) != patched.argmax(-1)).float().mean().item()
    return ((before - after).sum() / before.sum().abs()).item(), flipped


@pytest.mark.parametrize("text", ["z.1.2@end", "k.0.1@io", "v.2.3@s2", "q.1.0@s1+1", "mlp_out.0@s1", "attn_out.2@end"])
@pytest.mark.parametrize("attribute", ["io", "s", "pos"])
def test_every_figure_is_one_patched_run(
    tiny_gpt2: LanguageModel, split: Split, found: Discovery, text: str, attribute: str
) -> None:
    site = Site.parse(text)
    at = found.attributes.index(attribute), found.sites.index(site)
    effect, flipped = one_by_one(tiny_gpt2, split, attribute, site)
    assert found.effect[at].item() == pytest.approx(effect, abs=1e-4)
    assert found.flipped[at].item() == pytest.approx(flipped)


def test_every_head_component_and_role_is_there(tiny_gpt2: LanguageModel, found: Discovery) -> None:
    assert len(found.sites) == len(set(found.sites)) == 3 * (4 * 4 + 2) * 5
    assert found.effect.shape == found.flipped.shape == (3, len(found.sites))
    assert found.n_prompts == 5
    assert found.effect.abs().max() > 0.01


def test_what_comes_too_late_does_nothing(found: Discovery) -> None:
    late = [i for i, s in enumerate(found.sites) if s.layer == 2 and s.component in "qz" and s.role != Role.END]
    assert (found.effect[:, late].abs() < 1e-5).all()
    assert (found.flipped[:, late] == 0).all()


def test_the_whole_prompt_is_the_counterfactual_s_own_run(
    tiny_gpt2: LanguageModel, split: Split, found: Discovery
) -> None:
    for attribute, flipped in zip(found.attributes, found.whole_flipped.tolist(), strict=True):
        runs = [
            tiny_gpt2.logits(tokenize(IOI_V1, prompts, tiny_gpt2.tokenizer)).argmax(-1)
            for prompts in (split.prompts, split.counterfactual((attribute,)))
        ]
        assert flipped == pytest.approx((runs[0] != runs[1]).float().mean().item())


def test_progress_reaches_its_end(tiny_gpt2: LanguageModel, split: Split) -> None:
    seen: list[tuple[int, int]] = []
    discover(
        tiny_gpt2,
        split,
        attributes=["pos"],
        components=["z"],
        batch_size=4,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(i + 1, 30) for i in range(30)]
    with pytest.raises(UnknownNameError, match="component"):
        discover(tiny_gpt2, split, components=["x"])


def planted() -> Discovery:
    """Two heads whose output at END carries ``io``, one of them strongly, and an MLP that does too."""
    sites = tuple(Site.parse(t) for t in ("z.0.0@end", "z.0.1@end", "z.1.1@end", "q.1.0@end", "mlp_out.1@end"))
    every = tuple(replace(site, role=role) for site in sites for role in Role)
    effect = torch.zeros(2, len(every))
    for text, value in (("z.0.1@end", 0.3), ("z.1.1@end", -1.4), ("q.1.0@end", 0.2), ("mlp_out.1@end", 0.9)):
        effect[0, every.index(Site.parse(text))] = value
    whole = torch.tensor([1.9, 0.0])
    return Discovery("planted", 10, 3.0, ("io", "pos"), every, effect, effect.abs(), whole, whole)


def test_cross_sections_are_the_heads_above_the_threshold() -> None:
    proposed = find_cross_sections(planted(), threshold=0.25)
    (section,) = proposed["io"]
    assert section.name == "z@end"
    assert section.sites == (Site.parse("z.1.1@end"), Site.parse("z.0.1@end"))
    assert proposed["pos"] == ()
    assert [section.name for section in find_cross_sections(planted(), threshold=0.1)["io"]] == ["z@end", "q@end"]


def test_the_terminal_shows_the_strongest_rows() -> None:
    console = Console(width=80, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as captured:
        console.print(heat_table(planted(), most=2))
    io, pos = captured.get().split("pos (whole prompt: 0.00)")
    assert "io (whole prompt: 1.90)" in io
    assert "z.1.1" in io
    assert "-1.40" in io
    assert "mlp_out.1" in io
    assert "z.0.1" not in io
    assert pos.count("·") == 10


@pytest.fixture(scope="module")
def mini() -> Discovery:
    split = IOI_V1_MINI.split("test").head(24)
    return discover(load_model("ioi-mini"), split, attributes=("io", "pos"), components=("q", "v", "z"))


@pytest.mark.parametrize(
    ("attribute", "section", "place"),
    [
        ("pos", "ind-dt-out", "z@s2"),
        ("pos", "si-v", "v@s2"),
        ("pos", "si-out", "z@end"),
        ("pos", "nm-q", "q@end"),
        ("io", "nm-out", "z@end"),
    ],
)
def test_the_circuit_of_ioi_mini_is_found_unaided(mini: Discovery, attribute: str, section: str, place: str) -> None:
    """The strongest sites of a place are the designated ones, and they alone change the answers."""
    designated, a = set(load_circuit("ioi-mini").cross_sections[section].sites), mini.attributes.index(attribute)
    (found,) = (s for s in find_cross_sections(mini)[attribute] if s.name == place)
    assert set(found.sites[: len(designated)]) == designated
    others = [i for i, s in enumerate(mini.sites) if f"{s.component}@{s.role}" == place and s not in designated]
    assert mini.flipped[a, others].max() <= 0.1


@pytest.mark.parametrize(("name", "start"), [("map.png", b"\x89PNG"), ("map.svg", b"<svg")])
def test_the_heat_map_is_drawn(tmp_path: Path, name: str, start: bytes) -> None:
    write_heat_map(planted(), tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(start)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_heat_map_of_many_rows_says_what_it_leaves_out(tmp_path: Path) -> None:
    assert "the 2 strongest of 5 rows" in str(heat_chart(planted(), most=2).to_dict()["title"])
    with pytest.raises(InputError, match="svg"):
        write_heat_map(planted(), tmp_path / "map.gif")
