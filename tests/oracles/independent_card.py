"""A card's headline figures, computed a second time from METHOD's text alone.

The evaluation is checked against this program (`tests/evaluation/test_golden_card.py`). It shares with ioi_bench the
prompts (`ioi_bench.task`) and nothing else: the model is Hugging Face's own forward pass over the raw weights, with
hooks; edits, weights, nulls and scores are the formulas written out, slowly. Top-k suites and `exchange` only.
After a change of model, suite or task, under Python 3.11 or newer::

    python tests/oracles/independent_card.py > tests/golden/independent-topk-200.json
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor

from ioi_bench.task import Prompt, Split, task_spec

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT / "ioi_bench" / "lm" / "mini" / "weights"
CIRCUIT = ROOT / "ioi_bench" / "lm" / "circuits" / "ioi-mini.toml"
ATTRIBUTES = ("io", "s", "pos")
BUDGETS = (1, 2, 4)
NULL_SEEDS = 3
TIE = 1e-6  # squared distances closer than this share of ‖a_t − a_s‖² are equal (float32 activations)


class Model:
    """GPT-2 from Hugging Face; sites are read and written in the units of METHOD §2's compatibility mode.

    What that mode changes. Folding layer norm moves γ and β from ``ln_1`` into the weights and biases of q, k and v,
    and centring what is written to the residual stream removes a mean that every layer norm removes anyway: q, k and v
    keep their values. Folding value biases then moves v's whole bias, ``b = b_v + β W_v``, through W_O into the
    output's. So v there is v here − b; and since attention weights sum to 1, z there is z here − b. Centring the
    unembedding shifts all logits of a prompt equally, which no argmax sees.
    """

    def __init__(self, folder: Path, spec: Any) -> None:
        from tokenizers import Tokenizer
        from transformers import GPT2LMHeadModel

        self.gpt2, self.spec = GPT2LMHeadModel.from_pretrained(folder).eval(), spec
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.ids = lambda text: tokenizer.encode(text, add_special_tokens=False).ids

    def hook(self, site: str, positions: dict[str, Tensor], new: Tensor | None, found: dict[str, list[Tensor]]) -> Any:
        """Write ``new`` at a site, or without it append what is there to ``found``."""
        component, layer, head, role = re.split("[.@]", site)
        block, width = self.gpt2.transformer.h[int(layer)], self.gpt2.config.n_embd
        size = width // self.gpt2.config.n_head
        start = int(head) * size
        v = slice(2 * width + start, 2 * width + start + size)  # c_attn gives q, k and v side by side
        bias = block.attn.c_attn.bias[v] + block.ln_1.bias @ block.attn.c_attn.weight[:, v]
        bias = bias * (component in "vz")
        start += max(0, "qkv".find(component)) * width

        def act(value: Tensor) -> Tensor:
            at = (torch.arange(len(value)), positions[role], slice(start, start + size))
            value = value.clone()
            if new is None:
                found[site].append(value[at] - bias)
            else:
                value[at] = new.float() + bias
            return value

        if component == "z":
            return block.attn.c_proj.register_forward_pre_hook(lambda _, inputs: (act(inputs[0]),))
        return block.attn.c_attn.register_forward_hook(lambda _, __, output: act(output))

    def run(self, prompts: Sequence[Prompt], sites: dict[str, Tensor | None]) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits after each prompt, and the activations of sites; what is given is written at once."""
        bos, answers, found = self.gpt2.config.bos_token_id, [], {site: [] for site in sites}
        for start in range(0, len(prompts), 1000):
            rows, at = [], []
            for prompt in prompts[start : start + 1000]:
                ids = [bos, *self.ids(self.spec.text(prompt))]
                (io,), (s,) = self.ids(f" {prompt.io}"), self.ids(f" {prompt.s}")
                at.append((ids.index(io), ids.index(s), ids.index(s, ids.index(s) + 1), len(ids) - 1))
                rows.append(torch.tensor(ids))
            positions = dict(zip(("io", "s1", "s2", "end"), torch.tensor(at).T, strict=True))
            part = {site: new if new is None else new[start : start + 1000] for site, new in sites.items()}
            handles = [self.hook(site, positions, new, found) for site, new in part.items()]
            tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=bos)  # on the right
            answers.append(self.gpt2(tokens).logits[torch.arange(len(tokens)), positions["end"]])
            for handle in handles:
                handle.remove()
        return torch.cat(answers), {site: torch.cat(parts) for site, parts in found.items() if parts}


