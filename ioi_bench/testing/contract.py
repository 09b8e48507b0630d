"""Checks of a dictionary's contract (`ioi_bench.dictionary.Dictionary`), on inputs ordinary and extreme."""

from __future__ import annotations

from itertools import chain

import torch
from torch import Tensor

from ioi_bench.dictionary import PerInputOffset
from ioi_bench.testing.examples import BATCH, DictionaryExample
from ioi_bench.testing.results import Check, Finding, NotApplicable
from ioi_bench.testing.storage import in_other_precisions, on_device
from ioi_bench.testing.tensors import (
    require_close,
    require_equal,
    require_finite,
    require_shape,
    require_state_kept,
    require_unchanged,
)

__all__ = ["CONTRACT_CHECKS"]

_STATELESS = "keep nothing between calls: what encode and decode return may depend on their argument alone"


def _contract(case: DictionaryExample) -> None:
    missing = [name for name in ("d_in", "d_sae", "encode", "decode") if not hasattr(case.dictionary, name)]
    uncallable = [name for name in ("encode", "decode") if not callable(getattr(case.dictionary, name, None))]
    if missing or uncallable:
        raise Finding(f"no {', '.join(missing or uncallable)}", "give the class these: d_in, d_sae, encode, decode")


def _sizes(case: DictionaryExample) -> None:
    for name in ("d_in", "d_sae"):
        size = getattr(case.dictionary, name)
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise Finding(f"{name} = {size!r}", f"make {name} a property that gives a Python int")
    if case.inputs is not None and case.inputs.shape[1] != case.dictionary.d_in:
        raise Finding(
            f"d_in = {case.dictionary.d_in}, but inputs of {case.inputs.shape[1]} dimensions",
            "give d_in of the activations, or pass activations of its hook point",
        )


def _decode_first(case: DictionaryExample) -> None:
    """An error that goes away once something was encoded; any other is for `shapes`."""
    decode, codes = case.dictionary.decode, case.codes(1)
    try:
        decode(codes)
    except Exception as error:
        try:
            case.dictionary.encode(case.x())
            decode(codes)
        except Exception:
            return
        raise Finding(f"{type(error).__name__} from decode, before encode was called: {error}", _STATELESS) from error


def _shapes(case: DictionaryExample) -> None:
    d = case.dictionary
    for n in (1, 7, BATCH):
        for name, call, given, axes, size in (
            ("encode", d.encode, case.x()[:n], "[prompt, d_sae]", d.d_sae),
            ("decode", d.decode, case.codes(n), "[prompt, d_in]", d.d_in),
        ):
            what = f"{name} of {list(given.shape)} (d_in = {d.d_in}, d_sae = {d.d_sae})"
            try:
                value = call(given)
            except RuntimeError as error:  # torch's, of shapes that do not fit
                advice = "give in d_in and d_sae the sizes that encode and decode take"
                raise Finding(f"an error in {what}: {error}", advice) from error
            require_shape(what, value, (n, size), axes)


def _dtypes(case: DictionaryExample) -> None:
    for stored, d in chain([("as given", case.dictionary)], in_other_precisions(case.dictionary)):
        for what, value in (("features", d.encode(case.x())), ("reconstructions", d.decode(case.codes()))):
            if value.dtype != torch.float32:
                raise Finding(f"{what} of {value.dtype} (weights {stored})", "convert the weights with .float() first")


def _device(case: DictionaryExample) -> None:
    for what, value in (
        ("encode", case.dictionary.encode(case.x())),
        ("decode", case.dictionary.decode(case.codes())),
    ):
        if value.device.type != "cpu":
            raise Finding(
                f"that {what} answers a CPU tensor with one on {value.device}", "answer on the input's device"
            )


def _memory_layout(case: DictionaryExample) -> None:
    def spread(x: Tensor) -> Tensor:
        return torch.stack([x, x + 1], 2).flatten(1)[:, ::2]

    advice = "take any strides: reshape in place of view, no as_strided"
    for what, call, given in (
        ("features", case.dictionary.encode, case.x()),
        ("reconstructions", case.dictionary.decode, case.codes()),
    ):
        for strided in (given.T.contiguous().T, spread(given)):
            require_close(f"{what} of contiguous and of strided inputs", call(given), call(strided), advice)


def _inputs_unchanged(case: DictionaryExample) -> None:
    x, f = case.x(), case.codes()
    require_unchanged({"the input of encode": x}, lambda: case.dictionary.encode(x))
    require_unchanged({"the input of decode": f}, lambda: case.dictionary.decode(f))


def _determinism(case: DictionaryExample) -> None:
    d, advice = case.dictionary, "leave out dropout, noise and random tie-breaking: call .eval()"
    require_equal("two encodings of the same input", d.encode(case.x()).clone(), d.encode(case.x()), advice)
    require_equal("two decodings of the same codes", d.decode(case.codes()).clone(), d.decode(case.codes()), advice)


