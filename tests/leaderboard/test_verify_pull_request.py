"""`ioi-bench leaderboard verify --pr N`: pull requests on the Hub; and what goes wrong with weights there."""

from __future__ import annotations

import json
import shutil

import loopback
import pytest
from boards import changed, hand_in
from loopback import Hub, connect, serve
from typer.testing import CliRunner

from ioi_bench.cli.app import app
from ioi_bench.leaderboard.records import Verdict

BOARD, SAES = "ioi-bench/leaderboard", "my-lab/saes"


@pytest.fixture
def hub(small_card, tmp_path, monkeypatch, tmp_path_factory):
    """A leaderboard with its rules and one old submission, and the repository of somebody's weights."""
    hub = Hub()
    hub.repository(SAES, files={f"topk/{path.name}": path.read_bytes() for path in small_card.suite.iterdir()})
    old = hand_in(tmp_path / "old", small_card.card, small_card.prompts, "hf://a/b", name="old/topk")
    board = {"README.md": b"rules", "plugins.toml": b"", **files_of(tmp_path / "old", old)}
    hub.repository(BOARD, "dataset", board)
    monkeypatch.setattr("ioi_bench.leaderboard.verify.Needs", lambda: small_card.needs)
    monkeypatch.setenv("IOI_BENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    with serve(hub):
        connect(monkeypatch, hub, tmp_path / "hf")
        yield hub


@pytest.fixture
def verify(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, ["leaderboard", "verify", *map(str, words)], catch_exceptions=False)


@pytest.fixture
def no_evaluation(monkeypatch):
    def work(*_, **__):
        raise AssertionError("it was evaluated")

    monkeypatch.setattr("ioi_bench.evaluation.evaluate.evaluate", work)


def files_of(root, folder):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in folder.iterdir()}


def pinned(hub):
    return f"hf://{SAES}@{hub.find(SAES).head}/topk"


def propose(hub, files, removed=()):
    """A pull request with these files."""
    new = {name: loopback.repository.File(data, large=name.endswith(".parquet")) for name, data in files.items()}
    hub.find(BOARD).commit(new, title="mine", author="ann", removed=removed, pull_request=True)
    return len(hub.pull_requests(BOARD))


@pytest.fixture
def mine(small_card, hub, tmp_path):
    """Files of an honest submission."""
    root = tmp_path / "mine"
    return files_of(root, hand_in(root, small_card.card, small_card.prompts, pinned(hub)))


def test_an_honest_pull_request_is_reproduced(hub, mine, verify, tmp_path, small_card):
    number = propose(hub, mine)
    hub.find(BOARD).write({"results/ioi-mini/new__one/00/submission.toml": b"since then"})  # main moves on
    result = verify("--pr", number, "--json")
    assert result.exit_code == 0, result.stderr + result.stdout
    (row,) = json.loads(result.stdout)["submissions"]
    assert (row["badge"], row["verdict"]["suite"]) == ("reproduced", pinned(hub))
    written = tmp_path / "verdicts" / "pr-1"
    (found,) = written.rglob("verdict.json")
    assert Verdict.model_validate_json(found.read_text()).badge == "reproduced"
    assert not [path for path in written.rglob("*") if path.is_symlink()]
    assert {path.relative_to(written).as_posix() for path in written.rglob("*.*") if path.is_file()} == {
        "plugins.toml",
        *mine,
        found.relative_to(written).as_posix(),
    }
    assert not [one.path for one in hub.asked("resolve") if "old__topk" in one.path]


OTHER = "results/ioi-mini/old__topk/"
UNSAFE = {
    "changes another's card": lambda mine, old: ({**mine, old + "card.json": b"{}"}, ()),
    "deletes another": lambda mine, old: (mine, (old,)),
    "brings its own verdict": lambda mine, old: (
        {**mine, next(iter(mine)).rpartition("/")[0] + "/verdict.json": b"{}"},
        (),
    ),
    "gives another a verdict": lambda mine, old: ({**mine, old + "verdict.json": b"{}"}, ()),
    "changes the list of plugins": lambda mine, old: ({**mine, "plugins.toml": b"[[plugin]]"}, ()),
    "brings code": lambda mine, old: ({**mine, "leaderboard.py": b"import os"}, ()),
    "leaves a file out": lambda mine, old: ({k: v for k, v in mine.items() if not k.endswith("card.json")}, ()),
}


