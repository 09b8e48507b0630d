"""What loaders share, and how `Source` reads what torch and numpy wrote."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from ioi_bench.dictionaries.architectures import Relu
from ioi_bench.dictionaries.reading import (
    building,
    by_hook,
    model_name,
    needed,
    only_file,
    pick,
    state_dict,
    suite_name,
    unsubtracted,
    whole_number,
)
from ioi_bench.dictionaries.source import Source, TensorInfo
from ioi_bench.errors import DictionaryError, SuiteError
from ioi_bench.sites import HookPoint


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def source(path):
    return Source(path, path.name)


def test_pick_names_what_lacks_and_what_is_there():
    tensor = torch.zeros(2)
    assert pick({"a": tensor, "b": tensor, "c": "text"}, ["a"], "file") == {"a": tensor}
    with pytest.raises(SuiteError, match="file lacks the tensors b, c: it holds a, c"):
        pick({"a": tensor, "c": "text"}, ["a", "b", "c"], "file")
    with pytest.raises(SuiteError, match="holds a list, expected tensors by name: a"):
        pick([tensor], ["a"], "file")


def test_building_names_the_file():
    eye = torch.eye(2)
    with pytest.raises(SuiteError, match=r"the file: b_enc has the shape \[3\]"), building("the file"):
        Relu(W_enc=eye, b_enc=torch.zeros(3), W_dec=eye, b_dec=torch.zeros(2))


def test_needed():
    assert needed(0, "its k", source(Path("x")), "say it") == 0
    with pytest.raises(SuiteError, match="'x' does not say its k: say it"):
        needed(None, "its k", source(Path("x")), "say it")


def test_names(tmp_path):
    assert [model_name(text) for text in ("gpt2-small", "openai-community/gpt2", "ioi-mini", None)] == [
        "gpt2",
        "gpt2",
        "ioi-mini",
        None,
    ]
    file = tmp_path / "z@L9H9@end.pt"
    file.touch()
    assert suite_name(Source(file, str(file))) == "z@L9H9@end"
    assert suite_name(Source(tmp_path, "hf://org/repo@0123abc", "0123abc")) == "repo"
    assert suite_name(Source(tmp_path, "hf://org/repo@0123abc/layer.3/", "0123abc")) == "layer.3"
    assert suite_name(Source(tmp_path, ".")) == tmp_path.name


def test_by_hook():
    here, z, mlp = source(Path("x")), HookPoint("z", 7), HookPoint("mlp_out", 10)
    assert by_hook(here, {"a": None}, None) == {None: "a"}
    assert by_hook(here, {"a": z}, mlp) == {mlp: "a"}  # the user overrules
    assert list(by_hook(here, {"a": z, "b": mlp}, None)) == [mlp, z]  # as a suite sorts its sites
    assert by_hook(here, {"a": z, "b": mlp}, mlp) == {mlp: "b"}
    with pytest.raises(SuiteError, match=r"no dictionary at blocks\.0\.hook_mlp_out: it has blocks\.7\.attn\.hook_z, "):
        by_hook(here, {"a": z, "b": mlp}, HookPoint("mlp_out", 0))
    for hook, said in ((z, r"blocks\.7"), (None, "a hook point that they do not say")):
        with pytest.raises(SuiteError, match=f"two dictionaries at {said}.*: 'a' and 'b'"):
            by_hook(here, {"a": hook, "b": hook}, None)


def test_only_file(tmp_path):
    (tmp_path / "a.pt").touch()
    (tmp_path / "notes.md").touch()
    assert only_file(source(tmp_path), ".pt") == "a.pt"
    assert only_file(source(tmp_path), ".npz") is None
    (tmp_path / "b.pt").touch()
    assert only_file(source(tmp_path), ".pt") is None


def test_whole_number():
    assert whole_number("32", "k") == 32
    for text in ("", "-1", "3.0", "three"):
        with pytest.raises(SuiteError, match=f"--set k={text} is not a whole number"):
            whole_number(text, "k")


def test_unsubtracted_moves_the_decoder_bias_into_the_encoders():
    generator = torch.Generator().manual_seed(0)
    W_enc, b_enc, b_dec, x = (torch.randn(s, generator=generator) for s in ((4, 6), (6,), (4,), (9, 4)))
    moved = unsubtracted(b_enc, W_enc, b_dec)
    torch.testing.assert_close((x - b_dec) @ W_enc + moved, x @ W_enc + b_enc)
    with pytest.raises(DictionaryError, match="do not fit"):
        unsubtracted(b_enc, W_enc.T, b_dec)


@pytest.mark.parametrize("zipped", [True, False])
def test_lazy_reads_the_same(tmp_path, zipped):
    file, tensor = tmp_path / "w.pt", torch.arange(6.0).reshape(2, 3)
    torch.save({"w": tensor, "k": 3}, file, _use_new_zipfile_serialization=zipped)
    for found in (source(file).pt("w.pt"), source(file).pt("w.pt", lazy=True), state_dict(source(file), "w.pt")):
        assert torch.equal(found["w"], tensor)
        assert found["k"] == 3


def test_state_dict_is_none_for_anything_else(tmp_path):
    for value in ([1, 2], torch.zeros(3)):
        torch.save(value, tmp_path / "w.pt")
        assert state_dict(source(tmp_path / "w.pt"), "w.pt") is None
    (tmp_path / "w.pt").write_bytes(b"nothing of torch's")
    assert state_dict(source(tmp_path / "w.pt"), "w.pt") is None


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("lazy", [True, False])
def test_a_truncated_file_is_called_damaged(tmp_path, zipped, lazy):
    file = tmp_path / "w.pt"
    torch.save({"w": torch.zeros(1500)}, file, _use_new_zipfile_serialization=zipped)
    whole = file.read_bytes()
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 200, len(whole) - 1):
        file.write_bytes(whole[:length])
        with pytest.raises(SuiteError, match=r"'w\.pt' in 'w\.pt' is damaged or was not written by torch"):
            source(file).pt("w.pt", lazy=lazy)


@pytest.mark.parametrize("lazy", [True, False])
@pytest.mark.parametrize("saved", [True, False])
def test_a_pickle_that_wants_code_is_named_and_never_run(tmp_path, saved, lazy):
    file, made = tmp_path / "w.pt", tmp_path / "made"
    if saved:
        torch.save({"w": Payload(made)}, file)
    else:
        file.write_bytes(pickle.dumps({"w": Payload(made)}, protocol=2))
    with pytest.raises(
        SuiteError, match=r"'w\.pt' in 'w\.pt' is a pickle that wants to run code \(\w+\.mkdir\)"
    ) as caught:
        source(file).pt("w.pt", lazy=lazy)
    assert "add_safe_globals" not in str(caught.value)  # torch's advice to trust it all the same
    assert not made.exists()


def test_npz_shapes_without_reading(tmp_path):
    np.savez(tmp_path / "w.npz", a=np.zeros((2, 3), np.float32), b=np.zeros(4, np.float16), c=np.array(1))
    assert source(tmp_path / "w.npz").npz_tensors("w.npz") == {
        "a": TensorInfo((2, 3), "F32"),
        "b": TensorInfo((4,), "F16"),
        "c": TensorInfo((), "I64"),
    }
    np.savez_compressed(tmp_path / "w.npz", a=np.zeros((2, 3)))
    assert source(tmp_path / "w.npz").npz_tensors("w.npz") == {"a": TensorInfo((2, 3), "F64")}


@pytest.mark.parametrize("reader", ["npz", "npz_tensors"])
def test_a_truncated_npz(tmp_path, reader):
    file = tmp_path / "w.npz"
    np.savez(file, a=np.zeros(100))
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(SuiteError, match=r"no \.npz of plain arrays"):
        getattr(source(file), reader)("w.npz")
