"""Every fault that is planted is caught, and by the check that is there for it; the sound original passes."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import pytest
import torch

from ioi_bench.dictionaries.architectures import Relu
from ioi_bench.dictionaries.suite import Suite
from ioi_bench.dictionary import affine_decoder
from ioi_bench.editing import Edit, EditInputs
from ioi_bench.editing.exchange import exchange
from ioi_bench.errors import DictionaryError, SuiteError
from ioi_bench.plugins.records import Loader, LoadOptions, Recognised
from ioi_bench.sites import HookPoint
from ioi_bench.testing import (
    ConformanceError,
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

D_IN, D_SAE = 6, 20


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def first_failed(case):
    """Name and message of the first check that fails; None where all is well."""
    return next((result for result in run_checks(case) if result.failed), None)


# --- dictionaries ------------------------------------------------------------------------------------------------


class Sound:
    """A third party's SAE: a class with nothing of ours in it."""

    d_in, d_sae = D_IN, D_SAE

    def __init__(self):
        self.W_enc, self.W_dec, self.b_dec = normal(D_IN, D_SAE), normal(D_SAE, D_IN, seed=1), normal(D_IN, seed=2)
        self.calls = 0

    def encode(self, x):
        return torch.relu((x - self.b_dec) @ self.W_enc)

    def decode(self, f):
        return f @ self.W_dec + self.b_dec


class Declaring(Sound):
    @property
    def directions(self):
        return self.W_dec

    @property
    def offset(self):
        return self.b_dec


class LayerNormed(Sound):
    """Normalises each input: the scale is in the features, the mean and the scaled bias in the offset."""

    @staticmethod
    def moments(x):
        return x.mean(1, keepdim=True), x.std(1, keepdim=True) + 1e-5

    def encode(self, x):
        mean, std = self.moments(x)
        return super().encode((x - mean) / std) * std

    def offset_for(self, x):
        mean, std = self.moments(x)
        return self.b_dec * std + mean

    def decode(self, f):
        return f @ self.W_dec

    def library_reconstruction(self, x):
        mean, std = self.moments(x)
        inner = Sound.encode(self, (x - mean) / std)
        return (inner @ self.W_dec + self.b_dec) * std + mean


class NoDecode:
    d_in, d_sae = D_IN, D_SAE

    def encode(self, x):
        return x


class SizeAsTensor(Sound):
    d_sae = torch.tensor(D_SAE)


class EncodeFirst(Sound):
    """Undoes the scale of the last input, and has none before."""

    def encode(self, x):
        self.scale = 2.0
        return super().encode(self.scale * x)

    def decode(self, f):
        return super().decode(f) / self.scale


class SizesSwapped(Sound):
    d_in, d_sae = D_SAE, D_IN


class OneFeatureMore(Sound):
    d_sae = D_SAE + 1


class OneDimension(Sound):
    """Sums over the batch, as if there were one input."""

    def decode(self, f):
        return super().decode(f).sum(0)


class OneFeatureLess(Sound):
    """Says nothing of a last feature: ``encode`` gives one more than ``decode`` takes."""

    d_sae = D_SAE - 1

    def decode(self, f):
        return f @ self.W_dec[: self.d_sae] + self.b_dec


class HalfFeatures(Sound):
    def encode(self, x):
        return super().encode(x).half()


class Meta(Sound):
    def encode(self, x):
        return super().encode(x).to("meta")


class CentresInPlace(Sound):
    def encode(self, x):
        x -= self.b_dec
        return torch.relu(x @ self.W_enc)


class Dropout(Sound):
    def __init__(self):
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def encode(self, x):
        f = super().encode(x)
        return f * (torch.rand(f.shape, generator=self.generator) < 0.9)


class RememberedNorm(Sound):
    """What SAELens' normalise_activations does: decode undoes the scale of the last input."""

    norm = 1.0

    def encode(self, x):
        self.norm = x.norm()
        return super().encode(x / self.norm)

    def decode(self, f):
        return super().decode(f) * self.norm


class Buffered(Sound):
    def __init__(self):
        super().__init__()
        self.buffers = {}

    def encode(self, x):
        buffer = self.buffers.setdefault(len(x), torch.empty(len(x), D_SAE))
        return buffer.copy_(super().encode(x))


class Viewing(Sound):
    def encode(self, x):
        return super().encode(x.view(-1).view(len(x), D_IN))


class BatchTopK(Sound):
    def encode(self, x):
        f = super().encode(x)
        return f * (f >= f.flatten().topk(3 * len(f)).values[-1])


class BatchCentred(Sound):
    def encode(self, x):
        return super().encode(x - x.mean(0))