class TopK(NamedTuple):
    """``f = TopK(ReLU(x into + bias))`` with directions, in the model's units."""

    into: Tensor
    bias: Tensor
    k: int
    directions: Tensor

    def encode(self, x: Tensor) -> Tensor:
        """Features, at most k of them active."""
        best = (x.double() @ self.into + self.bias).relu().topk(self.k)
        return torch.zeros(len(x), len(self.directions)).double().scatter(1, best.indices, best.values)


def trained(folder: Path, site: str) -> TopK:
    """The suite's dictionary at a site; its weights are for inputs times ``scale`` (METHOD §4)."""
    header = json.loads((folder / "suite.json").read_text())
    entry, tensors = header["dictionaries"][site], load_file(folder / header["weights"][0])
    w_enc, b_enc, w_dec, b_dec = (tensors[f"{site}/{name}"].double() for name in ("W_enc", "b_enc", "W_dec", "b_dec"))
    scale = entry["settings"]["scale"]
    return TopK(scale * w_enc, b_enc - b_dec @ w_enc, entry["settings"]["k"], w_dec / scale)


def matched(dictionary: TopK, site: str, x: Tensor, number: int) -> TopK:
    """Random unit directions, one for each living feature, and as many active (METHOD §7)."""
    f, mean = dictionary.encode(x), x.double().mean(0)
    alive, k = (f != 0).any(0), max(1, round((f != 0).sum().item() / len(f)))
    seed = int.from_bytes(hashlib.sha256(f"0/{number}/{site}".encode()).digest()[:6], "big")  # 0: the card's seed
    drawn = torch.randn(int(alive.sum()), x.shape[1], generator=torch.Generator().manual_seed(seed)).double()
    units = torch.zeros_like(dictionary.directions)
    # Matching the decoder's norms too would change no contribution f_j d_j, and so no figure.
    units[alive] = drawn / drawn.norm(dim=1, keepdim=True)
    null = TopK(units.T, -mean @ units.T, k, units)
    rebuilt = null.encode(x) @ units
    gain = ((x - mean) * rebuilt).sum() / rebuilt.square().sum()  # least squares
    return null._replace(directions=gain * units)


def shares(parts: Sequence[Tensor], whole: Tensor) -> Tensor:
    """How much of ``whole`` is in the parts that have some; NaN where there is no whole."""
    return sum(((part @ whole).clamp_min(0) for part in parts), torch.zeros(()).double()) / whole.square().sum()


def aside(step: Tensor, way: Tensor, own: Tensor) -> Tensor:
    """What of a step is not on the way to the counterfactual, as a share of the activation's own variance."""
    return (step - (step @ way) / (way @ way) * way).square().sum() / own.square().sum()


def length(parts: Sequence[Tensor], whole: Tensor) -> Tensor:
    """The squared length of the parts' sum, as a share of that of ``whole``."""
    return torch.stack([torch.zeros_like(whole), *parts]).sum(0).square().sum() / whole.square().sum()


def exchanged(before: Tensor, after: Tensor, own: Tensor, other: Tensor) -> Tensor:
    """What changes: the longer of both sides, from the zero point along the step that makes it shortest."""
    step = after - before
    across = before.square().sum() - (before @ step) ** 2 / step.square().sum() if step.any() else before.square().sum()
    return (step.square().sum() / 4 + across) / ((own.square().sum() + other.square().sum()) / 2)


def effect(found: Tensor, clean: Tensor, truth: Tensor, names: list[list[int]]) -> Tensor:
    """How far the logits of a prompt's names go from the clean run to the truth-patched one, from a half to 1."""
    shares = []
    for edited, before, after, tokens in zip(found.double(), clean.double(), truth.double(), names, strict=True):
        start, end, here = (logits[tokens] - logits[tokens].mean() for logits in (before, after, edited))
        shares.append((here - start) @ (end - start) / (end - start).square().sum())
    return torch.stack(shares).clamp(0.5, 1)


def variance(a: Tensor) -> Tensor:
    """``E ‖a − E a‖²``."""
    return (a.double() - a.double().mean(0)).square().sum(1).mean()


