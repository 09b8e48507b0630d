"""Checking an edit method: picks, budgets, and a change that its record accounts for (METHOD §5)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
from jaxtyping import Float
from torch import Tensor

from ioi_bench.dictionary import AffineDecoder
from ioi_bench.editing import Edit, EditInputs, EditMethod
from ioi_bench.errors import InputError
from ioi_bench.plugins.records import EditRecord
from ioi_bench.testing.edit_inputs import converted, random_inputs, rows_of, tensors_of
from ioi_bench.testing.results import Case, Check, Finding, require_all
from ioi_bench.testing.tensors import (
    require_close,
    require_equal,
    require_finite,
    require_shape,
    require_state_kept,
    require_unchanged,
)

__all__ = ["EditCase", "check_edit"]

_ROUNDS = 8
_EVERY = tuple(range(1, _ROUNDS + 1))
_ACCOUNT = 1e-4


@dataclass(frozen=True, eq=False)
class EditCase:
    """An edit method and the inputs on which it is checked.

    Attributes:
        edit: the method, or its record.
        inputs: inputs of your own; checked beside random ones of 40 features at 48 dimensions, and of 96 at 32.
        seed: of what is drawn.
    """

    edit: EditMethod | EditRecord
    inputs: EditInputs | None = None
    seed: int = 0

    @property
    def subject(self) -> str:
        """What it is called in messages."""
        name = self.edit.name if isinstance(self.edit, EditRecord) else getattr(self.edit, "__name__", repr(self.edit))
        return f"edit {name}"

    @property
    def checks(self) -> Sequence[Check]:
        """All checks of an edit method."""
        return EDIT_CHECKS

    def further(self) -> Iterable[Case]:
        """Nothing."""
        return ()

    def __call__(self, inputs: EditInputs, budgets: tuple[int, ...]) -> Edit:
        """The edit."""
        return (self.edit.edit if isinstance(self.edit, EditRecord) else self.edit)(inputs, budgets)

    @cached_property
    def few(self) -> EditInputs:
        """Fewer features than dimensions: activations have an error term outside all directions."""
        return random_inputs(self.seed, d_sae=40, d_in=48)

    @cached_property
    def examples(self) -> tuple[EditInputs, ...]:
        """All inputs."""
        own = () if self.inputs is None else (self.inputs,)
        return (self.few, random_inputs(self.seed + 1, d_sae=96, d_in=32), *own)


def check_edit(edit: EditMethod | EditRecord, *, inputs: EditInputs | None = None, seed: int = 0) -> None:
    """Raise unless the edit method keeps its contract (METHOD §5): for a test of your own.

    Args:
        edit: the method, or its record.
        inputs: inputs of your own, beside the random ones.
        seed: of what is drawn.

    Raises:
        ConformanceError: an `AssertionError`: what was checked, what was found, what to do.
    """
    require_all(EditCase(edit, inputs, seed))


def _require_same(what: str, one: Edit, two: Edit, advice: str) -> None:
    for name in ("removed", "added", "edited"):
        require_equal(f"{name} {what}", getattr(one, name), getattr(two, name), advice)


def _shapes(case: EditCase) -> None:
    for inputs in case.examples:
        for budgets in ((1,), (1, 2, 4, 8), (3, 5)):
            edit = case(inputs, budgets)
            if not isinstance(edit, Edit) or tuple(edit.budgets) != budgets:
                given = getattr(edit, "budgets", type(edit).__name__)
                raise Finding(f"{given} for the budgets {budgets}", "return an ioi_bench.editing.Edit of these budgets")
            n, d_in = inputs.a_s.shape
            require_shape("edited", edit.edited, (len(budgets), n, d_in), "[budget, prompt, d_in]")
            for name in ("removed", "added"):
                picks = getattr(edit, name)
                require_shape(name, picks, (n, budgets[-1]), "[prompt, round]")
                if picks.dtype != torch.int64:
                    raise Finding(f"{name} of {picks.dtype}", "record feature indices as int64")


def _dtypes(case: EditCase) -> None:
    for dtype in (torch.float32, torch.float64):
        inputs = converted(case.few, dtype)
        edit = case(inputs, (1, 2))
        if edit.edited.dtype != dtype or edit.edited.device != inputs.a_s.device:
            raise Finding(
                f"edited of {edit.edited.dtype} from {dtype}", "compute in the inputs' dtype, on their device"
            )


def _picks(case: EditCase) -> None:
    for inputs in case.examples:
        edit, d_sae = case(inputs, _EVERY), len(inputs.directions)
        for name, picks in (("removed", edit.removed), ("added", edit.added)):
            low, high = int(picks.min()), int(picks.max())
            if low < -1 or high >= d_sae:
                raise Finding(f"{name} from {low} to {high} of {d_sae} features", "record an index, or −1 for none")
            ordered = picks.sort(1).values
            again = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
            if bool(again.any()):
                prompt, place = again.nonzero()[0].tolist()
                raise Finding(
                    f"feature {int(ordered[prompt, place])} twice in {name} of prompt {prompt}",
                    "choose a feature at most once: mask what was chosen",
                )


def _removed_active(case: EditCase) -> None:
    for inputs in case.examples:
        removed = case(inputs, _EVERY).removed
        idle = (removed >= 0) & (inputs.f_s.gather(1, removed.clamp(min=0)) == 0)
        if bool(idle.any()):
            prompt, place = idle.nonzero()[0].tolist()
            raise Finding(
                f"feature {int(removed[prompt, place])} removed from prompt {prompt}, where it is not active",
                "record −1 where nothing is taken out: counts of removed features go on the card",
            )


def _nested(case: EditCase) -> None:
    advice = "let a budget of k be the first k rounds of a larger one: decide nothing by the number of rounds"
    for inputs in case.examples:
        whole = case(inputs, _EVERY)
        for k in (1, 3, _ROUNDS):
            alone = case(inputs, (k,))
            for name in ("removed", "added"):
                what = f"{name} at budget {k}, alone and within {_ROUNDS} rounds,"
                require_equal(what, getattr(alone, name), getattr(whole, name)[:, :k], advice)
            require_close(f"edits at budget {k}, alone and among others,", alone.edited[0], whole.edited[k - 1], advice)


def _error_term(case: EditCase) -> None:
    inputs = case.few
    changes = case(inputs, (1, _ROUNDS)).edited - inputs.a_s
    basis = torch.linalg.qr(inputs.directions.T.double()).Q
    outside = changes.double() - changes.double() @ basis @ basis.T
    share = float(outside.norm(dim=-1).max() / inputs.a_s.double().norm(dim=-1).max())
    if not share <= _ACCOUNT:
        raise Finding(
            f"a change of {share:.2g} of the activation outside the span of all directions",
            "start from a_s and add steps along directions; do not replace a_s by its reconstruction",
        )


def _accounting(case: EditCase) -> None:
    """Round i's change, less the removal that it records, is a multiple of the direction that it records as added."""
    for inputs in case.examples:
        edit = case(inputs, _EVERY)
        steps = torch.cat([inputs.a_s[None], edit.edited]).double().diff(dim=0)
        directions, f_s = inputs.directions.double(), inputs.f_s.double()
        for i, step in enumerate(steps):
            removed, added = edit.removed[:, i], edit.added[:, i]
            taken = _values(f_s, removed) * directions[removed.clamp(min=0)]
            along = directions[added.clamp(min=0)] * (added >= 0)[:, None]
            rest = step + taken
            value = (rest * along).sum(1, keepdim=True) / along.square().sum(1, keepdim=True).clamp(min=1e-30)
            left = (rest - value * along).norm(dim=1)
            off = ~(left <= _ACCOUNT * (inputs.a_s.norm(dim=1) + step.norm(dim=1)))
            if bool(off.any()):
                prompt = int(off.nonzero()[0])
                raise Finding(
                    f"in round {i + 1} of prompt {prompt} (removed {int(removed[prompt])}, added {int(added[prompt])}) "
                    f"a change of norm {float(left[prompt]):.3g} that these do not explain",
                    "record every feature that a round changes: removed takes f_s[j]·d_j out, added puts a multiple "
                    "of its d_j in, −1 does nothing",
                )


