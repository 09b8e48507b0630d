"""A submission is checked whole before anything is written, is never replaced, and reads back as an entry."""

from __future__ import annotations

import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from ioi_bench.dictionaries.architectures import TopK
from ioi_bench.dictionaries.suite import load_suite, save_suite
from ioi_bench.errors import InputError, SuiteError
from ioi_bench.evaluation.card import Card
from ioi_bench.leaderboard import submit as module
from ioi_bench.leaderboard.allowed import AllowedPlugin, read_allowed
from ioi_bench.leaderboard.records import Submission
from ioi_bench.leaderboard.results import find_entries, read_entry
from ioi_bench.leaderboard.submit import Declaration, prepare, read_declaration, send
from ioi_bench.leaderboard.target import open_target
from ioi_bench.plugins.loading import scaled_by
from ioi_bench.plugins.manager import Plugins

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def small(small_card):
    return small_card


@pytest.fixture
def said(small):
    return Declaration(
        name="my-lab/topk",
        authors=("Ada", "Ben"),
        training_data="the train prompts of ioi-v1-mini",
        licence="Apache-2.0",
        suite=str(small.suite),
    )


def put_together(small, said, to, **others):
    plugins = others.pop("plugins", None) or Plugins.load(packages=False)
    return prepare(small.folder, said, to=str(to), needs=small.needs, plugins=plugins, **others)


def changed_card(small, tmp_path, **made):
    """The card's folder, with other values in ``made``."""
    folder = tmp_path / "card"
    shutil.copytree(small.folder, folder)
    card = Card.read(folder)
    card.model_copy(update={"made": card.made.model_copy(update=made)}).write(folder / "card.json")
    return replace_folder(small, folder)


def replace_folder(small, folder):
    other = type(small)(**vars(small))
    other.folder, other.prompts = folder, folder / "prompts.parquet"
    return other


def test_a_submission_reads_back(small, said, tmp_path):
    prepared = put_together(small, said, tmp_path)
    assert not list(tmp_path.iterdir()), "preparing writes nothing"
    sent = send(prepared)
    assert Path(sent.place) == tmp_path / "results" / "ioi-mini" / "my-lab__topk" / small.card.made.suite_sha256
    assert sorted(path.name for path in Path(sent.place).iterdir()) == [
        "card.json",
        "prompts.parquet",
        "submission.toml",
    ]
    assert (Path(sent.place) / "card.json").read_bytes() == (small.folder / "card.json").read_bytes()
    assert (Path(sent.place) / "prompts.parquet").read_bytes() == small.prompts.read_bytes()
    (found,) = find_entries(tmp_path / "results")
    entry = read_entry(found)
    assert entry.card == small.card
    assert entry.submission == Submission(**vars(said), suite_sha256=small.card.made.suite_sha256)
    assert entry.badge == "self-reported"


def test_a_card_that_fails_a_check_is_not_sent(small, said, tmp_path):
    with pytest.raises(InputError, match="what the leaderboard needs"):
        prepare(small.folder, said, to=str(tmp_path))
    other = changed_card(small, tmp_path / "other", n_draws=999)
    with pytest.raises(InputError, match="999 draws"):
        put_together(other, said, tmp_path / "board")
    other = changed_card(small, tmp_path / "third", model_sha256="0" * 64)
    with pytest.raises(InputError, match="model 'ioi-mini'"):
        put_together(other, said, tmp_path / "board")
    assert not (tmp_path / "board").exists()


def test_the_same_suite_twice(small, said, tmp_path):
    send(put_together(small, said, tmp_path))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match="already as 'my-lab/topk'"):
        put_together(small, said, tmp_path)
    with pytest.raises(InputError, match=r"write --name my-lab/topk$"):
        put_together(small, replace(said, name="My-Lab/TOPK"), tmp_path)
    other = put_together(small, replace(said, name="your-lab/topk"), tmp_path)
    assert any("already, as my-lab/topk" in note for note in other.notes)
    send(other)
    assert {path: path.read_bytes() for path in before} == before
    assert len(list(find_entries(tmp_path / "results"))) == 2


def test_two_at_once_do_not_overwrite(small, said, tmp_path):
    first, second = put_together(small, said, tmp_path), put_together(small, said, tmp_path)
    send(first)
    with pytest.raises(InputError, match="already"):
        send(second)


