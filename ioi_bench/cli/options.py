"""Options that several commands share, and reading them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ioi_bench.errors import InputError

if TYPE_CHECKING:
    from ioi_bench.lm.circuit import Circuit
    from ioi_bench.lm.model import LanguageModel
    from ioi_bench.plugins.manager import Plugins
    from ioi_bench.plugins.records import LoadOptions

__all__ = [
    "Arch",
    "BatchSize",
    "Device",
    "Hook",
    "Json",
    "Loader",
    "Methods",
    "Model",
    "Plugin",
    "Prompts",
    "Seed",
    "Set",
    "Track",
    "TrainPrompts",
    "device_name",
    "free_folder",
    "load_options",
    "load_plugins",
    "numbers",
    "refuse_existing",
    "state_file",
    "words",
]

Model = Annotated[str, typer.Option("--model", "-m", help="ioi-mini, gpt2, or a Hugging Face directory.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout instead of tables.")]
Prompts = Annotated[
    int | None,
    typer.Option(
        "--prompts", help="Only the first N prompts of the split; by default all, 5,000 in validation and in test."
    ),
]
TrainPrompts = Annotated[
    int | None,
    typer.Option("--train-prompts", help="Only the first N train prompts: faster; by default all 20,000."),
]
Methods = Annotated[
    str,
    typer.Option(
        "--methods",
        # one line a method on the terminal: Typer parts them at the empty lines
        help="How features are edited, with commas:\n\n"
        "exchange: those whose exchange brings the activation nearest to the counterfactual's;\n\n"
        "split: the same, removing and adding apart;\n\n"
        "aware: those that F1 on train says stand for the value, as active in the counterfactual;\n\n"
        "universal: the same, as active on average: nothing is read from the counterfactual;\n\n"
        "or a plugin's.",
    ),
]
Device = Annotated[str, typer.Option("--device", help="Where the model runs: cpu, cuda, cuda:1, mps.")]
BatchSize = Annotated[int, typer.Option("--batch-size", help="Prompts at once: memory and time, not results.")]
Track = Annotated[
    str | None,
    typer.Option("--track", help="circuit or hook, where a dictionary of a circuit's head could be judged on either."),
]
Seed = Annotated[int, typer.Option("--seed", help="Of the bootstrap and the random dictionaries.")]
Plugin = Annotated[
    list[Path] | None, typer.Option("--plugin", help="A plugin in one Python file, which is run; may be repeated.")
]
Loader = Annotated[
    str | None, typer.Option("--loader", help="Which loader reads it; by default the one that knows it.")
]
Hook = Annotated[
    str | None, typer.Option("--hook", help="Where it reads, if it does not say: blocks.2.hook_resid_pre.")
]
Arch = Annotated[str | None, typer.Option("--arch", help="Its architecture, if it does not say.")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="For the loader; may be repeated.")]


def words(text: str) -> tuple[str, ...]:
    """A list with commas.

    >>> words("exchange, aware")
    ('exchange', 'aware')
    """
    return tuple(word.strip() for word in text.split(",") if word.strip())


def numbers(option: str, text: str) -> tuple[int, ...]:
    """Whole numbers with commas.

    >>> numbers("--budgets", "1,2,4")
    (1, 2, 4)

    Raises:
        InputError: something else.
    """
    try:
        return tuple(int(word) for word in words(text))
    except ValueError:
        raise InputError(f"{option} is {text!r}, expected whole numbers with commas, such as 1,2,4") from None


def load_plugins(files: list[Path] | None) -> Plugins:
    """All plugins; those that are broken are warned about, and one that a file was given for ends the command.

    Raises:
        InputError: a file does not exist; `PluginError`: its plugin is broken.
    """
    from ioi_bench.cli.console import say
    from ioi_bench.plugins.manager import Plugins

    plugins = Plugins.load(files or ())
    for problem in plugins.check():
        say(f"warning: {problem}", style="yellow")
    return plugins


def load_options(
    *,
    hook: str | None = None,
    arch: str | None = None,
    model: str | None = None,
    scale: str | None = None,
    settings: list[str] | None = None,
) -> LoadOptions:
    """What the options say of a source.

    Raises:
        InputError: one of them cannot be read.
    """
    from ioi_bench.plugins.loading import SQRT_D
    from ioi_bench.plugins.records import LoadOptions
    from ioi_bench.sites import HookPoint

    pairs = {}
    for text in settings or ():
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise InputError(f"--set is {text!r}, expected KEY=VALUE")
        pairs[key] = value
    try:
        factor = scale if scale in (None, SQRT_D) else float(scale)
    except ValueError:
        raise InputError(f"--scale is {scale!r}, expected a number or {SQRT_D}") from None
    where = None if hook is None else HookPoint.parse(hook)
    return LoadOptions(hook=where, arch=arch, model=model, scale=factor, settings=pairs)


def circuit_of(model: LanguageModel) -> Circuit:
    """The model's own circuit; a directory holds a GPT-2."""
    from ioi_bench.lm.circuit import load_circuit

    return load_circuit("ioi-mini" if model.name == "ioi-mini" else "gpt2")


def device_name(text: str) -> str:
    """A device that this machine has.

    Raises:
        InputError: no such device, or none here.
    """
    import torch

    try:
        torch.empty(0, device=torch.device(text))
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"--device {text!r} cannot be used: {reason} Use cpu, or a device of this machine") from None
    return text


def refuse_existing(folder: Path) -> None:
    """Say before the work, not after it, that the folder for its result is taken.

    Raises:
        InputError: it exists and is not empty.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(f"{folder} exists already: choose another folder, or delete it")


def free_folder(folder: Path) -> Path:
    """The folder, or the same name with a number: what another run wrote is not mixed with this one's files.

    >>> free_folder(Path("no-such-folder"))
    PosixPath('no-such-folder')
    """
    named = [folder, *(folder.with_name(f"{folder.name}-{n}") for n in range(2, 10_000))]
    return next(one for one in named if not one.exists() or not any(one.iterdir()))


def state_file(folder: Path, suffix: str, resume: bool) -> Path:
    """Where a run keeps its state: beside the folder for its result.

    Raises:
        InputError: a stopped run lies there, and it was not said to go on with it.
    """
    state = folder.with_name(f"{folder.name}.training{suffix}")
    if state.exists() and not resume:
        raise InputError(f"{state} is a run that was stopped: add --resume to go on with it, or delete it")
    return state