def _values(features: Float[Tensor, "prompt d_sae"], picks: Tensor) -> Float[Tensor, "prompt 1"]:
    return (features.gather(1, picks.clamp(min=0)[:, None])) * (picks >= 0)[:, None]


def _determinism(case: EditCase) -> None:
    for inputs in case.examples:
        first, second = case(inputs, _EVERY), case(inputs, _EVERY)
        _require_same("in two runs", first, second, "break ties by index, and draw nothing")


def _statelessness(case: EditCase) -> None:
    first, other = case.examples[:2]
    before = case(first, _EVERY)
    kept = replace(before, edited=before.edited.clone(), removed=before.removed.clone(), added=before.added.clone())
    case(rows_of(first, torch.arange(len(first)).flip(0)), _EVERY)
    _require_same("as returned, and after another call,", kept, before, "return new tensors at every call")
    case(other, (1, 2))
    _require_same("before and after other inputs", kept, case(first, _EVERY), "keep nothing between calls")


def _batch_invariance(case: EditCase) -> None:
    advice = "edit every prompt from its own rows and from train: nothing over the other prompts"
    for inputs in case.examples:
        whole = case(inputs, _EVERY)
        for size in (1, 7):
            for start in range(0, len(inputs), size):
                rows = slice(start, start + size)
                part = case(rows_of(inputs, rows), _EVERY)
                for name in ("removed", "added"):
                    what = f"{name} in batches of {size} and of {len(inputs)}"
                    require_equal(what, getattr(part, name), getattr(whole, name)[rows], advice)
                require_close(f"edits in batches of {size} and of all", part.edited, whole.edited[:, rows], advice)