@pytest.mark.parametrize("case", UNSAFE)
def test_a_pull_request_only_adds_whole_submissions(hub, mine, verify, no_evaluation, tmp_path, small_card, case):
    old = next(name for name in hub.files(BOARD) if name.startswith(OTHER)).rpartition("/")[0] + "/"
    result = verify("--pr", propose(hub, *UNSAFE[case](mine, old)), "--json")
    assert result.exit_code == 1, result.stderr
    found = json.loads(result.stdout)
    assert (len(found["faults"]), found["submissions"]) in ((1, []), (3, []))
    assert not list(tmp_path.rglob("verdict.json"))


LISTED = b'[[plugin]]\nname = "old"\npackage = "old"\nversion = "1"\nloaders = ["old"]\nreads = "all"\n'


@pytest.mark.parametrize("now", [b"", None], ids=["taken off the list", "no list any more"])
def test_the_list_of_plugins_is_the_one_of_now(hub, mine, verify, no_evaluation, tmp_path, small_card, now):
    """Its author chose to begin where the plugin was listed still."""
    hub.find(BOARD).write({"plugins.toml": LISTED})
    said = changed(small_card.card, "made", "loader", to="old")
    said = changed(said, "made", "plugins", to={"loader old": "old (old 1)"})
    number = propose(hub, files_of(tmp_path / "x", hand_in(tmp_path / "x", said, small_card.prompts, pinned(hub))))
    if now is None:
        hub.find(BOARD).commit({}, title="no list", author="owner", removed=("plugins.toml",))
    else:
        hub.find(BOARD).write({"plugins.toml": now})
    stale = tmp_path / "verdicts" / "pr-1" / "plugins.toml"  # of an earlier fetch
    stale.parent.mkdir(parents=True)
    stale.write_bytes(LISTED)
    result = verify("--pr", number, "--json")
    assert result.exit_code == 1, result.stderr
    (row,) = json.loads(result.stdout)["submissions"]
    assert [check["name"] for check in row["verdict"]["checks"] if not check["passed"]] == ["loader"]
    assert (stale.read_bytes() if stale.exists() else None) == now


def test_a_name_in_other_capitals_is_refused(hub, verify, no_evaluation, small_card, tmp_path):
    root = tmp_path / "mine"
    files = files_of(root, hand_in(root, small_card.card, small_card.prompts, pinned(hub), name="Old/mine"))
    result = verify("--pr", propose(hub, files))
    assert result.exit_code == 1
    assert "writes 'old/mine'" in " ".join(result.stderr.split())


def test_an_absurdly_large_file_is_not_fetched(hub, mine, verify, no_evaluation, monkeypatch):
    monkeypatch.setattr("ioi_bench.leaderboard.pull_request.MAX_FILE_BYTES", 1000)
    result = verify("--pr", propose(hub, mine))
    assert result.exit_code == 1
    assert "bytes" in result.stderr
    assert not hub.fetched()


def test_weights_on_the_verifiers_disk_are_refused(hub, verify, no_evaluation, small_card, tmp_path):
    root = tmp_path / "mine"
    local = hand_in(root, small_card.card, small_card.prompts, small_card.suite)
    result = verify("--pr", propose(hub, files_of(root, local)))
    assert result.exit_code == 1
    assert "no address on the Hub" in " ".join(result.stdout.split())


def test_no_such_pull_request_and_no_answer(hub, verify, mine):
    result = verify("--pr", 7)
    assert (result.exit_code, result.stdout) == (2, "")
    propose(hub, mine)
    hub.fail(None, loopback.NOT_NOW)
    result = verify("--pr", 1)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "out of order" in result.stderr


# The weights, for a submission that is there already


@pytest.fixture
def entry(small_card, hub, tmp_path):
    return hand_in(tmp_path, small_card.card, small_card.prompts, pinned(hub))


