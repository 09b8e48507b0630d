"""ioi-mini's word-level tokenizer, over the task's own words."""

from __future__ import annotations

import re
from typing import Any

from ioi_bench.task import TaskSpec

__all__ = ["build_tokenizer"]

_BOS, _UNKNOWN = "<bos>", "<unk>"


def build_tokenizer(spec: TaskSpec) -> Any:
    """A `PreTrainedTokenizerFast` in which every word and punctuation mark of the spec is one token, with offsets."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    plain = " ".join(spec.prefixes) + " ".join(re.sub(r"\{\w+\}", "", template.text) for template in spec.templates)
    grammar = sorted(set(re.findall(r"\w+|[^\w\s]", plain)))
    words = [_BOS, _UNKNOWN, *grammar]
    words += [word for word in (*spec.names, *spec.places, *spec.objects) if word not in grammar]
    vocabulary = {word: index for index, word in enumerate(dict.fromkeys(words))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=_UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=_BOS, eos_token=_BOS, unk_token=_UNKNOWN)
