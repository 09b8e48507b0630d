"""Each way in which a plugin can fail names the plugin and the fix, and the others go on working."""

from __future__ import annotations

import time

import pytest

from ioi_bench.errors import InputError, PluginError, UnknownNameError
from ioi_bench.plugins import Loader, MetricRecord, Plugins, Reporter
from ioi_bench.plugins.discovery import BUILT_IN
from ioi_bench.plugins.manager import KINDS, SLOW_SECONDS
from ioi_bench.plugins.records import Baseline, EditRecord

REPORTER = """
from ioi_bench.plugins import Reporter

def ioi_bench_reporters():
    return [Reporter({name!r}, "one line", ".txt", lambda card, path: path.write_text("x"))]
"""
SOUND = REPORTER.format(name="sound")

FAULTS = {
    "misspelt hook": ("def ioi_bench_loader(): return []", "did you mean 'ioi_bench_loaders'"),
    "misspelt and marked": (
        "from ioi_bench.plugins import hookimpl\n@hookimpl\ndef ioi_bench_metric(): return []",
        "did you mean 'ioi_bench_metrics'",
    ),
    "marked under another name": (
        "from ioi_bench.plugins import hookimpl\n@hookimpl\ndef quux(): return []",
        "'quux', which does not exist: the hooks are ioi_bench_architectures",
    ),
    "wrong argument": ("def ioi_bench_loaders(config): return []", "argument config: it may take architectures"),
    "an argument too many": ("def ioi_bench_edits(architectures): return []", "it takes none"),
    "no hooks": ("x = 1", "no hooks: define one or more of ioi_bench_architectures"),
    "raises at import": ("1 / 0", "cannot be imported: ZeroDivisionError: division by zero"),
    "exits at import": ("import sys; sys.exit(3)", "cannot be imported: SystemExit: 3"),
    "lacks a library": ("import no_such_library", "No module named 'no_such_library'"),
    "no Python": ("def (:", "cannot be imported: SyntaxError"),
    "raises in a hook": ("def ioi_bench_edits(): return [][1]", "failed in its hook ioi_bench_edits: IndexError"),
    "returns nothing": (
        "def ioi_bench_edits(): pass",
        "of type NoneType from ioi_bench_edits, expected a list of EditRecord",
    ),
    "returns another kind": (
        SOUND.replace("def ioi_bench_reporters", "def ioi_bench_edits"),
        "a list with a Reporter in it from ioi_bench_edits, expected only EditRecord",
    ),
    "bad name": (REPORTER.format(name="My Report"), "calls a reporter 'My Report': use lower-case"),
    "name taken by a built-in": (
        REPORTER.format(name="markdown"),
        "gives the reporter 'markdown', which 'ioi-bench' gives already",
    ),
    "API of the future": (
        f"IOI_BENCH_API = 2\n{SOUND}",
        "version 2 of the plugin interface, this ioi-bench has version 1",
    ),
    "API of the past": (f"IOI_BENCH_API = 0\n{SOUND}", "upgrade the plugin"),
    "class of another name": (
        "from ioi_bench.plugins import ArchitectureRecord\nfrom ioi_bench.dictionaries.architectures import Relu\n"
        "def ioi_bench_architectures(): return [ArchitectureRecord('mine', 'x', Relu)]",
        "'mine' has a class that calls itself 'relu'",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_installed_plugin_that_fails_is_named_and_the_others_work(installed, fault):
    code, says = FAULTS[fault]
    installed("broken", code)
    installed("zealous", SOUND)
    plugins = Plugins.load()
    problems = [problem for problem in plugins.check() if problem.plugin == "broken"]
    assert len(problems) == 1
    assert says in str(problems[0])
    assert str(problems[0]).startswith("the plugin 'broken'")
    assert not problems[0].works
    assert plugins.find(Reporter, "sound").suffix == ".txt"
    assert plugins.owner(Reporter, "markdown") == BUILT_IN
    assert set(plugins.all(EditRecord)) == {"exchange", "split", "aware", "universal"}
    with pytest.raises(PluginError, match="broken"):
        plugins.named("broken")


@pytest.mark.parametrize("fault", FAULTS)
def test_the_same_fault_in_a_file_that_was_asked_for_is_fatal(plugin_file, fault):
    code, says = FAULTS[fault]
    path = plugin_file(code)
    with pytest.raises(PluginError) as caught:
        Plugins.load([path], packages=False).check()
    assert says in str(caught.value)
    assert "'mine'" in str(caught.value)


def test_a_slow_import_is_measured_and_complained_about_and_works(plugin_file, monkeypatch):
    ticks = iter([0.0, SLOW_SECONDS * 0.9, 10.0, 10.0 + SLOW_SECONDS * 1.5])
    path, slow = plugin_file(SOUND, "quick"), plugin_file(REPORTER.format(name="other"), "slow")
    plugins = Plugins([])
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))
    from ioi_bench.plugins.discovery import from_file

    plugins = Plugins([from_file(path), from_file(slow)])
    (problem,) = plugins.problems
    assert (problem.plugin, problem.works) == ("slow", True)
    assert "took 1.5 s to import" in str(problem)
    assert "inside the functions" in str(problem)
    assert list(plugins.all(Reporter)) == ["other", "sound"]
    assert plugins.named("slow").seconds == pytest.approx(1.5)


def test_two_outsiders_that_claim_a_name_are_refused_where_it_is_asked_for(installed):
    installed("first", SOUND)
    installed("second", SOUND)
    plugins = Plugins.load()
    (problem,) = plugins.check()
    assert str(problem).startswith("the plugin 'second' gives the reporter 'sound', which 'first' gives already")
    with pytest.raises(PluginError, match="'second'"):
        plugins.find(Reporter, "sound")