def test_weights_that_are_gone_refute(hub, verify, entry, no_evaluation):
    del hub.repositories["model", SAES]
    result = verify(entry)
    assert result.exit_code == 1
    found = Verdict.model_validate_json((entry / "verdict.json").read_text())
    assert (found.badge, found.checks[-1].name) == ("refuted", "weights")


@pytest.mark.parametrize(
    ("name", "says"), [("openai/official", "is not the owner of"), ("My-Lab/topk", "no other owner")]
)
def test_a_name_of_somebody_else_is_told_and_does_not_refute(
    hub, verify, small_card, tmp_path, no_evaluation, name, says
):
    folder = hand_in(tmp_path, small_card.card, small_card.prompts, pinned(hub), name=name)
    del hub.repositories["model", SAES]
    assert verify(folder).exit_code == 1
    found = Verdict.model_validate_json((folder / "verdict.json").read_text())
    (check,) = (check for check in found.checks if check.name == "organisation")
    assert check.passed
    assert says in check.detail
    assert [one.name for one in found.checks if not one.passed] == ["weights"]


@pytest.mark.parametrize("suite", ["hf://my-lab/saes@" + "a" * 40 + "/topk", "folder"])
def test_a_commit_or_a_folder_that_is_not_there_refutes(hub, verify, small_card, tmp_path, no_evaluation, suite):
    suite = pinned(hub).replace("topk", "topkk") if suite == "folder" else suite
    folder = hand_in(tmp_path, small_card.card, small_card.prompts, suite)
    assert verify(folder).exit_code == 1
    found = Verdict.model_validate_json((folder / "verdict.json").read_text())
    assert (found.badge, found.checks[-1].name) == ("refuted", "weights")


@pytest.mark.parametrize(
    "answer",
    [loopback.GATED, loopback.BAD_TOKEN, loopback.FORBIDDEN, loopback.NOT_NOW, loopback.TOO_MANY],
    ids=["gated", "bad-token", "forbidden", "out-of-order", "too-many"],
)
def test_what_is_out_of_reach_now_is_no_verdict(hub, verify, entry, no_evaluation, answer):
    hub.fail(None, answer)
    result = verify(entry)
    assert result.exit_code == 1, result.stderr
    assert result.stderr.startswith("error: ")
    assert not (entry / "verdict.json").exists()


def test_a_model_that_cannot_be_fetched_is_no_verdict(hub, verify, small_card, tmp_path, monkeypatch):
    from ioi_bench.errors import ModelUnavailableError

    def unavailable(*_, **__):
        raise ModelUnavailableError("gpt2 is neither here nor reachable")

    monkeypatch.setattr("ioi_bench.evaluation.evaluate.evaluate", unavailable)
    folder = hand_in(tmp_path, small_card.card, small_card.prompts, pinned(hub))
    result = verify(folder)
    assert result.exit_code == 1
    assert "neither here nor reachable" in result.stderr
    assert not (folder / "verdict.json").exists()


def test_a_mirror_on_disk_is_compared_with_what_it_was(hub, mine, verify, tmp_path, no_evaluation):
    """``--against``: the same rules between two folders."""
    for name, root in (("base", {}), ("head", mine)):
        for path, data in {**hub.files(BOARD), **root}.items():
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_bytes(data)
    nothing = verify("base", "--against", "base")
    assert nothing.exit_code == 2
    assert "adds no submission" in nothing.stderr
    (tmp_path / "head" / "plugins.toml").write_text("# mine")
    faulty = verify("head", "--against", "base")
    assert faulty.exit_code == 1
    assert "it changes 'plugins.toml'" in faulty.stderr
    shutil.copy(tmp_path / "base" / "plugins.toml", tmp_path / "head")
    del hub.repositories["model", SAES]
    clean = verify("head", "--against", "base", "--out", "verdicts", "--json")
    assert [row["badge"] for row in json.loads(clean.stdout)["submissions"]] == ["refuted"]
    (found,) = tmp_path.rglob("verdict.json")
    assert found.parent.relative_to(tmp_path / "verdicts").as_posix() == next(iter(mine)).rpartition("/")[0]