def _statelessness(case: DictionaryExample) -> None:
    d, codes = case.dictionary, case.codes()
    features, decoded = d.encode(case.x()), d.decode(codes)
    seen, kept = features.clone(), decoded.clone()
    d.encode(case.other())
    advice = "return a new tensor at every call, never a buffer that the next call fills again"
    require_equal("features that were returned, and the same tensor after another call,", seen, features, advice)
    require_equal("decodings before and after another input was encoded", kept, d.decode(codes), _STATELESS)
    d.decode(case.codes(salt=1))
    require_equal("reconstructions that were returned, and the same tensor after another call,", kept, decoded, advice)
    require_equal("encodings before and after another input", seen, d.encode(case.x()), _STATELESS)
    require_equal("decodings before and after other codes", kept, d.decode(codes), _STATELESS)


def _batch_invariance(case: DictionaryExample) -> None:
    advice = "compute every row from that row alone: no threshold, mean or top-k over the batch"
    for what, call, given in (
        ("features", case.dictionary.encode, case.x()),
        ("reconstructions", case.dictionary.decode, case.codes()),
    ):
        whole = call(given)
        for size in (1, 7):
            parts = torch.cat([call(part) for part in given.split(size)])
            require_close(f"{what} in batches of {size} and of {BATCH}", parts, whole, advice)


def _gradients(case: DictionaryExample) -> None:
    d = case.dictionary
    without = d.encode(case.x())
    if without.requires_grad or d.decode(case.codes()).requires_grad:
        raise Finding("results that carry gradients under torch.no_grad()", "do not switch gradients on in encode")
    with torch.enable_grad():
        x = case.x().requires_grad_()
        f = d.encode(x)
        d.decode(f.detach())
        if not x.requires_grad or x.grad is not None:
            raise Finding("that the input's gradient was touched", "call no backward and no requires_grad_ in encode")
    require_equal("features with gradients on and off", without, f.detach(), "branch on neither training nor gradients")


def _global_state(case: DictionaryExample) -> None:
    x, f = case.x(), case.codes()
    require_state_kept("encode", lambda: case.dictionary.encode(x))
    require_state_kept("decode", lambda: case.dictionary.decode(f))


def _finite(case: DictionaryExample) -> None:
    d, d_in = case.dictionary, case.dictionary.d_in
    unit = torch.randn(8, d_in, generator=torch.Generator().manual_seed(case.seed + 2))
    extremes = {
        "zero": torch.zeros(1, d_in),
        "constant": torch.ones(1, d_in),
        "huge (1e6)": 1e6 * unit,
        "tiny (1e-12)": 1e-12 * unit,
        "ordinary": case.x(),
    }
    advice = "divide by no norm without a small constant, and compute in float32"
    for what, x in extremes.items():
        f = d.encode(x)
        require_finite(f"the features of {what} inputs", f, advice)
        require_finite(f"the reconstructions of {what} inputs", d.decode(f), advice)
        if isinstance(d, PerInputOffset):
            require_finite(f"offset_for of {what} inputs", d.offset_for(x), advice)


def _active(case: DictionaryExample) -> None:
    if not bool((case.dictionary.encode(case.x()) != 0).any()):
        raise Finding(
            f"none on {BATCH} inputs",
            "pass activations that the dictionary was made for as `inputs=`; if there are none active then, its "
            "weights or its input scale are wrong",
        )


def _cuda(case: DictionaryExample) -> None:
    if not torch.cuda.is_available():
        raise NotApplicable("this machine has no CUDA device")
    moved = on_device(case.dictionary, "cuda")
    x, f = case.x(), case.codes()
    advice = "make every tensor that is built in encode and decode on the input's device"
    for what, here, there in (
        ("features", case.dictionary.encode(x), moved.encode(x.cuda())),
        ("reconstructions", case.dictionary.decode(f), moved.decode(f.cuda())),
    ):
        if there.device.type != "cuda":
            raise Finding(f"{what} on {there.device} of inputs on CUDA", advice)
        require_close(f"{what} on CPU and on CUDA", here, there.cpu(), advice, tolerance=1e-3)


CONTRACT_CHECKS = (
    Check("contract", "it has d_in, d_sae, encode and decode", _contract, essential=True),
    Check("sizes", "d_in and d_sae are positive whole numbers", _sizes, essential=True),
    Check("decode-first", "codes are decoded before any input was encoded", _decode_first, essential=True),
    Check("shapes", "encode gives [prompt, d_sae] and decode [prompt, d_in]", _shapes, essential=True),
    Check("dtypes", "features and reconstructions are float32, however the weights are stored", _dtypes),
    Check("device", "results are on the device of the inputs", _device, essential=True),
    Check("inputs-unchanged", "encode and decode leave their inputs as they are", _inputs_unchanged),
    Check("determinism", "the same input gives the same result, bit for bit", _determinism),
    Check("statelessness", "no call changes what another returns", _statelessness),
    Check("memory-layout", "inputs may have any strides", _memory_layout),
    Check("batch-invariance", "a row's result does not depend on the other rows", _batch_invariance),
    Check("gradients", "gradients are neither switched on nor touched", _gradients),
    Check("global-state", "the process's settings and random generators are left alone", _global_state),
    Check("finite", "zero, constant, huge and tiny inputs give no NaN or Inf", _finite),
    Check("active", "some feature is active on some input", _active),
    Check("cuda", "it gives the same on CUDA as on CPU", _cuda),
)
