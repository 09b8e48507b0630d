"""The audit end to end on little, killed and resumed; and the report that is in the repository."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from ioi_bench.cli.app import app
from ioi_bench.dictionaries.suite import load_suite
from ioi_bench.errors import InputError
from ioi_bench.evaluation.audited import may_rank, why_not
from ioi_bench.evaluation.bootstrap import interval
from ioi_bench.evaluation.card import SCHEMA_VERSION
from ioi_bench.evaluation.data import split_of
from ioi_bench.evaluation.evaluate import evaluate
from ioi_bench.evaluation.score import SCORING
from ioi_bench.lm.circuit import load_circuit
from ioi_bench.lm.model import load_model
from ioi_bench.studies.audit.corruptions import CORRUPTIONS
from ioi_bench.studies.audit.gates import MAX_P, MIN_ICC, MIN_RHO
from ioi_bench.studies.audit.measured import METRICS, figures_of, metric_draws
from ioi_bench.studies.audit.page import audit_page
from ioi_bench.studies.audit.plan import Amount, Plan
from ioi_bench.studies.audit.study import audit, read_audit
from ioi_bench.studies.audit.units import Bench

ROOT = Path(__file__).parents[2]
SUITES = tuple(ROOT / "reference_saes" / "ioi-mini" / name for name in ("relu-s0", "relu-s1", "topk-k3-s0"))
LITTLE = Amount(100, 500, splits=2, seeds=2, planted_prompts=30, planted_train_prompts=500, shares=(0.5, 1.0))
OPTIONS = "--prompts 100 --train-prompts 500 --splits 2 --seeds 2 --planted-prompts 30 --planted-train-prompts 500"
N_UNITS = (3 + 2) + 2 + 1 + len(CORRUPTIONS) * 2 * 2
STOPPED = 4


class Killed(BaseException):
    """As SIGKILL: nothing of ours may catch it."""


@pytest.fixture(scope="module")
def little(tmp_path_factory):
    """A small audit that was killed after some evaluations, and gone on with."""
    folder, said = tmp_path_factory.mktemp("audit"), []
    model = load_model("ioi-mini")

    def killing(what, done, total):
        if what == "evaluations" and done == STOPPED:
            raise Killed

    def plan(progress):
        bench = Bench(model, load_circuit("ioi-mini"), folder / "keep", folder / "cache", progress)
        return Plan(bench, SUITES, None, LITTLE)

    with pytest.raises(Killed):
        audit(plan(killing), date="2026-01-01", command="x", announce=said.append)
    before = {path: path.stat().st_mtime_ns for path in (folder / "keep").iterdir()}
    found = audit(plan(lambda *_: None), date="2026-01-01", command="x", announce=said.append)
    after = {path: path.stat().st_mtime_ns for path in before}
    return SimpleNamespace(folder=folder, found=found, before=before, after=after, said=said, plan=plan)


def test_a_killed_audit_goes_on_where_it_was(little):
    assert len(little.before) == STOPPED
    assert little.after == little.before
    assert len(list((little.folder / "keep").iterdir())) == N_UNITS == len(little.found.rows)
    assert little.said[0].startswith(f"{N_UNITS} evaluations: 0 are kept from before, {N_UNITS} are to be made, about")
    resumed = next(text for text in little.said[1:] if "kept" in text)
    assert resumed.startswith(f"{N_UNITS} evaluations: {STOPPED} are kept from before")


def test_a_lost_evaluation_is_made_again_with_the_same_figures_and_a_damaged_one_is_named(little):
    path = next((little.folder / "keep").glob("relu-s0-*.npz"))
    with np.load(path) as file:
        figures = {name: file[name] for name in file.files if name != "seconds"}
    whole = path.read_bytes()
    path.unlink()
    again = audit(little.plan(lambda *_: None), date="2026-01-01", command="x", announce=lambda _: None)
    assert again == little.found
    with np.load(path) as file:
        for name, values in figures.items():
            np.testing.assert_array_equal(values, file[name])
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"relu-s0.*damaged.*delete it"):
        audit(little.plan(lambda *_: None), date="2026-01-01", command="x", announce=lambda _: None)
    path.write_bytes(whole)


def test_the_truth_scores_and_every_corruption_of_all_costs_accuracy_or_meaning(little):
    planted = {(row["metric"], row["corruption"]): row for row in little.found.tables["planted"]}
    for corruption in ("noise", "merging", "missing", "rotated"):
        row = planted["score.universal", corruption]
        assert row["values"][0] > 0.8
        assert row["fall"] > 0.2
    assert abs(planted["fvu", "rotated"]["fall"]) < 1e-3  # reconstruction does not see it
    assert planted["score.exchange", "missing"]["values"][-1] == pytest.approx(0, abs=0.05)


def test_what_was_not_measured_fails(little):
    tables, verdicts = little.found.tables, little.found.verdicts
    assert tables["checkpoints"] == []
    apart = {row["metric"]: row for row in tables["separation"]}
    assert apart["score.exchange"]["p"]["relu–random"] is not None
    assert apart["score.exchange"]["p"]["relu–gated"] is None  # no gated suite was given
    assert not any(verdict.ranks for verdict in verdicts.values())
    assert "not defined for relu–gated" in verdicts["score.exchange"].reason
    assert apart["cosine.codes"]["between"] is None  # of train alone


def test_random_dictionaries_are_told_from_trained_ones(little):
    rows = {row["suite"]: row["figures"]["score.exchange"] for row in little.found.rows if row["split"][-1] == "0"}
    assert max(abs(rows[f"random-s{i}"]) for i in range(2)) < 0.1 < rows["topk-k3-s0"]
    retest = next(row for row in little.found.tables["retest"] if row["metric"] == "score.exchange")
    assert (retest["suites"], retest["splits"]) == (2, 2)


def test_draws_begin_with_the_cards_own_figures(tmp_path):
    circuit = load_circuit("ioi-mini")
    card = evaluate(SUITES[2], prompts=60, train_prompts=500, budgets=(1, 2, 4), preflight=False, out=tmp_path)
    figures = figures_of(card)
    draws = metric_draws(tmp_path, card, circuit, split_of(circuit, "test", 60))
    assert set(METRICS) - set(draws) == {"explained", "cosine.codes", "cosine.features"}
    for name, values in draws.items():
        assert values[0] == pytest.approx(figures[name], abs=1e-5), name
    found, stated = interval(torch.from_numpy(draws["score.exchange"])), card.headline["exchange"].score
    assert (found.low, found.high) == pytest.approx((stated.low, stated.high), abs=1e-5)


def invoke(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_the_command_writes_the_report_from_what_is_kept(little, tmp_path, monkeypatch):
    monkeypatch.setenv("IOI_BENCH_CACHE", str(little.folder / "cache"))
    words = ["audit", *OPTIONS.split(), "--shares", "0.5,1", "--keep", little.folder / "keep"]
    for path in SUITES:
        words += ["--suites", path]
    done = invoke(*words, "--estimate")
    assert done.exit_code == 0
    assert f"{N_UNITS} evaluations, {N_UNITS} of them kept" in done.output
    done = invoke(*words, "--out", tmp_path / "docs", "--verdicts", tmp_path / "audited.json")
    assert done.exit_code == 0, done.output
    assert f"{N_UNITS} are kept from before, 0 are to be made" in done.output
    found = read_audit(tmp_path / "docs" / "audit.json")
    assert found.rows == little.found.rows
    page = (tmp_path / "docs" / "audit.md").read_text()
    assert page == audit_page(found)
    for picture in re.findall(r"\]\((audit/.*?\.png)\)", page):
        assert (tmp_path / "docs" / picture).read_bytes().startswith(b"\x89PNG")
    shipped = json.loads((tmp_path / "audited.json").read_text())["verdicts"]
    assert shipped == found.shipped()
    assert shipped.keys() == METRICS.keys()


def test_an_estimate_where_nothing_is_kept_makes_no_suite(tmp_path, monkeypatch):
    def make(*_, **__):
        raise AssertionError("a suite was made or read")

    for name in ("fit_truths", "standard_null", "load_suite", "read_train"):
        monkeypatch.setattr(f"ioi_bench.studies.audit.plan.{name}", make)
    done = invoke("audit", "--estimate", "--keep", tmp_path / "nothing")
    assert done.exit_code == 0, done.output
    total = int(re.match(r"(\d+) evaluations; ", done.output)[1])
    assert f"{total} evaluations, 0 of them kept from before: about " in done.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--splits", "1"], "2 or more splits"),
        (["--shares", "0.5"], "two or more above 0"),
        (["--shares", "half"], "expected numbers with commas"),
        (["--suites", SUITES[0]], "compares variants"),
        (["--suites", ROOT / "docs"], "there are no suites in"),
        (["--run", ROOT / "docs"], "no training run"),
    ],
)
def test_bad_input_is_refused_with_what_to_do(words, message):
    done = invoke("audit", "--estimate", *words)
    assert done.exit_code == 2
    assert message in done.output


def test_a_suite_that_does_not_say_its_variant_is_refused(little, tmp_path):
    from ioi_bench.dictionaries.suite import save_suite

    save_suite(replace(load_suite(SUITES[0]), metadata={}), tmp_path / "nameless")
    plan = replace(little.plan(lambda *_: None), suites=(*SUITES, tmp_path / "nameless"))
    with pytest.raises(InputError, match="variant and seed"):
        plan.units()


@pytest.fixture(scope="module")
def committed():
    return read_audit(ROOT / "docs" / "audit.json")


def test_the_committed_verdicts_follow_from_the_committed_figures(committed):
    written = json.loads((ROOT / "docs" / "audit.json").read_text())["verdicts"]
    assert written == committed.shipped()
    assert written.keys() == METRICS.keys()
    assert committed.made["gates"] == {"icc": MIN_ICC, "p": MAX_P, "rho": MIN_RHO}
    for name, found in written.items():
        assert (may_rank(name, SCORING), why_not(name, SCORING)) == (found["ranks"], found["reason"])


def test_the_committed_page_is_what_its_data_say(committed):
    page = (ROOT / "docs" / "audit.md").read_text()
    assert page == audit_page(committed)
    for picture in re.findall(r"\]\((audit/.*?\.png)\)", page):
        assert (ROOT / "docs" / picture).is_file()
    for name in ("model_sha256", "spec_sha256", "circuit_sha256", "suites_sha256", "code_sha256"):
        assert f"`{committed.made[name][:12]}`" in page
    assert committed.made["date"] in page


def test_the_committed_audit_is_of_the_shipped_model_task_and_suites(committed):
    circuit = load_circuit("ioi-mini")
    assert committed.made["circuit_sha256"] == circuit.sha256
    assert committed.made["spec_sha256"] == split_of(circuit, "test", 1).spec.sha256
    assert (committed.made["scoring"], committed.made["card_schema"]) == (SCORING, SCHEMA_VERSION)
    assert committed.made["amount"]["prompts"] >= 1000
    assert committed.made["amount"]["splits"] >= 5
    assert len(committed.made["amount"]["shares"]) >= 6
    of_suites = {row["suite"] for row in committed.rows if row["part"] == "suites" and row["variant"] != "random"}
    assert of_suites <= {path.parent.name for path in (ROOT / "reference_saes" / "ioi-mini").glob("*/suite.json")}


@pytest.mark.parametrize("row", ["splitting-0.45-s1", "relu-s0"])
def test_the_committed_figures_are_what_the_present_code_finds(committed, little, tmp_path, row):
    """One planted dictionary and one suite, judged again: a score that moved makes the whole report out of date."""
    amount = committed.made["amount"] | {"shares": tuple(committed.made["amount"]["shares"])}
    suites = tuple(ROOT / "reference_saes" / "ioi-mini" / name for name in ("relu-s0", "topk-k3-s0"))
    plan = little.plan(lambda *_: None)
    plan = replace(plan, bench=replace(plan.bench, keep=tmp_path), suites=suites, amount=Amount(**amount))
    unit = next(unit for unit in plan.units() if unit.about.suite == row)
    written = next(dict(one) for one in committed.rows if one["suite"] == row and one["split"] == unit.about.split)
    (found,) = plan.bench.judge_all([unit], lambda _: None)
    if unit.about.part == "suites":  # what is planted is fitted to activations: its last bits are the machine's
        assert found.suite_sha256 == written["suite_sha256"]
    assert found.figures == pytest.approx(written["figures"], abs=2e-3)
