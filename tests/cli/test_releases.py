"""The table of public releases: every row can be used, and says what its sources say."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest

from ioi_bench.cli import releases as command
from ioi_bench.errors import HubUnavailableError, InputError, IoiBenchError, SuiteError, UnknownNameError
from ioi_bench.hub import HubAddress
from ioi_bench.releases import all_known, release, releases

GPT2 = {"layers": 12, "width": 768}
EVERY = [pytest.param(chosen, id=chosen.name) for chosen in all_known()]


@pytest.mark.parametrize("chosen", EVERY)
def test_every_dictionary_has_a_usable_address_and_hook(chosen):
    address = HubAddress.parse(chosen.uri)
    assert str(address) == chosen.uri
    assert address.repo == chosen.release.repo
    assert chosen.options.model == "gpt2"
    hook, published = chosen.options.hook, chosen.published
    assert hook == published.hook
    assert 0 <= hook.layer < GPT2["layers"]
    assert hook.head is None
    in_path = [int(number) for number in re.findall(r"(?:blocks\.|layer_|_L|^)(\d+)", published.path)]
    assert in_path[0] == hook.layer  # the layer is in every path
    assert published.d_sae >= GPT2["width"]


def test_names_and_dictionaries_are_not_repeated():
    for counted in (Counter(entry.name for entry in releases()), Counter(chosen.uri for chosen in all_known())):
        assert counted.most_common(1)[0][1] == 1
    assert Counter(chosen.name for chosen in all_known()).most_common(1)[0][1] == 1


def test_every_release_names_its_sources():
    for entry in releases():
        assert any("[1]" in source for source in entry.sources)
        for fact in ("licence", "normalisation", "width"):
            assert any(fact in source for source in entry.sources), (entry.name, fact)


@pytest.mark.parametrize(
    ("name", "layer", "width", "uri", "hook"),
    [
        (
            "gpt2-small-res-jb", 8, None,
            "hf://jbloom/GPT2-Small-SAEs-Reformatted/blocks.8.hook_resid_pre", "blocks.8.hook_resid_pre",
        ),
        (
            "gpt2-small-res-jb", 12, None,
            "hf://jbloom/GPT2-Small-SAEs-Reformatted/blocks.11.hook_resid_post", "blocks.11.hook_resid_post",
        ),
        (
            "gpt2-small-res-jb-feature-splitting", 8, 3072,
            "hf://jbloom/GPT2-Small-Feature-Splitting-Experiment-Layer-8/blocks.8.hook_resid_pre_3072",
            "blocks.8.hook_resid_pre",
        ),
        (
            "gpt2-small-resid-post-v5-32k", 3, 32768,
            "hf://jbloom/GPT2-Small-OAI-v5-32k-resid-post-SAEs/v5_32k_layer_3.pt", "blocks.3.hook_resid_post",
        ),
        (
            "gpt2-small-res_sce-ajt", 6, None,
            "hf://neuronpedia/gpt2-small__res_sce-ajt/6-res_sce-ajt", "blocks.6.hook_resid_pre",
        ),
    ],
)  # fmt: skip
def test_by_name_and_layer(name, layer, width, uri, hook):
    """Cases copied by hand from SAELens's list."""
    chosen = release(name, layer, width)
    assert (chosen.uri, str(chosen.options.hook)) == (uri, hook)


def test_the_factors_of_mlp_tm_reach_the_loader():
    """It is SAELens's number, as text for the loader's setting of that name."""
    assert dict(release("gpt2-small-mlp-tm", 11).options.settings) == {"norm-factor": "0.2851548652550073"}
    assert not release("gpt2-small-res-jb", 11).options.settings


def test_heads_are_read_all_together_with_their_width():
    chosen = release("gpt2-small-hook-z-kk", 5)
    assert (str(chosen.options.hook), chosen.published.d_sae) == ("blocks.5.attn.hook_z", 49152)


def test_what_is_not_known():
    with pytest.raises(UnknownNameError, match="did you mean 'gpt2-small-res-jb'"):
        release("gpt2-small-res-bj", 8)
    with pytest.raises(InputError, match="give one of 2, 6, 10"):
        release("gpt2-small-res_sce-ajt", 3)
    with pytest.raises(InputError, match=r"--width, one of 768, 1536"):
        release("gpt2-small-res-jb-feature-splitting", 8)
    with pytest.raises(InputError, match="none of width 5"):
        release("gpt2-small-res-jb-feature-splitting", 8, 5)


