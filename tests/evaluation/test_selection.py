"""Selection against METHOD §5 in plain loops; ties, NaN, interruptions; and that nothing of test is read."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from edit_definitions import ORACLES, Prompt
from selection_examples import Member, MemoryRun, trained_run

from ioi_bench.dictionaries.architectures import Relu
from ioi_bench.dictionaries.suite import load_suite, save_suite
from ioi_bench.editing import EDITS, feature_statistics
from ioi_bench.errors import DictionaryError, InputError, SuiteError, UnknownNameError
from ioi_bench.evaluation.candidate_estimate import estimate_candidates
from ioi_bench.evaluation.candidate_figures import SiteView, ValueSums, spoilt_figures
from ioi_bench.evaluation.selection import (
    COLUMNS,
    candidates_table,
    headline_attributes,
    select,
    selected_suite,
    with_chosen,
)
from ioi_bench.sites import Cell, Site
from ioi_bench.task import TaskSpec, task_spec, tokenize
from ioi_bench.task import spec as spec_module

TRAIN, PROMPTS = 300, 5
SWEEP = {"relu": (0.1, 1.0), "topk": (1.0, 2.0)}
SPEC = task_spec("ioi-v1-mini")
SMALL = {"prompts": PROMPTS, "train_prompts": TRAIN, "ld_prompts": 4}


@pytest.fixture(scope="module")
def activations(tiny_model, tiny_circuit):
    tokens = tokenize(SPEC, SPEC.split("train").head(TRAIN).prompts, tiny_model.tokenizer)
    return dict(tiny_model.capture(tokens, tiny_circuit.sites))


@pytest.fixture(scope="module")
def run(activations):
    return trained_run(activations, sweep=SWEEP)


@pytest.fixture(scope="module")
def table(run, tiny_model, tiny_circuit):
    return candidates_table(run, tiny_model, tiny_circuit, **SMALL)


@pytest.fixture(scope="module")
def choices(table):
    return select(table)


# --- the oracle ------------------------------------------------------------------------------------------------------


class Loops:
    """Mean edit distances by METHOD §5 and §6, prompt by prompt, from activations captured here."""

    def __init__(self, model, circuit, train):
        self.circuit, self.train = circuit, train
        self.splits = {"train": SPEC.split("train").head(TRAIN), "judged": SPEC.split("validation").head(PROMPTS)}
        self.base = self._capture(model, self.splits["judged"].prompts)
        self.targets = {edit: self.splits["judged"].counterfactual(edit.split("+")) for edit in ("io", "s", "pos+s")}
        self.cf = {edit: self._capture(model, prompts) for edit, prompts in self.targets.items()}

    def _capture(self, model, prompts):
        return model.capture(tokenize(SPEC, prompts, model.tokenizer), self.circuit.sites)

    def edits(self, site):
        cells = (*self.circuit.headline, *self.circuit.further)
        return [cell.edit for cell in cells if site in self.circuit.cross_sections[cell.cross_section].sites]

    def distance(self, dictionary, site, edit, method, k=2):
        def value(prompt):
            return tuple(prompt.value((attribute,)) for attribute in edit.split("+"))

        f_train = dictionary.encode(self.train[site]).tolist()
        values = [value(prompt) for prompt in self.splits["train"].prompts]
        f_s, f_t = dictionary.encode(self.base[site]), dictionary.encode(self.cf[edit][site])
        distances = []
        for p, prompt in enumerate(self.splits["judged"].prompts):
            one = Prompt.__new__(Prompt)
            one.a_s, one.a_t = self.base[site][p].tolist(), self.cf[edit][site][p].tolist()
            one.f_s, one.f_t, one.d = f_s[p].tolist(), f_t[p].tolist(), dictionary.directions.tolist()
            one.base, one.target = 0, 1
            both = [self._knows(f_train, values, v) for v in (value(prompt), value(self.targets[edit][p]))]
            one.f1, one.mean = ([part[i] for part in both] for i in (0, 1))
            one.tie = 1e-6 * math.dist(one.a_s, one.a_t) ** 2
            distances.append(math.dist(ORACLES[method](one, k)[-1][2], one.a_t))
        return sum(distances) / len(distances)

    @staticmethod
    def _knows(features, values, wanted):
        """F1 and mean activation of every feature, for one value."""
        f1, mean = [], []
        for column in zip(*features, strict=True):
            has = [value == wanted for value in values]
            hit = sum(f != 0 and own for f, own in zip(column, has, strict=True))
            active = sum(f != 0 for f in column)
            useful = 0 < active < len(column)
            f1.append(2 * hit / (sum(has) + active) if useful else 0.0)
            mean.append(sum(f for f, own in zip(column, has, strict=True) if own) / max(1, sum(has)))
        return f1, mean


def test_distances_and_choices_are_those_of_the_definition(run, table, tiny_model, tiny_circuit, activations):
    loops = Loops(tiny_model, tiny_circuit, activations)
    by_hand = table.copy()
    cases = table[table["site"].isin(["z.1.0@end", "z.0.1@s2"])]
    assert len(cases) == 2 * 2 * 2 * (3 + 1) * len(EDITS)
    for i, row in cases.iterrows():
        site = Site.parse(row["site"])
        member = Member(row["variant"], site, row["sparsity"], row["seed"])
        found = loops.distance(run.weights[member, row["epoch"]], site, row["attribute"], row["method"])
        assert row["distance"] == pytest.approx(found, rel=1e-4)
        by_hand.loc[i, "distance"] = found
    mine, theirs = select(table), select(by_hand)
    pd.testing.assert_frame_equal(
        mine[["suite", "site", "sparsity", "epoch"]], theirs[["suite", "site", "sparsity", "epoch"]]
    )
    assert set(mine["sparsity"]) == {0.1, 1.0, 2.0}  # neither λ wins everywhere


def test_a_row_for_every_dictionary_attribute_and_method(table, run, tiny_circuit):
    assert list(table.columns) == list(COLUMNS)
    assert not table.duplicated(["variant", "sparsity", "seed", "site", "epoch", "attribute", "method"]).any()
    late, early = 4 * 3, 2 * 1  # io, s, pos+s at the late heads; s at the early ones
    assert len(table) == len(run.weights) / 6 * (late + early) * len(EDITS)
    assert set(table.loc[table["site"] == "z.0.0@s2", "attribute"]) == {"s"}
    assert table["method"].head(4).tolist() == list(EDITS)
    assert list(table["attribute"].drop_duplicates())[:1] == ["s"]  # z.0.0@s2 is the first site
    assert not (table["problem"] != "").any()


# --- figures with a known answer -------------------------------------------------------------------------------------


def plain(x, *, scale=2.0, alive=True):
    """Lossless (rows ±e_i), or without any active feature: only the train mean."""
    d = x.shape[1]
    eye = torch.cat([torch.eye(d), -torch.eye(d)])
    bias = torch.zeros(2 * d) if alive else torch.full((2 * d,), -1e6)
    return Relu(W_enc=eye.T.contiguous(), W_dec=eye, b_enc=bias, b_dec=scale * x.mean(0), scale=scale)


def test_lossless_and_empty_dictionaries(activations, tiny_model, tiny_circuit):
    weights = {}
    for site, x in activations.items():
        weights[Member("relu", site, 0.0, 0), 1] = plain(x)
        weights[Member("relu", site, 9.0, 0), 1] = plain(x, alive=False)
    found = candidates_table(MemoryRun(weights), tiny_model, tiny_circuit, budget=16, **SMALL)
    perfect, empty = (found[found["sparsity"] == sparsity] for sparsity in (0.0, 9.0))
    assert perfect["fvu"].max() < 1e-9
    assert perfect["l2"].max() < 1e-9
    reliable = perfect["ld_reliable"]
    assert 0 < reliable.sum() < len(perfect)
    assert np.allclose(perfect.loc[reliable, "ld_recovered"], 1, atol=1e-4)
    assert perfect.loc[perfect["method"] == "exchange", "distance_relative"].max() < 1e-4
    assert (empty["dead_share"] == 1).all()
    assert (empty["l0"] == 0).all()
    assert np.allclose(empty.loc[empty["ld_reliable"], "ld_recovered"], 0, atol=1e-4)
    assert np.allclose(empty["distance_relative"], 1)  # nothing can be edited
    chosen = select(found)
    assert set(chosen.loc[chosen["method"] == "exchange", "sparsity"]) == {0.0}


def test_l2_is_in_the_units_of_the_sae(activations, tiny_model, tiny_circuit):
    site = Site.parse("z.1.2@end")
    member = Member("relu", site, 1.0, 0)
    empty = plain(activations[site], scale=3.0, alive=False)
    found = candidates_table(MemoryRun({(member, 1): empty}), tiny_model, tiny_circuit, **SMALL).iloc[0]
    tokens = tokenize(SPEC, SPEC.split("validation").head(PROMPTS).prompts, tiny_model.tokenizer)
    x = tiny_model.capture(tokens, [site])[site]
    expected = (3.0 * x - empty.b_dec).square().sum(1).mean()
    assert found["l2"] == pytest.approx(expected.item(), rel=1e-5)


def test_sums_by_value_are_the_statistics_of_edits():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(5000, 6, generator=g)
    dictionary = Relu(
        W_enc=torch.randn(6, 20, generator=g),
        W_dec=torch.randn(20, 6, generator=g),
        b_enc=torch.tensor([-100.0, 100.0] + [0.0] * 18),  # one never active, one always
        b_dec=torch.zeros(6),
    )
    values = {"io": torch.randint(7, (5000,), generator=g), "pos": torch.randint(2, (5000,), generator=g)}
    values["io"][values["io"] == 3] = 4  # a value that does not occur
    found, fires = ValueSums(values, {"io": 7, "pos": 2}, ["io", "pos"]).statistics(dictionary, x)
    f = dictionary.encode(x)
    for edit, n in (("io", 7), ("pos", 2)):
        expected = feature_statistics(f, values[edit], n)
        assert torch.equal(found[edit].f1, expected.f1)
        torch.testing.assert_close(found[edit].conditional_mean, expected.conditional_mean, rtol=1e-6, atol=0)
        torch.testing.assert_close(found[edit].mean, expected.mean, rtol=1e-6, atol=0)
    assert torch.equal(fires, (f != 0).any(0))


def test_batches_and_threads_change_nothing(run, table, tiny_model, tiny_circuit):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        other = candidates_table(run, tiny_model, tiny_circuit, batch_size=7, **SMALL)
    finally:
        torch.set_num_threads(before)
    pd.testing.assert_frame_equal(other, table, rtol=1e-4, atol=1e-6)


# --- choosing --------------------------------------------------------------------------------------------------------


def rows(*entries, variant="gated", site="z.1.0@end", seed=0):
    """Entries are sparsity, epoch, distance."""
    made = [dict(zip(("sparsity", "epoch", "distance"), entry, strict=True)) for entry in entries]
    fixed = {"variant": variant, "seed": seed, "site": site, "attribute": "io", "method": "exchange", "problem": ""}
    return pd.DataFrame([fixed | one for one in made])


@pytest.mark.parametrize("seed", range(5))
def test_ties_go_to_the_lower_sparsity_then_to_the_earlier_checkpoint(seed):
    table = rows((2.0, 1, 0.5), (1.0, 8, 0.5), (1.0, 4, 0.5), (0.5, 1, 0.6)).sample(frac=1, random_state=seed)
    chosen = select(table).iloc[0]
    assert (chosen["sparsity"], chosen["epoch"], chosen["distance"]) == (1.0, 4, 0.5)
    assert (chosen["runner_up_sparsity"], chosen["runner_up_epoch"], chosen["runner_up_distance"]) == (1.0, 8, 0.5)


def test_nan_and_infinity_never_win():
    chosen = select(rows((1.0, 1, math.nan), (2.0, 1, 3.0), (3.0, 1, -math.inf))).iloc[0]
    assert chosen["sparsity"] == 2.0
    assert math.isnan(chosen["runner_up_distance"])


def test_nothing_to_choose_says_why():
    table = rows((1.0, 1, math.nan), (2.0, 1, math.nan)).assign(problem="W_dec has 3 NaN")
    with pytest.raises(InputError, match=r"none of 2 rows has a finite distance \(W_dec has 3 NaN\).*train anew"):
        select(table)
    with pytest.raises(UnknownNameError, match="distance"):
        select(table, by="distances")


def test_the_last_epoch_alone():
    table = pd.concat([rows((1.0, 1, 0.1), (1.0, 8, 0.5), (2.0, 8, 0.4)), rows((3, 4, 0.2), variant="topk")])
    chosen = select(table, last_epoch=True)
    assert chosen[["suite", "sparsity", "epoch"]].to_numpy().tolist() == [["gated-s0", 2.0, 8], ["topk-k3-s0", 3.0, 4]]
    assert select(table)["epoch"].tolist() == [1, 4]


def test_k_is_part_of_the_name_and_lambda_is_selected():
    table = pd.concat([rows((3, 1, 0.3), (6, 1, 0.1), variant="topk"), rows((0.5, 1, 0.3), (1.0, 1, 0.1))])
    assert select(table)["suite"].tolist() == ["gated-s0", "topk-k3-s0", "topk-k6-s0"]
    over_all = select(table, fixed=())
    assert over_all[["suite", "sparsity"]].to_numpy().tolist() == [["gated-s0", 1.0], ["topk-s0", 6.0]]


def test_seeds_sites_attributes_and_methods_choose_apart():
    parts = [rows((1.0, 1, 0.2), (2.0, 1, 0.1)), rows((1.0, 1, 0.1), (2.0, 1, 0.2), seed=1)]
    parts.append(rows((1.0, 1, 0.1), (2.0, 1, 0.2), site="z.1.1@end"))
    parts += [parts[2].assign(site="z.1.0@end", method="aware"), parts[2].assign(site="z.1.0@end", attribute="pos")]
    chosen = select(pd.concat(parts)).set_index(["seed", "site", "attribute", "method"])["sparsity"].to_dict()
    assert chosen.pop((0, "z.1.0@end", "io", "exchange")) == 2.0
    assert set(chosen.values()) == {1.0}
    assert len(chosen) == 4


def test_the_chosen_rows_are_marked(table, choices):
    marked = with_chosen(table, choices)
    assert marked["chosen"].sum() == len(choices)
    assert marked.loc[marked["chosen"], "distance"].sum() == pytest.approx(choices["distance"].sum())


# --- suites ----------------------------------------------------------------------------------------------------------


def suite_of(run, choices, model, circuit, **options):
    asked = {"variant": "relu", "seed": 0, "method": "exchange"} | options
    return selected_suite(run, choices, model=model, circuit=circuit, **asked)


def test_a_suite_holds_what_was_chosen_for_each_site(run, choices, tiny_model, tiny_circuit, tmp_path):
    suite = suite_of(run, choices, tiny_model, tiny_circuit)
    assert suite.name == "relu-s0"
    assert set(suite.sites) == set(tiny_circuit.sites)
    served = headline_attributes(tiny_circuit)
    own = choices[(choices["suite"] == "relu-s0") & (choices["method"] == "exchange")].set_index(["site", "attribute"])
    for site, dictionary in suite.dictionaries.items():
        row = own.loc[(str(site), served[site])]
        assert dictionary is run.weights[Member("relu", site, row["sparsity"], 0), row["epoch"]]
    save_suite(suite, tmp_path / "suite")
    again = load_suite(tmp_path / "suite")
    said = again.metadata["selection"]
    assert again.sha256 == suite.sha256
    assert (said["split"], said["method"], said["prompts"], said["train_prompts"]) == (
        "validation",
        "exchange",
        PROMPTS,
        TRAIN,
    )
    assert len(said["choices"]) == (choices["suite"] == "relu-s0").sum() == (4 * 3 + 2) * len(EDITS)
    assert said["chosen"]["z.0.0@s2"]["attribute"] == "s"
    row = own.loc[("z.0.0@s2", "s")]
    assert said["chosen"]["z.0.0@s2"]["distance"] == row["distance"]
    assert said["chosen"]["z.0.0@s2"]["runner_up"]["distance"] == row["runner_up_distance"] >= row["distance"]
    assert again.metadata["training"] == run.recipe


def test_a_site_of_two_headline_cells_serves_the_first(run, choices, tiny_model, tiny_circuit):
    said = suite_of(run, choices, tiny_model, tiny_circuit).metadata["selection"]
    late = [f"z.1.{head}@end" for head in range(4)]
    assert said["headline_of_several"] == {site: ["io", "s"] for site in late}
    assert {said["chosen"][site]["attribute"] for site in late} == {"io"}
    turned = replace(tiny_circuit, headline=tuple(map(Cell.parse, ("s@out", "io@out", "s@mid"))))
    assert headline_attributes(turned)[Site.parse(late[0])] == "s"


def test_another_attribute_where_it_is_edited(run, choices, tiny_model, tiny_circuit):
    said = suite_of(run, choices, tiny_model, tiny_circuit, attribute="pos+s").metadata["selection"]["chosen"]
    assert said["z.1.0@end"]["attribute"] == "pos+s"
    assert said["z.0.0@s2"]["attribute"] == "s"
    with pytest.raises(UnknownNameError, match="attribute"):
        suite_of(run, choices, tiny_model, tiny_circuit, attribute="place")


def test_half_precision_keeps_half(run, choices, tiny_model, tiny_circuit):
    suite = suite_of(run, choices, tiny_model, tiny_circuit, half=True)
    for dictionary in suite.dictionaries.values():
        assert {tensor.dtype for tensor in dictionary.tensors.values()} == {torch.float16}
        assert dictionary.encode(torch.ones(2, dictionary.d_in)).dtype == torch.float32


def test_k_must_be_said_where_there_are_several(run, choices, tiny_model, tiny_circuit):
    suite = suite_of(run, choices, tiny_model, tiny_circuit, variant="topk", sparsity=2.0)
    assert suite.name == "topk-k2-s0"
    assert {dictionary.k for dictionary in suite.dictionaries.values()} == {2}
    for sparsity in (None, 3.0):
        with pytest.raises(InputError, match="topk-k1-s0, topk-k2-s0: give sparsity"):
            suite_of(run, choices, tiny_model, tiny_circuit, variant="topk", sparsity=sparsity)
    with pytest.raises(InputError, match=r"relu-s0.*got 1"):
        suite_of(run, choices, tiny_model, tiny_circuit, sparsity=1.0)
    with pytest.raises(UnknownNameError, match="relu"):
        suite_of(run, choices, tiny_model, tiny_circuit, variant="relo")
    with pytest.raises(InputError, match=r"the seeds \[0\]"):
        suite_of(run, choices, tiny_model, tiny_circuit, seed=5)


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_a_spoilt_dictionary_has_no_figures_and_is_never_chosen(run, tiny_model, tiny_circuit):
    site, other = Site.parse("z.1.0@end"), Site.parse("z.1.1@end")
    weights = {key: one for key, one in run.weights.items() if key[0].site in (site, other)}
    weights[Member("relu", site, 0.1, 0), 30] = DictionaryError("W_enc has 7 NaN or Inf in it")
    overflows = weights[Member("topk", site, 1.0, 0), 1]
    weights[Member("topk", site, 1.0, 0), 1] = replace(overflows, W_enc=overflows.W_enc * 3e38)
    found = candidates_table(MemoryRun(weights), tiny_model, tiny_circuit, **SMALL)
    bad = found[found["problem"] != ""]
    assert len(bad) == 2 * 3 * len(EDITS)
    assert bad[["distance", "l0", "fvu", "ld_recovered"]].isna().all(axis=None)
    assert found[found["problem"] == ""]["distance"].notna().all()
    assert select(found)["distance"].notna().all()
    for key in weights:
        if key[0].site == site:
            weights[key] = DictionaryError("W_enc has 7 NaN or Inf in it")
    chosen = select(candidates_table(MemoryRun(weights), tiny_model, tiny_circuit, **SMALL))
    with pytest.raises(InputError, match=r"relu-s0: nothing could be chosen for io at z\.1\.0@end"):
        suite_of(MemoryRun(weights), chosen, tiny_model, tiny_circuit)


def test_input_that_makes_no_sense(run, tiny_model, tiny_circuit):
    with pytest.raises(UnknownNameError, match="exchange"):
        candidates_table(run, tiny_model, tiny_circuit, methods=["exchang"], **SMALL)
    with pytest.raises(InputError, match="distinct names"):
        candidates_table(run, tiny_model, tiny_circuit, methods=[], **SMALL)
    with pytest.raises(InputError, match="budgets"):
        candidates_table(run, tiny_model, tiny_circuit, budget=0, **SMALL)
    with pytest.raises(InputError, match="5001 prompts"):
        candidates_table(run, tiny_model, tiny_circuit, prompts=5001)
    with pytest.raises(SuiteError, match="name the run's own model"):
        candidates_table(replace(run, provenance={"model_sha256": "0" * 64}), tiny_model, tiny_circuit, **SMALL)
    with pytest.raises(InputError, match="nothing to select among: 0 members"):
        candidates_table(MemoryRun({}), tiny_model, tiny_circuit, **SMALL)


class Stopped(Exception):
    pass


def counted(monkeypatch, stop_after=None):
    """Count the dictionaries that are judged, and stop the work after so many."""
    judged, judge = [], SiteView.judge

    def spy(self, *args):
        if stop_after is not None and len(judged) >= stop_after:
            raise Stopped
        judged.append(self.site)
        return judge(self, *args)

    monkeypatch.setattr(SiteView, "judge", spy)
    return judged


def test_work_that_was_cut_off_goes_on(run, table, tiny_model, tiny_circuit, tmp_path, monkeypatch):
    judged = counted(monkeypatch, stop_after=30)
    with pytest.raises(Stopped):
        candidates_table(run, tiny_model, tiny_circuit, keep=tmp_path, **SMALL)
    monkeypatch.undo()
    kept = len(
        pd.read_parquet(next(tmp_path.glob("*.parquet")))[["site", "sparsity", "variant", "epoch"]].drop_duplicates()
    )
    assert 0 < kept <= len(judged) == 30
    judged = counted(monkeypatch)
    told = []
    again = candidates_table(
        run, tiny_model, tiny_circuit, keep=tmp_path, progress=lambda *told_now: told.append(told_now), **SMALL
    )
    assert len(judged) == len(run.weights) - kept
    pd.testing.assert_frame_equal(again, table)
    assert told[-1] == ("dictionaries", len(run.weights), len(run.weights))
    judged.clear()
    pd.testing.assert_frame_equal(candidates_table(run, tiny_model, tiny_circuit, keep=tmp_path, **SMALL), table)
    assert judged == []


def test_only_what_has_changed_is_made_anew(run, table, tiny_model, tiny_circuit, tmp_path, monkeypatch):
    candidates_table(run, tiny_model, tiny_circuit, keep=tmp_path, **SMALL)
    judged = counted(monkeypatch)
    key = (Member("relu", Site.parse("z.0.0@s2"), 0.1, 0), 30)
    changed = MemoryRun(run.weights | {key: replace(run.weights[key], b_enc=run.weights[key].b_enc - 1)})
    found = candidates_table(changed, tiny_model, tiny_circuit, keep=tmp_path, **SMALL)
    assert judged == [key[0].site]
    assert (found["sha256"] != table["sha256"]).sum() == len(EDITS)
    judged.clear()
    candidates_table(changed, tiny_model, tiny_circuit, keep=tmp_path, **SMALL | {"prompts": 4})
    assert len(judged) == len(run.weights)
    assert len(list(tmp_path.glob("*.parquet"))) == 2


@pytest.mark.parametrize("damage", [b"", b"PAR1 and no more", None])
def test_a_damaged_file_is_made_anew(damage, run, tiny_model, tiny_circuit, tmp_path):
    some = MemoryRun({key: one for key, one in run.weights.items() if key[0].site == Site.parse("z.0.0@s2")})
    first = candidates_table(some, tiny_model, tiny_circuit, keep=tmp_path, **SMALL)
    file = next(tmp_path.glob("*.parquet"))
    file.write_bytes(file.read_bytes()[:-20] if damage is None else damage)
    pd.testing.assert_frame_equal(candidates_table(some, tiny_model, tiny_circuit, keep=tmp_path, **SMALL), first)
    assert len(pd.read_parquet(file)) == len(first)


# --- the test split --------------------------------------------------------------------------------------------------


def test_nothing_of_test_is_read(run, tiny_model, tiny_circuit, tmp_path, monkeypatch):
    """Test prompts are drawn with the others (no prompt may be in two splits); from then on they are out of reach."""
    splits = {name: SPEC.split(name) for name in ("train", "validation", "test")}
    test = splits.pop("test")
    read, text, split = [], TaskSpec.text, TaskSpec.split

    def guarded(self, name):
        assert name in splits, f"the split {name} was asked for"
        return split(self, name)

    def recorded(self, prompt):
        read.append(prompt)
        return text(self, prompt)

    monkeypatch.setattr(spec_module, "_splits", lambda _: splits)
    monkeypatch.setattr(TaskSpec, "split", guarded)
    monkeypatch.setattr(TaskSpec, "text", recorded)  # whatever is tokenised or hashed becomes text first
    found = candidates_table(run, tiny_model, tiny_circuit, keep=tmp_path / "rows", **SMALL)
    suite = suite_of(run, select(found), tiny_model, tiny_circuit)
    save_suite(suite, tmp_path / "suite")
    assert len(set(read)) >= TRAIN + PROMPTS
    judged = splits["validation"].head(PROMPTS)
    allowed = {*splits["train"].head(TRAIN).prompts, *judged.prompts}
    for attributes in (("io",), ("s",), ("pos", "s")):
        allowed |= set(judged.counterfactual(attributes))
    assert set(read) == allowed
    assert not set(read) & set(test.prompts)


def test_an_estimate_is_of_what_is_left(run, tiny_model, tiny_circuit, tmp_path, monkeypatch):
    options = {"prompts": 8, "train_prompts": 60, "keep": tmp_path, "ld_prompts": 0}

    def slow(self, *_):
        time.sleep(0.05)
        return (*spoilt_figures(self.edits, EDITS), None)

    with monkeypatch.context() as patch:
        patch.setattr(SiteView, "judge", slow)
        found = estimate_candidates(run, tiny_model, tiny_circuit, **options)
    assert found.dictionaries == found.left == len(run.weights)
    ideal = 0.05 * found.left / torch.get_num_threads()
    assert ideal <= found.seconds < 4 * ideal + 20  # and the reading of activations; a machine may be busy
    assert not list(tmp_path.iterdir())
    half = MemoryRun({key: one for key, one in run.weights.items() if key[0].variant == "topk"})
    candidates_table(half, tiny_model, tiny_circuit, **options)
    rest = estimate_candidates(run, tiny_model, tiny_circuit, **options)
    assert rest.left == found.left - len(half.weights)
    done = estimate_candidates(half, tiny_model, tiny_circuit, **options)
    assert (done.dictionaries, done.left, done.seconds) == (len(half.weights), 0, 0.0)
