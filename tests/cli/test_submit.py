"""`ioi-bench submit`: stdout is the place alone, talk is on stderr, and nobody is asked where nobody is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ioi_bench.cli import submit as command
from ioi_bench.cli.app import app
from ioi_bench.evaluation.card import Card
from ioi_bench.leaderboard import checks
from ioi_bench.leaderboard.results import find_entries, read_entry

SUITE = Path(__file__).parents[2] / "reference_saes" / "ioi-mini" / "topk-k3-s0"
FLAGS = ("--name", "my-lab/topk", "--author", "Ada", "--training-data", "the train split", "--licence", "Apache-2.0")


@pytest.fixture(scope="module")
def card(small_card):
    return small_card.folder


@pytest.fixture
def easy(monkeypatch, small_card):
    """A leaderboard that asks for little."""
    monkeypatch.setattr(checks, "Needs", lambda: small_card.needs)


def test_into_a_folder(cli, card, easy, tmp_path):
    board = tmp_path / "board"
    result = cli("submit", card, "--suite", SUITE, "--to", board, *FLAGS, "--author", "Ben", "--yes")
    assert result.exit_code == 0, result.stderr
    (folder,) = find_entries(board / "results")
    assert result.stdout == f"{folder}\n"
    assert read_entry(folder).submission.authors == ("Ada", "Ben")
    said = result.stderr
    assert "IOI score" in said
    for file in ("card.json", "prompts.parquet", "submission.toml"):
        assert file in said
    assert "only verification shows them" in said
    again = cli("submit", card / "card.json", "--suite", SUITE, "--to", board, *FLAGS, "--yes")
    assert again.exit_code == 2
    assert again.stdout == ""
    assert "already as 'my-lab/topk'" in again.stderr


def test_json_says_what_was_checked_and_where_it_went(cli, card, easy, tmp_path):
    board = tmp_path / "board"
    command = ("submit", card, "--suite", SUITE, "--to", board, *FLAGS, "--json")
    dry = json.loads(cli(*command, "--dry-run").stdout)
    assert (dry["sent"], board.exists()) == (None, False)
    done = json.loads(cli(*command, "--yes").stdout)
    assert {**done, "sent": None} == dry
    assert {path.name: path.stat().st_size for path in Path(done["sent"]).iterdir()} == done["files"]
    assert all(check["passed"] for check in done["checks"])


def test_a_dry_run_sends_nothing(cli, card, easy, tmp_path):
    result = cli("submit", card, "--suite", SUITE, "--to", tmp_path / "board", *FLAGS, "--dry-run")
    assert result.exit_code == 0, result.stderr
    assert (result.stdout, list(tmp_path.iterdir())) == ("", [])
    assert "nothing was sent" in result.stderr


def test_without_a_terminal_what_is_missing_is_listed(cli, card, tmp_path):
    result = cli("submit", card, "--to", tmp_path / "board", "--name", "my-lab/topk")
    assert result.exit_code == 2
    for flag in ("--suite", "--author", "--training-data", "--licence"):
        assert flag in result.stderr
    assert "--name" not in result.stderr
    assert not (tmp_path / "board").exists()


def test_without_a_terminal_yes_must_be_said(cli, card, easy, tmp_path):
    result = cli("submit", card, "--suite", SUITE, "--to", tmp_path / "board", *FLAGS)
    assert result.exit_code == 2
    assert "--yes" in result.stderr
    assert not (tmp_path / "board").exists()


def test_on_a_terminal_what_is_missing_is_asked_for(card, easy, tmp_path, monkeypatch, cli):
    monkeypatch.setattr(command, "_interactive", lambda: True)
    board = tmp_path / "board"
    arguments = ["submit", str(card), "--suite", str(SUITE), "--to", str(board), "--name", "my-lab/topk"]
    answers = "Ada, Ben\nthe train split\nMIT\n"
    refused = CliRunner().invoke(app, arguments, input=answers + "n\n")
    assert refused.exit_code == 1
    assert not board.exists()
    taken = CliRunner().invoke(app, arguments, input=answers + "y\n")
    assert taken.exit_code == 0, taken.stderr
    (folder,) = find_entries(board / "results")
    submission = read_entry(folder).submission
    assert (submission.authors, submission.licence) == (("Ada", "Ben"), "MIT")
    assert "Licence" not in taken.stdout


def test_a_file_says_it_and_options_overrule(cli, card, easy, tmp_path):
    path = tmp_path / "submission.toml"
    path.write_text(
        f'name = "my-lab/topk"\nauthors = ["Ada"]\ntraining_data = "t"\nlicence = "MIT"\nsuite = "{SUITE.as_posix()}"\n'
    )
    board = tmp_path / "board"
    result = cli("submit", card, "--from", path, "--licence", "CC0-1.0", "--to", board, "--yes")
    assert result.exit_code == 0, result.stderr
    (folder,) = find_entries(board / "results")
    assert read_entry(folder).submission.licence == "CC0-1.0"
    lost = cli("submit", card, "--from", tmp_path / "lost.toml", "--to", board)
    assert lost.exit_code == 2
    assert "lost.toml" in lost.stderr


def test_a_path_is_not_for_the_hub(cli, card):
    result = cli("submit", card, "--suite", SUITE, *FLAGS, "--yes")
    assert result.exit_code == 2
    assert "hf upload" in result.stderr


def test_what_does_not_pass_is_said(cli, card, tmp_path):
    few = cli("submit", card, "--suite", SUITE, "--to", tmp_path / "board", *FLAGS, "--yes")
    assert few.exit_code == 2
    assert "100 prompts, and 1,000" in few.stderr
    nothing = cli("submit", tmp_path, "--suite", SUITE, "--to", tmp_path / "board", *FLAGS, "--yes")
    assert nothing.exit_code == 2
    assert "no card" in nothing.stderr


def test_a_forged_score_is_caught(cli, card, easy, tmp_path):
    folder = tmp_path / "card"
    shutil.copytree(card, folder)
    text = (folder / "card.json").read_text()
    score = Card.read(folder).headline["exchange"].score.value
    (folder / "card.json").write_text(text.replace(str(score), "0.9876543210123", 1))
    result = cli("submit", folder, "--suite", SUITE, "--to", tmp_path / "board", *FLAGS, "--yes")
    assert result.exit_code == 2
    assert "0.9876543210123" in result.stderr
    assert not (tmp_path / "board").exists()
