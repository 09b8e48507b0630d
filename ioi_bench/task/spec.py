"""The task spec: templates, words, seeds, and the splits that follow from them (METHOD §1).

Every draw is a sha256 of (seed, split, index, attempt), so the splits are the same bytes on every machine, Python
and hash seed. The spec's own sha256 covers the words and every generated prompt.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache
from importlib import resources

from ioi_bench.errors import InputError, UnknownNameError
from ioi_bench.sites import Role
from ioi_bench.task.counterfactuals import counterfactual
from ioi_bench.task.prompts import TEMPLATES, Prompt, Template

__all__ = ["DRAWN", "IOI_V1", "IOI_V1_MINI", "SPLITS", "Split", "TaskSpec", "task_spec"]

SPLITS = ("train", "validation", "test", "held-out-train", "held-out-test")
_SIZES = {"train": 20_000, "validation": 5_000, "test": 5_000, "held-out-train": 20_000, "held-out-test": 5_000}
# Earlier splits keep what they drew; later ones draw again where a prompt is already taken.
_DRAWING_ORDER = ("test", "validation", "train")
DRAWN = "drawn:"
"""What the name of a split begins with that is drawn from a key of one's own: ``drawn:2026-spring``."""


@dataclass(frozen=True)
class Split:
    """Prompts with the names that their counterfactuals would use."""

    name: str
    spec: TaskSpec
    prompts: tuple[Prompt, ...]
    io_targets: tuple[str, ...]
    s_targets: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.prompts)

    def head(self, n: int) -> Split:
        """The first ``n`` prompts.

        Raises:
            InputError: fewer than 1 or more than there are.
        """
        if not 1 <= n <= len(self):
            raise InputError(f"{n} prompts were asked for; the split {self.name!r} has 1 to {len(self)}")
        return replace(self, prompts=self.prompts[:n], io_targets=self.io_targets[:n], s_targets=self.s_targets[:n])

    @property
    def sha256(self) -> str:
        """Hash over every prompt in its order, with the names that its counterfactuals bring in."""
        digest = hashlib.sha256()
        for prompt, io, s in zip(self.prompts, self.io_targets, self.s_targets, strict=True):
            digest.update(f"{self.spec.text(prompt)}\t{prompt.pattern}\t{io}\t{s}\n".encode())
        return digest.hexdigest()

    def counterfactual(self, attributes: Sequence[str]) -> tuple[Prompt, ...]:
        """The counterfactual of each prompt, aligned with ``prompts``."""
        rows = zip(self.prompts, self.io_targets, self.s_targets, strict=True)
        return tuple(counterfactual(prompt, attributes, io=io, s=s) for prompt, io, s in rows)


