"""Captures are the model's activations, whatever the batch size and whatever is, or was, in the cache."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ioi_bench import activations
from ioi_bench.activations import capture_split, gradient_split
from ioi_bench.errors import InputError
from ioi_bench.lm import LanguageModel, logit_difference_gradients
from ioi_bench.sites import Site
from ioi_bench.task import IOI_V1, TokenBatch, name_tokens, tokenize

SITES = [Site.parse(text) for text in ("z.2.1@end", "k.1.0@io", "resid_post.0@s1+1")]
PROMPTS = IOI_V1.split("test").prompts[:11]


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activations, "_SHARD", 4)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, tuple[Site, ...]]]:
    """Every batch that the model really runs: how many prompts, which sites."""
    seen: list[tuple[int, tuple[Site, ...]]] = []
    capture = LanguageModel.capture

    def counted(self: LanguageModel, batch: TokenBatch, sites: Sequence[Site]) -> dict[Site, Tensor]:
        seen.append((len(batch), tuple(sites)))
        return capture(self, batch, sites)

    monkeypatch.setattr(LanguageModel, "capture", counted)
    return seen


def read(model: LanguageModel, cache: Path | None, sites: list[Site] = SITES, **options: Any) -> dict[Site, Tensor]:
    return capture_split(model, IOI_V1, PROMPTS, sites, cache_dir=cache, **options)


def assert_same(a: dict[Site, Tensor], b: dict[Site, Tensor], atol: float = 0.0) -> None:
    torch.testing.assert_close(a, b, atol=atol, rtol=0)


def test_captures_are_the_model_s_and_batch_size_changes_nothing(tiny_gpt2: LanguageModel, tmp_path: Path) -> None:
    whole = tiny_gpt2.capture(tokenize(IOI_V1, PROMPTS, tiny_gpt2.tokenizer), SITES)
    for size in (1, 3, 64):
        assert_same(read(tiny_gpt2, None, batch_size=size), whole, atol=1e-5)


def test_what_was_captured_is_not_run_again(tiny_gpt2: LanguageModel, tmp_path: Path, runs: list[Any]) -> None:
    first = read(tiny_gpt2, tmp_path)
    assert [n for n, _ in runs] == [4, 4, 3]
    assert_same(read(tiny_gpt2, tmp_path), first)
    head = capture_split(tiny_gpt2, IOI_V1, PROMPTS[:8], SITES, cache_dir=tmp_path)
    assert_same(head, {site: values[:8] for site, values in first.items()})
    assert len(runs) == 3
    more = [*SITES, Site.parse("q.2.0@end")]
    read(tiny_gpt2, tmp_path, more)
    assert {sites for _, sites in runs[3:]} == {(more[-1],)}


def test_other_tokens_and_models_are_other_files(tiny_gpt2: LanguageModel, tmp_path: Path, runs: list[Any]) -> None:
    read(tiny_gpt2, tmp_path)
    capture_split(tiny_gpt2, IOI_V1, PROMPTS[1:5], SITES, cache_dir=tmp_path)
    assert len(runs) == 4
    read(replace(tiny_gpt2, sha256="0" * 64), tmp_path)
    assert len(runs) == 7


@pytest.mark.parametrize("damage", ["truncated", "another site's", "another shape", "a folder"])
def test_a_damaged_file_is_captured_again(
    tiny_gpt2: LanguageModel, tmp_path: Path, runs: list[Any], damage: str
) -> None:
    first = read(tiny_gpt2, tmp_path)
    ours = sorted(tmp_path.rglob("z.2.1@end.safetensors"))[0]
    if damage == "truncated":
        ours.write_bytes(ours.read_bytes()[:-8])
    elif damage == "another site's":
        ours.write_bytes((ours.parent / "k.1.0@io.safetensors").read_bytes())
    elif damage == "another shape":
        ours.write_bytes((ours.parent / "resid_post.0@s1+1.safetensors").read_bytes())
    else:
        ours.unlink()
        ours.mkdir()
    with pytest.warns(UserWarning, match="not kept") if damage == "a folder" else contextlib.nullcontext():
        assert_same(read(tiny_gpt2, tmp_path), first, atol=1e-6)
    assert len(runs) == 4
    if damage != "a folder":
        read(tiny_gpt2, tmp_path)
        assert len(runs) == 4


def test_a_cut_off_capture_goes_on(
    tiny_gpt2: LanguageModel, tmp_path: Path, runs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(done: int, total: int) -> None:
        if done > 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read(tiny_gpt2, tmp_path, progress=interrupt)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2 * len(SITES)
    assert not list(tmp_path.rglob("*.tmp"))
    read(tiny_gpt2, tmp_path)
    assert [n for n, _ in runs] == [4, 4, 3, 3]


def test_without_space_the_capture_goes_on_with_a_warning(
    tiny_gpt2: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, *args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    expected = read(tiny_gpt2, None)
    monkeypatch.setattr(Path, "replace", full)
    with pytest.warns(UserWarning, match="No space left on device") as caught:
        assert_same(read(tiny_gpt2, tmp_path), expected)
    assert len(caught) == 1
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_progress_counts_prompts_once(tiny_gpt2: LanguageModel, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    def tell(done: int, total: int) -> None:
        seen.append((done, total))

    for _ in range(2):
        seen.clear()
        read(tiny_gpt2, tmp_path, batch_size=3, progress=tell)
        assert seen == sorted(seen)
        assert seen[-1] == (11, 11)


def test_what_cannot_be_captured_is_refused(tiny_gpt2: LanguageModel) -> None:
    with pytest.raises(InputError, match="no prompts"):
        capture_split(tiny_gpt2, IOI_V1, [], SITES)
    with pytest.raises(InputError, match="batch size"):
        read(tiny_gpt2, None, batch_size=0)
    with pytest.raises(InputError, match="layers are 0 to 2"):
        read(tiny_gpt2, None, [Site.parse("z.9.9@end")])


def test_gradients_are_the_model_s_prompt_by_prompt(tiny_gpt2: LanguageModel) -> None:
    """In shards of 4; each prompt's difference is that of its own names."""
    done: list[tuple[int, int]] = []
    found = gradient_split(tiny_gpt2, IOI_V1, PROMPTS, SITES, progress=lambda *counts: done.append(counts))
    io, s = (name_tokens([getattr(p, name) for p in PROMPTS], tiny_gpt2.tokenizer) for name in ("io", "s"))
    for row in (0, 5, 10):
        batch = tokenize(IOI_V1, PROMPTS[row : row + 1], tiny_gpt2.tokenizer)
        alone = logit_difference_gradients(tiny_gpt2, batch, io[row : row + 1], s[row : row + 1], SITES)
        for site in SITES:
            torch.testing.assert_close(found[site][row : row + 1], alone[site], rtol=1e-3, atol=1e-4)
    assert done == [(4, 11), (8, 11), (11, 11)]


