"""Our patched runs are TransformerLens's hooked runs, only faster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ioi_bench.errors import InputError
from ioi_bench.lm import LanguageModel, clean_run, load_model, patched_logits
from ioi_bench.sites import COMPONENTS, HEAD_COMPONENTS, Role, Site
from ioi_bench.task import IOI_V1, TokenBatch, tokenize

NAME_MOVERS = ["9.9", "9.6", "10.0", "9.0", "9.7", "10.1", "10.2", "10.10", "11.2", "11.9"]
S_INHIBITION = ["7.3", "7.9", "8.6", "8.10"]
INDUCTION = ["5.5", "6.9", "5.8", "5.9", "0.1", "3.0", "0.10"]
CROSS_SECTIONS = {
    "nm-out": [f"z.{head}@end" for head in NAME_MOVERS],
    "nm-q": [f"q.{head}@end" for head in NAME_MOVERS],
    "nm-qk": [f"{c}.{head}@{role}" for c, role in (("q", "end"), ("k", "io"), ("k", "s1")) for head in NAME_MOVERS],
    "si-out": [f"z.{head}@end" for head in S_INHIBITION],
    "si-v": [f"v.{head}@s2" for head in S_INHIBITION],
    "ind-dt-out": [f"z.{head}@s2" for head in INDUCTION],
}


def bridge(directory: Path) -> Any:
    from transformer_lens.model_bridge import TransformerBridge

    booted = TransformerBridge.boot_transformers(str(directory), device="cpu")
    booted.enable_compatibility_mode(disable_warnings=True)
    return booted


@pytest.fixture(scope="module")
def tiny_bridge(tiny_gpt2_dir: Path) -> Any:
    return bridge(tiny_gpt2_dir)


def hooked_logits(model: Any, batch: TokenBatch, edit: Mapping[Site, Tensor]) -> Tensor:
    """The direct formulation: TransformerLens's own hooks."""
    rows = torch.arange(len(batch))

    def write(site: Site, value: Tensor, x: Tensor, hook: Any) -> Tensor:
        x = x.clone()
        at = batch.positions[site.role]
        if site.component in HEAD_COMPONENTS and site.head is not None:
            x[rows, at, site.head] = value
        else:
            x[rows, at] = value.view(len(batch), *x.shape[2:])
        return x

    hooks = [(site.hook, partial(write, site, value)) for site, value in edit.items()]
    with torch.no_grad():
        logits = model.run_with_hooks(batch.tokens, prepend_bos=False, fwd_hooks=hooks)
    return logits[rows, batch.positions[Role.END]]


def random_edits(model: LanguageModel, batch: TokenBatch, sites: list[Site], n: int, seed: int = 0) -> list[Any]:
    generator = torch.Generator().manual_seed(seed)
    clean = model.capture(batch, sites)
    return [
        {site: clean[site].roll(1, 0) + 0.5 * torch.randn(clean[site].shape, generator=generator) for site in sites}
        for _ in range(n)
    ]


def some_prompts(model: LanguageModel, n: int = 7) -> TokenBatch:
    return tokenize(IOI_V1, IOI_V1.split("test").prompts[:n], model.tokenizer)


def ragged(batch: TokenBatch) -> TokenBatch:
    """The same prompts, the odd ones cut after S2: END differs from row to row, and there is padding."""
    positions = dict(batch.positions)
    end = positions[Role.END].clone()
    end[1::2] = positions[Role.S2][1::2] + 1
    return TokenBatch(batch.tokens, end + 1, {**positions, Role.END: end})


def every_site() -> list[Site]:
    sites = []
    for layer in range(3):
        for component in COMPONENTS:
            heads: list[int | None] = [None, 2] if component in HEAD_COMPONENTS else [None]
            sites += [Site(component, layer, head, role) for head in heads for role in (Role.S1, Role.S2, Role.END)]
    return sites


def test_unedited_logits_are_the_bridge_s(tiny_gpt2: LanguageModel, tiny_bridge: Any) -> None:
    batch = ragged(some_prompts(tiny_gpt2))
    expected = hooked_logits(tiny_bridge, batch, {})
    torch.testing.assert_close(tiny_gpt2.logits(batch), expected, atol=1e-4, rtol=0)
    assert expected.std() > 0.1  # the model says something


def test_an_edit_of_nothing_is_the_clean_run(tiny_gpt2: LanguageModel) -> None:
    batch = some_prompts(tiny_gpt2)
    sites = [Site.parse(text) for text in ("z.1.2@end", "k.0.1@io", "resid_mid.2@s2")]
    same = patched_logits(tiny_gpt2, batch, [tiny_gpt2.capture(batch, sites)])[0]
    torch.testing.assert_close(same, tiny_gpt2.logits(batch), atol=1e-5, rtol=0)


@pytest.mark.parametrize("site", every_site(), ids=str)
def test_every_component_is_patched_as_hooks_do(tiny_gpt2: LanguageModel, tiny_bridge: Any, site: Site) -> None:
    batch = ragged(some_prompts(tiny_gpt2))
    edits = random_edits(tiny_gpt2, batch, [site], n=2)
    got = patched_logits(tiny_gpt2, batch, edits)
    for row, edit in zip(got, edits, strict=True):
        if site.component == "resid_mid":
            edit = as_attention_output(tiny_gpt2, batch, site, edit[site])
        torch.testing.assert_close(row, hooked_logits(tiny_bridge, batch, edit), atol=1e-4, rtol=0)


