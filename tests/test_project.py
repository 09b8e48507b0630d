"""The repository itself: what it promises on paper is there."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from ioi_bench.cli.app import app
from ioi_bench.evaluation.card import card_schema

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MODULES = sorted((ROOT / "ioi_bench").rglob("*.py"))
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "reference_saes" / "README.md",
    ROOT / "leaderboard" / "README.md",
]
PAGES += [
    ROOT / "docs" / f"{name}.md"
    for name in (
        "anchors",
        "attention-study",
        "audit",
        "formats",
        "hub",
        "leaderboard-page",
        "reference-saes",
        "seasons",
        "selection",
        "submitting",
        "training",
        "trust",
        "uncertainty",
        "verifying",
    )
]

# Commands of the pages that another test runs in full; here they are only parsed.
LONG = ("evaluate", "inspect", "train", "calibrate", "skyline", "model", "study", "select")
LONG += ("reference", "submit", "leaderboard", "report", "season", "anchors", "compare", "audit")


def shell_lines(page):
    """The command lines of a page's ```console and ```bash blocks, joined where they end in a backslash."""
    for block in re.findall(r"^```(?:console|bash|sh)\n(.*?)^```", page.read_text(), flags=re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            line = line.removeprefix("$ ").partition("  #")[0].strip()
            if line.startswith(("ioi-bench", "make ", "python -m ")):
                yield line


COMMANDS = [pytest.param(line, id=line) for page in PAGES if page.exists() for line in shell_lines(page)]


def make_targets():
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.M))


def parse(words):
    """Parse a command line of ours without running it; a usage error raises."""
    group = typer.main.get_command(app)
    while hasattr(group, "commands"):
        assert words[0] in group.commands, f"no command {words[0]}"
        group = group.commands[words.pop(0)]
    group.make_context(group.name, words)


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_on_the_pages_work(line, tmp_path, monkeypatch):
    program, *words = shlex.split(line.partition("|")[0])
    if program == "make":
        assert set(words) <= make_targets()
    elif program == "python":
        assert words[:2] == ["-m", "benchmarks"]
    else:
        parse(list(words))
        if words[0] not in LONG:
            monkeypatch.chdir(tmp_path)
            command = [sys.executable, "-c", "from ioi_bench.cli import main; main()", *words]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
            assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("target", ["setup", "demo", "test", "bench"])
def test_every_target_sets_itself_up(target):
    recipe = subprocess.run(
        ["make", "--always-make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert "-m venv .venv" in recipe
    assert "pip install" in recipe
    assert "constraints.txt" in recipe


def test_make_ignores_what_the_shell_sets():
    makefile = (ROOT / "Makefile").read_text()
    unexported = next(line for line in makefile.splitlines() if line.startswith("unexport"))
    assert {"PYTHONPATH", "PYTHONHOME", "PYTEST_ADDOPTS"} <= set(unexported.split())


def test_ci_runs_make_test():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert script.read_text().rstrip().endswith("make test")


def test_the_version_is_the_same_everywhere():
    version = PROJECT["project"]["version"]
    assert importlib.metadata.version("ioi-bench") == version
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()


def test_every_direct_dependency_is_pinned():
    def names(requirements):
        return {re.match(r"[\w.-]+", line).group().lower() for line in requirements}

    wanted = names(PROJECT["project"]["dependencies"]) | names(PROJECT["project"]["optional-dependencies"]["dev"])
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = names(line for line in lines if re.match(r"[\w.-]+==", line))
    assert wanted - {"tomli"} <= pinned  # tomli is for Python 3.10 only


def public_names(tree):
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_say_what_is_public(path):
    tree = ast.parse(path.read_text())
    assert path.name != "utils.py"
    assert ast.get_docstring(tree), "a module says what it is for"
    if path.name.startswith("__") and path.name != "__init__.py":
        return
    exported = next(
        (
            ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "__all__"
        ),
        None,
    )
    if exported is None:
        assert not list(public_names(tree)), "public names, but no __all__"
        return
    assert len(set(exported)) == len(exported)
    if "cli" not in path.parts:  # a command is called by Typer, not by name
        assert not set(public_names(tree)) - set(exported), "public by name, missing in __all__"


def test_the_schema_of_the_card_is_locked():
    golden = json.loads((ROOT / "tests" / "golden" / "card-schema.json").read_text())
    assert card_schema() == golden, "cards of other versions are read: raise SCHEMA_VERSION, then lock the new schema"


def test_benchmark_results_have_the_agreed_form():
    file = ROOT / "benchmarks" / "latest.json"
    if not file.exists():
        pytest.skip("make bench has not run")
    latest = json.loads(file.read_text())
    assert latest["versions"]["packages"]["torch"]
    for result in latest["results"]:
        assert {"name", "ratio", "goal", "unit", "met"} <= set(result)
        if result["goal"] is None:
            assert result["met"] is None
            assert result["ratio"] < 1.2 * result["bound"]  # overheads count for both sides
        else:
            near_bound = "matmul_share" in result and result["matmul_share"] >= result["matmul_share_goal"]
            assert result["met"] == (result["ratio"] >= result["goal"] or near_bound)
