"""From valid files to hostile ones: mutations that know the structure of what they damage.

All draws come from one `random.Random`, so that a seed is an input; hypothesis and atheris give one of their own.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from hostile_files import Entry, Files, Folder, Link, Pipe, Sparse

HUGE = (2**31, 2**32 + 1, 2**63 - 1, 2**63, 2**64, 10**25, 10**400, -1, -(2**63), 0)
STRANGE: tuple[Any, ...] = (
    None,
    True,
    False,
    *HUGE,
    1e308,
    -0.0,
    0.5,
    float("nan"),
    float("inf"),
    "",
    " ",
    "..",
    "../outside/secret",
    "/etc/passwd",
    "/dev/zero",
    "C:\\Windows",
    "\\\\server\\share",
    "a/../../b",
    "./x",
    "x\0y",
    "\ud800",
    "\u202e\u0000",
    "ＷＥＩＧＨＴＳ",
    "Weights.safetensors",
    "x" * 100_000,
    "𝕊" * 300,
    [],
    {},
    [[]],
    {"": {}},
    [1, "a", None],
    "NaN",
    "1e999",
    "blocks.9.attn.hook_z[9999999999999999999999]@end",
    "z.99999.0@end",
    "resid_pre.-1",
    "nan",
)
NAMES = ("..", ".", "CON", "é", "e\u0301", "SUITE.JSON", "a" * 255, "x\ny", "-rf", "~", "{0}", "%s", " ")


class Payload:
    """A pickle of it makes a folder when it is run."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self.canary),)


def mutate(files: Files, rng: Random, canary: Path) -> dict[str, Entry]:
    """One to three mutations of one input."""
    found = dict(files)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if not found:
            break
        if rng.random() < 0.12:
            _arrange(found, rng)
            continue
        name = rng.choice(sorted(found))
        data = found[name]
        if isinstance(data, bytes):
            found[name] = _content(name, data, rng, canary)
    return found


# -- what lies where ---------------------------------------------------------------------------------------------------


def _arrange(files: dict[str, Entry], rng: Random) -> None:
    """One file is missing, of another kind, elsewhere or there twice."""
    name = rng.choice(sorted(files))
    kept = files[name]
    data = kept if isinstance(kept, bytes) else b""
    choice = rng.randrange(11)
    if choice == 0:
        del files[name]
    elif choice == 1:
        files[name] = Folder()
    elif choice == 2:
        base = name.rpartition("/")[2]
        files[name] = Link(rng.choice((f"{{outside}}/{base}", "{outside}/secret", "{outside}", f"../outside/{base}")))
    elif choice == 3:
        files[name] = Link(
            rng.choice(("/dev/zero", "/dev/stdin", "/dev/random", "/proc/self/environ", "/proc/self/mem"))
        )
    elif choice == 4:
        files[name] = Link(rng.choice((name.rpartition("/")[2], "nowhere", ".", "..", "/")))
    elif choice == 5:
        files[name] = Pipe()
    elif choice == 6:
        files[name] = Sparse(data, rng.choice((2**26, 2**36, 2**42)))
    elif choice == 7:
        del files[name]
        files[rng.choice((name.upper(), name + " ", "é" + name, f"sub/{name}", f"..{name}"))] = kept
    elif choice == 8:
        files[f"{rng.choice(NAMES)}{Path(name).suffix}"] = kept
    elif choice == 9:
        files[f"sub/{name}"] = kept
    else:
        files[rng.choice(("suite.json", "cfg.json", "config.json", "ae.pt", "params.npz", "card.json"))] = data


def _content(name: str, data: bytes, rng: Random, canary: Path) -> bytes:
    if rng.random() < 0.25:
        return _bytes(data, rng)
    if rng.random() < 0.03:
        return _pickled(rng, canary)
    for suffix, change in _BY_SUFFIX.items():
        if name.lower().endswith(suffix):
            try:
                return change(data, rng, canary)
            except Exception:  # what an earlier mutation has left is not of that kind any more
                return _bytes(data, rng)
    return _bytes(data, rng)


# -- bytes -------------------------------------------------------------------------------------------------------------


