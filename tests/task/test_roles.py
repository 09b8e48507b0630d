"""Roles point at the right token, in GPT-2's tokenizer and in ioi-mini's."""

import pytest
import torch

from ioi_bench.errors import TaskError
from ioi_bench.lm.mini.vocabulary import build_tokenizer
from ioi_bench.sites import Role
from ioi_bench.task import IOI_V1, IOI_V1_MINI, check_single_tokens, name_tokens, tokenize


@pytest.fixture(scope="module")
def mini_tokenizer():
    return build_tokenizer(IOI_V1_MINI)


@pytest.fixture(params=["ioi-v1", "ioi-v1-mini"])
def case(request):
    if request.param == "ioi-v1":
        return IOI_V1, request.getfixturevalue("gpt2_tokenizer")
    return IOI_V1_MINI, request.getfixturevalue("mini_tokenizer")


def test_every_word_is_a_single_token(case):
    check_single_tokens(*case)


def test_gpt2_carries_the_four_prefixes_too(gpt2_tokenizer):
    prompts = IOI_V1_MINI.split("test").prompts[:200]
    assert tokenize(IOI_V1_MINI, prompts, gpt2_tokenizer).tokens.shape == (200, 19)


def test_roles_point_at_their_tokens(case):
    spec, tokenizer = case
    prompts = spec.split("test").prompts[:300] + spec.split("train").prompts[:300]
    batch = tokenize(spec, prompts, tokenizer)
    rows = torch.arange(len(prompts))
    at = {role: batch.tokens[rows, batch.positions[role]] for role in Role}
    assert torch.equal(at[Role.IO], name_tokens([p.io for p in prompts], tokenizer))
    for role in (Role.S1, Role.S2):
        assert torch.equal(at[role], name_tokens([p.s for p in prompts], tokenizer))
    assert torch.equal(batch.positions[Role.S1] + 1, batch.positions[Role.S1_NEXT])
    assert torch.equal(batch.positions[Role.END], batch.lengths - 1)
    assert (batch.tokens[:, 0] == tokenizer.bos_token_id).all()


def test_gpt2_positions_are_the_papers(gpt2_tokenizer):
    """METHOD §1: 19 tokens, names at 3 and 5, S2 at 16, 14 and 12, END at 18."""
    prompts = IOI_V1.split("test").prompts[:200]
    batch = tokenize(IOI_V1, prompts, gpt2_tokenizer)
    assert batch.tokens.shape[1] == 19
    for row, prompt in enumerate(prompts):
        names = (3, 5) if prompt.pattern == "ABB" else (5, 3)
        got = tuple(int(batch.positions[role][row]) for role in (Role.IO, Role.S1, Role.S2, Role.END))
        assert got == (*names, (16, 14, 12)[prompt.template], 18)


def test_a_slice_keeps_rows_together(mini_tokenizer):
    batch = tokenize(IOI_V1_MINI, IOI_V1_MINI.split("test").prompts[:10], mini_tokenizer)
    part = batch.slice(3, 7)
    assert torch.equal(part.tokens, batch.tokens[3:7])
    assert torch.equal(part.positions[Role.S2], batch.positions[Role.S2][3:7])


def test_a_word_of_several_tokens_is_named(mini_tokenizer):
    with pytest.raises(TaskError, match="Bartholomew"):
        name_tokens(["Bartholomew"], mini_tokenizer)
