"""The leaderboard's own files: its workflows do what they say, with nothing of a pull request, and all is pinned."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml
from loopback import Hub, serve
from loopback.repository import File

from ioi_bench.cli.app import app
from ioi_bench.leaderboard.allowed import read_allowed
from ioi_bench.leaderboard.changes import changes, listing

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
BOARD = ROOT / "leaderboard"
WORKFLOWS = sorted((BOARD / ".github" / "workflows").glob("*.yml"))


def steps(workflow):
    jobs = yaml.safe_load(workflow.read_text())["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.name)
def workflow(request):
    return request.param


def test_both_are_there():
    assert [path.name for path in WORKFLOWS] == ["verify-hub.yml", "verify.yml"]


def test_a_workflow_may_only_read_and_has_no_secret(workflow):
    text, data = workflow.read_text(), yaml.safe_load(workflow.read_text())
    assert data["permissions"] == {"contents": "read"}
    assert not re.search(r"\$\{\{[^}]*(secrets|github\.token)", text)
    triggers = data[True]  # YAML 1.1 reads "on" as a truth
    assert "pull_request_target" not in triggers
    assert "workflow_run" not in triggers
    for job in data["jobs"].values():
        assert job["timeout-minutes"] <= 180
        assert "permissions" not in job


def test_actions_are_pinned_to_commits(workflow):
    used = [step["uses"] for step in steps(workflow) if "uses" in step]
    assert used
    for action in used:
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action)
    versions = re.findall(r"@[0-9a-f]{40}( # v\d+\.\d+\.\d+)?$", workflow.read_text(), flags=re.M)
    assert all(versions), "the commit's version stands beside it"
    for step in steps(workflow):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_no_expression_reaches_a_shell(workflow):
    """What an event says is text in an environment variable, never part of a script."""
    for step in steps(workflow):
        assert "${{" not in step.get("run", "")


def test_commands_parse_and_their_exit_code_counts(workflow):
    found = 0
    for step in steps(workflow):
        for line in step.get("run", "").splitlines():
            if not line.startswith("ioi-bench "):
                continue
            found += 1
            assert step["shell"] == "bash", "only then a pipe fails with its first command"
            assert not step.get("continue-on-error")
            words = line.partition("|")[0].replace("$NUMBER", "7").replace("$LEADERBOARD", "org/board")
            _, *words = shlex.split(words)
            group = typer.main.get_command(app)
            while hasattr(group, "commands"):
                group = group.commands[words.pop(0)]
            group.make_context(group.name, words)
    assert found == 1


def test_scripts_are_shell_or_python(workflow):
    for step in steps(workflow):
        if step.get("shell", "").startswith("python"):
            compile(step["run"], workflow.name, "exec")
        elif "run" in step:
            subprocess.run(["bash", "-n"], input=step["run"], text=True, check=True)


def listed(hub, tmp_path, number=""):
    """What the workflow's own script says of the open pull requests of a leaderboard."""
    (step,) = (step for step in steps(WORKFLOWS[0]) if step.get("id") == "list")
    assert step["shell"] == "python -I {0}"
    said = {"NUMBER": number, "LEADERBOARD": "org/board", "GITHUB_OUTPUT": str(tmp_path / "output")}
    place = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    subprocess.run([sys.executable, "-I", "-c", step["run"]], env=said | place, check=True)
    name, _, value = (tmp_path / "output").read_text().strip().partition("=")
    assert name == "numbers"
    return json.loads(value)


def test_all_pages_of_open_pull_requests_are_read(tmp_path):
    hub = Hub()
    board = hub.repository("org/board", "dataset", {"README.md": b""})
    for i in range(14):
        board.commit({f"{i}": File(b"", large=False)}, title=str(i), author="ann", pull_request=True)
    board.merge(3)
    with serve(hub):
        found = listed(hub, tmp_path)
    assert found == [number for number in range(1, 15) if number != 3]
    assert len(hub.asked("discussions")) > 1


def test_one_pull_request_by_hand_asks_nobody(tmp_path):
    hub = Hub()
    with serve(hub):
        assert listed(hub, tmp_path, "12") == [12]
    assert not hub.asked("discussions")


def test_what_asks_the_hub_is_pinned():
    (step,) = (step for step in steps(WORKFLOWS[0]) if "xargs" in step.get("run", ""))
    script = step["run"].replace("python -I -m pip install", "echo")
    told = subprocess.run(["bash", "-c", script], cwd=BOARD, check=True, capture_output=True, text=True).stdout
    assert re.fullmatch(r"huggingface_hub==[\d.]+\n", told)


def test_only_what_was_there_before_is_installed():
    text = (BOARD / ".github" / "workflows" / "verify.yml").read_text()
    (installed,) = re.findall(r"pip install (.*)", text)
    assert installed == "--requirement base/requirements.txt"
    assert "path: head" not in text.partition("upload-artifact")[2]


def test_a_pull_request_as_the_workflow_sees_it(tmp_path):
    """Its own git commands, on a real merge: the first parent is the leaderboard before."""

    def git(*words, folder):
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "protocol.file.allow=always")
        subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)

    def write(folder, *names):
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(name)
        git("add", "-A", folder=folder)
        git("commit", "-qm", "files", folder=folder)

    board, new = tmp_path / "board", [f"results/gpt2/a__b/11/{name}" for name in ("card.json", "prompts.parquet")]
    board.mkdir()
    git("init", "-q", "-b", "main", folder=board)
    write(board, "plugins.toml", "results/gpt2/c__d/00/card.json")
    git("checkout", "-qb", "mine", folder=board)
    write(board, *new, "results/gpt2/a__b/11/submission.toml")
    git("checkout", "-q", "main", folder=board)
    write(board, "results/gpt2/e__f/22/card.json")  # the leaderboard moves on
    git("merge", "-q", "--no-ff", "-m", "merged", "mine", folder=board)
    git("clone", "-q", "--depth", "2", f"file://{board}", "head", folder=tmp_path)
    (step,) = (step for step in steps(WORKFLOWS[1]) if "worktree" in step.get("run", ""))
    subprocess.run(["bash", "-e", "-c", step["run"]], cwd=tmp_path, check=True, capture_output=True)
    found = changes(listing(tmp_path / "base"), listing(tmp_path / "head"))
    assert ([path.as_posix() for path in found.added], found.faults) == (["results/gpt2/a__b/11"], ())


def test_what_is_installed_is_pinned_and_is_what_is_allowed():
    lines = (BOARD / "requirements.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if line and not line.startswith(("#", "-")))
    assert len(pinned) == len([line for line in lines if "==" in line])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert pinned["ioi-bench"] == project["version"]
    assert {one.package: one.version for one in read_allowed(BOARD)}.items() <= pinned.items()
    constraints = dict(re.findall(r"^([\w.-]+)==([^;\s]+)", (ROOT / "constraints.txt").read_text(), flags=re.M))
    for name in ("torch", "transformer_lens", "transformers", "numpy", "safetensors", "huggingface_hub"):
        assert pinned[name] == constraints[name]