def as_attention_output(model: LanguageModel, batch: TokenBatch, site: Site, value: Tensor) -> dict[Site, Tensor]:
    """The same intervention one step earlier: the bridge's ``hook_resid_mid`` reaches the MLP, not the stream."""
    before, attn_out = replace(site, component="resid_pre"), replace(site, component="attn_out")
    return {attn_out: value - model.capture(batch, [before])[before]}


@pytest.mark.parametrize("seed", range(8))
def test_cross_sections_are_patched_as_hooks_do(tiny_gpt2: LanguageModel, tiny_bridge: Any, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    pool = [site for site in every_site() if site.head is not None]
    chosen = torch.randperm(len(pool), generator=generator)[:6].tolist()
    named = [Site.parse(text) for text in ("q.1.0@end", "k.1.0@io", "k.1.0@s1", "v.0.3@s2")]
    sites = list(dict.fromkeys([*named, *(pool[i] for i in chosen)]))
    batch = ragged(some_prompts(tiny_gpt2)) if seed % 2 else some_prompts(tiny_gpt2)
    edits = random_edits(tiny_gpt2, batch, sites, n=3, seed=seed)
    got = patched_logits(tiny_gpt2, clean_run(tiny_gpt2, batch), edits)
    for row, edit in zip(got, edits, strict=True):
        torch.testing.assert_close(row, hooked_logits(tiny_bridge, batch, edit), atol=1e-4, rtol=0)


def test_batches_and_chunks_change_nothing(tiny_gpt2: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = ragged(some_prompts(tiny_gpt2, 9))
    sites = [Site.parse(text) for text in ("q.1.0@end", "k.1.0@io", "z.2.3@end")]
    edits = random_edits(tiny_gpt2, batch, sites, n=4)
    whole = patched_logits(tiny_gpt2, batch, edits)
    halves = [
        patched_logits(tiny_gpt2, batch.slice(a, b), [{s: v[a:b] for s, v in edit.items()} for edit in edits])
        for a, b in ((0, 4), (4, 5), (5, 9))
    ]
    torch.testing.assert_close(torch.cat(halves, dim=1), whole, atol=1e-5, rtol=0)
    monkeypatch.setattr("ioi_bench.lm.patching._ROWS_AT_ONCE", 1)
    monkeypatch.setattr("ioi_bench.lm.patching._PROMPTS_AT_ONCE", 2)
    torch.testing.assert_close(patched_logits(tiny_gpt2, batch, edits), whole, atol=1e-5, rtol=0)


def test_a_shared_prefix_changes_nothing(tiny_gpt2: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = ragged(some_prompts(tiny_gpt2, 20))
    edits = random_edits(tiny_gpt2, batch, [Site.parse("k.1.0@io"), Site.parse("q.1.0@end")], n=2)
    clean = clean_run(tiny_gpt2, batch)
    assert clean.offset == 3  # BOS and "Then,"
    shared = patched_logits(tiny_gpt2, clean, edits), tiny_gpt2.capture(batch, list(edits[0]))
    monkeypatch.setattr("ioi_bench.lm.forward._WORTH_SHARING", 1000)
    apart = patched_logits(tiny_gpt2, batch, edits), tiny_gpt2.capture(batch, list(edits[0]))
    torch.testing.assert_close(shared, apart, atol=1e-5, rtol=0)


def test_a_clean_run_serves_many_calls_and_stays_clean(tiny_gpt2: LanguageModel) -> None:
    batch = some_prompts(tiny_gpt2)
    clean = clean_run(tiny_gpt2, batch, first_layer=1)
    before = [x.clone() for x in (*clean.resid_pre, *clean.k, *clean.v)]
    for text in ("resid_pre.1@s2", "k.1.0@io", "v.2@s1", "z.2.1@end"):
        edits = random_edits(tiny_gpt2, batch, [Site.parse(text)], n=1)
        torch.testing.assert_close(
            patched_logits(tiny_gpt2, clean, edits), patched_logits(tiny_gpt2, batch, edits), atol=1e-5, rtol=0
        )
    assert all(torch.equal(a, b) for a, b in zip(before, (*clean.resid_pre, *clean.k, *clean.v), strict=True))


def test_what_does_not_fit_is_refused(tiny_gpt2: LanguageModel) -> None:
    batch = some_prompts(tiny_gpt2)
    z, q = Site.parse("z.1.2@end"), Site.parse("q.1.2@end")
    value = torch.zeros(len(batch), 8)
    with pytest.raises(InputError, match="same sites"):
        patched_logits(tiny_gpt2, batch, [{z: value}, {q: value}])
    with pytest.raises(InputError, match=r"expected \[prompt, d_in\]"):
        patched_logits(tiny_gpt2, batch, [{z: value[:, :4]}])
    with pytest.raises(InputError, match="layers are 0 to 2"):
        patched_logits(tiny_gpt2, batch, [{Site.parse("z.9.2@end"): value}])
    with pytest.raises(InputError, match="first_layer=1"):
        patched_logits(tiny_gpt2, clean_run(tiny_gpt2, batch, first_layer=2), [{z: value}])


@pytest.mark.slow
def test_the_circuit_of_gpt2_at_its_true_size(gpt2_dir: Path) -> None:
    model, reference = load_model(gpt2_dir), bridge(gpt2_dir)
    batch = some_prompts(model, 2)
    clean = clean_run(model, batch)
    for texts in CROSS_SECTIONS.values():
        (edit,) = edits = random_edits(model, batch, [Site.parse(text) for text in texts], n=1)
        expected = hooked_logits(reference, batch, edit)
        torch.testing.assert_close(patched_logits(model, clean, edits)[0], expected, atol=1e-4, rtol=0)
