"""The gradients are the slopes of the patched runs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ioi_bench.errors import InputError
from ioi_bench.lm import LanguageModel, clean_run, load_circuit, load_model, logit_difference_gradients, patched_logits
from ioi_bench.sites import COMPONENTS, HEAD_COMPONENTS, Role, Site
from ioi_bench.task import IOI_V1, IOI_V1_MINI, TaskSpec, TokenBatch, name_tokens, tokenize

EVERY_SITE = [
    Site(component, 1, head, role)
    for component in COMPONENTS
    for head in ((None, 2) if component in HEAD_COMPONENTS else (None,))
    for role in (Role.S1, Role.S2, Role.END)
]


def some(model: LanguageModel, spec: TaskSpec, n: int) -> tuple[TokenBatch, Tensor, Tensor]:
    prompts = spec.split("train").prompts[:n]
    io, s = (name_tokens([getattr(prompt, name) for prompt in prompts], model.tokenizer) for name in ("io", "s"))
    return tokenize(spec, prompts, model.tokenizer), io, s


def slopes(model, batch, io, s, site, gradient, step):
    """Central differences along the gradient and two random directions, and what the gradient says of them."""
    clean = model.capture(batch, [site])[site]
    directions = torch.randn(3, *clean.shape, generator=torch.Generator().manual_seed(0), dtype=clean.dtype)
    directions[0] = gradient
    directions /= directions.norm(dim=2, keepdim=True).clamp(min=1e-12)
    edits = [{site: clean + sign * step * direction} for direction in directions for sign in (1, -1)]
    logits = patched_logits(model, clean_run(model, batch), edits)
    rows = torch.arange(len(batch))
    difference = (logits[:, rows, io] - logits[:, rows, s]).view(3, 2, -1)
    return (difference[:, 0] - difference[:, 1]) / (2 * step), (directions * gradient).sum(2)


@pytest.mark.parametrize("site", EVERY_SITE, ids=str)
def test_gradients_are_central_differences_of_patched_runs(tiny_gpt2: LanguageModel, site: Site) -> None:
    batch, io, s = some(tiny_gpt2, IOI_V1, 6)
    gradient = logit_difference_gradients(tiny_gpt2, batch, io, s, [site])[site]
    measured, expected = slopes(tiny_gpt2, batch, io, s, site, gradient, 1e-2)
    assert expected[0].abs().max() > 1e-3  # it says something
    torch.testing.assert_close(measured, expected, rtol=2e-2, atol=2e-3 * float(expected.abs().max()) + 1e-4)


def test_the_circuit_of_ioi_mini_all_sites_at_once() -> None:
    model = load_model("ioi-mini")
    sites = list(load_circuit("ioi-mini").sites)
    batch, io, s = some(model, IOI_V1_MINI, 20)  # enough for a shared prefix
    gradients = logit_difference_gradients(model, batch, io, s, sites)
    assert list(gradients) == sites
    for site, gradient in gradients.items():
        assert gradient.shape == (20, model.width(site))
        measured, expected = slopes(model, batch, io, s, site, gradient, 3e-3)
        scale = float(expected.abs().max())
        torch.testing.assert_close(measured, expected, rtol=3e-2, atol=0.02 * scale + 2e-3)


def test_prompts_and_batches_do_not_touch_each_other(tiny_gpt2: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    batch, io, s = some(tiny_gpt2, IOI_V1, 40)
    sites = [Site.parse(text) for text in ("z.1.2@end", "k.0.1@io", "resid_mid.2@end")]
    together = logit_difference_gradients(tiny_gpt2, batch, io, s, sites)
    monkeypatch.setattr("ioi_bench.lm.gradients._PROMPTS_AT_ONCE", 7)
    alone = logit_difference_gradients(tiny_gpt2, batch.slice(3, 12), io[3:12], s[3:12], sites)
    for site in sites:
        torch.testing.assert_close(alone[site], together[site][3:12], rtol=1e-3, atol=1e-4)


def test_a_site_that_does_not_reach_end_has_gradient_zero(tiny_gpt2: LanguageModel) -> None:
    batch, io, s = some(tiny_gpt2, IOI_V1, 4)
    site = Site.parse("resid_post.2@s2")  # the last layer
    assert not logit_difference_gradients(tiny_gpt2, batch, io, s, [site])[site].any()


def test_weights_are_left_as_they_are(tiny_gpt2: LanguageModel) -> None:
    batch, io, s = some(tiny_gpt2, IOI_V1, 4)
    with torch.no_grad():  # also where the caller wants no gradients
        found = logit_difference_gradients(tiny_gpt2, batch, io, s, [Site.parse("z.1.2@end")])
    assert not any(gradient.requires_grad for gradient in found.values())
    assert not tiny_gpt2.weights.embed.requires_grad


@pytest.mark.parametrize("what", ["too few", "no such token", "no such layer", "no role"])
def test_what_does_not_fit_is_refused(tiny_gpt2: LanguageModel, what: str) -> None:
    batch, io, s = some(tiny_gpt2, IOI_V1, 4)
    sites = [Site.parse("z.9.0@end" if what == "no such layer" else "z.1.0@s2")]
    if what == "no role":
        batch = TokenBatch(batch.tokens, batch.lengths, {Role.END: batch.positions[Role.END]})
    io = io[:3] if what == "too few" else io
    s = s + tiny_gpt2.d_vocab if what == "no such token" else s
    expected = {
        "too few": r"io has shape \(3,\)",
        "no such token": "s has shape",
        "no such layer": "z.9.0@end",
        "no role": "s2",
    }
    with pytest.raises(InputError, match=expected[what]):
        logit_difference_gradients(tiny_gpt2, batch, io, s, sites)