def test_another_suite_than_the_cards(small, said, tmp_path):
    suite = load_suite(small.suite)
    site = suite.sites[0]
    one = suite.dictionaries[site]
    swapped = replace(one, b_dec=one.b_dec + 0.25)
    save_suite(replace(suite, dictionaries={**suite.dictionaries, site: swapped}), tmp_path / "swapped")
    with pytest.raises(InputError, match="sha256"):
        put_together(small, replace(said, suite=str(tmp_path / "swapped")), tmp_path / "board")
    with pytest.raises(SuiteError, match="nothing at"):
        put_together(small, replace(said, suite=str(tmp_path / "lost")), tmp_path / "board")


def test_a_path_cannot_be_verified_by_others(small, said):
    with pytest.raises(InputError, match="nobody else can verify it"):
        put_together(small, said, "hf://datasets/ioi-bench/leaderboard")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("name", "topk", "ORG/NAME"),
        ("name", "my-lab/../topk", "ORG/NAME"),
        ("licence", "do what you want", "licence"),
        ("url", "javascript:alert(1)", "url"),
        ("training_data", "\x1b[31m", "training_data"),
        ("authors", ("",), "authors"),
        ("name", None, "a submission needs name"),
    ],
)
def test_what_is_said_must_make_sense(small, said, tmp_path, field, value, message):
    with pytest.raises(InputError, match=message):
        put_together(small, replace(said, **{field: value}), tmp_path)