def _bytes(data: bytes, rng: Random) -> bytes:
    choice, n = rng.randrange(12), len(data)
    at = rng.randrange(n + 1)
    if choice == 0:
        return b""
    if choice == 1:
        return data[:at]
    if choice == 2:
        return data[at:]
    if choice == 3:
        return b"\xef\xbb\xbf" + data
    if choice == 4:
        return data[:at] + rng.choice((b"\xff\xfe", b"\xed\xa0\x80", b"\0", b"\xc0\xaf", b"\x80")) + data[at:]
    if choice == 5:
        return data.decode("latin-1").encode(rng.choice(("utf-16", "utf-32", "utf-8")))
    if choice == 6:
        return data + data
    if choice == 7:
        return (
            data[:at]
            + rng.choice((b"[", b"{", b'"', b"(", b"9", b"-", b".")) * rng.choice((10, 5000, 100_000))
            + data[at:]
        )
    if choice == 8 and n:
        return data[:at] + bytes(rng.choice((8, 64, 1024))) + data[at + 8 :]
    if choice == 9:
        other = rng.randrange(n + 1)
        low, high = min(at, other), max(at, other)
        return data[:low] + data[high:]
    flipped = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        if flipped:
            # heads and tails hold the structure of most formats
            span = rng.choice((16, 256, len(flipped)))
            place = rng.randrange(min(span, len(flipped)))
            place = len(flipped) - 1 - place if rng.random() < 0.4 else place
            flipped[place] = rng.choice(
                (0, 255, 127, 128, flipped[place] ^ (1 << rng.randrange(8)), rng.randrange(256))
            )
    return bytes(flipped)


# -- trees: JSON, TOML, headers ----------------------------------------------------------------------------------------


def _tree(value: Any, rng: Random) -> Any:
    """One node of a tree of plain values is another."""
    places = [(holder, key) for holder, key in _places(value)]
    if not places or rng.random() < 0.05:
        return rng.choice(STRANGE)
    holder, key = rng.choice(places)
    choice, kept = rng.randrange(9), holder[key]
    if choice == 0:
        del holder[key]
    elif choice == 1 and isinstance(holder, dict):
        holder[rng.choice(("extra", "schema_version", "", "__class__", "../x", "a" * 1000, "\ud800", key + " "))] = kept
    elif choice == 2 and isinstance(holder, dict):
        holder[str(rng.choice(STRANGE))[:1000]] = holder.pop(key)
    elif choice == 3 and isinstance(holder, list):
        holder.extend(holder[:1] * rng.choice((1, 100)))
    elif choice == 4:
        holder[key] = _deep(rng)
    elif choice == 5 and isinstance(kept, (int, float)) and not isinstance(kept, bool):
        holder[key] = rng.choice((-kept, kept + 1, kept * 2, str(kept), [kept], float(kept), kept - 1))
    elif choice == 6 and isinstance(kept, str):
        holder[key] = rng.choice((kept.upper(), kept + "/", kept[:-1], kept * 2, "../" + kept, f"/{kept}", kept + "\0"))
    else:
        holder[key] = rng.choice(STRANGE)
    return value


def _places(value: Any) -> list[tuple[Any, Any]]:
    found, left = [], [value]
    while left:
        one = left.pop()
        keys = list(one) if isinstance(one, dict) else range(len(one)) if isinstance(one, list) else ()
        for key in keys:
            found.append((one, key))
            left.append(one[key])
        if len(found) > 2000:
            break
    return found


def _deep(rng: Random) -> Any:
    value: Any = 0
    for _ in range(rng.choice((60, 150, 400))):
        value = [value] if rng.random() < 0.5 else {"a": value}
    return value


def _json(data: bytes, rng: Random, _: Path) -> bytes:
    if rng.random() < 0.15:
        return _json_text(data, rng)
    text = json.dumps(_tree(json.loads(data), rng), ensure_ascii=rng.random() < 0.5)
    return text.encode("utf-8", "surrogatepass")


def _json_text(data: bytes, rng: Random) -> bytes:
    """What no tree can say: the same key twice, numbers of any length, depth without end."""
    spot = data.find(b"{") + 1
    other = rng.choice(
        (
            b'"schema_version": 1, "schema_version": "2",',
            b'"name": ' + b"9" * rng.choice((5000, 200_000)) + b",",
            b'"name": 1e' + b"9" * 50 + b",",
            b'"name": ' + b"[" * 50_000 + b"]" * 50_000 + b",",
            b'"a":' * 1 + b'{"a":' * 30_000 + b"1" + b"}" * 30_000 + b",",
            b'"name": NaN, "b": -Infinity,',
            b'"x": "\\ud800", "\\u0000": 1,',
            b'"name": "' + b"A" * 3_000_000 + b'",',
        )
    )
    return data[:spot] + other + data[spot:]