def test_what_a_built_in_gives_stays_usable_when_a_plugin_claims_its_name(installed):
    installed("thief", REPORTER.format(name="json"))
    plugins = Plugins.load()
    assert len(plugins.check()) == 1
    assert plugins.find(Reporter, "json").suffix == ".json"


def test_a_plugin_that_gives_a_name_twice_is_told_so(installed):
    code = SOUND.replace("return [", "return 2 * [")
    installed("double", code)
    (problem,) = Plugins.load().check()
    assert "which itself gives already" in str(problem)


def test_two_plugins_of_one_name_are_told_apart_by_where_they_come_from(installed, plugin_file):
    installed("mine", SOUND)
    with pytest.raises(PluginError, match=r"mine\.py' is called 'mine', as the one from ioi-bench-mine 1\.2 is"):
        Plugins.load([plugin_file(SOUND)])


def test_a_plugin_that_takes_our_name_harms_nobody(installed):
    installed(BUILT_IN, SOUND)
    plugins = Plugins.load()
    (problem,) = plugins.check()
    assert str(problem).startswith("the plugin 'ioi-bench-ioi-bench 1.2' is called 'ioi-bench'")
    assert plugins.named(BUILT_IN).origin == "built in"
    assert "sound" not in plugins.all(Reporter)


def test_a_name_that_does_not_exist_has_near_misses(installed):
    installed("zealous", SOUND)
    plugins = Plugins.load()
    with pytest.raises(UnknownNameError, match="unknown reporter 'sond': did you mean 'sound'"):
        plugins.find(Reporter, "sond")
    with pytest.raises(UnknownNameError, match="unknown plugin 'zealou': did you mean 'zealous'"):
        plugins.named("zealou")


def test_records_come_sorted_by_name_whatever_the_order_of_plugins(installed):
    for name, gives in (("a", "zzz"), ("b", "aaa")):
        installed(name, REPORTER.format(name=gives))
    assert list(Plugins.load().all(Reporter)) == ["aaa", "json", "markdown", "zzz"]


def test_hooks_are_called_only_for_the_kind_that_is_needed(installed):
    installed("lazy", "def ioi_bench_metrics(): raise OSError('called')\ndef ioi_bench_edits(): return []")
    plugins = Plugins.load()
    plugins.all(EditRecord)
    assert plugins.problems == ()
    plugins.all(MetricRecord)
    assert "OSError: called" in str(plugins.problems[0])


def test_a_loader_may_ask_for_the_architectures_of_other_plugins(plugin_file):
    code = """
        from ioi_bench.plugins import Loader

        def ioi_bench_loaders(architectures):
            return [Loader("knows-" + "-".join(architectures), "x", lambda s, o: None, lambda s, o: None)]
    """
    plugins = Plugins.load([plugin_file(code)], packages=False)
    assert "knows-gated-jumprelu-relu-skyline-topk" in plugins.all(Loader)


def test_a_file_that_is_not_there_has_near_misses(plugin_file):
    path = plugin_file(SOUND, "my_plugin")
    with pytest.raises(InputError, match=r"did you mean .*my_plugin\.py"):
        Plugins.load([path.with_name("my_plugn.py")])
    path.with_suffix(".txt").write_text("x")
    with pytest.raises(InputError, match="not a Python file"):
        Plugins.load([path.with_suffix(".txt")])


def test_a_file_may_hold_dataclasses_and_is_read_anew_each_time(plugin_file):
    code = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass A:\n    x: int = 1\n"
    )
    Plugins.load([plugin_file(code + SOUND)], packages=False)
    changed = plugin_file(code + REPORTER.format(name="round"))  # as long, and in the same second
    assert "round" in Plugins.load([changed], packages=False).all(Reporter)


def test_functions_of_plugins_that_fail_name_the_plugin(plugin_file):
    code = """
        from ioi_bench.plugins import Baseline, Reporter

        def fit(train, seed):
            raise KeyError("nope")

        def ioi_bench_baselines():
            return [Baseline("raises", "x", fit), Baseline("odd", "x", lambda train, seed: 3)]

        def ioi_bench_reporters():
            return [Reporter("full", "x", ".txt", lambda card, path: path.joinpath("a").write_text(""))]
    """
    plugins = Plugins.load([plugin_file(code)], packages=False)
    with pytest.raises(PluginError, match="the baseline 'raises' of the plugin 'mine' failed: KeyError: 'nope'"):
        plugins.find(Baseline, "raises").fit(None, 0)
    with pytest.raises(
        PluginError, match="the baseline 'odd' of the plugin 'mine' returned something of type int, expected"
    ):
        plugins.find(Baseline, "odd").fit(None, 0)


@pytest.mark.parametrize("given", ["", ", fit=f, fit_all=f"])
def test_a_baseline_is_fitted_in_one_way(plugin_file, given):
    code = f"""
        from ioi_bench.plugins import Baseline

        def f(*args):
            return None

        def ioi_bench_baselines():
            return [Baseline("both", "x"{given})]
    """
    plugins = Plugins.load([plugin_file(code)], packages=False)
    with pytest.raises(PluginError, match=r"the baseline 'both' has (neither|both) of fit and fit_all"):
        plugins.find(Baseline, "both")


def test_the_built_ins_register_through_the_same_hooks():
    plugins = Plugins.load(packages=False)
    assert plugins.check() == ()
    (info,) = plugins.infos
    assert set(info.hooks) == {kind.hook for kind in KINDS.values()} - {"ioi_bench_metrics"}
    assert all(record.summary for kind in KINDS for record in plugins.all(kind).values())