def test_gradients_are_kept_apart_from_activations_and_not_computed_again(
    tiny_gpt2: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captured = read(tiny_gpt2, tmp_path)
    first = gradient_split(tiny_gpt2, IOI_V1, PROMPTS, SITES[:2], cache_dir=tmp_path)
    asked: list[list[Site]] = []

    def counted(*args: Any) -> dict[Site, Tensor]:
        asked.append(list(args[4]))
        return logit_difference_gradients(*args)

    monkeypatch.setattr(activations, "logit_difference_gradients", counted)
    again = gradient_split(tiny_gpt2, IOI_V1, PROMPTS, SITES, cache_dir=tmp_path)
    assert asked == [SITES[2:]] * 3
    assert_same({site: again[site] for site in SITES[:2]}, first)
    assert_same(read(tiny_gpt2, tmp_path), captured)
    assert not torch.equal(captured[SITES[0]], first[SITES[0]])


def test_gradients_of_nothing_are_refused(tiny_gpt2: LanguageModel) -> None:
    with pytest.raises(InputError, match="no prompts"):
        gradient_split(tiny_gpt2, IOI_V1, (), SITES)
    with pytest.raises(InputError, match="does not exist"):
        gradient_split(tiny_gpt2, IOI_V1, PROMPTS, [Site.parse("z.9.0@end")])
