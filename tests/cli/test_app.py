"""The root command: help that teaches, exit codes, and what goes to which stream."""

from __future__ import annotations

import errno
import io
import itertools
import re
import shlex
import signal
import subprocess
import sys
import textwrap

import pytest
import typer
from rich.console import Console

from ioi_bench.cli import console as console_module
from ioi_bench.cli.app import app
from ioi_bench.cli.console import progress
from ioi_bench.errors import InputError, IoiBenchError, StorageError
from ioi_bench.task import task_spec

ROOT = typer.main.get_command(app)


def commands(group=ROOT, path=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = list(commands())
IDS = [" ".join(path) for path, _ in COMMANDS]


def examples(help_text):
    """The command lines below "Examples:", broken ones joined; what follows two spaces is a remark."""
    lines = re.sub(r" \\\n\s*", " ", help_text.partition("Examples:")[2]).splitlines()
    return [re.split(r"\s{2,}", line.strip())[0] for line in lines if line.strip().startswith("ioi-bench")]


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=IDS)
def test_every_example_in_the_help_parses(path, command):
    found = examples(command.help)
    assert found, f"{' '.join(path)} shows no example"
    assert any(line.startswith("ioi-bench " + " ".join(path)) for line in found)
    for line in found:
        words = shlex.split(line.partition("|")[0])[1:]
        target = ROOT
        while hasattr(target, "commands"):
            target = target.commands[words.pop(0)]
        target.make_context(target.name, words)  # a usage error would raise


EVERY_HELP = [(), *{path[:1] for path, _ in COMMANDS if len(path) > 1}, *(path for path, _ in COMMANDS)]


@pytest.mark.parametrize("path", EVERY_HELP, ids=" ".join)
def test_help_flows_at_80_columns(path, cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    shown = [line.strip() for line in cli(*path, "--help").stdout.splitlines()]
    above = shown[: next(i for i, line in enumerate(shown) if line.startswith("╭"))]
    text, _, shown_examples = "\n".join(above).partition("Examples:")
    # A line is left short only where the next word would not have fitted.
    for paragraph in text.strip().split("\n\n"):
        lines = paragraph.split("\n")
        for line, following in itertools.pairwise(lines):
            assert len(line) + 1 + len(following.split()[0]) > 78, f"{line!r} ends early"
    # An example folds at a backslash alone, which a shell reads.
    for line in shown_examples.strip().replace(" \\\n", " ").splitlines():
        assert line.startswith("ioi-bench "), f"{line!r} is the rest of a folded line"


def test_what_the_options_say_of_methods_and_prompts(cli):
    (methods,) = (param for param in ROOT.commands["evaluate"].params if param.name == "methods")
    for name in methods.default.split(","):
        assert f"{name}: " in methods.help
    sizes = {name: len(task_spec("ioi-v1-mini").split(name)) for name in ("train", "validation", "test")}
    for _, command in COMMANDS:
        said = {param.name: param.help or "" for param in command.params}
        if said.get("prompts", "").startswith("Only the first N prompts of the split"):
            assert f"all, {sizes['validation']:,} in validation and in test" in said["prompts"]
            assert sizes["validation"] == sizes["test"]
        if "faster" in said.get("train_prompts", ""):
            assert f"by default all {sizes['train']:,}" in said["train_prompts"]


def test_the_root_help_shows_examples_of_commands_that_exist():
    for line in examples(ROOT.callback.__doc__):
        assert line.split()[1] in ROOT.commands


NO_FIGURES = ("export", "train-mini", "build", "serve", "report")


@pytest.mark.parametrize("path", [path for path, _ in COMMANDS if path[-1] not in NO_FIGURES])
def test_every_command_that_prints_figures_takes_json(path, cli):
    assert "--json" in cli(*path, "--help").stdout


def test_help_loads_nothing_heavy():
    heavy = ["torch", "numpy", "pandas", "pydantic", "transformers", "transformer_lens", "altair", "scipy", "pyarrow"]
    code = f"""
        import sys
        from ioi_bench.cli import main
        sys.argv = ["ioi-bench", "--help"]
        try:
            main()
        except SystemExit as end:
            assert end.code == 0, end.code
        print([name for name in {heavy} if name in sys.modules], file=sys.stderr)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr.strip() == "[]"
    assert "Examples:" in done.stdout


def test_version(cli):
    assert re.fullmatch(r"ioi-bench \d+\.\d+\.\d+\S*\n", cli("--version").stdout)


@pytest.mark.parametrize(
    "args", [["evaluat"], ["task", "shw"], ["task", "show", "--nn", "3"], ["task", "show", "--n", "x"]]
)
def test_usage_errors_exit_2_with_nothing_on_stdout(cli, args):
    result = cli(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr


def raising(error):
    def raise_it(*args, **kwargs):
        raise error

    return raise_it


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (IoiBenchError("it failed"), 1),
        (InputError("it failed"), 2),
        (StorageError("it failed"), 1),
        (OSError(errno.ENOSPC, "it failed"), 1),
    ],
)
def test_errors_are_plain_on_stderr_and_debug_adds_the_traceback(cli, monkeypatch, error, code):
    monkeypatch.setattr("ioi_bench.task.frame.split_rows", raising(error))
    plain = cli("task", "show", "--json")
    assert (plain.exit_code, plain.stdout) == (code, "")
    assert plain.stderr.startswith("error: ")
    assert "it failed" in plain.stderr
    assert "Traceback" not in plain.stderr
    for args in (["--debug", "task", "show", "--json"], ["task", "show", "--json", "--debug"]):
        debugged = cli(*args)
        assert debugged.exit_code == code
        assert "Traceback" in debugged.stderr


def test_a_fault_of_ours_is_not_dressed_up(cli, monkeypatch):
    monkeypatch.setattr("ioi_bench.task.frame.split_rows", raising(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        cli("task", "show", "--json")


def test_an_interrupt_exits_130_without_a_traceback():
    code = """
        import sys, time
        import ioi_bench.task.spec as spec
        from ioi_bench.cli import main

        def hash_for_ever(self):
            print("ready", flush=True)
            time.sleep(60)

        spec.TaskSpec.sha256 = property(hash_for_ever)
        sys.argv = ["ioi-bench", "task", "hash"]
        main()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job would ignore it
    )
    assert process.stdout.readline() == "ready\n"
    with process:
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in stderr


