"""A copy is sound only if it is, byte for byte and in what it scores, what the manifest says."""

from __future__ import annotations

import shutil

import pytest
from card_examples import some_card
from reference_examples import content as made_up
from reference_examples import shelf

from ioi_bench import evaluate
from ioi_bench.errors import HubUnavailableError, InputError, UnknownNameError
from ioi_bench.reference import bundled_folder, bundled_manifest
from ioi_bench.reference.copies import find_copies
from ioi_bench.reference.manifest import Manifest
from ioi_bench.reference.pull import pull
from ioi_bench.reference.verify import evaluate_again, problems_of

NAME = "topk-k3-s0"


@pytest.fixture
def suite():
    return bundled_manifest().suite(NAME)


@pytest.fixture
def folder(tmp_path, suite):
    """A copy of a real suite."""
    return shutil.copytree(bundled_folder() / suite.path, tmp_path / NAME)


def test_a_copy_of_a_bundled_suite_is_sound(folder, suite):
    assert problems_of(folder, NAME, suite) == []


def test_one_changed_bit_is_found(folder, suite):
    file = folder / "weights.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    (problem,) = problems_of(folder, NAME, suite)
    assert suite.files["weights.safetensors"] in problem


def test_what_is_missing_or_too_much_is_found(folder, suite):
    (folder / "suite.json").rename(folder / "plugin.py")
    assert problems_of(folder, NAME, suite) == ["suite.json is missing", "plugin.py is not in the manifest"]


def test_a_folder_that_is_not_there_has_none_of_its_files(tmp_path, suite):
    assert len(problems_of(tmp_path / "gone", NAME, suite)) == len(suite.files)


@pytest.mark.parametrize("what", ["suite_sha256", "model_sha256", "model"])
def test_a_manifest_that_is_wrong_about_the_content_is_found(folder, suite, what):
    wrong = suite.model_copy(update={what: "0" * 64})
    (problem,) = problems_of(folder, NAME, wrong)
    assert what in problem


def test_files_that_match_and_are_no_suite_are_found(bundle):
    suite = bundled_manifest().suite("topk-s0")
    (problem,) = problems_of(bundle / suite.path, "topk-s0", suite)
    assert "suite.json" in problem or "safetensors" in problem


def test_another_suite_under_its_name_is_found(folder, suite):
    (problem,) = problems_of(folder, "topk-k3-s1", suite)
    assert "its name is topk-k3-s0" in problem


# Which copies are looked at


def found(*given, **options):
    return [(copy.name, copy.where, copy.folder) for copy in find_copies(given, repo="org/saes", **options)]


def test_by_default_all_that_are_bundled(bundle):
    assert found() == [(name, "bundled", bundle / "mini" / name) for name in ("topk-s0", "relu-s0")]


def test_a_folder_is_checked_as_what_it_says_it_is(folder):
    moved = folder.rename(folder.with_name("renamed"))
    assert found(str(moved)) == [(NAME, "given", moved)]


def test_a_folder_with_damaged_weights_still_has_its_name(folder):
    moved = folder.rename(folder.with_name("renamed"))
    (moved / "weights.safetensors").write_bytes(b"")
    assert found(str(moved)) == [(NAME, "given", moved)]


def test_a_folder_without_a_readable_header_goes_by_its_name(folder):
    (folder / "suite.json").write_text("{")
    assert found(str(folder)) == [(NAME, "given", folder)]


def test_a_folder_of_a_later_suite_is_checked_against_the_hub(bundle, hub, tmp_path):
    later = shelf(tmp_path / "published", {"gated-s1": made_up("gated-s1")})
    hub.files = {"manifest.json": (later / "manifest.json").read_bytes()}
    assert found(str(later / "mini" / "gated-s1")) == [("gated-s1", "given", later / "mini" / "gated-s1")]
    assert hub.asked == [("main", ["manifest.json"])]
    hub.silent, hub.files["missing"] = HubUnavailableError("no answer"), b""
    shutil.rmtree(hub.cache)
    with pytest.raises(HubUnavailableError, match="gated-s1"):
        found(str(later / "mini" / "gated-s1"))


