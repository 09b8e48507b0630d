"""Inputs that broke a reader once, each as small as it can be."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch

from ioi_bench.activations import capture_split
from ioi_bench.bounded import bounded_bytes, json_value, stays_inside, toml_table
from ioi_bench.dictionaries.architectures import Relu
from ioi_bench.dictionaries.source import Source
from ioi_bench.errors import DictionaryError, InputError, SuiteError
from ioi_bench.evaluation.candidate_rows import Finished
from ioi_bench.evaluation.card import Card
from ioi_bench.leaderboard.results import find_entries
from ioi_bench.lm import load_model
from ioi_bench.lm.circuit import load_circuit
from ioi_bench.sites import Site
from ioi_bench.task import task_spec
from ioi_bench.training.recipe import read_recipe


def source(folder):
    return Source(folder, "here")


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    (tmp_path / "secret.json").write_text("{}")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "cfg.json").symlink_to("../secret.json")
    (tmp_path / "in" / "loop").symlink_to("loop")
    with pytest.raises(SuiteError, match="is a link that leaves the folder"):
        source(tmp_path / "in").json("cfg.json")
    assert not stays_inside(tmp_path / "in" / "cfg.json", tmp_path / "in")


def test_links_of_the_hubs_cache_are_followed(tmp_path):
    blobs, snapshot = tmp_path / "models--a--b" / "blobs", tmp_path / "models--a--b" / "snapshots" / "c0ffee"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    (blobs / "1").write_text("{}")
    (snapshot / "cfg.json").symlink_to("../../blobs/1")
    assert source(snapshot).json("cfg.json") == {}


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ({"W": torch.zeros(1).expand(2**40)}, "when written out"),
        (
            {
                "W": torch.sparse_coo_tensor(
                    torch.zeros(1, 1, dtype=torch.long), torch.ones(1), (2**40,), check_invariants=True
                )
            },
            "[Ss]parse",
        ),
        ({"W": torch.empty(3, device="meta")}, "meta"),
        ({"k": 10**400}, "64 bits"),
    ],
)
def test_tensors_that_are_small_only_in_the_file(tmp_path, held, said):
    torch.save(held, tmp_path / "a.pt")
    with pytest.raises(SuiteError, match=said):
        source(tmp_path).pt("a.pt")


def test_values_that_are_endless_when_written_out(tmp_path):
    value = ["x"]
    for _ in range(40):
        value = [value, value]
    torch.save({"cfg": value}, tmp_path / "a.pt")
    with pytest.raises(SuiteError, match="more than 100,000 values"):
        source(tmp_path).pt("a.pt")


def test_pickles_that_ask_for_memory(tmp_path):
    long = pickle.dumps(2**40, protocol=2)[2:-1]
    (tmp_path / "a.pt").write_bytes(b"\x80\x02c__builtin__\nbytearray\n" + long + b"\x85R.")
    with pytest.raises(SuiteError, match="bytearray"):
        source(tmp_path).pt("a.pt")


def test_a_bomb(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("W.npy", bytes(10**8))
    with pytest.raises(SuiteError, match=r"unpacks to 100,000,000 bytes; at most"):
        source(tmp_path).npz("a.npz")


@pytest.mark.parametrize(
    "header", ["(" * 5000, "{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }"]
)
def test_headers_of_arrays(tmp_path, header):
    head = header.encode().ljust(118) + b"\n"
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("W.npy", b"\x93NUMPY\x02\x00" + struct.pack("<I", len(head)) + head + bytes(8))
    with pytest.raises(SuiteError, match=r"is no \.npz of plain arrays"):
        source(tmp_path).npz("a.npz")


def test_a_damaged_stream_in_a_zip(tmp_path):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_LZMA) as archive:
        array = io.BytesIO()
        np.save(array, np.ones(100))
        archive.writestr("W.npy", array.getvalue())
    data = bytearray(out.getvalue())
    data[50:60] = b"\xff" * 10
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(SuiteError, match=r"is no \.npz of plain arrays"):
        source(tmp_path).npz("a.npz")


def test_numbers_of_eight_bits_are_no_weights():
    small = torch.ones(2, 2).to(torch.float8_e4m3fn)
    with pytest.raises(DictionaryError, match="16, 32 or 64 bits"):
        Relu(W_enc=small, W_dec=torch.ones(2, 2), b_dec=torch.ones(2), b_enc=torch.ones(2))


@pytest.mark.parametrize("text", ["[" * 10**6, "9" * 5000, "[1e999]", '{"a": NaN}', "[" * 150 + "]" * 150])
def test_json_that_exhausts_its_reader(text):
    with pytest.raises(ValueError, match=r"nested too deeply|Exceeds the limit|too large to be read|no number in JSON"):
        json_value(text)


@pytest.mark.parametrize(
    "text", ["x = " + "[" * 10**5, "x = " + "9" * 5000, "a" + ".a" * 10**5 + " = 1", "x = " + "[" * 150 + "]" * 150]
)
def test_toml_that_exhausts_its_reader(tmp_path, text):
    with pytest.raises(ValueError, match=r"nested too deeply|Exceeds the limit|has more than 64 parts"):
        toml_table(text.encode())
    (tmp_path / "x.toml").write_text(text)
    for read in (read_recipe, load_circuit):
        with pytest.raises(InputError, match=r"no TOML|not TOML"):
            read(tmp_path / "x.toml")


def test_a_file_that_says_it_has_no_bytes():
    from pathlib import Path

    with pytest.raises(InputError, match="more bytes than it says"):
        bounded_bytes(Path("/proc/self/status"), 10)


def test_a_card_that_is_a_pipe(tmp_path):
    import os

    os.mkfifo(tmp_path / "card.json")
    with pytest.raises(InputError, match="not a regular file"):
        Card.read(tmp_path)


def test_a_long_message_is_cut_and_can_be_printed():
    said = str(SuiteError("x" * 100_000 + "\ud800"))
    assert len(said) < 9000
    assert said.endswith("characters)")
    assert str(SuiteError("a\ud800")) == "a\\ud800"


def test_a_submission_that_was_being_written_is_none(tmp_path):
    for folder in ("results/t/a__b/.hash.17.tmp", "results/t/a__b/hash"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "submission.toml").write_text("")
    assert [path.name for path in find_entries(tmp_path / "results")] == ["hash"]


def test_a_flipped_bit_in_the_cache_is_captured_again(tmp_path):
    site, model = Site.parse("z.3.0@end"), load_model("ioi-mini")
    spec = task_spec("ioi-v1-mini")
    prompts = spec.split("validation").prompts[:4]
    right = capture_split(model, spec, prompts, [site], cache_dir=tmp_path)[site]
    (path,) = tmp_path.rglob("*.safetensors")
    data = bytearray(path.read_bytes())
    data[-1] ^= 64
    path.write_bytes(data)
    assert capture_split(model, spec, prompts, [site], cache_dir=tmp_path)[site].equal(right)


def test_a_run_whose_plan_is_of_another_kind(tmp_path):
    from ioi_bench.training.runs import Run

    plan = {"version": 1, "identity": "a", "recipe": {}, "provenance": {}, "scales": {}}
    (tmp_path / "run.json").write_text(
        json.dumps({**plan, "chunks": [{"variant": "topk", "d_in": 8, "members": [[1]]}]})
    )
    with pytest.raises(InputError, match=r"is damaged \(chunks.0.members.0"):
        _ = Run(tmp_path).chunks


@pytest.mark.parametrize("changes", [{"n_positions": 2**31}, {"n_layer": "./x"}, {"n_head": {}}, {"num_labels": 10**9}])
def test_sizes_of_a_model_that_is_not_there(tmp_path, changes):
    from ioi_bench.lm.source import MINI_DIRECTORY, read_config

    config = json.loads((MINI_DIRECTORY / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(InputError, match=next(iter(changes))):
        read_config(tmp_path)


def test_a_model_whose_tokenizer_has_no_end(tmp_path):
    import os

    from ioi_bench.lm.source import read_config

    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "tokenizer.json").touch()
    os.truncate(tmp_path / "tokenizer.json", 2**36)
    with pytest.raises(InputError, match=r"at most 268,435,456 are read"):
        read_config(tmp_path)


def test_a_class_that_is_a_list(tmp_path):
    from ioi_bench_dictionary_learning import recognise

    from ioi_bench.errors import UnknownNameError
    from ioi_bench.plugins.records import LoadOptions

    torch.save({"bias": torch.ones(2)}, tmp_path / "ae.pt")
    (tmp_path / "config.json").write_text(json.dumps({"trainer": {"dict_class": [1]}}))
    with pytest.raises(UnknownNameError, match=r"\[1\]"):
        recognise(source(tmp_path), LoadOptions())


def test_a_table_of_prompts_that_is_a_pipe(tmp_path):
    import os
    from types import SimpleNamespace

    from ioi_bench.evaluation.prompts_reading import read_prompts

    os.mkfifo(tmp_path / "prompts.parquet")
    with pytest.raises(InputError, match="not a regular file"):
        read_prompts(tmp_path / "prompts.parquet", SimpleNamespace(blocks=(), n_prompts=1), [])


def test_a_layer_of_many_digits():
    with pytest.raises(InputError):
        Site.parse("z." + "9" * 5000 + ".0@end")


def test_kept_rows_of_a_selection_that_were_changed_or_lie_elsewhere_are_not_taken_up(tmp_path):
    """Parquet has no checksum over all of its rows, and a link may lead anywhere."""
    from hostile_targets import CANDIDATES_KEY, _candidates
    from pyarrow import parquet

    ((name, data),) = _candidates()[0].items()
    for folder in ("whole", "changed", "linked"):
        (tmp_path / folder).mkdir()
    (tmp_path / "whole" / name).write_bytes(data)
    table = parquet.read_table(io.BytesIO(data))
    distance = table.column("distance").to_numpy().copy()
    distance[0] /= 2
    changed = table.set_column(table.column_names.index("distance"), table.field("distance"), [distance])
    parquet.write_table(changed, tmp_path / "changed" / name)
    (tmp_path / "linked" / name).symlink_to(tmp_path / "whole" / name)
    kept = {folder: len(Finished(tmp_path / folder, CANDIDATES_KEY).rows) for folder in ("whole", "changed", "linked")}
    assert kept == {"whole": 12, "changed": 0, "linked": 0}