def test_missing_sites_must_be_those_of_the_suite(small, said, tmp_path, monkeypatch):
    data = json.loads((small.folder / "card.json").read_text())
    for cell in data["cells"]:
        if cell["cross_section"] == "nm-out":
            cell["missing_sites"] = cell["sites"][:1]
    folder = tmp_path / "card"
    shutil.copytree(small.folder, folder)
    (folder / "card.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match="have no dictionary"):
        put_together(replace_folder(small, folder), said, tmp_path / "board")


def test_a_suite_with_a_scale_of_its_card(small, said, tmp_path):
    scaled = scaled_by(load_suite(small.suite), 2.0).sha256
    other = changed_card(small, tmp_path, options={"scale": "2.0"}, suite_sha256=scaled)
    assert put_together(other, said, tmp_path / "board").submission.suite_sha256 == scaled
    other = changed_card(small, tmp_path / "second", options={"scale": "2.0"})
    with pytest.raises(InputError, match="sha256"):
        put_together(other, said, tmp_path / "board")


# Loaders and architectures

FOREIGN = """
from dataclasses import dataclass
from ioi_bench.dictionaries.suite import load_suite
from ioi_bench.plugins.records import Loader, Recognised

def recognise(source, options):
    if not (source.path / "suite.json").is_file():
        return None
    suite = load_suite(source.path)
    return Recognised("topk", suite.hooks, 32, 256, sites=suite.sites)

def ioi_bench_loaders():
    return [Loader("mine", "mine", recognise, lambda source, options: load_suite(source.path))]
"""


@pytest.fixture
def foreign(tmp_path):
    path = tmp_path / "foreign.py"
    path.write_text(FOREIGN)
    return Plugins.load([path], packages=False)


def test_a_plugins_loader_must_be_on_the_list(small, said, tmp_path, foreign):
    origin = foreign.named("foreign").origin
    other = changed_card(small, tmp_path, loader="mine", plugins={"loader mine": f"foreign ({origin})"})
    board = tmp_path / "board"
    with pytest.raises(InputError, match="not on the list"):
        put_together(other, said, board, plugins=foreign)
    board.mkdir()
    package, _, version = "foreign-package 1.2".partition(" ")
    entry = (
        f'[[plugin]]\nname = "foreign"\npackage = "{package}"\nversion = "{{}}"\nloaders = ["mine"]\nreads = "all"\n'
    )
    (board / "plugins.toml").write_text(entry.format("1.1"))
    listed = {"loader mine": "foreign (foreign-package 1.2)"}
    other = changed_card(small, tmp_path / "second", loader="mine", plugins=listed)
    with pytest.raises(InputError, match=r"foreign \(foreign-package 1.1\)"):
        put_together(other, said, board, plugins=foreign)
    (board / "plugins.toml").write_text(entry.format(version))
    assert put_together(other, said, board, plugins=foreign).submission.name == "my-lab/topk"


def test_a_plugins_architecture_is_refused(small, said, tmp_path, monkeypatch):
    class Strange(TopK):
        """Not ioi-bench's own, under a name of ioi-bench's own."""

    def loaded(*args, **kwargs):
        found = load_source(*args, **kwargs)
        strange = {site: Strange(**vars(one)) for site, one in found.suite.dictionaries.items()}
        return replace(found, suite=replace(found.suite, dictionaries=strange))

    load_source = module.load_source
    monkeypatch.setattr(module, "load_source", loaded)
    with pytest.raises(InputError, match="run your code"):
        put_together(small, said, tmp_path / "board")


class Trap:
    """Unpickled, it leaves a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("loader", [None, "native"])
def test_nothing_of_a_suite_is_executed(small, said, tmp_path, loader):
    trap, sprung = tmp_path / "trap", tmp_path / "sprung"
    trap.mkdir()
    (trap / "weights.pt").write_bytes(pickle.dumps(Trap(sprung)))
    (trap / "ioi_bench_plugin.py").write_text(f"open({str(sprung)!r}, 'w')")
    (trap / "suite.json").write_text(
        (small.suite / "suite.json").read_text().replace("weights.safetensors", "weights.pt")
    )
    other = changed_card(small, tmp_path, loader=loader)
    with pytest.raises(InputError):
        put_together(other, replace(said, suite=str(trap)), tmp_path / "board")
    assert not sprung.exists()
    pickle.loads((trap / "weights.pt").read_bytes())
    assert sprung.exists(), "the trap works"


def test_our_own_list_is_of_the_plugins_here():
    listed = {one.name: one for one in read_allowed(ROOT / "leaderboard")}
    assert listed
    for name, one in listed.items():
        text = (ROOT / "plugins" / one.package / "pyproject.toml").read_text()
        assert f'version = "{one.version}"' in text
        assert f'{name} = "' in text
        source = (ROOT / "plugins" / one.package / f"{one.package.replace('-', '_')}.py").read_text()
        assert all(f'Loader("{loader}"' in source for loader in one.loaders)


@pytest.mark.parametrize("text", ["plugin = 3", "[[plugin]]\nname = 'x'", "nonsense", "\x00", "[[other]]\na=1"])
def test_a_damaged_list_is_our_error(tmp_path, text):
    (tmp_path / "plugins.toml").write_text(text)
    with pytest.raises(InputError, match=r"plugins\.toml"):
        read_allowed(tmp_path)
    assert read_allowed(tmp_path / "elsewhere") == ()
    assert AllowedPlugin(name="a", package="b", version="1", loaders=("l",), reads="r").on_card == "a (b 1)"


# What is said, in a file


def test_a_declaration_is_read_and_overruled(tmp_path):
    path = tmp_path / "submission.toml"
    path.write_text('name = "a/b"\nauthors = ["Ada"]\nlicence = "MIT"\nschema_version = 1\n')
    found = read_declaration(path)
    assert found.missing == ("training_data", "suite")
    assert found.overridden(Declaration(name="c/d")) == replace(found, name="c/d")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = 3", "expected text"),
        ('authors = "Ada"', "expected a list"),
        ("authors = [1]", "expected a list"),
        ('nmae = "a/b"', "nmae"),
        ("= 1", "cannot be read"),
    ],
)
def test_a_bad_declaration_is_our_error(tmp_path, text, said):
    path = tmp_path / "submission.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        read_declaration(path)
    with pytest.raises(InputError, match="there is no file"):
        read_declaration(tmp_path / "lost.toml")


def test_a_target_must_be_a_folder_or_a_data_set(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    for given, said in (
        (str(file), "no folder"),
        ("hf://ioi-bench/leaderboard", "dataset"),
        ("https://huggingface.co/x/y", "hf://"),
        ("hf://datasets/a/b/results", "names a folder"),
    ):
        with pytest.raises(InputError, match=said):
            open_target(given, "ioi-mini", "0" * 64)