def test_with_a_manifest_nothing_else_is_asked(bundle, hub, tmp_path):
    other = shelf(tmp_path / "other", {"gated-s1": made_up("gated-s1")})
    manifest = other / "manifest.json"
    assert found(manifest=manifest) == [("gated-s1", "manifest", other / "mini" / "gated-s1")]
    assert found("gated-s1", manifest=manifest) == found(manifest=manifest)
    for unknown in ("topk-s0", str(bundle / "mini" / "topk-s0")):
        with pytest.raises(UnknownNameError, match="topk-s0"):
            found(unknown, manifest=manifest)
    assert not hub.asked


def test_a_path_that_is_not_there_is_no_name(bundle, hub, tmp_path):
    with pytest.raises(InputError, match="there is nothing at"):
        found("suites/topk-s0")
    with pytest.raises(InputError, match="not a folder"):
        found(str(bundle / "manifest.json"))
    assert not hub.asked


def test_a_later_suite_that_was_not_pulled_is_said(bundle, hub, tmp_path):
    later = shelf(tmp_path / "published", {"gated-s1": made_up("gated-s1")})
    hub.files = {"manifest.json": (later / "manifest.json").read_bytes()}
    with pytest.raises(InputError, match="ioi-bench reference pull gated-s1 --repo org/saes"):
        found("gated-s1")


# Scores


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A manifest of one real suite whose scores are of few prompts; the card is made with other budgets and methods."""
    root = tmp_path_factory.mktemp("small")
    known = bundled_manifest().suite(NAME)
    folder = shutil.copytree(bundled_folder() / known.path, root / known.path)
    card = evaluate(folder, prompts=60, train_prompts=500, budgets=(1, 2, 4, 8), methods=("exchange", "aware"))
    said = known.model_dump(mode="json") | {
        "prompts": 60,
        "train_prompts": 500,
        "scores": {"exchange": card.headline["exchange"].score.model_dump()},
    }
    Manifest.model_validate({"suites": {NAME: said}}).write(root / "manifest.json")
    return root


def test_scores_are_found_again(small):
    suite = Manifest.read(small / "manifest.json").suite(NAME)
    again = evaluate_again(small / suite.path, suite)
    assert again.same
    assert again.worst.keys() == {"exchange"}


@pytest.mark.parametrize("which", ["value", "low", "high"])
def test_a_score_that_is_off_by_more_than_a_millionth_is_found(small, which, monkeypatch):
    """The evaluation is the one above: only what is compared changes."""
    suite = Manifest.read(small / "manifest.json").suite(NAME)
    score = suite.scores["exchange"]
    for shift, same in ((5e-7, True), (2e-6, False)):
        moved = score.model_copy(update={which: getattr(score, which) + shift})
        shifted = suite.model_copy(update={"scores": {"exchange": moved}})
        monkeypatch.setattr("ioi_bench.reference.verify.evaluate", lambda *a, **k: card_with(score))
        again = evaluate_again(small / suite.path, shifted)
        assert again.same is same
        assert again.worst["exchange"] == pytest.approx(shift, rel=1e-3)


def test_a_figure_without_a_value_is_the_same_only_as_another(small, monkeypatch):
    suite = Manifest.read(small / "manifest.json").suite(NAME)
    empty = suite.scores["exchange"].model_copy(update={"value": None, "low": None, "high": None})
    monkeypatch.setattr("ioi_bench.reference.verify.evaluate", lambda *a, **k: card_with(empty))
    assert not evaluate_again(small, suite).same
    assert evaluate_again(small, suite.model_copy(update={"scores": {"exchange": empty}})).same


def card_with(score):
    card = some_card()
    return card.model_copy(
        update={"headline": {"exchange": card.headline["exchange"].model_copy(update={"score": score})}}
    )


@pytest.mark.slow
def test_a_pulled_suite_gets_the_scores_of_the_manifest(hub, monkeypatch):
    """All 1,000 prompts and all methods, as published (half a minute)."""
    suite = bundled_manifest().suite(NAME)
    hub.files = {path: (bundled_folder() / path).read_bytes() for path in suite.file_paths}
    (pulled,) = pull([NAME], repo="org/saes")
    assert hub.cache in pulled.folder.parents
    again = evaluate_again(pulled.folder, suite)
    assert again.worst.keys() == {"exchange", "aware", "universal"}
    assert again.same, again.worst