def _inputs_unchanged(case: EditCase) -> None:
    for inputs in case.examples:
        require_unchanged(tensors_of(inputs), partial(case, inputs, _EVERY))


def _global_state(case: EditCase) -> None:
    require_state_kept("the edit", lambda: case(case.few, _EVERY))


def _bad_budgets(case: EditCase) -> None:
    for budgets in ((), (0,), (2, 1), (1, 1), (-1, 2)):
        try:
            case(case.few, budgets)
        except InputError:
            continue
        except Exception as error:
            raise Finding(f"{type(error).__name__} for the budgets {budgets}", _CALL_CHECK_BUDGETS) from error
        raise Finding(f"no error for the budgets {budgets}", _CALL_CHECK_BUDGETS)


_CALL_CHECK_BUDGETS = "call ioi_bench.editing.base.check_budgets first: it raises InputError"


def _degenerate(case: EditCase) -> None:
    """Nothing active, nothing to reach, directions of zero, one feature and more rounds than features."""
    few, advice = case.few, "divide by nothing that may be 0, and record −1 in rounds that find nothing to do"
    nothing = torch.zeros_like(few.f_s)
    one = random_inputs(case.seed + 2, d_sae=1, d_in=3)
    flat = AffineDecoder(torch.zeros_like(few.directions), few.decoder.offset)
    for what, inputs in {
        "no active features": replace(few, f_s=nothing, f_t=nothing),
        "base and counterfactual alike": replace(few, a_t=few.a_s, f_t=few.f_s, target=few.base),
        "directions of zero": replace(few, decoder=flat),
        "one feature": one,
    }.items():
        edit = case(inputs, (1, 4))
        require_shape(f"edited with {what}", edit.edited, (2, *inputs.a_s.shape), "[budget, prompt, d_in]")
        require_finite(f"edits with {what}", edit.edited, advice)


EDIT_CHECKS = (
    Check("shapes", "edited, removed and added have the shapes of `Edit`", _shapes, essential=True),
    Check("inputs-unchanged", "inputs are left as they are", _inputs_unchanged),
    Check("dtypes", "edits have the inputs' dtype and device", _dtypes),
    Check("determinism", "the same inputs give the same edit, bit for bit", _determinism),
    Check("statelessness", "no call changes what another returns", _statelessness),
    Check("picks", "picks are features or −1, and none is chosen twice", _picks, essential=True),
    Check("removed-active", "a feature that is removed was active", _removed_active),
    Check("error-term", "the dictionary's error term stays: a change lies in the span of the directions", _error_term),
    Check("accounting", "removed and added account for every change, round by round", _accounting),
    Check("nested-budgets", "the first k rounds of a larger budget are the edit at budget k", _nested),
    Check("batch-invariance", "a prompt's edit does not depend on the other prompts", _batch_invariance),
    Check("global-state", "the process's settings and random generators are left alone", _global_state),
    Check("bad-budgets", "budgets that are not positive and increasing are an InputError", _bad_budgets),
    Check("degenerate", "where there is nothing to do the edit is finite", _degenerate),
)