def exchange(d: TopK, a_s: Tensor, a_t: Tensor) -> list[list[Tensor]]:
    """METHOD §5, per budget, each by prompt: the edited activations, the weight that scores, the distance left, and how
    far the edit moves."""
    mean, a_mean, prompts = d.encode(a_s).mean(0), a_s.double().mean(0), []
    for s, t, f_s, f_t in zip(a_s.double(), a_t.double(), d.encode(a_s), d.encode(a_t), strict=True):
        # contributions less their means over the base prompts
        own, other = ((f - mean)[:, None] * d.directions for f in (f_s, f_t))
        a, limit, chosen, rounds = s, TIE * (t - s).square().sum(), [], []
        for _ in range(max(BUDGETS)):
            tried = a + (f_t - f_s)[:, None] * d.directions
            distances = (tried - t).square().sum(1)
            distances[chosen] = torch.inf
            chosen.append(int((distances <= distances.min() + limit).nonzero()[0]))
            a = tried[chosen[-1]]
            changed = [j for j in chosen if f_s[j] != f_t[j]]
            out, into = ([j for j in changed if f[j] != 0] for f in (f_s, f_t))
            sides = ([*own[out]], s - a_mean), ([*other[into]], t - a_mean)
            most = [of(*side) for of in (shares, length) for side in sides]
            most.append(exchanged(own[changed].sum(0), other[changed].sum(0), s - a_mean, t - a_mean))
            weight = torch.stack([*most, aside(a - s, t - s, s - a_mean)]).max()
            rounds.append((a, weight, (a - t).norm(), (a - s).square().sum() / variance(a_s)))
        prompts.append([rounds[k - 1] for k in BUDGETS])
    return [[torch.stack(column) for column in zip(*rows, strict=True)] for rows in zip(*prompts, strict=True)]


def skyline(x: Tensor, a_s: Tensor, a_t: Tensor, train: Split, test: Split, attribute: str) -> tuple[Tensor, ...]:
    """Mean codes (METHOD §3), by prompt: what an attribute's edit adds, its weight, and how far it moves."""
    rows: dict[tuple[str, str], list[int]] = {}
    for i, prompt in enumerate(train.prompts):
        for name in ATTRIBUTES:
            rows.setdefault((name, prompt.value((name,))), []).append(i)
    centred = x.double() - x.double().mean(0)
    codes = {key: centred[at].mean(0) for key, at in rows.items()}
    values = [prompt.value((attribute,)) for prompt in test.prompts]
    often = {value: values.count(value) / len(values) for value in {*values}}
    steps, weights, moved, (own, other) = [], [], [], (a.double() - a_s.double().mean(0) for a in (a_s, a_t))
    for prompt, target, before, after in zip(test.prompts, test.counterfactual((attribute,)), own, other, strict=True):
        old, new = ((attribute, p.value((attribute,))) for p in (prompt, target))
        steps.append(codes[new] - codes[old])
        # One code is taken out and another put in: the mean of each one's contribution is frequency · code.
        (o, p), (n, q) = (codes[old], often[old[1]]), (codes[new], often.get(new[1], 0))
        sides = ([(1 - p) * o], before), ([(1 - q) * n], after)
        most = [of(*side) for of in (shares, length) for side in sides]
        most.append(exchanged((1 - p) * o - q * n, -p * o + (1 - q) * n, before, after))
        weights.append(torch.stack([*most, aside(steps[-1], after - before, before)]).max())
        moved.append(steps[-1].square().sum() / variance(a_s))
    return torch.stack(steps), torch.stack(weights), torch.stack(moved)


def cell_value(accuracy: list[float], weight: list[float], no_edit: float, sky: float, w_sky: float) -> float:
    """S of METHOD §7."""
    x = [min(max((w - w_sky) / max(1 - w_sky, 0.1), 0), 1) for w in weight]
    v = [(one - no_edit) / (sky - no_edit) * (1 - cost) for one, cost in zip(accuracy, x, strict=True)]
    return sum(max(0, *v[: i + 1]) for i in range(len(v))) / len(v)


