from __future__ import annotations

import errno
import json
import os
import pickle
import struct
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from ioi_bench.dictionaries.architectures import ARCHITECTURES, Relu
from ioi_bench.dictionaries.suite import Suite, SuiteHeader, check_fits, load_suite, save_suite
from ioi_bench.errors import InputError, StorageError, SuiteError, UnknownNameError
from ioi_bench.sites import HookPoint, Site

SETTINGS = {"topk": {"k": 2}, "skyline": {"block_sizes": (4, 2)}}
NAMES = ("z.4.0@end", "q.2.1@end", "k.2.1@io", "v.1.3@s2", "z.0.2@s1")
SHA = "ab" * 32


def dictionary(name, *, d_in=3, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    cls = ARCHITECTURES[name]
    tensors = {n: torch.randn(s, generator=generator).to(dtype) for n, s in cls.shapes(d_in, 6).items()}
    if "threshold" in tensors:
        tensors["threshold"] = tensors["threshold"].abs()
    return cls(**tensors, scale=0.1 + 1 / 3, **SETTINGS.get(name, {}))


def suite(dtype=torch.float32, names=NAMES):
    dictionaries = {
        Site.parse(text): dictionary(name, seed=seed, dtype=dtype)
        for seed, (text, name) in enumerate(zip(names, ARCHITECTURES, strict=True))
    }
    return Suite("mine", "ioi-mini", dictionaries, SHA, {"epochs": 3, "data": ["train", 0.1]})


def same(one, other):
    pairs = [(one.dictionaries[site], other.dictionaries[site]) for site in one.sites]
    return one.sites == other.sites and all(
        type(a) is type(b)
        and all(getattr(a, name) == getattr(b, name) for name in a.settings)
        and all(
            torch.equal(x, y) and x.dtype == y.dtype
            for x, y in zip(a.tensors.values(), b.tensors.values(), strict=True)
        )
        for a, b in pairs
    )


@pytest.fixture
def folder(tmp_path):
    save_suite(suite(), tmp_path / "mine")
    return tmp_path / "mine"


def edit_header(folder, change):
    header = json.loads((folder / "suite.json").read_text())
    change(header)
    (folder / "suite.json").write_text(json.dumps(header))


def rewrite(folder, change):
    """Replace tensors as an outsider would, who gives no content hash."""
    file = folder / "weights.safetensors"
    tensors = safetensors.torch.load(file.read_bytes())
    change(tensors)
    file.write_bytes(safetensors.torch.save(tensors))
    edit_header(folder, lambda header: header.pop("sha256"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["mine", "mine.safetensors"])
def test_round_trip_is_exact(tmp_path, name, dtype):
    before = suite(dtype)
    save_suite(before, tmp_path / name)
    after = load_suite(tmp_path / name)
    assert same(before, after)
    assert after.sha256 == before.sha256
    assert (after.name, after.model, after.model_sha256, after.metadata) == ("mine", "ioi-mini", SHA, before.metadata)
    save_suite(after, tmp_path / "again" / name)
    files = [tmp_path / name] if (tmp_path / name).is_file() else sorted((tmp_path / name).iterdir())
    for file in files:
        assert file.read_bytes() == (tmp_path / "again" / file.relative_to(tmp_path)).read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again", name]  # no temporary file is left


def test_hash_depends_on_the_content_only(folder):
    one = suite()
    assert (
        Suite("mine", "ioi-mini", dict(reversed(one.dictionaries.items())), SHA, dict(one.metadata)).sha256
        == one.sha256
    )

    # the same tensors in two files, in another order
    tensors = safetensors.torch.load((folder / "weights.safetensors").read_bytes())
    keys = sorted(tensors, reverse=True)
    for name, part in (("a", keys[:5]), ("b", keys[5:])):
        (folder / f"{name}.safetensors").write_bytes(safetensors.torch.save({key: tensors[key] for key in part}))
    edit_header(folder, lambda header: header.update(weights=["b.safetensors", "a.safetensors"]))
    assert load_suite(folder).sha256 == one.sha256

    others = [
        replace(one, name="other"),
        replace(one, metadata={}),
        replace(one, model_sha256=None),
        one.to(torch.float16),
    ]
    changed = one.dictionaries[one.sites[0]]
    nudged = replace(changed, b_dec=changed.b_dec.nextafter(torch.tensor(9.0)))
    others.append(replace(one, dictionaries={**one.dictionaries, one.sites[0]: nudged}))
    others.append(replace(one, dictionaries={**one.dictionaries, one.sites[0]: replace(changed, scale=0.5)}))
    hashes = {each.sha256 for each in [one, *others]}
    assert len(hashes) == 7


def test_a_dictionary_that_is_not_ours_is_hashed_by_what_it_does_but_not_stored(tmp_path):
    @dataclass
    class Doubling:
        factor: float
        d_in = d_sae = 3

        def encode(self, x):
            return self.factor * x

        def decode(self, f):
            return f / self.factor

    site = Site.parse("z.0.0@end")
    one, two = (Suite("x", "m", {site: Doubling(factor)}) for factor in (2.0, 3.0))
    assert one.sha256 != two.sha256
    with pytest.raises(InputError, match="Doubling is not a built-in architecture"):
        save_suite(one, tmp_path / "x")


def test_an_existing_suite_is_replaced_only_on_demand(folder, tmp_path):
    other = replace(suite(), name="other")
    with pytest.raises(InputError, match="exists already: pass overwrite=True"):
        save_suite(other, folder)
    assert load_suite(folder).name == "mine"
    save_suite(other, folder, overwrite=True)
    assert load_suite(folder).name == "other"
    with pytest.raises(InputError, match="choose another path"):
        save_suite(other, tmp_path, overwrite=True)  # a folder of other things is never removed


def test_suites_need_dictionaries_and_plain_metadata():
    with pytest.raises(InputError, match="has no dictionaries"):
        Suite("x", "m", {})
    with pytest.raises(InputError, match="plain JSON"):
        replace(suite(), metadata={"x": float("nan")})
    with pytest.raises(InputError, match="plain JSON"):
        replace(suite(), metadata={"x": torch.zeros(1)})


# --- bad input -------------------------------------------------------------------------------------------------------


def test_missing_and_empty_paths(tmp_path):
    with pytest.raises(SuiteError, match="there is no suite at"):
        load_suite(tmp_path / "nothing")
    with pytest.raises(SuiteError, match=r"has no suite\.json: it is empty"):
        load_suite(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(SuiteError, match=r"it holds notes\.txt"):
        load_suite(tmp_path)


@pytest.mark.parametrize("keep", [0, 4, 60, -3])
@pytest.mark.parametrize("single", [True, False])
def test_truncated_weights(tmp_path, keep, single):
    path = tmp_path / ("mine.safetensors" if single else "mine")
    save_suite(suite(), path)
    file = path if single else path / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(SuiteError, match="truncated, corrupt or not safetensors"):
        load_suite(path)


def lying_file(header: dict, data: bytes = b"\0" * 16) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<Q", 2**62) + b"{}",
        lying_file({"a": {"dtype": "F32", "shape": [2**20, 2**20], "data_offsets": [0, 16]}}),
        lying_file({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}),
        lying_file({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, b"\0" * 999),
        b"not a weight file at all",
    ],
)
def test_a_weight_header_that_lies_about_sizes(folder, content):
    (folder / "weights.safetensors").write_bytes(content)
    with pytest.raises(SuiteError, match="truncated, corrupt or not safetensors"):
        load_suite(folder)


def test_a_manifest_that_lies_about_sizes_allocates_nothing(folder):
    def huge(header):
        header["dictionaries"]["z.4.0@end"].update(d_in=2**40, d_sae=2**40)

    edit_header(folder, huge)
    with pytest.raises(SuiteError, match=rf"z.4.0@end/W_enc has .* \[3, 6\] of F32, expected \[{2**40}, {2**40}\]"):
        load_suite(folder)


def test_a_flipped_bit_is_noticed(folder):
    file = folder / "weights.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(SuiteError, match="damaged or was edited"):
        load_suite(folder)


def test_unknown_site_and_architecture(folder):
    circuit = [Site.parse(text) for text in ("z.4.0@end", "q.2.1@end", "k.2.1@io", "v.1.2@s2")]
    with pytest.raises(UnknownNameError, match=r"unknown site 'v.1.3@s2': did you mean 'v.1.2@s2'"):
        load_suite(folder, circuit)
    assert load_suite(folder, suite().sites).sites == suite().sites
    edit_header(folder, lambda header: header["dictionaries"]["z.4.0@end"].update(architecture="rleu"))
    with pytest.raises(UnknownNameError, match="unknown architecture 'rleu': did you mean 'relu'"):
        load_suite(folder)


def test_site_names_are_parsed(folder):
    def rename(header, old, new):
        header["dictionaries"][new] = header["dictionaries"].pop(old)

    edit_header(folder, lambda header: rename(header, "z.4.0@end", "zz.4.0@end"))
    with pytest.raises(UnknownNameError, match="unknown component 'zz'"):
        load_suite(folder)
    edit_header(folder, lambda header: rename(header, "zz.4.0@end", "blocks.2.attn.hook_q[1]@end"))
    with pytest.raises(SuiteError, match=r"two dictionaries for q.2.1@end"):
        load_suite(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_names_its_tensor_and_site(folder, value):
    rewrite(folder, lambda tensors: tensors["q.2.1@end/r_mag"].fill_(value))
    with pytest.raises(SuiteError, match=r"^q.2.1@end: r_mag has 6 NaN or Inf"):
        load_suite(folder)


def test_missing_extra_misshapen_and_integer_tensors(folder):
    rewrite(folder, lambda tensors: tensors.update({"z.4.0@end/b_encc": tensors.pop("z.4.0@end/b_enc")}))
    with pytest.raises(SuiteError, match=r"missing \['z.4.0@end/b_enc'\]; not expected \['z.4.0@end/b_encc'\]"):
        load_suite(folder)


@pytest.mark.parametrize("tensor", [torch.zeros(7), torch.zeros(6, 1), torch.zeros(6, dtype=torch.int32)])
def test_wrong_shape_or_type_of_a_tensor(folder, tensor):
    rewrite(folder, lambda tensors: tensors.update({"z.4.0@end/b_enc": tensor}))
    with pytest.raises(SuiteError, match=r"z.4.0@end/b_enc has the shape .*, expected \[6\]"):
        load_suite(folder)


def test_the_same_tensor_in_two_files(folder):
    (folder / "copy.safetensors").write_bytes((folder / "weights.safetensors").read_bytes())
    edit_header(folder, lambda header: header["weights"].append("copy.safetensors"))
    with pytest.raises(SuiteError, match="twice"):
        load_suite(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, "schema_version: Input should be 1"),
        ({"dictionaries": {}}, "dictionaries: Dictionary should have at least 1 item"),
        ({"model_sha256": "xyz"}, "model_sha256: String should match"),
        ({"surprise": 1}, "surprise: Extra inputs are not permitted"),
        ({"weights": []}, "lists no weights"),
        ({"weights": ["other.safetensors"]}, "do not exist"),
    ],
)
def test_wrong_header(folder, change, message):
    edit_header(folder, lambda header: header.update(change))
    with pytest.raises(SuiteError, match=message):
        load_suite(folder)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff\xfe\x00"])
def test_header_that_is_not_json(folder, text):
    (folder / "suite.json").write_bytes(text)
    with pytest.raises(SuiteError, match=r"suite\.json.* is not"):
        load_suite(folder)


@pytest.mark.parametrize(
    ("site", "settings", "message"),
    [
        ("z.4.0@end", {}, r"z.4.0@end: the header gives the settings \[\], but relu has \['scale'\]"),
        ("z.4.0@end", {"scale": "2"}, "setting scale is '2': input should be a valid number"),
        ("z.4.0@end", {"scale": -1.0}, "scale is -1.0, expected a positive number"),
        ("k.2.1@io", {"scale": 1.0, "k": 7}, "k is 7, expected 1 to d_sae = 6"),
        ("v.1.3@s2", {"scale": 1.0, "block_sizes": [4, 1]}, "add up to d_sae = 6"),
    ],
)
def test_wrong_settings(folder, site, settings, message):
    edit_header(folder, lambda header: header["dictionaries"][site].update(settings=settings))
    with pytest.raises(SuiteError, match=message):
        load_suite(folder)


def test_single_file_without_a_header(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(safetensors.torch.save({"W_enc": torch.zeros(2, 2)}))
    with pytest.raises(SuiteError, match="has no ioi-bench header"):
        load_suite(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../outside.safetensors", "sub/../../outside.safetensors", "C:\\x", "..\\x"]
)
def test_weights_outside_the_folder(folder, name):
    (folder.parent / "outside.safetensors").write_bytes((folder / "weights.safetensors").read_bytes())
    edit_header(folder, lambda header: header.update(weights=[name]))
    with pytest.raises(SuiteError, match="leave the folder"):
        load_suite(folder)


def test_a_link_out_of_the_folder(folder):
    outside = folder.parent / "outside.safetensors"
    (folder / "weights.safetensors").rename(outside)
    (folder / "weights.safetensors").symlink_to(outside)
    with pytest.raises(SuiteError, match="leave the folder"):
        load_suite(folder)


def test_links_of_the_hubs_cache_lead_to_its_blobs_and_nowhere_else(folder, tmp_path):
    blobs, snapshot = tmp_path / "hub" / "repo" / "blobs", tmp_path / "hub" / "repo" / "snapshots" / ("c" * 40)
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for file in list(folder.iterdir()):
        file.rename(blobs / file.name)
        (snapshot / file.name).symlink_to(blobs / file.name)
    assert load_suite(snapshot).dictionaries
    weights = blobs / "weights.safetensors"
    weights.rename(tmp_path / "outside")
    weights.symlink_to(tmp_path / "outside")
    with pytest.raises(SuiteError, match="leave the folder"):
        load_suite(snapshot)


def test_pickles_are_refused_whatever_they_are_called(folder, tmp_path):
    torch.save({"W": torch.zeros(2)}, tmp_path / "sae.pt")
    with pytest.raises(SuiteError, match=r"sae\.pt' is a pickle.*safetensors.torch.save_file"):
        load_suite(tmp_path / "sae.pt")
    (tmp_path / "only").mkdir()
    (tmp_path / "sae.pt").rename(tmp_path / "only" / "sae.pt")
    with pytest.raises(SuiteError, match="is a pickle"):
        load_suite(tmp_path / "only")
    for protocol in (2, 4, 5):
        (folder / "weights.safetensors").write_bytes(pickle.dumps({"W": [0.5] * 99}, protocol))
        with pytest.raises(SuiteError, match="is a pickle"):
            load_suite(folder)
    (folder / "weights.safetensors").write_bytes((tmp_path / "only" / "sae.pt").read_bytes())
    with pytest.raises(SuiteError, match="is a pickle"):
        load_suite(folder)


def test_safetensors_whose_length_looks_like_a_pickle(folder):
    """A header of 0x280 bytes begins with the two bytes of a pickle of protocol 2."""
    file = folder / "weights.safetensors"
    data = file.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    padded = next(n for n in range(length, length + 2**16) if n % 256 == 0x80 and (n >> 8) % 256 in (2, 3, 4, 5))
    file.write_bytes(struct.pack("<Q", padded) + data[8 : 8 + length] + b" " * (padded - length) + data[8 + length :])
    assert load_suite(folder).sha256 == suite().sha256


# --- the disk --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mine", "mine.safetensors"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES])
@pytest.mark.parametrize("exists", [True, False])
def test_a_disk_that_refuses_leaves_what_was_there(tmp_path, monkeypatch, name, code, exists):
    if exists:
        save_suite(suite(), tmp_path / name)

    def refuse(descriptor):
        raise OSError(code, "refused")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageError, match=r"cannot write .*refused"):
        save_suite(replace(suite(), name="other"), tmp_path / name, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ([name] if exists else [])
    if exists:
        assert load_suite(tmp_path / name).name == "mine"


@pytest.mark.parametrize("name", ["mine", "mine.safetensors"])
def test_ctrl_c_while_writing(tmp_path, monkeypatch, name):
    def interrupt(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_suite(suite(), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot write"):
        save_suite(suite(), tmp_path / "file" / "mine")


def test_the_new_folder_is_swapped_back_if_it_cannot_be_moved_in(folder, monkeypatch):
    rename = Path.rename

    def fail(self, target):
        if self.name.endswith(".tmp"):
            raise PermissionError(errno.EACCES, "refused")
        return rename(self, target)

    monkeypatch.setattr("ioi_bench.dictionaries.folder._exchanged", lambda one, other: False)  # as not on Linux
    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(StorageError):
        save_suite(replace(suite(), name="other"), folder, overwrite=True)
    assert load_suite(folder).name == "mine"
    assert [p.name for p in folder.parent.iterdir()] == ["mine"]


# --- fitting a model -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shape:
    n_layers: int = 5
    n_heads: int = 4
    d_model: int = 12
    d_head: int = 3


def test_a_suite_fits_its_own_model_only():
    check_fits(suite(), Shape(), SHA)
    check_fits(replace(suite(), model_sha256=None), Shape(), "0" * 64)
    with pytest.raises(SuiteError, match="is for the model 'ioi-mini'"):
        check_fits(suite(), Shape(), "0" * 64)
    with pytest.raises(SuiteError, match=r"k.2.1@io: the dictionary has d_in = 3, but the activations there have 4"):
        check_fits(suite(), Shape(d_head=4), SHA)
    with pytest.raises(SuiteError, match=r"z.4.0@end: the model has layers 0 to 3, there is no layer 4"):
        check_fits(suite(), Shape(n_layers=4), SHA)
    with pytest.raises(SuiteError, match=r"v.1.3@s2: the model has heads 0 to 2, there is no head 3"):
        check_fits(suite(), Shape(n_heads=3), SHA)


@pytest.mark.parametrize(("text", "d_in"), [("z.0@end", 12), ("resid_pre.4@s2", 20), ("z.0.1@end", 3)])
def test_expected_length_by_component(text, d_in):
    one = Suite("x", "m", {Site.parse(text): dictionary("relu", d_in=d_in)})
    check_fits(one, Shape(d_model=20), SHA)


def test_the_header_has_a_json_schema():
    assert "dictionaries" in SuiteHeader.model_json_schema()["properties"]


def test_a_hook_may_be_text():
    eye, zeros = torch.eye(3), torch.zeros(3)
    relu = Relu(W_enc=eye, b_enc=zeros, W_dec=eye, b_dec=zeros)
    point = HookPoint.parse("z.4.0")
    by_text = Suite.at_hook("x", "ioi-mini", "blocks.4.attn.hook_z[0]", relu)
    assert by_text.sites == Suite.at_hook("x", "ioi-mini", point, relu).sites
    assert Suite.at_hooks("x", "ioi-mini", {"z.4.0": relu}).sites == by_text.sites
    with pytest.raises(InputError, match="is not a hook point: write"):
        Suite.at_hook("x", "ioi-mini", "blocks.4.hook", relu)