class SlightlyBatchCentred(Sound):
    """One part in ten thousand: below what shows in a score, above rounding."""

    def encode(self, x):
        return super().encode(x - 1e-4 * x.mean(0))


class SwitchesGradientsOn(Sound):
    def encode(self, x):
        with torch.enable_grad():
            return super().encode(x) * torch.nn.Parameter(torch.ones(()))


class SwitchesGradientsOff(Sound):
    def encode(self, x):
        torch.set_grad_enabled(False)
        return super().encode(x)


class Seeds(Sound):
    def encode(self, x):
        torch.manual_seed(0)
        return super().encode(x)


class SeedsPython(Sound):
    def decode(self, f):
        random.seed(0)
        return super().decode(f)


class OneThread(Sound):
    def encode(self, x):
        torch.set_num_threads(1)
        return super().encode(x)


class SetsDeterminism(Sound):
    def decode(self, f):
        torch.use_deterministic_algorithms(True)
        return super().decode(f)


class DividesByNorm(Sound):
    def encode(self, x):
        return super().encode(x / x.norm(dim=1, keepdim=True))


class Overflows(Sound):
    def encode(self, x):
        return torch.relu(x @ self.W_enc).square().square().square()


class Dead(Sound):
    def encode(self, x):
        return torch.zeros(len(x), D_SAE)


class ReluOutput(Sound):
    def decode(self, f):
        return torch.relu(super().decode(f))


class ClampsLargeCodes(Sound):
    def decode(self, f):
        return super().decode(f.clamp(-1e3, 1e3))


class NormalisesCodes(Sound):
    def decode(self, f):
        return super().decode(f / (f.norm(dim=1, keepdim=True) + 1e-6))


class ForgetsScale(Declaring):
    def decode(self, f):
        return super().decode(f) / 1.7


class OffsetNotDecoded(Declaring):
    @property
    def offset(self):
        return torch.zeros(D_IN)


class DirectionsAlone(Sound):
    @property
    def directions(self):
        return self.W_dec


class OffsetOfLastInput(LayerNormed):
    last = torch.zeros(1, D_IN)

    def encode(self, x):
        self.last = x
        return super().encode(x)

    def offset_for(self, x):
        return super().offset_for(self.last[: len(x)] if len(self.last) >= len(x) else x)


class ScaleNotFolded(LayerNormed):
    def encode(self, x):
        mean, std = self.moments(x)
        return Sound.encode(self, (x - mean) / std)


@dataclass(frozen=True, eq=False, kw_only=True)
class SameName(Relu):
    """An architecture under the name of another: its own setting is lost on disk."""

    threshold: float = 0.5

    def encode(self, x):
        f = super().encode(x)
        return f * (f > self.threshold)


@dataclass(frozen=True, eq=False, kw_only=True)
class Unregistered(Relu):
    name = "relu-of-mine"


@dataclass(frozen=True, eq=False, kw_only=True)
class ComputesInStorage(Relu):
    def encode(self, x):
        return torch.relu((x.to(self.W_enc.dtype) - self.b_dec) @ self.W_enc + self.b_enc)


def native(cls):
    return cls(**{name: normal(*shape, seed=i) for i, (name, shape) in enumerate(cls.shapes(D_IN, D_SAE).items())})


DICTIONARY_FAULTS = [
    ("contract", NoDecode),
    ("sizes", SizeAsTensor),
    ("decode-first", EncodeFirst),
    ("shapes", SizesSwapped),
    ("shapes", OneFeatureMore),
    ("shapes", OneDimension),
    ("shapes", OneFeatureLess),
    ("dtypes", HalfFeatures),
    ("dtypes", lambda: native(ComputesInStorage)),
    ("device", Meta),
    ("inputs-unchanged", CentresInPlace),
    ("determinism", Dropout),
    ("statelessness", RememberedNorm),
    ("statelessness", Buffered),
    ("memory-layout", Viewing),
    ("batch-invariance", BatchTopK),
    ("batch-invariance", BatchCentred),
    ("batch-invariance", SlightlyBatchCentred),
    ("gradients", SwitchesGradientsOn),
    ("global-state", SwitchesGradientsOff),
    ("global-state", Seeds),
    ("global-state", SeedsPython),
    ("global-state", OneThread),
    ("global-state", SetsDeterminism),
    ("finite", DividesByNorm),
    ("finite", Overflows),
    ("active", Dead),
    ("affinity", ReluOutput),
    ("affinity", ClampsLargeCodes),
    ("affinity", NormalisesCodes),
    ("directions", ForgetsScale),
    ("directions", OffsetNotDecoded),
    ("directions", DirectionsAlone),
    ("per-input-offset", OffsetOfLastInput),
    ("serialisation", lambda: native(SameName)),
    ("serialisation", lambda: native(Unregistered)),
]