def test_the_table_is_that_of_saelens():
    """Against the file that SAELens installs, where it is installed."""
    yaml = pytest.importorskip("yaml")
    from importlib.util import find_spec
    from pathlib import Path

    spec = find_spec("sae_lens")
    if spec is None or spec.origin is None:
        pytest.skip("sae-lens is not installed")
    listed = yaml.safe_load(Path(spec.origin).with_name("pretrained_saes.yaml").read_text())
    for chosen in all_known():
        theirs = listed[chosen.release.name]
        assert theirs["repo_id"] == chosen.release.repo
        row = next(row for row in theirs["saes"] if row["path"] == chosen.published.path)
        assert row.get("norm_scaling_factor") == chosen.published.norm_factor


def test_the_command_lists_them(cli):
    printed = cli("releases")
    assert printed.exit_code == 0
    for entry in releases():
        assert f"{entry.name} " in printed.stdout
    assert f"{len(all_known())} dictionaries" in printed.stderr
    one = cli("releases", "gpt2-small-res-jb")
    assert "blocks.11.hook_resid_post" in one.stdout
    assert "pretrained_saes.yaml" not in one.stdout  # [1] is in the file and the docs


def test_the_list_fits_a_terminal_of_80_columns_with_no_word_broken(cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = cli("releases").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    several_hooks = sum(len({published.hook.component for published in entry.dictionaries}) - 1 for entry in releases())
    assert len(lines) == 1 + len(releases()) + several_hooks
    words = " ".join(lines).replace(",", " ").split()
    for entry in releases():
        assert {entry.name, *(published.hook.component for published in entry.dictionaries)} <= set(words)


def test_the_command_prints_json(cli):
    rows = json.loads(cli("releases", "--json").stdout)
    assert [row["name"] for row in rows] == [entry.name for entry in releases()]
    assert rows[0]["dictionaries"][8]["hook"] == "blocks.8.hook_resid_pre"
    assert all(row["sources"] for row in rows)


def test_the_command_knows_near_misses(cli):
    result = cli("releases", "gpt2-small-res-bj")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "gpt2-small-res-jb" in result.stderr


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((None, None, None, None, False), "nothing given"),
        (("suite/", "gpt2-small-res-jb", 8, None, False), "PATH and --release given"),
        ((None, "gpt2-small-res-jb", 8, None, True), "--release and --all-known given"),
        ((None, "gpt2-small-res-jb", None, None, False), "needs --layer"),
        (("suite/", None, 8, None, False), "belong to --release"),
    ],
)
def test_options_that_contradict_each_other(given, words):
    with pytest.raises(InputError, match=words):
        command.chosen(*given)


def test_what_the_options_of_evaluate_choose():
    assert command.chosen("suite/", None, None, None, False) == ()
    assert command.chosen(None, "gpt2-small-res-jb", 8, None, False) == (release("gpt2-small-res-jb", 8),)
    assert command.chosen(None, None, None, None, True) == all_known()


def test_one_failure_does_not_stop_the_rest(capsys):
    everything, done = all_known()[:4], []

    def run(one):
        if one is everything[1]:
            raise SuiteError("a broken file")
        done.append(one)

    with pytest.raises(IoiBenchError, match="1 of 4 failed: gpt2-small-res-jb, layer 1") as caught:
        command.run_each(everything, run)
    assert caught.value.exit_code == 1
    assert done == [everything[0], *everything[2:]]
    assert "a broken file" in capsys.readouterr().err


def test_a_single_failure_is_itself():
    def run(one):
        raise SuiteError("a broken file")

    with pytest.raises(SuiteError, match="a broken file"):
        command.run_each(all_known()[:1], run)


def test_without_the_hub_it_ends():
    asked = []

    def run(one):
        asked.append(one)
        raise HubUnavailableError("no answer")

    with pytest.raises(HubUnavailableError):
        command.run_each(all_known(), run)
    assert len(asked) == 1
