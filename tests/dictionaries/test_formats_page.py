"""docs/formats.md says of the native format what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from ioi_bench.dictionaries.architectures import ARCHITECTURES
from ioi_bench.dictionaries.suite import SuiteHeader, load_suite
from ioi_bench.lm.model import load_model
from ioi_bench.sites import COMPONENTS, Role, Site

PAGE = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()
SIZES = {"d_in": 3, "d_sae": 4}


def rows(heading):
    """The cells of the table whose first heading is this one."""
    table = re.search(rf"^\| {heading} \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, flags=re.M)[1]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()]


def names(cell):
    return re.findall(r"`([\w.]+)", cell)


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """The folder that the page's example writes."""
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.M | re.S)
    exec(compile(code, "docs/formats.md", "exec"), {})  # the page is ours
    return tmp_path / "my_suite"


def test_the_example_saves_a_suite_that_fits_the_model(saved):
    suite, model = load_suite(saved), load_model("ioi-mini")
    assert {(site.component, site.layer, site.head) for site in suite.sites} == {("z", 4, 0)}
    assert {site.role for site in suite.sites} == set(Role)
    assert {one.d_in for one in suite.dictionaries.values()} == {model.d_head}
    assert {path.name for path in saved.iterdir()} == {name.split("/")[-1] for name in names_of_files(saved)}


def names_of_files(saved):
    files = [path for (cell, _) in rows("path") for path in re.findall(r"`(my_suite/[\w.]+)`", cell)]
    assert json.loads((saved / "suite.json").read_text())["weights"] == ["weights.safetensors"]
    return files


def test_the_header_has_these_keys_and_needs_these():
    fields = SuiteHeader.model_fields
    told = {names(key)[0]: needed for key, _, needed in rows("key")}
    assert told.keys() == fields.keys()
    for name, needed in told.items():
        assert (needed == "yes") == fields[name].is_required(), name


def test_every_architecture_stands_there_with_its_tensors_and_settings():
    told = {names(name)[0]: (tensors, names(settings)) for name, tensors, settings in rows("architecture")}
    assert told.keys() == ARCHITECTURES.keys()
    for name, (tensors, settings) in told.items():
        axes = {key: tuple(dims.split(", ")) for key, dims in re.findall(r"`(\w+) \[([\w, ]+)\]`", tensors)}
        assert axes == dict(ARCHITECTURES[name].axes), name
        assert settings == list(ARCHITECTURES[name].settings), name


FORMULAS = {
    "relu": lambda u, w: torch.relu(u + w["b_enc"]),
    "topk": lambda u, w: torch.relu(u + w["b_enc"]) * ranks_below(torch.relu(u + w["b_enc"]), 2),
    "gated": lambda u, w: torch.where(u + w["b_gate"] > 0, torch.relu(w["r_mag"].exp() * u + w["b_mag"]), 0),
    "jumprelu": lambda u, w: torch.where(u + w["b_enc"] > w["threshold"], u + w["b_enc"], 0),
    "skyline": lambda u, w: torch.cat([ranks_below(block, 1) for block in (u + w["b_enc"]).split([1, 3], 1)], 1),
}
SETTINGS = {"topk": {"k": 2}, "skyline": {"block_sizes": (1, 3)}}


def ranks_below(values, n):
    """1 for the n largest of each row."""
    return (values.argsort(1, descending=True).argsort(1) < n).float()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_formulas_are_the_architectures(name):
    """The page's formulas, written again in the test, against the code."""
    generator = torch.Generator().manual_seed(3)
    shapes = ARCHITECTURES[name].shapes(**SIZES)
    w = {key: torch.rand(shape, generator=generator) - 0.4 for key, shape in shapes.items()}
    if "threshold" in w:
        w["threshold"] = w["threshold"].abs()
    x = torch.randn(50, 3, generator=generator)
    dictionary = ARCHITECTURES[name](**w, scale=0.7, **SETTINGS.get(name, {}))
    f = FORMULAS[name]((0.7 * x - w["b_dec"]) @ w["W_enc"], w)
    torch.testing.assert_close(dictionary.encode(x), f)
    torch.testing.assert_close(dictionary.decode(f), (f @ w["W_dec"] + w["b_dec"]) / 0.7)


def test_sites_are_written_as_the_page_says():
    assert str(Site.parse("z.4.0@end")) == "z.4.0@end"
    said = re.search(r"The components are `([\w ]+)` .*? and `([\w ]+)`; the roles `([\w+ ]+)`", PAGE, flags=re.S)
    assert (*said[1].split(), *said[2].split()) == COMPONENTS
    assert said[3].split() == [str(role) for role in Role]
