"""The kit on what is sound: all that is built in, and dictionaries as third parties write them; and the report."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch

from ioi_bench.dictionaries.architectures import ARCHITECTURES, Relu, Skyline
from ioi_bench.dictionaries.nulls import codebook, pca, standard_null
from ioi_bench.dictionaries.suite import load_suite, save_suite
from ioi_bench.dictionaries.suite_content import Suite
from ioi_bench.editing import EDITS
from ioi_bench.errors import ConformanceError, InputError, IoiBenchError
from ioi_bench.metrics import divergence, edit_accuracy, edit_distance, logit_difference_gap
from ioi_bench.plugins.records import EditRecord, Loader, LoadOptions, Recognised
from ioi_bench.sites import HookPoint
from ioi_bench.testing import (
    Check,
    CheckResult,
    DictionaryCase,
    EditCase,
    LoaderCase,
    MetricCase,
    check_dictionary,
    check_edit,
    check_loader,
    check_metric,
    run_checks,
)

EXTRA = {"topk": {"k": 3}, "skyline": {"block_sizes": (9, 3)}}
D_IN, D_SAE = 5, 12


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def build(name, dtype=torch.float32, **changes):
    cls = ARCHITECTURES[name]
    tensors = {n: normal(*s, seed=i).to(dtype) for i, (n, s) in enumerate(cls.shapes(D_IN, D_SAE).items())}
    if name == "jumprelu":
        tensors["threshold"] = tensors["threshold"].abs()  # there are no negative ones
    return cls(**{**tensors, "scale": 1.7, **EXTRA.get(name, {}), **changes})


# --- what is built in --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_passes_in_every_precision(name, dtype):
    check_dictionary(build(name, dtype))


@pytest.mark.parametrize("make", [lambda x: standard_null(x, 0), lambda x: codebook(x, 7, 0), pca])
def test_nulls_and_baselines_pass(make):
    train = normal(50, D_IN) + 3
    check_dictionary(make(train), inputs=train)


@pytest.mark.parametrize("name", EDITS)
def test_every_edit_method_passes(name):
    check_edit(EditRecord(name, "built in", EDITS[name]))
    check_edit(EDITS[name], seed=5)


METRICS = {
    "edit_distance": (lambda **a: edit_distance(**a).absolute, {"edited": (2,), "a_s": (2,), "a_t": (2,)}),
    "edit_accuracy": (
        lambda logits, truth: edit_accuracy(logits, truth, torch.tensor([[0, 1]] * len(truth))).vocabulary.float(),
        {"logits": (7,), "truth": (7,)},
    ),
    "divergence": (lambda **a: divergence(**a).nats, {"logits": (7,), "reference": (7,)}),
    "logit_difference_gap": (
        lambda io, s, **a: logit_difference_gap(**a, io=io, s=s).gap,
        {"logits": (7,), "truth": (7,), "io": None, "s": None},
    ),
}


@pytest.mark.parametrize("name", METRICS)
def test_built_in_metrics_pass(name):
    metric, shapes = METRICS[name]
    arguments = {
        argument: torch.tensor([0, 3, 1, 6, 2]) if shape is None else normal(5, *shape, seed=i)
        for i, (argument, shape) in enumerate(shapes.items())
    }
    check_metric(metric, arguments)


def test_a_metric_may_have_prompts_on_another_axis_shared_arguments_and_nan():
    def metric(edits, weights):
        distance = (edits * weights).norm(dim=-1).mean(0)
        return distance.masked_fill(edits[0, :, 0] > 0, torch.nan)

    arguments = {"edits": normal(2, 6, 3), "weights": normal(3)}
    check_metric(metric, arguments, axes={"edits": 1, "weights": None}, may_be_nan=True)
    with pytest.raises(ConformanceError, match=r"Inf and \d NaN in 6 values"):
        check_metric(metric, arguments, axes={"edits": 1, "weights": None})


@pytest.mark.parametrize(
    ("arguments", "axes", "message"),
    [
        ({"a": torch.ones(2, 3)}, {}, "at least three prompts"),
        ({"a": torch.ones(4, 3), "b": torch.ones(5)}, {}, "as many in each"),
        ({"a": torch.ones(4, 3)}, {"b": 1}, "axes are given for b; arguments are a"),
        ({"a": torch.ones(4, 3)}, {"a": None}, "at least three prompts"),
    ],
)
def test_metrics_need_prompts_to_be_checked_on(arguments, axes, message):
    with pytest.raises(InputError, match=message):
        check_metric(lambda **a: a["a"], arguments, axes=axes)


# --- third parties -----------------------------------------------------------------------------------------------


class TorchSae(torch.nn.Module):
    """A module with parameters that require gradients, as a training script leaves it; signed features."""

    def __init__(self, d_in=D_IN, d_sae=D_SAE):
        super().__init__()
        self.d_in, self.d_sae = d_in, d_sae
        self.encoder, self.decoder = torch.nn.Linear(d_in, d_sae), torch.nn.Linear(d_sae, d_in)

    def encode(self, x):
        f = self.encoder(x)
        return f * (f.abs() > 0.3)

    def decode(self, f):
        return self.decoder(f)

    def forward(self, x):
        return self.decode(self.encode(x))


class JumpRelu:
    """Plain attributes, half-precision weights, directions declared."""

    def __init__(self):
        self.W, self.threshold = normal(D_IN, D_SAE).half(), normal(D_SAE, seed=3).abs().half()
        self.directions, self.offset = self.W.T, torch.zeros(D_IN, dtype=torch.float16)
        self.d_in, self.d_sae = self.W.shape

    def encode(self, x):
        pre = x.float() @ self.W.float()
        return pre * (pre > self.threshold.float())

    def decode(self, f):
        return f @ self.W.float().T


class Wide:
    """More features than are probed one by one."""

    d_in, d_sae = 3, 5000

    def encode(self, x):
        return torch.relu(x @ self.directions.T - 1)

    def decode(self, f):
        return f @ self.directions

    @property
    def directions(self):
        return normal(5000, 3, seed=8)

    @property
    def offset(self):
        return torch.zeros(3)


@pytest.mark.parametrize("make", [TorchSae, JumpRelu, Wide])
def test_dictionaries_of_third_parties_pass(make):
    check_dictionary(make())


def test_a_module_agrees_with_its_own_forward():
    sae = TorchSae()
    check_dictionary(sae, reconstruct=sae)
    with pytest.raises(ConformanceError, match="the library's own reconstruction") as caught:
        check_dictionary(sae, reconstruct=lambda x: sae(x) + 1)
    assert caught.value.check == "reconstruction"


def test_a_dictionary_is_checked_on_the_activations_it_was_made_for():
    quiet = replace(build("relu"), b_enc=torch.full((D_SAE,), -1e4))
    with pytest.raises(ConformanceError, match="pass activations that the dictionary was made for"):
        check_dictionary(quiet)
    check_dictionary(quiet, inputs=1e5 * normal(3, D_IN))
    with pytest.raises(InputError, match=r"inputs have the shape \[5\]"):
        check_dictionary(quiet, inputs=torch.ones(5))


NATIVE = Loader(
    "native-folder",
    "The format of save_suite.",
    lambda source, options: _recognise(source),
    lambda source, options: load_suite(source.path),
)


def _recognise(source):
    if not source.has("suite.json", "weights.safetensors"):
        return None
    entries = source.json("suite.json").get("dictionaries")
    if not isinstance(entries, dict) or not entries:
        return None
    first = entries[min(entries)]
    hooks = sorted({HookPoint.parse(text.partition("@")[0]) for text in entries}, key=str)
    return Recognised(first["architecture"], tuple(hooks), first["d_in"], first["d_sae"])


def test_a_loader_of_many_dictionaries_passes(tmp_path):
    hooks = [HookPoint("z", layer, head) for layer in (0, 1) for head in (0, 1)]
    suites = [Suite.at_hook("one", "any", hook, build("topk")) for hook in hooks]
    merged = replace(suites[0], dictionaries={k: v for suite in suites for k, v in suite.dictionaries.items()})
    save_suite(merged, tmp_path / "suite")
    check_loader(NATIVE, tmp_path / "suite")
    results = run_checks(LoaderCase(NATIVE, tmp_path / "suite"))
    checked = {result.subject for result in results}
    assert len(checked) == 1 + 3, "the loader and its first three dictionaries"


def test_a_loader_of_single_files_passes(tmp_path):
    def recognise(source, options):
        if source.path.is_dir() or source.path.suffix != ".safetensors" or options.hook is None:
            return None
        found = source.tensors(source.path.name)
        return Recognised("relu", (options.hook,), *found["W_enc"].shape) if "W_enc" in found else None

    def load(source, options):
        return Suite.at_hook("one", "any", options.hook, Relu(**source.safetensors(source.path.name)))

    file = tmp_path / "relu.safetensors"
    safetensors.torch.save_file(build("relu").tensors, file)
    loader, options = Loader("single", "One file.", recognise, load), LoadOptions(hook=HookPoint("mlp_out", 0))
    check_loader(loader, file, options=options)
    with pytest.raises(ConformanceError, match="needs to be told") as caught:
        check_loader(loader, file)
    assert caught.value.check == "recognises"


def test_options_do_not_excuse_a_crash_on_foreign_sources(tmp_path):
    def recognise(source, options):
        if source.path.is_dir() or source.path.suffix != ".safetensors" or options.hook is None:
            return None
        return Recognised("relu", (options.hook,), *source.tensors(source.path.name)["W_enc"].shape)

    def load(source, options):
        return Suite.at_hook("one", "any", options.hook, Relu(**source.safetensors(source.path.name)))

    file = tmp_path / "relu.safetensors"
    safetensors.torch.save_file(build("relu").tensors, file)
    options = LoadOptions(hook=HookPoint("mlp_out", 0))
    with pytest.raises(ConformanceError, match="KeyError on a file of somebody's tensors") as caught:
        check_loader(Loader("single", "One file.", recognise, load), file, options=options)
    assert caught.value.check == "foreign-sources"


# --- the report --------------------------------------------------------------------------------------------------


class Raises(JumpRelu):
    def encode(self, _x):
        raise ZeroDivisionError("no such luck")


def test_the_report_has_every_check_and_never_raises():
    cases = DictionaryCase(JumpRelu()), DictionaryCase(Raises(), name="mine"), EditCase(lambda inputs, budgets: None)
    results = run_checks(*cases)
    assert [(r.subject, r.check) for r in results] == [(c.subject, k.name) for c in cases for k in c.checks]
    by_name = {(r.subject, r.check): r for r in results}
    assert by_name["JumpRelu", "affinity"] == CheckResult("affinity", "JumpRelu", "passed")
    assert not by_name["JumpRelu", "affinity"].failed
    failed = by_name["mine", "shapes"]
    assert failed.failed
    assert "ZeroDivisionError: no such luck" in failed.message
    assert "test_conformance.py:" in failed.message, "the line that raised"
    assert by_name["mine", "affinity"] == CheckResult("affinity", "mine", "skipped", "'shapes' has failed")


def test_a_message_says_what_was_checked_what_was_found_and_what_to_do():
    class Nonlinear(JumpRelu):
        def decode(self, f):
            return torch.tanh(super().decode(f))

    with pytest.raises(ConformanceError) as caught:
        check_dictionary(Nonlinear())
    error = caught.value
    assert isinstance(error, AssertionError)
    assert isinstance(error, IoiBenchError)
    assert (error.check, error.subject) == ("affinity", "Nonlinear")
    assert str(error).startswith("Nonlinear: checked that decoding is affine in the features")
    assert "; found an error of " in str(error)
    assert "; to do: edits need a linear decoder" in str(error)
    assert "\n" not in str(error)


def test_what_does_not_apply_is_skipped_with_its_reason():
    results = {result.check: result for result in run_checks(DictionaryCase(TorchSae()))}
    for check in ("directions", "per-input-offset", "reconstruction", "serialisation"):
        assert results[check].outcome == "skipped"
        assert results[check].message


def test_the_process_is_left_as_it_was_whatever_a_plugin_does():
    class Rude(JumpRelu):
        def encode(self, x):
            torch.manual_seed(1)
            np.random.seed(1)  # noqa: NPY002 (what a rude plugin does)
            random.seed(1)
            torch.set_grad_enabled(True)
            torch.set_num_threads(torch.get_num_threads() + 1)
            torch.use_deterministic_algorithms(True)
            return super().encode(x)

    def state():
        random_states = torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
        return *random_states, torch.is_grad_enabled(), torch.get_num_threads(), torch.get_default_dtype()

    before = state()
    failed = [result for result in run_checks(DictionaryCase(Rude())) if result.failed]
    assert state() == before
    assert not torch.are_deterministic_algorithms_enabled()
    assert [result.check for result in failed] == ["global-state"]
    for said in ("grad mode", "threads", "deterministic", "torch's", "numpy's", "Python's"):
        assert said in failed[0].message


def test_the_skyline_stays_on_the_device_of_its_inputs():
    sizes = {name: torch.empty(shape, device="meta") for name, shape in Skyline.shapes(D_IN, D_SAE).items()}
    skyline = object.__new__(Skyline)
    for name, value in {**sizes, "scale": 1.0, "block_sizes": (9, 3)}.items():
        object.__setattr__(skyline, name, value)  # weights without values cannot be checked for NaN
    assert skyline.encode(torch.empty(2, D_IN, device="meta")).device.type == "meta"


def test_checks_are_named_once_and_in_one_style():
    cases = (
        DictionaryCase(None),
        EditCase(EDITS["exchange"]),
        LoaderCase(NATIVE, "."),
        MetricCase(abs, {"a": normal(3)}),
    )
    for case in cases:
        names = [check.name for check in case.checks]
        assert len(set(names)) == len(names)
        for check in case.checks:
            assert isinstance(check, Check)
            assert check.name == check.name.lower().replace(" ", "-")
            assert not check.claim.endswith(".")