@pytest.mark.parametrize("make", [Sound, Declaring, LayerNormed, lambda: native(Relu)])
def test_the_sound_originals_pass(make):
    assert first_failed(DictionaryCase(make())) is None


@pytest.mark.parametrize(("check", "make"), DICTIONARY_FAULTS)
def test_a_faulty_dictionary_fails_the_check_for_it(check, make):
    with pytest.raises(ConformanceError) as caught:
        check_dictionary(make())
    assert caught.value.check == check
    assert first_failed(DictionaryCase(make())).check == check


def test_the_librarys_reconstruction_catches_a_scale_that_is_not_folded():
    sound = LayerNormed()
    check_dictionary(sound, reconstruct=sound.library_reconstruction)
    with pytest.raises(ConformanceError, match="library's reconstruction") as caught:
        check_dictionary(ScaleNotFolded(), reconstruct=sound.library_reconstruction)
    assert caught.value.check == "reconstruction"


def test_inputs_of_another_hook_point_are_a_wrong_d_in():
    with pytest.raises(ConformanceError, match="d_in = 6, but inputs of 8 dimensions") as caught:
        check_dictionary(Sound(), inputs=torch.ones(3, 8))
    assert caught.value.check == "sizes"


def test_the_kit_sees_a_clamp_that_the_evaluation_does_not():
    affine_decoder(ClampsLargeCodes())  # raises nothing: its codes are not that large
    with pytest.raises(ConformanceError, match="on large codes"):
        check_dictionary(ClampsLargeCodes())
    with pytest.raises(DictionaryError):
        affine_decoder(ReluOutput())


# --- edits -------------------------------------------------------------------------------------------------------


def edit_with(**changes):
    """`exchange` with a change of what it returns: functions of its `Edit` and the inputs."""

    def edit(inputs: EditInputs, budgets: tuple[int, ...]) -> Edit:
        made = exchange(inputs, budgets)
        return replace(made, **{name: change(made, inputs) for name, change in changes.items()})

    return edit


def drops_error(inputs, budgets):
    made = exchange(inputs, budgets)
    return replace(made, edited=made.edited - inputs.a_s + inputs.decoder(inputs.f_s))


def edits_in_place(inputs, budgets):
    made = exchange(inputs, budgets)
    inputs.a_s.copy_(made.edited[-1])
    return made


def aims_at_the_mean(inputs, budgets):
    return exchange(replace(inputs, a_t=inputs.a_t.mean(0).expand_as(inputs.a_t)), budgets)


def plans_by_budget(inputs, budgets):
    """Goes to the last budget's share of the way: a larger budget starts otherwise than a smaller one."""
    share = budgets[-1] / (budgets[-1] + 1)
    return exchange(replace(inputs, a_t=inputs.a_s + share * (inputs.a_t - inputs.a_s)), budgets)


def takes_any_budgets(inputs, budgets):
    if not budgets or min(budgets) < 1:
        return None
    made = exchange(inputs, tuple(range(1, max(budgets) + 1)))
    order = torch.tensor(budgets) - 1
    return Edit(budgets, made.edited[order], made.removed, made.added)


def normalises_steps(inputs, budgets):
    """Features in units of their direction's norm: no answer where a direction is zero."""
    norms = inputs.directions.norm(dim=1)
    decoder = replace(inputs.decoder, directions=inputs.directions / norms[:, None])
    return exchange(replace(inputs, decoder=decoder, f_s=inputs.f_s * norms, f_t=inputs.f_t * norms), budgets)


class Jittery:
    __name__ = "jittery"

    def __init__(self):
        self.generator = torch.Generator().manual_seed(0)

    def __call__(self, inputs, budgets):
        noise = torch.randn(inputs.a_t.shape, generator=self.generator).to(inputs.a_t.dtype)
        return exchange(replace(inputs, a_t=inputs.a_t + noise), budgets)


class BufferedEdit:
    __name__ = "buffered"

    def __init__(self):
        self.buffers = {}

    def __call__(self, inputs, budgets):
        made = exchange(inputs, budgets)
        buffer = self.buffers.setdefault((made.edited.shape, made.edited.dtype), torch.empty_like(made.edited))
        return replace(made, edited=buffer.copy_(made.edited))


def seeds_globally(inputs, budgets):
    torch.manual_seed(3)
    return exchange(inputs, budgets)