@dataclass(frozen=True)
class TaskSpec:
    """A task: what the prompts are made of and how they are drawn."""

    name: str
    templates: tuple[Template, ...]
    prefixes: tuple[str, ...]
    names: tuple[str, ...]
    objects: tuple[str, ...]
    places: tuple[str, ...]
    seed: int = 0

    @cached_property
    def shuffled_names(self) -> tuple[str, ...]:
        """All names in the seeded order that the parts are cut from."""
        key = f"{self.seed}/names/".encode()
        return tuple(sorted(self.names, key=lambda name: hashlib.sha256(key + name.encode()).digest()))

    @property
    def base_names(self) -> tuple[str, ...]:
        """The half of the names that base prompts of validation and test use."""
        return self.shuffled_names[: len(self.names) // 2]

    @property
    def io_target_names(self) -> tuple[str, ...]:
        """The quarter that counterfactual IO names come from."""
        return self.shuffled_names[len(self.names) // 2 : len(self.names) * 3 // 4]

    @property
    def s_target_names(self) -> tuple[str, ...]:
        """The quarter that counterfactual S names come from."""
        return self.shuffled_names[len(self.names) * 3 // 4 :]

    @property
    def held_out_names(self) -> tuple[str, ...]:
        """The base names that ``held-out-train`` never shows."""
        return self.base_names[len(self.base_names) // 2 :]

    def text(self, prompt: Prompt) -> str:
        """The prompt's sentence."""
        return prompt.text(self.templates, self.prefixes)

    def spans(self, prompt: Prompt) -> dict[Role, tuple[int, int]]:
        """Character spans of the roles in the prompt's sentence."""
        return prompt.spans(self.templates, self.prefixes)

    def split(self, name: str) -> Split:
        """A split by name; ``drawn:KEY`` is drawn from the key as test is from the seed, and shares no prompt with
        train, validation and test.

        Raises:
            UnknownNameError: no such split.
            InputError: an empty key.
        """
        if name.startswith(DRAWN):
            if not name.removeprefix(DRAWN):
                raise InputError(f"{name!r} has no key to draw prompts from: give one, such as {DRAWN}1")
            return _drawn(self, name)
        if name not in SPLITS:
            raise UnknownNameError("split", name, SPLITS)
        return _splits(self)[name]

    @cached_property
    def sha256(self) -> str:
        """Hash over templates, words, seed, sizes and every generated prompt."""
        digest = hashlib.sha256()
        head = {
            "name": self.name,
            "templates": [template.text for template in self.templates],
            "prefixes": self.prefixes,
            "names": self.names,
            "objects": self.objects,
            "places": self.places,
            "seed": self.seed,
            "sizes": _SIZES,
        }
        digest.update(json.dumps(head, sort_keys=True, ensure_ascii=False).encode())
        for name in SPLITS:
            split = self.split(name)
            for prompt, io, s in zip(split.prompts, split.io_targets, split.s_targets, strict=True):
                digest.update(f"{self.text(prompt)}\t{prompt.pattern}\t{io}\t{s}\n".encode())
        return digest.hexdigest()


def _draws(key: str) -> list[int]:
    digest = hashlib.sha256(key.encode()).digest()
    return [int.from_bytes(digest[i : i + 4], "big") for i in range(0, 32, 4)]


def _prompt(
    spec: TaskSpec, key: str, index: int, names: Sequence[str], templates: Sequence[int]
) -> tuple[Prompt, int, int]:
    template, prefix, io, s, place, thing, io_target, s_target = _draws(key)
    which = templates[template % len(templates)]
    io_at = io % len(names)
    s_at = (io_at + 1 + s % (len(names) - 1)) % len(names)  # any name but IO
    prompt = Prompt(
        template=which,
        prefix=prefix % len(spec.prefixes),
        pattern="ABB" if index % 2 == 0 else "BAB",
        io=names[io_at],
        s=names[s_at],
        place=spec.places[place % len(spec.places)] if spec.templates[which].has_place else "",
        object=spec.objects[thing % len(spec.objects)] if spec.templates[which].has_object else "",
    )
    return prompt, io_target, s_target


def _draw_split(
    spec: TaskSpec, name: str, names: Sequence[str], templates: Sequence[int], taken: dict[Prompt, None]
) -> Split:
    prompts, io_targets, s_targets = [], [], []
    io_names, s_names = spec.io_target_names, spec.s_target_names
    for index in range(_SIZES.get(name, _SIZES["test"])):
        attempt = 0
        while True:
            prompt, io, s = _prompt(spec, f"{spec.seed}/{name}/{index}/{attempt}", index, names, templates)
            # A train prompt may already bear a target name: the counterfactual must still change it, to a third name.
            io_target, s_target = io_names[io % len(io_names)], s_names[s % len(s_names)]
            fresh = prompt not in taken and not {io_target, s_target} & {prompt.io, prompt.s}
            if fresh:
                break
            attempt += 1
        taken[prompt] = None
        prompts.append(prompt)
        io_targets.append(io_target)
        s_targets.append(s_target)
    return Split(name, spec, tuple(prompts), tuple(io_targets), tuple(s_targets))


@cache
def _splits(spec: TaskSpec) -> dict[str, Split]:
    every = tuple(range(len(spec.templates)))
    taken: dict[Prompt, None] = {}
    pools = {"train": spec.shuffled_names, "validation": spec.base_names, "test": spec.base_names}
    splits = {name: _draw_split(spec, name, pools[name], every, taken) for name in _DRAWING_ORDER}
    held_out = set(spec.held_out_names)
    shown = [name for name in spec.shuffled_names if name not in held_out]
    splits["held-out-train"] = _draw_split(spec, "held-out-train", shown, every[:-1], {})
    splits["held-out-test"] = _draw_split(spec, "held-out-test", spec.held_out_names, every[-1:], {})
    return splits


@lru_cache(maxsize=16)
def _drawn(spec: TaskSpec, name: str) -> Split:
    known = _splits(spec)
    taken = {prompt: None for public in _DRAWING_ORDER for prompt in known[public].prompts}
    return _draw_split(spec, name, spec.base_names, tuple(range(len(spec.templates))), taken)


def _words(name: str) -> tuple[str, ...]:
    text = resources.files("ioi_bench.task").joinpath("words", f"{name}.txt").read_text("utf-8")
    return tuple(text.split())


IOI_V1 = TaskSpec("ioi-v1", TEMPLATES, ("Then, ",), _words("names"), _words("objects"), _words("places"))
"""The canonical spec, of the gpt2 track: the paper's prefix only, so that METHOD §9's figures apply."""

IOI_V1_MINI = replace(IOI_V1, name="ioi-v1-mini", prefixes=("Then, ", "Later, ", "Today, ", "Meanwhile, "))
"""The same task over four prefixes: ioi-mini must not lean on one opening."""

_SPECS = {spec.name: spec for spec in (IOI_V1, IOI_V1_MINI)}


def task_spec(name: str) -> TaskSpec:
    """A spec by name.

    Raises:
        UnknownNameError: no such spec.
    """
    if name not in _SPECS:
        raise UnknownNameError("task spec", name, _SPECS)
    return _SPECS[name]