def _toml(data: bytes, rng: Random, _: Path) -> bytes:
    if rng.random() < 0.4:
        other = rng.choice(
            (
                b"x = " + b"[" * 30_000 + b"]" * 30_000 + b"\n",
                b"x = " + b"{a=" * 5000 + b"1" + b"}" * 5000 + b"\n",
                b"a" + b".a" * 20_000 + b" = 1\n",
                b"".join(b"a" + b".b" * 60 + b".k%d = 1\n" % i for i in range(50)),
                b"x = " + b"9" * 20_000 + b"\n",
                b"x = 0x" + b"f" * 20_000 + b"\n",
                b"x = nan\ny = -inf\n",
                b"x = 1e400\n",
                b"x = 9999-99-99T99:99:99Z\n",
                b"x = 0001-01-01\n",
                b"schema_version = 1\nschema_version = 1\n",
                b'x = """' + b"A" * 1_000_000 + b'"""\n',
                b"[[plugin]]\n" * 300,
                b'"" = 1\n',
                b'x = "\\uD800"\n',
                b"\xff = 1\n",
                b"epochs = 10000000000000000000000\n",
                b"seeds = [-1, 0, 0]\n",
            )
        )
        return other + data if rng.random() < 0.6 else data + b"\n" + other
    import tomli_w

    from ioi_bench.bounded import toml_table

    table = _tree(toml_table(data), rng)
    return tomli_w.dumps(_without_null(table)).encode("utf-8", "surrogatepass")


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_null(one) for key, one in value.items() if one is not None}
    return [_without_null(one) for one in value if one is not None] if isinstance(value, list) else value


# -- safetensors -------------------------------------------------------------------------------------------------------