EDIT_FAULTS = [
    ("shapes", edit_with(removed=lambda made, inputs: made.removed[:, :1])),
    ("shapes", edit_with(added=lambda made, inputs: made.added.int())),
    ("inputs-unchanged", edits_in_place),
    ("dtypes", edit_with(edited=lambda made, inputs: made.edited.float())),
    ("determinism", Jittery()),
    ("statelessness", BufferedEdit()),
    ("picks", edit_with(added=lambda made, inputs: made.added.where(made.added < 0, made.added[:, :1]))),
    ("picks", edit_with(removed=lambda made, inputs: made.removed - 2)),
    ("removed-active", edit_with(removed=lambda made, inputs: made.removed.where(made.removed >= 0, made.added))),
    ("error-term", drops_error),
    ("accounting", edit_with(removed=lambda made, inputs: torch.full_like(made.removed, -1))),
    ("accounting", edit_with(edited=lambda made, inputs: made.edited + 0.1 * inputs.directions[3])),
    ("nested-budgets", plans_by_budget),
    ("batch-invariance", aims_at_the_mean),
    ("global-state", seeds_globally),
    ("bad-budgets", takes_any_budgets),
    ("degenerate", normalises_steps),
]


@pytest.mark.parametrize(("check", "edit"), EDIT_FAULTS)
def test_a_faulty_edit_fails_the_check_for_it(check, edit):
    with pytest.raises(ConformanceError) as caught:
        check_edit(edit)
    assert caught.value.check == check


# --- metrics -----------------------------------------------------------------------------------------------------

ARGUMENTS = {"edited": normal(5, 4), "truth": normal(5, 4, seed=1)}


def distance(edited, truth):
    return (edited - truth).norm(dim=1)


def in_place(edited, truth):
    return edited.sub_(truth).norm(dim=1)


class NoisyMetric:
    __name__ = "noisy"

    def __init__(self):
        self.generator = torch.Generator().manual_seed(0)

    def __call__(self, edited, truth):
        return distance(edited, truth) + torch.rand(len(edited), generator=self.generator)


class ScaledByTheLastBatch:
    """The last batch's size is remembered, so that the first call on another size comes out otherwise."""

    __name__ = "scaled"
    last = None

    def __call__(self, edited, truth):
        scale = 1.0 if self.last in (None, len(edited)) else 2.0
        self.last = len(edited)
        return distance(edited, truth) * scale


class BufferedMetric:
    __name__ = "buffered"
    buffer = torch.empty(5)

    def __call__(self, edited, truth):
        return self.buffer[: len(edited)].copy_(distance(edited, truth))


def shuffles(edited, truth):
    torch.randperm(len(edited))
    return distance(edited, truth)


METRIC_FAULTS = [
    ("shape", lambda edited, truth: distance(edited, truth).mean()),
    ("shape", lambda edited, truth: distance(edited, truth).tolist()),
    ("dtype", lambda edited, truth: edited.argmax(1) == truth.argmax(1)),
    ("inputs-unchanged", in_place),
    ("determinism", NoisyMetric()),
    ("statelessness", ScaledByTheLastBatch()),
    ("statelessness", BufferedMetric()),
    ("finite", lambda edited, truth: distance(edited, edited) / distance(edited, edited)),
    ("finite", lambda edited, truth: distance(edited, truth) / 0),
    ("batch-invariance", lambda edited, truth: distance(edited, truth) / distance(edited, truth).max()),
    ("batch-invariance", lambda edited, truth: distance(edited, truth) * torch.arange(len(edited))),
    ("global-state", shuffles),
]


def test_a_sound_metric_passes():
    check_metric(distance, ARGUMENTS)


@pytest.mark.parametrize(("check", "metric"), METRIC_FAULTS)
def test_a_faulty_metric_fails_the_check_for_it(check, metric):
    with pytest.raises(ConformanceError) as caught:
        check_metric(metric, ARGUMENTS)
    assert caught.value.check == check


# --- loaders -----------------------------------------------------------------------------------------------------

HOOK = HookPoint("resid_pre", 1)


@pytest.fixture
def source(tmp_path):
    import safetensors.torch

    relu = native(Relu)
    (tmp_path / "tiny.json").write_text('{"format": "tiny", "hook": "resid_pre.1"}')
    safetensors.torch.save_file(relu.tensors, tmp_path / "tiny.safetensors")
    return tmp_path