def judge(model: Model, attribute: str, suite: dict[str, TopK], x: dict[str, Tensor], test: Split) -> dict[str, Any]:
    """All figures of the cell that has this attribute and the sites of ``suite``."""
    others = test.counterfactual((attribute,))
    a_s, a_t = (model.run(some, dict.fromkeys(suite))[1] for some in (test.prompts, others))
    clean, truth = (model.run(test.prompts, written)[0] for written in ({}, a_t))
    pairs = zip(test.prompts, others, strict=True)
    names = [model.ids("".join(f" {one}" for one in (p.io, p.s, q.io, q.s))) for p, q in pairs]

    def judged(written: dict[str, Tensor]) -> tuple[float, Tensor]:
        """Accuracy, and the effect on each prompt."""
        logits = model.run(test.prompts, written)[0]
        right = (logits.argmax(-1) == truth.argmax(-1)).double().mean().item()
        return right, effect(logits, clean, truth, names)

    def mean(columns: Sequence[Tensor]) -> float:  # over sites, then over prompts; NaN dropped
        return torch.stack([*columns]).nanmean(0).nanmean().item()

    def mean_by(columns: Sequence[Tensor], amounts: Sequence[Tensor], had: Tensor) -> float:  # sites, prompts alike
        weight, amount = torch.stack([*columns]) / had, torch.stack([*amounts])
        return ((weight * amount).nansum() / amount.nansum()).item()

    codes = {site: skyline(x[site], a_s[site], a_t[site], model.spec.split("train"), test, attribute) for site in suite}
    no_edit, (sky, had) = judged({})[0], judged({site: a_s[site] + step for site, (step, *_) in codes.items()})
    w_sky = mean_by(*zip(*((weight, moved) for _, weight, moved in codes.values()), strict=True), had)

    def figures(dictionaries: dict[str, TopK]) -> dict[str, Any]:
        edits = [exchange(d, a_s[site], a_t[site]) for site, d in dictionaries.items()]
        by_budget = [list(zip(*of_sites, strict=True)) for of_sites in zip(*edits, strict=True)]
        runs = [judged(dict(zip(dictionaries, edited, strict=True))) for edited, *_ in by_budget]
        right, had = zip(*runs, strict=True)
        weight = [mean_by(columns[1], columns[3], effects) for columns, effects in zip(by_budget, had, strict=True)]
        distance = [mean(columns[2]) for columns in by_budget]
        value = cell_value(right, weight, no_edit, sky, w_sky)
        return {"accuracy": [*right], "weight": weight, "distance": distance, "s": value}

    random = ({site: matched(d, site, x[site], i) for site, d in suite.items()} for i in range(NULL_SEEDS))
    own, *nulls = map(figures, (suite, *random))
    s, s_null = own["s"], sum(null["s"] for null in nulls) / NULL_SEEDS
    score = (s - s_null) / (1 - min(s_null, 0.9)) if s >= s_null else (s - s_null) / max(s_null, 0.1)
    return {"skyline_weight": w_sky, **own, "s_null": s_null, "score": score}


@torch.no_grad()
def main() -> None:
    """Print the figures, and the hashes of what they were computed on."""
    import tomllib

    parser = argparse.ArgumentParser(description="A card's headline figures, computed a second time.")
    parser.add_argument("--suite", type=Path, default=ROOT / "reference_saes" / "ioi-mini" / "topk-k3-s0")
    parser.add_argument("--prompts", type=int, default=200)
    given = parser.parse_args()
    circuit = tomllib.loads(CIRCUIT.read_text())
    model = Model(WEIGHTS, task_spec(circuit["task"]))
    test = model.spec.split("test").head(given.prompts)
    sites: dict[str, list[str]] = {}
    for cell in (cell for cell in circuit["cells"]["headline"] if circuit["ranked"][cell]["ranked"]):
        for part in circuit["cross-sections"][cell.partition("@")[2]]:
            heads = [head for group in part["groups"] for head in circuit["heads"][group]]
            sites.setdefault(cell, []).extend(f"{part['component']}.{head}@{part['role']}" for head in heads)
    x = model.run(model.spec.split("train").prompts, {site: None for some in sites.values() for site in some})[1]
    cells = {}
    for cell, some in sites.items():
        suite = {site: trained(given.suite, site) for site in some}
        cells[cell] = judge(model, cell.partition("@")[0], suite, x, test)
    found = [CIRCUIT, *sorted(WEIGHTS.iterdir()), *sorted(given.suite.iterdir())]
    files = [path for path in found if path.suffix in (".toml", ".json", ".safetensors")]
    report = {
        "prompts": given.prompts,
        "cells": cells,
        "ioi_score": sum(cell["score"] for cell in cells.values()) / len(cells),
        "spec_sha256": model.spec.sha256,
        "files": {os.path.relpath(path, ROOT): hashlib.sha256(path.read_bytes()).hexdigest() for path in files},
    }
    shown = json.loads(json.dumps(report, allow_nan=False), parse_float=lambda digits: round(float(digits), 6))
    sys.stdout.write(json.dumps(shown, indent=1) + "\n")


if __name__ == "__main__":
    main()
