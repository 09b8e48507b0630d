"""Train statistics, and what is refused with which message."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from beartype import beartype
from jaxtyping import TypeCheckError, jaxtyped

from ioi_bench.dictionary import AffineDecoder
from ioi_bench.editing import EDITS, FeatureStatistics, feature_statistics
from ioi_bench.errors import DictionaryError, InputError


def test_statistics_of_a_case_worked_by_hand():
    features = torch.tensor([[2.0, 0, 0, -1], [0, 1, 0, 1], [4, 1, 0, 0]])
    values = torch.tensor([0, 0, 2])
    stats = feature_statistics(features, values, 3)
    torch.testing.assert_close(stats.f1, torch.tensor([[2 / 4, 2 / 4, 0, 4 / 4], [0, 0, 0, 0], [2 / 3, 2 / 3, 0, 0]]))
    torch.testing.assert_close(stats.conditional_mean, torch.tensor([[1.0, 0.5, 0, 0], [0, 0, 0, 0], [4, 1, 0, 0]]))
    torch.testing.assert_close(stats.mean, torch.tensor([2, 2 / 3, 0, 0]))


def test_statistics_are_those_of_the_definition_across_blocks(monkeypatch, inputs_of):
    monkeypatch.setattr("ioi_bench.editing.base._STATISTICS_ELEMENTS", 64)
    inputs = inputs_of(0, prompts=50, d_sae=20)
    stats = feature_statistics(inputs.f_s, inputs.base, 4)  # the last value never occurs
    for v in range(4):
        is_v = inputs.base == v
        for j in range(20):
            active = inputs.f_s[:, j] != 0
            hit = int((active & is_v).sum())
            precision, recall = hit / max(1, int(active.sum())), hit / max(1, int(is_v.sum()))
            f1 = 2 * precision * recall / (precision + recall) if hit else 0
            assert float(stats.f1[v, j]) == pytest.approx(f1)
            mean = float(inputs.f_s[is_v, j].mean()) if is_v.any() else 0
            assert float(stats.conditional_mean[v, j]) == pytest.approx(mean)
    torch.testing.assert_close(stats.mean, inputs.f_s.mean(0))


def test_what_is_always_active_names_no_value():
    """By the plain formula its F1 would be 2/3 for either half (precision ½, recall 1): more than a rare feature's."""
    always, rare = torch.full((8, 1), 30.0), torch.tensor([1.0, 0, 0, 0, 0, 0, 0, 0])[:, None]
    values = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    stats = feature_statistics(torch.cat([always, rare], 1), values, 2)
    torch.testing.assert_close(stats.f1, torch.tensor([[0, 2 / 5], [0, 0]]))
    assert stats.conditional_mean[:, 0].tolist() == [30, 30]
    assert stats.f1.dtype == stats.mean.dtype == torch.float32


def test_statistics_declare_their_shapes():
    checked = jaxtyped(typechecker=beartype)(feature_statistics.__wrapped__)  # without no_grad, which hides them
    checked(torch.ones(3, 2), torch.zeros(3, dtype=torch.int64), 1)
    with pytest.raises(TypeCheckError):
        checked(torch.ones(3, 2), torch.zeros(4, dtype=torch.int64), 1)


@pytest.mark.parametrize(
    ("features", "values", "message"),
    [
        (torch.ones(3, 2), torch.zeros(4, dtype=torch.int64), "do not fit"),
        (torch.ones(0, 2), torch.zeros(0, dtype=torch.int64), "at least one prompt"),
        (torch.ones(3, 2), torch.tensor([0, 1, 2]), "from 0 to 2, but there are 2"),
        (torch.ones(3, 2), torch.tensor([0, -1, 1]), "from -1 to 1"),
        (torch.ones(3, 2), torch.zeros(3), "int64"),
    ],
)
def test_statistics_refuse(features, values, message):
    with pytest.raises(InputError, match=message):
        feature_statistics(features, values, 2)


def test_statistics_must_fit_together():
    with pytest.raises(InputError, match="do not fit together"):
        FeatureStatistics(torch.ones(2, 3), torch.ones(2, 4), torch.ones(3))


@pytest.mark.parametrize("method", EDITS)
@pytest.mark.parametrize("budgets", [(), (2, 1), (1, 1), (0, 1), (-1,), (1.5,), (True,)])
def test_budgets_must_be_positive_and_increasing(method, budgets, inputs_of):
    with pytest.raises(InputError, match="increasing order"):
        EDITS[method](inputs_of(), budgets)


@pytest.mark.parametrize("chunk", [0, -3])
@pytest.mark.parametrize("method", ["exchange", "split"])
def test_chunks_must_be_positive(method, chunk, inputs_of):
    with pytest.raises(InputError, match="at least 1"):
        EDITS[method](inputs_of(), (1,), chunk=chunk)


def test_counts_are_of_budgets_that_were_asked_for(inputs_of):
    edit = EDITS["exchange"](inputs_of(), (1, 4))
    with pytest.raises(InputError, match=r"at budgets \(1, 4\), not at 2"):
        edit.n_removed(2)


@pytest.mark.parametrize(
    ("error", "message", "change"),
    [
        (DictionaryError, r"f_t has shape \(5, 11\), expected \[prompt, d_sae\] with d_sae = 12", {"f_t": (5, 11)}),
        (DictionaryError, r"a_s has shape \(5, 3\), expected \[prompt, d_in\] with d_in = 4", {"a_s": (5, 3)}),
        (DictionaryError, "a_t has shape", {"a_t": (4,)}),
        (InputError, "a counterfactual for each", {"a_t": (4, 4)}),
        (
            InputError,
            "at least one prompt",
            dict.fromkeys(("a_s", "a_t"), (0, 4)) | dict.fromkeys(("f_s", "f_t"), (0, 12)),
        ),
    ],
)
def test_shapes_that_do_not_fit_are_refused(error, message, change, inputs_of):
    with pytest.raises(error, match=message):
        replace(inputs_of(), **{name: torch.zeros(shape, dtype=torch.float64) for name, shape in change.items()})


def test_other_misfits_are_refused(inputs_of):
    inputs = inputs_of()
    with pytest.raises(InputError, match="float32"):
        replace(inputs, f_s=inputs.f_s.float())
    with pytest.raises(InputError, match="target has indices from 0 to 3"):
        replace(inputs, target=torch.tensor([0, 1, 2, 3, 0]))
    with pytest.raises(InputError, match="base must be int64 indices of shape"):
        replace(inputs, base=inputs.base[:, None])
    with pytest.raises(DictionaryError, match="statistics are of 12 features"):
        replace(
            inputs,
            decoder=AffineDecoder(inputs.directions[:6], inputs.decoder.offset),
            f_s=inputs.f_s[:, :6],
            f_t=inputs.f_t[:, :6],
        )