@dataclass
class Tiny:
    """A sound loader; a fault replaces one of its parts."""

    sizes: tuple[int, int] = (0, 1)
    hook: HookPoint = HOOK
    dictionary: type = Relu
    metadata: dict = field(default_factory=dict)

    def recognise(self, source, _options):
        if not source.has("tiny.json", "tiny.safetensors") or source.json("tiny.json").get("format") != "tiny":
            return None
        shape = source.tensors("tiny.safetensors")["W_enc"].shape
        return Recognised("relu", (self.hook,), *(shape[i] for i in self.sizes))

    def load(self, source, _options):
        tensors = source.safetensors("tiny.safetensors")
        if not {"W_enc", "b_enc", "W_dec", "b_dec"} <= tensors.keys():
            raise SuiteError("not all weights are there")
        return Suite.at_hook("tiny", "any", HOOK, self.dictionary(**tensors), self.metadata)


class RaisesOnForeign(Tiny):
    def recognise(self, source, options):
        return super().recognise(source, options) if source.json("tiny.json")["format"] == "tiny" else None


class ClaimsAll(Tiny):
    def recognise(self, source, options):
        return super().recognise(source, options) or Recognised("relu", (), 1, 1)


class ReadsByHand(Tiny):
    """Finds its hook by cutting text, whatever is in the file."""

    def load(self, source, options):
        text = source.file("tiny.json").read_text()
        assert text.split('"')[7] == "resid_pre.1"
        return super().load(source, options)

    def recognise(self, source, _options):
        if not source.has("tiny.json", "tiny.safetensors"):
            return None
        return Recognised("relu", (self.hook,), D_IN, D_SAE)


class RecognisesNothing(Tiny):
    def recognise(self, _source, _options):
        return None


class LoadsADictionary(Tiny):
    def load(self, _source, _options):
        return native(Relu)


class Converts(Tiny):
    def load(self, source, options):
        (source.path / "converted.bin").write_bytes(b"x")
        return super().load(source, options)


class Counts(Tiny):
    def load(self, source, options):
        self.metadata["loads"] = self.metadata.get("loads", 0) + 1
        return super().load(source, options)


class InitialisesGlobally(Tiny):
    def load(self, source, options):
        torch.nn.Linear(2, 2)  # draws weights that are never used
        return super().load(source, options)


@dataclass(frozen=True, eq=False, kw_only=True)
class ReluOutputOnDisk(Relu):
    def decode(self, f):
        return torch.relu(super().decode(f))


def loader(parts, **changes):
    return Loader(
        **{"name": "tiny", "summary": "A format of this test.", **changes}, recognise=parts.recognise, load=parts.load
    )


LOADER_FAULTS = [
    ("record", lambda: loader(Tiny(), name="My Tiny")),
    ("record", lambda: loader(Tiny(), summary="two\nlines")),
    ("recognises", lambda: loader(RecognisesNothing())),
    ("loads", lambda: loader(LoadsADictionary())),
    ("foreign-sources", lambda: loader(RaisesOnForeign())),
    ("foreign-sources", lambda: loader(ClaimsAll())),
    ("damaged-sources", lambda: loader(ReadsByHand())),
    ("source-unchanged", lambda: loader(Converts())),
    ("same-shapes", lambda: loader(Tiny(sizes=(1, 0)))),
    ("same-shapes", lambda: loader(Tiny(hook=HookPoint("resid_post", 1)))),
    ("repeatable", lambda: loader(Counts())),
    ("global-state", lambda: loader(InitialisesGlobally())),
    ("affinity", lambda: loader(Tiny(dictionary=ReluOutputOnDisk))),
]


def test_a_sound_loader_passes(source):
    check_loader(loader(Tiny()), source)
    results = run_checks(LoaderCase(loader(Tiny()), str(source), LoadOptions()))
    # one dictionary at five roles is checked once
    assert sum(result.check == "affinity" for result in results) == 1


@pytest.mark.parametrize(("check", "make"), LOADER_FAULTS)
def test_a_faulty_loader_fails_the_check_for_it(check, make, source):
    with pytest.raises(ConformanceError) as caught:
        check_loader(make(), source)
    assert caught.value.check == check


# --- the kit itself ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "faults", "without"),
    [
        # planted above, with an oracle; the other needs a GPU
        (DictionaryCase(Sound()), DICTIONARY_FAULTS, {"reconstruction", "cuda"}),
        (EditCase(exchange), EDIT_FAULTS, set()),
        (MetricCase(distance, ARGUMENTS), METRIC_FAULTS, set()),
        (LoaderCase(loader(Tiny()), "nowhere"), LOADER_FAULTS, set()),
    ],
)
def test_every_check_has_a_fault_that_only_it_is_there_for(case, faults, without):
    assert {check.name for check in case.checks} - without <= {name for name, _ in faults}
