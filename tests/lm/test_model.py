"""Loading: what is loaded is TransformerLens's model, and what cannot be loaded says why."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file

from ioi_bench.errors import InputError, ModelUnavailableError, UnknownNameError
from ioi_bench.lm import LanguageModel, load_model
from ioi_bench.sites import COMPONENTS, HEAD_COMPONENTS, Role, Site
from ioi_bench.task import IOI_V1, TokenBatch, tokenize


@pytest.fixture
def batch(tiny_gpt2: LanguageModel) -> TokenBatch:
    return tokenize(IOI_V1, IOI_V1.split("test").prompts[:6], tiny_gpt2.tokenizer)


@pytest.fixture
def copied(tiny_gpt2_dir: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_gpt2_dir, tmp_path / "model"))


def test_captures_are_the_bridge_s_activations(
    tiny_gpt2: LanguageModel, tiny_gpt2_dir: Path, batch: TokenBatch
) -> None:
    from transformer_lens.model_bridge import TransformerBridge

    bridge = TransformerBridge.boot_transformers(str(tiny_gpt2_dir), device="cpu")
    bridge.enable_compatibility_mode(disable_warnings=True)
    with torch.no_grad():
        cache = bridge.run_with_cache(batch.tokens, prepend_bos=False)[1]
    sites = [Site(c, layer, None, role) for c in COMPONENTS for layer in range(3) for role in Role]
    sites += [Site(c, layer, 3, role) for c in HEAD_COMPONENTS for layer in range(3) for role in Role]
    captured = tiny_gpt2.capture(batch, sites)
    rows = torch.arange(len(batch))
    for site in sites:
        expected = cache[site.hook][rows, batch.positions[site.role]]
        if site.head is not None:
            expected = expected[:, site.head]
        assert captured[site].shape == (len(batch), tiny_gpt2.width(site))
        torch.testing.assert_close(captured[site], expected.reshape(len(batch), -1), atol=1e-4, rtol=0, msg=str(site))


def test_captures_do_not_depend_on_the_batch_or_on_what_else_is_captured(
    tiny_gpt2: LanguageModel, batch: TokenBatch
) -> None:
    sites = [Site.parse(text) for text in ("z.2.1@end", "k.1.0@io", "mlp_out.0@s2", "resid_post.2@s1+1")]
    together = tiny_gpt2.capture(batch, sites)
    for site in sites:
        alone = torch.cat([tiny_gpt2.capture(batch.slice(i, i + 1), [site])[site] for i in range(len(batch))])
        torch.testing.assert_close(together[site], alone, atol=1e-5, rtol=0)


def test_the_hash_knows_weights_and_vocabulary(copied: Path, tiny_gpt2: LanguageModel) -> None:
    assert load_model(copied).sha256 == tiny_gpt2.sha256
    weights = load_file(copied / "model.safetensors")
    weights["transformer.h.1.mlp.c_proj.bias"][0] += 1e-3
    save_file(weights, copied / "model.safetensors", metadata={"format": "pt"})
    assert load_model(copied).sha256 != tiny_gpt2.sha256


def test_loading_talks_to_nobody(tiny_gpt2_dir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from transformers.utils import logging

    before = logging.is_progress_bar_enabled(), logging.get_verbosity()
    load_model(tiny_gpt2_dir)
    assert capfd.readouterr() == ("", "")
    assert (logging.is_progress_bar_enabled(), logging.get_verbosity()) == before


def test_the_model_refuses_what_it_does_not_have(tiny_gpt2: LanguageModel, batch: TokenBatch) -> None:
    with pytest.raises(InputError, match="layers are 0 to 2"):
        tiny_gpt2.capture(batch, [Site.parse("z.3.0@end")])
    with pytest.raises(InputError, match="heads are 0 to 3"):
        tiny_gpt2.capture(batch, [Site.parse("z.1.4@end")])
    only_end = TokenBatch(batch.tokens, batch.lengths, {Role.END: batch.positions[Role.END]})
    with pytest.raises(InputError, match="no position for the role 's2'"):
        tiny_gpt2.capture(only_end, [Site.parse("z.1.0@s2")])
    foreign = TokenBatch(batch.tokens + 50_000, batch.lengths, batch.positions)
    with pytest.raises(InputError, match="own tokenizer"):
        tiny_gpt2.logits(foreign)
    long = TokenBatch(batch.tokens.repeat(1, 4), batch.lengths * 4, batch.positions)
    with pytest.raises(InputError, match="reads at most 64"):
        tiny_gpt2.logits(long)
    with pytest.raises(InputError, match="no prompts"):
        tiny_gpt2.logits(batch.slice(0, 0))


def test_names_and_paths_that_do_not_exist(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'ioi-mini'"):
        load_model("ioi-mimi")
    with pytest.raises(InputError, match="does not exist"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(InputError, match="is empty"):
        load_model(tmp_path)
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(InputError, match=r"no config\.json"):
        load_model(tmp_path)
    with pytest.raises(InputError, match="is a file"):
        load_model(tmp_path / "notes.txt")


def set_config(directory: Path, **changes: Any) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "llama"}, "type 'llama'"),
        ({"scale_attn_by_inverse_layer_idx": True}, "not supported"),
        ({"activation_function": "gelu_neu"}, "did you mean 'gelu_new'"),
        ({"n_layer": 4}, "lacks 12 tensors"),
        ({"n_embd": 48}, "do not fit"),
    ],
)
def test_configs_that_do_not_fit(copied: Path, changes: dict[str, Any], message: str) -> None:
    set_config(copied, **changes)
    with pytest.raises(InputError, match=message):
        load_model(copied)


def test_damaged_files(copied: Path) -> None:
    path = copied / "model.safetensors"
    whole = path.read_bytes()
    weights = load_file(path)
    weights["transformer.h.1.attn.c_attn.weight"][0, 0] = float("nan")
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"NaN or Inf in 'transformer\.h\.1\.attn\.c_attn\.weight'"):
        load_model(copied)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="damaged"):
        load_model(copied)
    path.unlink()
    with pytest.raises(InputError, match=r"no model\.safetensors"):
        load_model(copied)
    (copied / "config.json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        load_model(copied)


def test_a_missing_tokenizer(copied: Path) -> None:
    (copied / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="no readable tokenizer"):
        load_model(copied)
    (copied / "tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"no tokenizer\.json"):
        load_model(copied)


def test_gpt2_without_cache_or_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*args: Any, local_files_only: bool = False, **kwargs: Any) -> str:
        raise FileNotFoundError("not cached") if local_files_only else ConnectionError("name not known\nmore")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(ModelUnavailableError, match=r"the Hub cannot be reached: name not known.*HF_HOME"):
        load_model("gpt2")


def test_gpt2_from_the_cache(tiny_gpt2_dir: Path, monkeypatch: pytest.MonkeyPatch, tiny_gpt2: LanguageModel) -> None:
    def cached(*args: Any, local_files_only: bool = False, **kwargs: Any) -> str:
        assert local_files_only, "the Hub was asked although the cache has it all"
        return str(tiny_gpt2_dir)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", cached)
    model = load_model("gpt2")
    assert (model.name, model.sha256) == ("gpt2", tiny_gpt2.sha256)


def test_offline_answers_fast(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the real client against a port where nobody listens."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    began = time.monotonic()
    with pytest.raises(ModelUnavailableError, match="local cache"):
        load_model("gpt2")
    assert time.monotonic() - began < 30  # seconds when alone; the limit is for a busy machine
