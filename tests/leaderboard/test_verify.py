"""`ioi-bench leaderboard verify`: an honest submission passes, every forgery is caught."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from boards import changed, consistent, hand_in
from typer.testing import CliRunner

from ioi_bench.cli.app import app
from ioi_bench.dictionaries.suite import load_suite, save_suite
from ioi_bench.evaluation.card import Card
from ioi_bench.evaluation.evaluate import evaluate
from ioi_bench.leaderboard.allowed import AllowedPlugin
from ioi_bench.leaderboard.records import Verdict
from ioi_bench.leaderboard.results import read_entry
from ioi_bench.leaderboard.weights import loader_plugins
from ioi_bench.plugins.discovery import Candidate
from ioi_bench.plugins.manager import Plugins
from ioi_bench.plugins.records import LoadOptions

AGAIN = "results per prompt, evaluated again"
FIGURES = "figures, evaluated again"
NAMES = [
    "track",
    "what the leaderboard needs",
    "parts of the card",
    "figures",
    "other figures",
    "anchors",
    "revision",
    "organisation",
    "loader",
    "weights",
    "evaluation",
    "suite hash",
    "settings",
    AGAIN,
    FIGURES,
    "fresh prompts",
    "declaration",
]
HASH = "0123456789abcdef" * 4


@pytest.fixture(scope="session")
def small(small_card):
    return small_card


@pytest.fixture
def verify(small, monkeypatch, tmp_path_factory):
    """Run the command in this process, for a leaderboard that takes cards of 100 prompts."""
    monkeypatch.setattr("ioi_bench.leaderboard.verify.Needs", lambda: small.needs)
    monkeypatch.setenv("IOI_BENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("COLUMNS", "100")

    def run(*words):
        words = ["leaderboard", "verify", *(str(word) for word in words)]
        return CliRunner().invoke(app, words, catch_exceptions=False)

    return run


@pytest.fixture
def no_evaluation(monkeypatch):
    """It is caught before the work."""

    def work(*_, **__):
        raise AssertionError("it was evaluated")

    monkeypatch.setattr("ioi_bench.evaluation.evaluate.evaluate", work)


@pytest.fixture
def weights(small, tmp_path):
    """A copy of the suite, to spoil."""
    return shutil.copytree(small.suite, tmp_path / "weights")


def verdict(folder):
    return Verdict.model_validate_json((folder / "verdict.json").read_text())


def refused(result, folder, name, says=""):
    """It was refuted by the check of that name, which says so."""
    assert result.exit_code == 1, result.stderr
    found = verdict(folder)
    assert found.badge == read_entry(folder).badge == "refuted"
    failed = [check for check in found.checks if not check.passed]
    assert failed[0].name == name, failed
    assert says in failed[0].detail
    return found


def test_an_honest_submission_is_reproduced(small, verify, tmp_path):
    folder = hand_in(tmp_path, small.card, small.prompts, small.suite)
    result = verify(folder, "--json")
    assert result.exit_code == 0, result.stderr
    (row,) = json.loads(result.stdout)["submissions"]
    found = verdict(folder)
    assert (row["badge"], row["error"]) == ("reproduced", None)
    assert row["verdict"] == found.model_dump(mode="json")
    assert [check.name for check in found.checks] == NAMES
    assert (found.suite, found.suite_sha256_found) == (str(small.suite), small.card.made.suite_sha256)
    again = {check.name: check for check in found.checks}
    assert again[AGAIN].worst == 0
    assert again[FIGURES].worst < 1e-9
    assert read_entry(folder).badge == "reproduced"
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.slow
def test_one_made_with_other_threads_and_batches_is_reproduced(small, verify, tmp_path):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        evaluate(
            small.suite,
            prompts=100,
            train_prompts=500,
            budgets=(1, 2, 4),
            methods=("exchange",),
            batch_size=17,
            out=tmp_path / "card",
        )
    finally:
        torch.set_num_threads(threads)
    card = Card.read(tmp_path / "card")
    folder = hand_in(tmp_path, card, tmp_path / "card" / "prompts.parquet", small.suite)
    result = verify(tmp_path / "results")
    assert result.exit_code == 0, result.stdout
    assert f"{folder}: reproduced" in result.stdout
    assert result.stdout.count(" holds ") == len(NAMES)
    assert max(len(line) for line in result.stdout.splitlines()[1:]) <= 100


@pytest.mark.parametrize("name", ["card.json", "prompts.parquet", "submission.toml"])
def test_a_verdict_is_of_all_three_files_as_they_were(small, verify, tmp_path, no_evaluation, name):
    folder = hand_in(tmp_path, small.card, small.prompts, tmp_path / "gone")
    refused(verify(folder), folder, "weights")
    with (folder / name).open("a") as file:
        file.write("\n")
    assert read_entry(folder).badge == "self-reported"


def test_what_is_declared_cannot_change_behind_a_badge(small, verify, tmp_path, no_evaluation):
    """Still a submission in its place: only the verdict is gone."""
    folder = hand_in(tmp_path, small.card, small.prompts, tmp_path / "gone", training_data="the train split")
    refused(verify(folder), folder, "weights")
    text = (folder / "submission.toml").read_text()
    (folder / "submission.toml").write_text(text.replace("the train split", "no prompt of the task"))
    entry = read_entry(folder)
    assert (entry.submission.training_data, entry.badge) == ("no prompt of the task", "self-reported")


def test_new_submissions_are_found(small, verify, tmp_path, no_evaluation):
    first = hand_in(tmp_path, small.card, small.prompts, tmp_path / "gone")
    refused(verify(first), first, "weights", "there is nothing at")
    assert verify(tmp_path / "results", "--new").exit_code == 0
    (first / "verdict.json").unlink()
    refused(verify(tmp_path / "results", "--new"), first, "weights")


FORGED = {
    "the headline": (("headline", "exchange", "score", "value"), 0.99, "figures"),
    "one cell": (("cells", 2, "edits", 1, "accuracy", "value"), 0.87, "figures"),
    "one end of an interval": (("cells", 1, "edits", 0, "accuracy", "high"), 0.9901, "figures"),
    "S of the null": (("cells", 0, "scores", "exchange", "s_null", "value"), 0.5, "figures"),
    "the spec": (("made", "spec_sha256"), HASH, "track"),
    "the spec's name": (("made", "spec"), "ioi-v1", "track"),
    "the circuit": (("made", "circuit_sha256"), HASH, "track"),
    "the split": (("made", "split"), "validation", "what the leaderboard needs"),
    "the seed": (("made", "seed"), 7, "what the leaderboard needs"),
    "a metric of a plugin": (("made", "plugins"), {"metric mine": "mine"}, "what the leaderboard needs"),
}


@pytest.mark.parametrize("case", FORGED)
def test_what_the_card_itself_gives_away(small, verify, tmp_path, no_evaluation, case):
    steps, value, name = FORGED[case]
    folder = hand_in(tmp_path, changed(small.card, *steps, to=value), small.prompts, small.suite)
    refused(verify(folder), folder, name)


def test_what_only_evaluating_again_shows(small, verify, tmp_path):
    """Results per prompt are edited, and the card is made anew of them: the two files bear each other out."""

    def better(frame):
        chosen = (frame["cell"] == small.card.cells[0].name) & (frame["method"] == "exchange")
        frame.loc[chosen & (frame["dictionary"] == "suite") & (frame["prompt"] % 4 == 0), "accuracy"] = True

    card = consistent(small.card, small.prompts, tmp_path / "forged.parquet", better)
    assert card.headline["exchange"].score.value > small.card.headline["exchange"].score.value
    folder = hand_in(tmp_path, card, tmp_path / "forged.parquet", small.suite)
    found = refused(verify(folder), folder, AGAIN, "accuracy differs most, at io@nm-out")
    assert [check.name for check in found.checks if not check.passed] == [AGAIN, FIGURES]


def test_figures_that_are_in_no_file_of_prompts(small, verify, tmp_path):
    card = changed(small.card, "cross_sections", 1, "geometry", "io", "codes_to_features", "value", to=0.99)
    folder = hand_in(tmp_path, card, small.prompts, small.suite)
    refused(verify(folder), folder, FIGURES, "geometry io codes_to_features value: 0.99 on the card")


def test_another_model(small, verify, tmp_path):
    folder = hand_in(tmp_path, changed(small.card, "made", "model_sha256", to=HASH), small.prompts, small.suite)
    refused(verify(folder), folder, "anchors", "none ship with it")  # those on the card are of ioi-mini itself


@pytest.mark.slow
def test_an_invented_hash_of_behaviour_is_not_what_the_verdict_holds(small, verify, tmp_path):
    """√d is found from activations: another hash does not refute, and both submissions have one that was found."""
    options = LoadOptions(scale="sqrt-d")
    settings = {"prompts": 100, "train_prompts": 500, "budgets": (1, 2, 4), "methods": ("exchange",)}
    evaluate(small.suite, options=options, preflight=False, out=tmp_path / "card", **settings)
    honest, found = Card.read(tmp_path / "card"), []
    for card in (honest, changed(honest, "made", "suite_sha256", to="f" * 64)):
        folder = hand_in(tmp_path, card, tmp_path / "card" / "prompts.parquet", small.suite)
        assert verify(folder).exit_code == 0
        found.append(verdict(folder).suite_sha256_found)
    assert found == [honest.made.suite_sha256] * 2


def swap(small, folder):
    """Other weights under the same name; their hash."""
    other = load_suite(small.suite.parent / "topk-k3-s1")
    shutil.rmtree(folder)
    save_suite(replace(other, name=small.card.made.suite), folder)
    return load_suite(folder).sha256


def test_swapped_weights(small, verify, tmp_path, weights):
    swap(small, weights)
    folder = hand_in(tmp_path, small.card, small.prompts, weights)
    found = refused(verify(folder), folder, "suite hash", small.card.made.suite_sha256[:12])
    assert found.suite_sha256_found == load_suite(weights).sha256


def test_swapped_weights_with_their_hash_on_the_card(small, verify, tmp_path, weights):
    card = changed(small.card, "made", "suite_sha256", to=swap(small, weights))
    folder = hand_in(tmp_path, card, small.prompts, weights)
    found = refused(verify(folder), folder, AGAIN)
    assert next(check for check in found.checks if check.name == "suite hash").passed


@pytest.mark.parametrize("spoilt", ["gone", "empty", "truncated"])
def test_weights_that_are_not_there_or_not_whole(small, verify, tmp_path, weights, no_evaluation, spoilt):
    name = "evaluation"
    if spoilt == "truncated":
        (weights / "weights.safetensors").write_bytes(b"\0" * 100)
    else:
        shutil.rmtree(weights)
        name = "weights"
        if spoilt == "empty":
            weights.mkdir()
            name = "evaluation"
    folder = hand_in(tmp_path, small.card, small.prompts, weights)
    refused(verify(folder), folder, name)


@pytest.mark.parametrize(
    ("suite", "says"),
    [
        ("hf://org/repo@main/topk", "no whole commit"),
        ("hf://org/repo", "'main' is no whole commit"),
        ("hf://org/repo@refs/pr/1/topk", "no whole commit"),
        ("hf://org/repo@0123456789/topk", "no whole commit"),
        ("hf://datasets/org/repo@" + "a" * 40, "another kind"),
        ("hf://org/repo@" + "a" * 40 + "/../../etc", "leaves the repository"),
        ("../weights", "no address on the Hub"),
        ("https://example.org/weights", "no address on the Hub"),
    ],
)
def test_another_revision_than_a_commit(small, verify, tmp_path, no_evaluation, suite, says):
    folder = hand_in(tmp_path, small.card, small.prompts, suite)
    refused(verify(folder, "--hub-only"), folder, "revision", says)


MAKESHIFT = {"loader makeshift": "makeshift (makeshift-saes 1.0)"}
LISTED = """
[[plugin]]
name = "makeshift"
package = "makeshift-saes"
version = "{version}"
loaders = ["{loader}"]
reads = "what nobody has read"
"""


@pytest.mark.parametrize(
    ("plugins", "version", "loader"),
    [({}, "1.0", "makeshift"), (MAKESHIFT, None, ""), (MAKESHIFT, "1.1", "makeshift"), (MAKESHIFT, "1.0", "other")],
    ids=["said to be nobody's", "not listed", "another version", "another loader of it"],
)
def test_a_plugin_that_is_not_on_the_list(small, verify, tmp_path, no_evaluation, plugins, version, loader):
    card = changed(changed(small.card, "made", "loader", to="makeshift"), "made", "plugins", to=plugins)
    folder = hand_in(tmp_path, card, small.prompts, small.suite)
    if version is not None:
        (tmp_path / "plugins.toml").write_text(LISTED.format(version=version, loader=loader))
    refused(verify(folder), folder, "loader", "not on the leaderboard's list")


def test_a_plugin_that_is_listed_and_not_installed_says_nothing_of_the_submission(
    small, verify, tmp_path, no_evaluation
):
    card = changed(changed(small.card, "made", "loader", to="makeshift"), "made", "plugins", to=MAKESHIFT)
    folder = hand_in(tmp_path, card, small.prompts, small.suite)
    (tmp_path / "plugins.toml").write_text(LISTED.format(version="1.0", loader="makeshift"))
    result = verify(folder)
    assert result.exit_code == 1
    assert "pip install makeshift-saes==1.0" in result.stderr
    assert not (folder / "verdict.json").exists()


def test_only_the_plugin_that_is_listed_is_imported(small, monkeypatch):
    imported = []

    def candidate(name):
        def load():
            imported.append(name)
            module = ModuleType(name)
            module.ioi_bench_loaders = lambda: []
            return module

        return Candidate(name, f"{name}-saes 1.0", load)

    monkeypatch.setattr("ioi_bench.plugins.discovery.installed", lambda: map(candidate, ("other", "makeshift")))
    made = changed(changed(small.card, "made", "loader", to="makeshift"), "made", "plugins", to=MAKESHIFT).made
    listed = AllowedPlugin(
        name="makeshift", package="makeshift-saes", version="1.0", loaders=("makeshift",), reads="all"
    )
    assert isinstance(loader_plugins(made, [listed]), Plugins)
    assert imported == ["makeshift"]
    imported.clear()
    assert isinstance(loader_plugins(small.card.made, [listed]), Plugins)
    assert imported == []


def test_a_model_is_never_read_from_a_path(small, verify, tmp_path, no_evaluation):
    folder = hand_in(tmp_path, changed(small.card, "made", "model", to="../model"), small.prompts, small.suite)
    refused(verify(folder), folder, "evaluation", "unknown model '../model'")


@pytest.mark.parametrize(
    ("options", "says"),
    [({"magic": "yes"}, "magic"), ({"scale": "large"}, "scale"), ({"hook": "nowhere"}, "nowhere")],
)
def test_options_that_cannot_be_given_again(small, verify, tmp_path, no_evaluation, options, says):
    folder = hand_in(tmp_path, changed(small.card, "made", "options", to=options), small.prompts, small.suite)
    refused(verify(folder), folder, "evaluation", says)


def linked_file(folder, tmp_path):
    shutil.move(folder / "prompts.parquet", tmp_path / "elsewhere.parquet")
    (folder / "prompts.parquet").symlink_to(tmp_path / "elsewhere.parquet")
    return folder


def linked_folder(folder, tmp_path):
    shutil.move(folder.parent, tmp_path / "elsewhere")
    folder.parent.symlink_to(tmp_path / "elsewhere")
    return folder


def misplaced(folder, _):
    return shutil.move(folder, folder.with_name(HASH))


def of_another_name(folder, _):
    folder.parent.rename(folder.parents[1] / "other__name")
    return folder.parents[1] / "other__name" / folder.name


def of_another_track(folder, _):
    folder.parents[1].rename(folder.parents[2] / "gpt2")
    return folder.parents[2] / "gpt2" / folder.parent.name / folder.name


def of_another_suite(folder, _):
    text = (folder / "submission.toml").read_text()
    (folder / "submission.toml").write_text(text.replace(folder.name, HASH))
    return Path(shutil.move(folder, folder.with_name(HASH)))


def with_a_folder_in_it(folder, _):
    (folder / "more").mkdir()
    return folder


def without_a_card(folder, _):
    (folder / "card.json").unlink()
    return folder


def of_bottomless_json(folder, _):
    (folder / "card.json").write_text("[" * 200_000)
    return folder


@pytest.mark.parametrize(
    "spoil",
    [
        linked_file,
        linked_folder,
        misplaced,
        of_another_name,
        of_another_track,
        of_another_suite,
        with_a_folder_in_it,
        without_a_card,
        of_bottomless_json,
    ],
)
def test_what_is_no_submission_exits_2_and_has_no_verdict(small, verify, tmp_path, no_evaluation, spoil):
    folder = Path(spoil(hand_in(tmp_path, small.card, small.prompts, small.suite), tmp_path))
    result = verify(folder)
    assert result.exit_code == 2, result.stderr
    assert result.stderr.startswith("error: ")
    assert not list(tmp_path.rglob("verdict.json"))


def test_one_bad_submission_does_not_hide_the_others(small, verify, tmp_path, no_evaluation):
    bad = hand_in(tmp_path, small.card, small.prompts, small.suite, name="a/bad")
    (bad / "card.json").write_text("{}")
    good = hand_in(tmp_path, small.card, small.prompts, tmp_path / "gone", name="my-lab/gone")
    result = verify(tmp_path / "results", "--json")
    assert result.exit_code == 2
    rows = json.loads(result.stdout)["submissions"]
    assert [(row["badge"], bool(row["error"])) for row in rows] == [(None, True), ("refuted", False)]
    assert verdict(good).badge == "refuted"


@pytest.mark.parametrize(
    "words", [[], ["a", "--pr", "1"], ["--pr", "1", "--against", "b"], ["no-such-folder"], ["--pr", "0"]]
)
def test_bad_input_exits_2(verify, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    assert verify(*words).exit_code == 2


def test_a_folder_without_submissions_is_bad_input(verify, tmp_path):
    result = verify(tmp_path)
    assert result.exit_code == 2
    assert "no submission" in result.stderr


def test_words_of_a_submission_do_not_write_lines_of_a_log(small, verify, tmp_path, no_evaluation):
    card = changed(small.card, "made", "loader", to="x\n::error::`y`\x1b[31m")
    folder = hand_in(tmp_path, card, small.prompts, small.suite)
    found = refused(verify(folder), folder, "loader")
    assert all(check.detail.isprintable() and "`" not in check.detail for check in found.checks)