def _safetensors(data: bytes, rng: Random, _: Path) -> bytes:
    length = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    choice = rng.randrange(6)
    if choice == 0:
        return (
            rng.choice((2**40, 2**63, 2**64 - 1, 0, 1, length + 1, length - 1, 10**8)).to_bytes(8, "little") + data[8:]
        )
    if choice == 1:
        return data[: 8 + length] + _numbers(body, rng)
    if choice == 2:
        _tensor(header, rng)
    elif choice == 3 and "__metadata__" in header:
        for key, value in header["__metadata__"].items():
            if value[:1] == "{":
                header["__metadata__"][key] = _json(value.encode(), rng, Path()).decode("utf-8", "replace")
    else:
        header = _tree(header, rng)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def _tensor(header: dict[str, Any], rng: Random) -> None:
    names = [name for name in header if name != "__metadata__"]
    name = rng.choice(names)
    one = header[name]
    choice = rng.randrange(7)
    if choice == 0:
        one["shape"] = rng.choice(
            ([2**40, 2**40], [0, 2**60], [2**31], [], [-1], one["shape"][::-1], [*one["shape"], 1])
        )
    elif choice == 1:
        one["dtype"] = rng.choice(("F64", "F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "C64", "F4", "x"))
    elif choice == 2:
        one["data_offsets"] = rng.choice(([0, 2**62], [2**62, 0], [-8, 8], [0, 0], [8, 8]))
    elif choice == 3:
        header[name + rng.choice(("", "2", "/../x", "\0"))] = one
        header[rng.choice(("W_enc", "k", "threshold", "bias"))] = one
    elif choice == 4:
        del header[name]
    elif choice == 5 and len(one["shape"]) == 2:
        one["shape"] = one["shape"][::-1]
    else:
        other = rng.choice(names)
        header[name], header[other] = header[other], header[name]


def _numbers(body: bytes, rng: Random) -> bytes:
    """NaN, infinities and the largest values among the weights."""
    changed = bytearray(body)
    for _ in range(rng.choice((1, 4, 64))):
        value = struct.pack("<f", rng.choice((float("nan"), float("inf"), -float("inf"), 3.4e38, -3.4e38, 1e-45)))
        at = 4 * rng.randrange(max(1, len(body) // 4))
        changed[at : at + 4] = value
    return bytes(changed[: len(body)])


# -- zips: .npz and .pt ------------------------------------------------------------------------------------------------


def _zipped(change: Callable[[str, bytes, Random, Path], bytes]) -> Callable[[bytes, Random, Path], bytes]:
    def of(data: bytes, rng: Random, canary: Path) -> bytes:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [(name, archive.read(name)) for name in archive.namelist()]
        at = rng.randrange(len(entries))
        name, content = entries[at]
        choice, bomb = rng.randrange(8), zipfile.ZIP_STORED
        if choice == 0:
            entries[at] = (
                rng.choice(("../../out", "/etc/x", "", "a" * 60_000, "x\0y", name + "/", name.upper())),
                content,
            )
        elif choice == 1:
            entries.append((name, content))
        elif choice == 2:
            del entries[at]
        elif choice == 3:
            bomb = rng.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
            entries[at] = (name, content[:128] + bytes(rng.choice((10**6, 10**8))))
        else:
            entries[at] = (name, change(name, content, rng, canary))
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", bomb) as archive:
            for one, held in entries:
                archive.writestr(zipfile.ZipInfo(one), held, compress_type=bomb)
        return out.getvalue() if rng.random() < 0.85 else _bytes(out.getvalue(), rng)

    return of


def _npy(_: str, content: bytes, rng: Random, canary: Path) -> bytes:
    array = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    choice = rng.randrange(6)
    if choice == 0:
        out = io.BytesIO()
        np.save(out, np.array([Payload(canary)], dtype=object), allow_pickle=True)
        return out.getvalue()
    if choice == 1:
        out = io.BytesIO()
        kinds = ("f8", "f2", "i8", "u2", "S3", "U2", "c8", "?", ">f4", "M8[s]", [("a", "f4")])
        np.save(
            out, array.astype(rng.choice(kinds[:9]), casting="unsafe") if rng.random() < 0.7 else np.zeros(3, kinds[10])
        )
        return out.getvalue()
    if choice == 2:
        wrong = array.astype(np.float32).ravel()
        wrong[:1] = rng.choice((np.nan, np.inf))
        out = io.BytesIO()
        np.save(out, rng.choice((wrong.reshape(array.shape), array.T, array.ravel(), array[None], array[:0])))
        return out.getvalue()
    shape = rng.choice(((2**40,), (2**40, 2**40), (0, 2**62), (-1, 4), (2**33,), (), ("x",), (2**28,), (True,)))
    descr = rng.choice(("'<f4'", "'|O'", "[('a','<f4')]", "'<f4' * 3", "'|V1000000000'", "__import__('os')", "'" * 5))
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape!r}, }}"
    text = rng.choice((text, text, "(" * 5000, "-" * 9000 + "1", text.replace("shape", "shap"), "9" * 9000))
    head = text.encode().ljust(118) + b"\n"
    size = rng.choice((len(head), len(head), len(head), 2**31, 0))
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", size) + head + content[128:]


def _torch(_: str, content: bytes, rng: Random, canary: Path) -> bytes:
    return _pickled(rng, canary) if rng.random() < 0.3 else _bytes(content, rng)


def _pt(data: bytes, rng: Random, canary: Path) -> bytes:
    """A file of torch.save: other values in it, another layout, or a damaged zip."""
    if rng.random() < 0.35:
        return _zipped(_torch)(data, rng, canary)
    held = torch.load(io.BytesIO(data), weights_only=True)
    keys = list(held)
    key = rng.choice(keys)
    choice = rng.randrange(9)
    if choice == 0:
        del held[key]
    elif choice == 1:
        held[rng.choice(("k", "bias", "activation", "threshold", "W_enc", "cfg", 3, None, (1,)))] = rng.choice(STRANGE)
    elif choice == 2:
        held = rng.choice(([held], held[key], {"state_dict": held}, None, 3, "x", {}, {key: held}, ()))
    elif choice == 3:
        held[key] = _bomb(rng)
    elif choice == 4:
        held[key] = rng.choice((*STRANGE, _deep(rng), bytearray(8), b"x", 3j, {1, 2}))
    elif isinstance(held[key], torch.Tensor):
        held[key] = _odd(held[key], rng)
    else:
        held[key] = _tree(held[key], rng) if isinstance(held[key], dict) else rng.choice(STRANGE)
    out = io.BytesIO()
    torch.save(held, out, _use_new_zipfile_serialization=rng.random() < 0.7)
    return out.getvalue()


def _odd(tensor: torch.Tensor, rng: Random) -> torch.Tensor:
    """Tensors that are of another shape, type, layout or size than any that was trained."""
    flat = tensor.reshape(-1).clone()
    choice = rng.randrange(14)
    if choice == 0:
        flat[: rng.choice((1, 3))] = rng.choice((float("nan"), float("inf")))
        return flat.reshape(tensor.shape)
    if choice == 1:
        return tensor.to(
            rng.choice((torch.float64, torch.float16, torch.int64, torch.bool, torch.complex64, torch.uint8))
        )
    if choice == 2:
        return tensor.to(torch.float8_e4m3fn)
    if choice == 3:
        return torch.zeros(1).expand(rng.choice(((2**20, 2**20), (2**40,), (2**30,))))
    if choice == 4:
        return flat[:1].expand(tensor.shape)
    if choice == 5:
        return tensor.to_sparse()
    if choice == 6:
        return torch.sparse_coo_tensor(torch.zeros(1, 1, dtype=torch.long), torch.ones(1), (2**40,))
    if choice == 7:
        return torch.empty(tensor.shape, device="meta")
    if choice == 8:
        return torch.quantize_per_tensor(tensor.float(), 0.1, 0, torch.qint8)
    if choice == 9:
        return tensor[:0]
    if choice == 10:
        return tensor[None]
    if choice == 11:
        return torch.as_strided(flat, (2, len(flat) // 2), (1, 1))
    if choice == 12:
        return torch.tensor(0.0)
    return tensor.T if tensor.ndim == 2 else flat[:-1]


def _bomb(rng: Random) -> Any:
    """Plain values that are small in the file and without end when they are written out."""
    value: Any = rng.choice(("x" * 100, [1, 2], {"a": 1}))
    for i in range(rng.choice((20, 40))):
        value = [value, value] if rng.random() < 0.5 else {"a": value, "b": value, "c": i}
    return value


def _pickled(rng: Random, canary: Path) -> bytes:
    """Pickles that run code, that ask for memory, or that are damaged."""
    plain = {"W_enc": Payload(canary), "W_dec": torch.ones(2, 2)}
    choice = rng.randrange(6)
    if choice == 0:
        return pickle.dumps(plain, protocol=rng.choice((0, 1, 2, 4, 5)))
    if choice in (1, 2):
        out = io.BytesIO()
        torch.save(plain, out, _use_new_zipfile_serialization=choice == 1)
        return out.getvalue()
    size = rng.choice((2**31 - 1, 2**33, 2**40))
    long = pickle.dumps(size, protocol=2)[2:-1]
    if choice == 3:  # bytearray(size)
        return b"\x80\x02c__builtin__\nbytearray\n" + long + b"\x85R."
    if choice == 4:  # an integer of many digits
        return b"\x80\x02}X\x01\x00\x00\x00k\x8b" + struct.pack("<i", 100_000) + b"\x7f" * 100_000 + b"s."
    return b"\x80\x02" + b"]" * 1 + b"(" * 100_000 + b"t" * 100_000 + b"."


# -- parquet -----------------------------------------------------------------------------------------------------------


def _parquet(data: bytes, rng: Random, _: Path) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(data))
    name = rng.choice(table.column_names)
    at, n = table.column_names.index(name), len(table)
    choice = rng.randrange(11)
    if choice == 0:
        table = table.drop([name])
    elif choice == 1:
        table = table.append_column(rng.choice((name, "extra", "", "a.b")), table[name])
    elif choice == 2:
        kinds = (pa.string(), pa.float64(), pa.float32(), pa.int64(), pa.bool_(), pa.binary())
        table = table.set_column(at, name, pa.array([None] * n, rng.choice(kinds)))
    elif choice == 3:
        table = table.set_column(
            at, name, pa.array([rng.choice((float("nan"), float("inf"), -1e38))] * n, pa.float32())
        )
    elif choice == 4:
        table = rng.choice(
            (table.slice(1), pa.concat_tables([table, table]), table.slice(0, 0), table.take(list(range(n))[::-1]))
        )
    elif choice == 5:
        table = table.replace_schema_metadata(rng.choice(({}, {b"ioi_bench_prompts": b"9"}, {b"x": b"y" * 3_000_000})))
    elif choice == 6:
        table = table.set_column(at, name, pa.array([["x"]] * n))
    elif choice == 7:
        table = table.set_column(at, name, pa.array(["A" * 1_000_000] * n).dictionary_encode())
    elif choice == 8:
        table = table.rename_columns([rng.choice((one, one.upper())) for one in table.column_names])
    elif choice == 9:
        table = table.set_column(at, name, pa.array([{"a": i} for i in range(n)]))
    else:
        return _bytes(data, rng)
    out = io.BytesIO()
    pq.write_table(table, out, compression=rng.choice(("snappy", "zstd", "none", "gzip")))
    return out.getvalue()


_BY_SUFFIX: dict[str, Callable[[bytes, Random, Path], bytes]] = {
    ".json": _json,
    ".toml": _toml,
    ".safetensors": _safetensors,
    ".npz": _zipped(_npy),
    ".pt": _pt,
    ".parquet": _parquet,
}