def test_a_closed_pipe_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -c 'from ioi_bench.cli import main; main()' task show --n 500 --json | head -n 1",
        shell=True, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.stdout == "[\n"
    assert "error" not in done.stderr
    assert "Traceback" not in done.stderr


def test_progress_shows_bars_to_a_person_once_work_takes_long(monkeypatch):
    monkeypatch.setattr(console_module, "_QUIET_SECONDS", 0.0)
    screen = io.StringIO()
    monkeypatch.setattr(console_module, "err", lambda: Console(file=screen, force_terminal=True, width=80))
    with progress() as report:
        for done in range(4):
            report("capturing", done, 3)
    assert "capturing" in screen.getvalue()
    assert "2/3" in screen.getvalue()


def test_bars_have_an_estimate_where_a_step_takes_a_minute(monkeypatch):
    monkeypatch.setattr(console_module, "_QUIET_SECONDS", 0.0)
    screen, clock = io.StringIO(), itertools.count(step=60.0)
    now = [0.0]
    console = Console(file=screen, force_terminal=True, width=80, get_time=lambda: now[0])
    monkeypatch.setattr(console_module, "err", lambda: console)
    with progress() as report:
        for done, now[0] in zip(range(4), clock, strict=False):
            report("evaluations", done, 10)
    assert "0:07:00" in screen.getvalue()  # seven are left, a minute each


def test_progress_in_a_pipe_is_a_line_now_and_then(monkeypatch, capsys):
    monkeypatch.setattr(console_module, "_LINE_EVERY_SECONDS", -1.0)
    with progress() as report:
        report("capturing", 0, 2_000)
        report("capturing", 1_000, 2_000)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "capturing: 1,000 of 2,000, less than a minute left" in captured.err


def test_short_work_shows_nothing(capsys):
    with progress() as report:
        report("capturing", 1, 2)
    assert capsys.readouterr() == ("", "")
