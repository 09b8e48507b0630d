"""Submitting to the Hub: one pull request a submission, whatever breaks on the way."""

from __future__ import annotations

from pathlib import Path

import pytest
from loopback import BROKEN, OUT_OF_ORDER, Hub, User, connect, serve

from ioi_bench.errors import HubUnavailableError, InputError, IoiBenchError
from ioi_bench.leaderboard.results import read_entry
from ioi_bench.leaderboard.submit import Declaration, prepare, send
from ioi_bench.leaderboard.target import open_target
from ioi_bench.plugins.manager import Plugins

# huggingface_hub 2.4 sends files in a way that its HTTP library means to give up
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")

BOARD, SAES, TOKEN = "ioi-bench/leaderboard", "my-lab/saes", "hf_mineSecret01"
SAID = Declaration(
    name="my-lab/topk",
    authors=("Ada",),
    training_data="the train prompts of ioi-v1-mini",
    licence="Apache-2.0",
    suite=f"hf://{SAES}/topk",
)


@pytest.fixture
def small(small_card):
    return small_card


@pytest.fixture
def hub(small, monkeypatch, tmp_path):
    """A leaderboard without submissions, and a suite; this process may open pull requests and no more."""
    hub = Hub()
    hub.repository(BOARD, kind="dataset", files={"README.md": b"# rules", "plugins.toml": b""})
    hub.repository(SAES, files={f"topk/{file.name}": file.read_bytes() for file in small.suite.iterdir()})
    hub.tokens[TOKEN] = User("ada", orgs=("my-lab",))
    with serve(hub):
        connect(monkeypatch, hub, tmp_path / "hf", TOKEN)
        yield hub


def put_together(small, said=SAID):
    to = f"hf://datasets/{BOARD}"
    return prepare(small.folder, said, to=to, needs=small.needs, plugins=Plugins.load(packages=False))


def pull_requests(hub):
    return hub.pull_requests(BOARD, kind="dataset")


def test_a_pull_request_with_three_files(hub, small, tmp_path):
    before = hub.files(BOARD, kind="dataset")
    prepared = put_together(small)
    assert not pull_requests(hub)
    sent = send(prepared)
    (one,) = pull_requests(hub)
    assert sent.place == f"{hub.url}/datasets/{BOARD}/discussions/{one.number}"
    assert hub.files(BOARD, kind="dataset") == before, "only the pull request has them"
    files = hub.files(BOARD, f"refs/pr/{one.number}", kind="dataset")
    added = {name: content for name, content in files.items() if name not in before}
    place = f"results/ioi-mini/my-lab__topk/{small.card.made.suite_sha256}"
    assert set(added) == {f"{place}/{name}" for name in ("card.json", "prompts.parquet", "submission.toml")}
    for name, content in added.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    entry = read_entry(tmp_path / place)
    assert entry.submission.suite == f"hf://{SAES}@{hub.find(SAES).head}/topk"
    assert not any(TOKEN.encode() in content for content in added.values())


def test_a_second_time_it_is_said(hub, small):
    first = send(put_together(small))
    again = send(put_together(small))
    assert (again.place, again.new) == (first.place, False)
    (one,) = pull_requests(hub)
    hub.find(BOARD, "dataset").merge(one.number)
    with pytest.raises(InputError, match="already as 'my-lab/topk'"):
        put_together(small)
    other = put_together(small, SAID.overridden(Declaration(name="your-lab/topk")))
    assert "as my-lab/topk" in other.notes[0]
    assert "'your-lab' and 'my-lab'" in other.notes[1]


def test_a_name_of_somebody_else_is_told_and_other_capitals_are_not(hub, small):
    def foreign(name):
        said = SAID.overridden(Declaration(name=name))
        return [note for note in put_together(small, said).notes if "not the owner" in note]

    assert len(foreign("openai/official")) == 1
    assert not foreign("my-lab/topk")
    assert not foreign("My-Lab/topk")


@pytest.mark.parametrize(
    ("name", "spelling"), [("My-Lab/topk", "my-lab/topk"), ("my-lab/TopK", "my-lab/topk"), ("MY-LAB/b", "my-lab/b")]
)
def test_a_name_has_one_spelling(hub, small, name, spelling):
    """That of another suite, on another track, counts."""
    hub.find(BOARD, "dataset").write({f"results/gpt2/my-lab__topk/{'1' * 64}/card.json": b"{}"})
    with pytest.raises(InputError, match=f"write --name {spelling}$"):
        put_together(small, SAID.overridden(Declaration(name=name)))


def test_weights_that_moved_on_are_another_suite(hub, small):
    weights = hub.files(SAES)["topk/weights.safetensors"]
    hub.find(SAES).write({"topk/weights.safetensors": weights[:-4] + b"\x00\x00\x80\x3f"})
    with pytest.raises(InputError, match="damaged or was edited"):
        put_together(small)
    assert not pull_requests(hub)


@pytest.mark.parametrize("endpoint", ["preupload", "lfs-put", "commit"])
def test_what_broke_off_is_sent_again_once(hub, small, endpoint):
    prepared = put_together(small)
    hub.fail(endpoint, BROKEN)
    with pytest.raises(IoiBenchError) as caught:
        send(prepared)
    hub.heal()
    assert TOKEN not in str(caught.value)
    assert not pull_requests(hub)
    assert send(prepared).new
    assert len(pull_requests(hub)) == 1


def test_an_answer_that_was_lost_is_found_again(hub, small):
    prepared = put_together(small)
    hub.fail("commit", lost=True, times=1)
    with pytest.raises(HubUnavailableError):
        send(prepared)
    assert not send(prepared).new
    assert len(pull_requests(hub)) == 1


def test_without_a_token(hub, small, monkeypatch):
    prepared = put_together(small)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(InputError, match="HF_TOKEN"):
        send(prepared)
    assert not pull_requests(hub)


def test_without_an_answer_nobody_knows_what_is_there(hub, small, monkeypatch):
    put_together(small)  # all is in the cache now
    monkeypatch.setattr("ioi_bench.leaderboard.submit.open_source", lambda *_: None)
    hub.fail("info", OUT_OF_ORDER)
    with (
        pytest.warns(UserWarning, match="cache"),
        pytest.raises(HubUnavailableError, match="whether the suite is there already"),
    ):
        put_together(small)


def test_a_track_with_brackets_in_its_name(hub):
    track, digest = "gpt2/blocks.3.attn.hook_z[1]", "0" * 64
    hub.find(BOARD, "dataset").write({f"results/{track}/a__b/{digest}/submission.toml": b"name = 'a/b'"})
    to = f"hf://datasets/{BOARD}"
    assert open_target(to, track, digest).names == ("a/b",)
    assert open_target(to, track, "1" * 64).names == ()
    assert Path(open_target(to, track, digest).folder).is_dir()
