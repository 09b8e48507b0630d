"""Circuits: gpt2's is METHOD §2's, files are read back equal, and bad files say what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from ioi_bench.errors import InputError, UnknownNameError
from ioi_bench.lm import LanguageModel
from ioi_bench.lm.circuit import Circuit, RankedCell, load_circuit, write_circuit
from ioi_bench.sites import Cell, Role, Site


@pytest.fixture(scope="module")
def gpt2() -> Circuit:
    return load_circuit("gpt2")


def test_gpt2_has_twenty_five_heads_and_fifty_five_sites(gpt2: Circuit) -> None:
    heads = [head for group in gpt2.heads.values() for head in group]
    assert len(heads) == len(set(heads)) == 25
    assert len(gpt2.sites) == 55
    assert list(gpt2.sites) == sorted(gpt2.sites)
    sizes = {name: len(section.sites) for name, section in gpt2.cross_sections.items()}
    assert sizes == {"nm-out": 10, "nm-q": 10, "nm-qk": 30, "si-out": 4, "si-v": 4, "ind-dt-out": 7}
    assert (gpt2.track, gpt2.task, gpt2.ranked) == ("gpt2", "ioi-v1", None)


@pytest.mark.parametrize(
    ("section", "component", "roles", "heads"),
    [
        ("nm-out", "z", "end", "9.9 9.6 10.0 9.0 9.7 10.1 10.2 10.10 11.2 11.9"),
        ("nm-q", "q", "end", "9.9 9.6 10.0 9.0 9.7 10.1 10.2 10.10 11.2 11.9"),
        ("si-out", "z", "end", "7.3 7.9 8.6 8.10"),
        ("si-v", "v", "s2", "7.3 7.9 8.6 8.10"),
        ("ind-dt-out", "z", "s2", "5.5 6.9 5.8 5.9 0.1 3.0 0.10"),
    ],
)
def test_gpt2_cross_sections(gpt2: Circuit, section: str, component: str, roles: str, heads: str) -> None:
    expected = {Site.parse(f"{component}.{head}@{roles}") for head in heads.split()}
    assert set(gpt2.cross_sections[section].sites) == expected


def test_gpt2_nm_qk_is_nm_q_with_the_keys_of_both_names(gpt2: Circuit) -> None:
    queries = gpt2.cross_sections["nm-q"].sites
    keys = {replace(site, component="k", role=role) for site in queries for role in (Role.IO, Role.S1)}
    assert set(gpt2.cross_sections["nm-qk"].sites) == {*queries, *keys}


def test_gpt2_cells(gpt2: Circuit) -> None:
    headline = {"io@nm-out", *(f"pos@{name}" for name in ("nm-qk", "nm-q", "si-out", "si-v", "ind-dt-out"))}
    further = {"io@nm-qk", "io@nm-q", *(f"s@{name}" for name in ("nm-qk", "nm-q", "si-v", "si-out", "ind-dt-out"))}
    further |= {f"pos+s@{name}" for name in ("nm-qk", "si-out", "si-v", "ind-dt-out")}
    assert {str(cell) for cell in gpt2.headline} == headline
    assert {str(cell) for cell in gpt2.further} == further


def test_a_circuit_is_read_back_equal(gpt2: Circuit, tmp_path: Path) -> None:
    ranked = {cell: RankedCell(cell.attributes == ("io",), "the skyline gains too little") for cell in gpt2.headline}
    measured = replace(gpt2, effects={"name-mover": {"interchange": 0.99}}, ranked=ranked)
    write_circuit(measured, tmp_path / "measured.toml", comment="Two lines\nof comment")
    read = load_circuit(tmp_path / "measured.toml")
    assert read == measured
    assert read.sha256 == measured.sha256
    assert (tmp_path / "measured.toml").read_text().startswith("# Two lines\n# of comment\n\n")


def test_the_hash_covers_what_decides_a_score(gpt2: Circuit) -> None:
    ranked = {cell: RankedCell(True) for cell in gpt2.headline}
    less = {**ranked, Cell.parse("io@nm-out"): RankedCell(False, "why")}
    changed = [replace(gpt2, headline=gpt2.headline[1:]), replace(gpt2, ranked=ranked), replace(gpt2, ranked=less)]
    assert len({gpt2.sha256, *(circuit.sha256 for circuit in changed)}) == 4
    assert replace(gpt2, effects={"x": {"y": 1.0}}).sha256 == gpt2.sha256


GOOD: Mapping[str, str] = {
    "head": 'track = "mine"\ntask = "ioi-v1"\n',
    "heads": '[heads]\nmover = ["2.1", "2.0"]\n',
    "sections": '[cross-sections]\nout = [{ component = "z", role = "end", groups = ["mover"] }]\n',
    "cells": '[cells]\nheadline = ["io@out"]\n',
}


def written(folder: Path, **changes: str) -> Path:
    path = folder / "mine.toml"
    path.write_text("".join({**GOOD, **changes}.values()))
    return path


def test_a_circuit_of_one_s_own(tmp_path: Path, tiny_gpt2: LanguageModel) -> None:
    circuit = load_circuit(written(tmp_path))
    assert circuit.cross_sections["out"].sites == (Site.parse("z.2.1@end"), Site.parse("z.2.0@end"))
    circuit.check(tiny_gpt2)
    with pytest.raises(InputError, match=r"k\.9\.0@io does not exist in gpt2-tiny"):
        load_circuit("gpt2").check(tiny_gpt2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head": 'track = "mine"\n'}, "lacks 'task'"),
        ({"head": 'track = "mine"\ntask = "ioi-v2"\n'}, "did you mean 'ioi-v1'"),
        ({"heads": '[heads]\nmover = ["2-1"]\n'}, "'2-1' is not a head"),
        ({"heads": "[heads]\nmover = [2.1]\n"}, "2.1 should be text"),
        ({"heads": '[heads]\nmover = ["2.1", "2.1"]\n'}, "names a site twice"),
        ({"heads": '[heads]\nmovre = ["2.1"]\n'}, "did you mean 'movre'"),
        ({"sections": "[cross-sections]\nout = [1]\n"}, "wrong kind"),
        ({"sections": GOOD["sections"].replace("end", "and")}, "did you mean 'end'"),
        ({"sections": GOOD["sections"].replace('"z"', '"mlp_out"')}, "component of a head"),
        ({"cells": '[cells]\nheadline = ["io@uot"]\n'}, "did you mean 'out'"),
        ({"cells": "[cells]\nheadline = []\n"}, "at least one headline cell"),
        ({"cells": '[cells]\nheadline = ["io@out"]\nfurther = ["io@out"]\n'}, "no cell twice"),
        ({"more": '[ranked]\n"pos@out" = { ranked = true }\n'}, "of every headline cell"),
        ({"more": '[ranked]\n"io@out" = { ranked = 1 }\n'}, "neither true nor false"),
        ({"more": "[effect]\n"}, "did you mean 'effects'"),
        ({"more": "="}, "not TOML"),
    ],
)
def test_bad_files_say_what_is_wrong(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_circuit(written(tmp_path, **changes))
    assert "mine.toml" in str(caught.value)


def test_names_and_paths_that_do_not_exist(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'gpt2'"):
        load_circuit("gtp2")
    with pytest.raises(InputError, match="does not exist"):
        load_circuit(tmp_path / "none.toml")
