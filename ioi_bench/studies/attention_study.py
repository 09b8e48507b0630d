"""The study of attention: heads' scores at IO and S1, taken apart by the skyline's features and by those of a suite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxtyping import Float
from torch import Tensor

from ioi_bench.dictionaries.codes import Labels, SupervisedCodes
from ioi_bench.dictionaries.suite_content import Suite, check_fits
from ioi_bench.errors import InputError, SuiteError
from ioi_bench.evaluation.bootstrap import Bootstrap, Interval, name_pairs
from ioi_bench.evaluation.data import Capture, Progress, silent, split_of, values_of
from ioi_bench.evaluation.shipped import fit_codes, read_skylines
from ioi_bench.sites import Role, Site
from ioi_bench.studies.attention import (
    EXPECTED_PAIRS,
    KEY_ROLES,
    TARGETS,
    Parts,
    TargetFigures,
    expected_mask,
    pair_terms,
    skyline_parts,
    target_figures,
)
from ioi_bench.studies.attention_features import FeaturePair, feature_pairs, know_features

if TYPE_CHECKING:
    from ioi_bench.lm.circuit import Circuit
    from ioi_bench.lm.model import LanguageModel

__all__ = ["SKYLINE", "AttentionStudy", "HeadFigures", "head_sites", "study_attention"]

SKYLINE = "skyline"
GROUP = "name-mover"

Activations = Mapping[Site, Float[Tensor, "prompt d_in"]]


@dataclass(frozen=True, eq=False)
class HeadFigures:
    """One head, taken apart by one set of features.

    Attributes:
        head: such as ``9.9``.
        features: ``skyline``, or the suite's name.
        q, k: the parts of query and keys, in the order of the figures' rows and columns.
        targets: the figures by target (`ioi_bench.studies.attention.TARGETS`).
        kinds: of a suite, per site, how many of the features that vary on train are of each kind.
        pairs: of a suite, the strongest pairs of single features.
    """

    head: str
    features: str
    q: tuple[str, ...]
    k: tuple[str, ...]
    targets: Mapping[str, TargetFigures]
    kinds: Mapping[str, Mapping[str, int]]
    pairs: tuple[FeaturePair, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        targets = {
            name: {
                "score": found.score,
                "spread": found.spread,
                "mean": found.mean.tolist(),
                "share": found.share.tolist(),
                "expected_mean": _plain(found.expected_mean),
                "expected_share": _plain(found.expected_share),
            }
            for name, found in self.targets.items()
        }
        pairs = [asdict(pair) | {"key": str(pair.key)} for pair in self.pairs]
        return {
            "head": self.head,
            "features": self.features,
            "q": list(self.q),
            "k": list(self.k),
            "targets": targets,
            "kinds": {site: dict(counts) for site, counts in self.kinds.items()},
            "pairs": pairs,
        }


def _plain(found: Interval) -> dict[str, float | None]:
    """JSON has no NaN."""
    return {name: value if isfinite(value) else None for name, value in asdict(found).items()}


@dataclass(frozen=True, eq=False)
class AttentionStudy:
    """All heads, by the skyline and then by the suite, and what made them."""

    model: str
    model_sha256: str
    spec_sha256: str
    suite_sha256: str | None
    n_prompts: int
    n_train_prompts: int
    seed: int
    heads: tuple[HeadFigures, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "study": "attention",
            "model": self.model,
            "model_sha256": self.model_sha256,
            "spec_sha256": self.spec_sha256,
            "suite_sha256": self.suite_sha256,
            "split": "test",
            "n_prompts": self.n_prompts,
            "n_train_prompts": self.n_train_prompts,
            "seed": self.seed,
            "expected_pairs": [list(pair) for pair in EXPECTED_PAIRS],
            "heads": [head.to_json() for head in self.heads],
        }


def head_sites(head: str) -> dict[Role, Site]:
    """Where a head's query (END) and keys (IO and S1) are read.

    >>> [str(site) for site in head_sites("9.9").values()]
    ['q.9.9@end', 'k.9.9@io', 'k.9.9@s1']

    Raises:
        InputError: not ``layer.head``.
    """
    layer, dot, index = head.partition(".")
    if not (dot and layer.isdecimal() and index.isdecimal()):
        raise InputError(f"{head!r} is not a head: write 'layer.head', such as '9.9'")
    places = {Role.END: "q", **dict.fromkeys(KEY_ROLES, "k")}
    return {role: Site(component, int(layer), int(index), role) for role, component in places.items()}


def study_attention(
    model: LanguageModel,
    circuit: Circuit,
    *,
    suite: Suite | None = None,
    heads: Sequence[str] = (),
    prompts: int | None = None,
    train_prompts: int | None = None,
    batch_size: int = 512,
    seed: int = 0,
    cache_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> AttentionStudy:
    """Take heads' attention scores on test apart; codes, means and kinds of features come from train.

    Args:
        model: whose heads.
        circuit: its task, and the heads that are studied by default.
        suite: dictionaries of q at END, k at IO and k at S1 of every head; None studies the skyline alone.
        heads: ``layer.head`` each; by default the circuit's name movers.
        prompts, train_prompts: only the first so many.
        batch_size: prompts at once; it changes nothing beyond float tolerance.
        seed: of the bootstrap.
        cache_dir: where captures are kept; None keeps none.
        progress: called as ``progress(what, done, total)``.

    Raises:
        InputError: a head that the model lacks, no head at all, or more prompts than there are.
        SuiteError: the suite is for another model, or lacks a dictionary that is needed.
        DictionaryError: a dictionary breaks its contract.
    """
    heads = tuple(dict.fromkeys(heads or circuit.heads.get(GROUP, ())))
    if not heads:
        raise InputError(f"the circuit {circuit.track!r} has no group {GROUP!r}: say which heads, such as --head 9.9")
    sites = {site: model.width(site) for head in heads for site in head_sites(head).values()}
    if suite is not None:
        _require_dictionaries(suite, sites, model)
    test, train = split_of(circuit, "test", prompts), split_of(circuit, "train", train_prompts)
    capture = Capture(model, batch_size, None if cache_dir is None else Path(cache_dir), progress or silent)
    codes = (read_skylines(model, train, set(sites)) or {}).get(SKYLINE)
    on_train: Activations = {}
    if codes is None or suite is not None:
        on_train = capture(train.spec, train.prompts, list(sites), "train activations")
    codes = codes or fit_codes(train, on_train).mean_codes()
    on_test = capture(test.spec, test.prompts, list(sites), "activations")
    boot = Bootstrap.of(name_pairs(test.prompts), seed=seed)
    labels, _ = values_of(test.spec, test.prompts, ())
    found = [_by_skyline(head, codes, on_test, labels, boot) for head in heads]
    if suite is not None:
        train_labels, n_values = values_of(train.spec, train.prompts, ())
        known = _Known(suite, on_train, train_labels, n_values)
        found += [_by_suite(head, known, on_test, boot) for head in heads]
    return AttentionStudy(
        model=model.name,
        model_sha256=model.sha256,
        spec_sha256=test.spec.sha256,
        suite_sha256=None if suite is None else suite.sha256,
        n_prompts=len(test),
        n_train_prompts=len(train),
        seed=seed,
        heads=tuple(found),
    )


def _require_dictionaries(suite: Suite, sites: Mapping[Site, int], model: LanguageModel) -> None:
    missing = [str(site) for site in sites if site not in suite.dictionaries]
    if missing:
        raise SuiteError(
            f"suite {suite.name!r} has no dictionary at {', '.join(missing)}: the study needs one at q@end, k@io and "
            "k@s1 of each head; name other heads (--head), or leave the suite out"
        )
    check_fits(suite, model, model.sha256)


@dataclass(frozen=True, eq=False)
class _Known:
    """A suite and the train data that say what its features are."""

    suite: Suite
    train: Activations
    labels: Labels
    n_values: Mapping[str, int]


def _by_skyline(
    head: str, codes: Mapping[Site, SupervisedCodes], activations: Activations, labels: Labels, boot: Bootstrap
) -> HeadFigures:
    parts = {role: skyline_parts(activations[site], codes[site], labels) for role, site in head_sites(head).items()}
    return _figures(head, SKYLINE, parts, boot)


def _by_suite(head: str, known: _Known, activations: Activations, boot: Bootstrap) -> HeadFigures:
    sites = head_sites(head)
    learnt = {
        role: know_features(known.suite.dictionaries[site], known.train[site], known.labels, known.n_values)
        for role, site in sites.items()
    }
    read = {role: (learnt[role], learnt[role].read(activations[site])) for role, site in sites.items()}
    found = _figures(head, known.suite.name, {role: features.parts for role, (_, features) in read.items()}, boot)
    kinds = {str(site): learnt[role].counts for role, site in sites.items()}
    pairs = feature_pairs(read[Role.END], {role: read[role] for role in KEY_ROLES})
    return replace(found, kinds=kinds, pairs=pairs)


def _figures(head: str, features: str, parts: Mapping[Role, Parts], boot: Bootstrap) -> HeadFigures:
    terms = pair_terms(parts[Role.END], {role: parts[role] for role in KEY_ROLES})
    expected = expected_mask(terms)
    targets = {target: target_figures(terms.of(target), expected, boot) for target in TARGETS}
    return HeadFigures(head, features, terms.q, terms.k, targets, {}, ())
