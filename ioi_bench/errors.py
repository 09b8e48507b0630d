"""Every error that a user can meet.

::

    IoiBenchError                 exit 1: something failed that was not the input's fault
    ├── InputError                exit 2: what was given is wrong; the message says what to do
    │   ├── AccessError           the Hub has it, and refuses it to this token or to those who send none
    │   ├── UnknownNameError      a site, model, architecture, … that does not exist, with near misses
    │   ├── SuiteError            a suite or weight file that cannot be read or does not fit
    │   ├── DictionaryError       a dictionary that breaks its contract (shape, NaN, affinity)
    │   ├── PluginError           a plugin that cannot be imported or breaks its hook's contract; it is named
    │   └── TaskError             a prompt or split that cannot be built
    ├── ConformanceError          a plugin that fails a check of the conformance kit; also an AssertionError
    ├── HubUnavailableError       the Hub cannot be reached or refuses for now, and the cache does not hold it
    ├── ModelUnavailableError     weights that are neither local nor reachable
    └── StorageError              the disk refused (permission, space)

A message says what was given, what was expected, and what to do about it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "AccessError",
    "ConformanceError",
    "DictionaryError",
    "HubUnavailableError",
    "InputError",
    "IoiBenchError",
    "ModelUnavailableError",
    "PluginError",
    "StorageError",
    "SuiteError",
    "TaskError",
    "UnknownNameError",
]

_LONGEST = 8000


class IoiBenchError(Exception):
    """Base of all errors meant for the user; the command line prints it without a traceback."""

    exit_code = 1

    def __str__(self) -> str:
        """The message, cut to 8,000 characters that can be printed: names in it come from others' files."""
        text = super().__str__().encode("utf-8", "backslashreplace").decode()
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text):,} characters)"


class InputError(IoiBenchError):
    """What the user gave is wrong."""

    exit_code = 2


class AccessError(InputError):
    """The Hub has what was asked for and refuses it: gated, forbidden, or a token that it does not take."""


class UnknownNameError(InputError):
    """A name that does not exist; the message lists near misses, or all that exist.

    >>> raise UnknownNameError("model", "ioi-mimi", ["ioi-mini", "gpt2"])
    Traceback (most recent call last):
        ...
    ioi_bench.errors.UnknownNameError: unknown model 'ioi-mimi': did you mean 'ioi-mini'?
    """

    def __init__(self, kind: str, given: str, known: Iterable[str]) -> None:
        names = [str(name) for name in known]
        near = difflib.get_close_matches(given, names, n=3, cutoff=0.6)
        if near:
            hint = "did you mean " + " or ".join(repr(name) for name in near) + "?"
        elif names:
            shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
            hint = f"expected one of: {shown}"
        else:
            hint = f"no {kind} is known here"
        super().__init__(f"unknown {kind} {given!r}: {hint}")
        self.kind, self.given, self.near = kind, given, near


class SuiteError(InputError):
    """A suite or weight file that cannot be read, is damaged, or does not fit the model."""


class DictionaryError(InputError):
    """A dictionary that breaks its contract: shapes, finiteness or affine decoding."""


class PluginError(InputError):
    """A plugin that was asked for and cannot be used; the message names it, and what its author must change."""


class TaskError(InputError):
    """A prompt, word or split that cannot be built for this tokenizer or task spec."""


class ConformanceError(IoiBenchError, AssertionError):
    """A plugin fails a check of `ioi_bench.testing`.

    Attributes:
        check: the check's name, such as ``affinity``.
        subject: what was checked.
    """

    def __init__(self, message: str, *, check: str, subject: str) -> None:
        super().__init__(message)
        self.check, self.subject = check, subject


class HubUnavailableError(IoiBenchError):
    """The Hub cannot be reached, refuses for now or broke off, and the cache does not hold what is asked for."""


class ModelUnavailableError(IoiBenchError):
    """Model weights that are neither on this machine nor reachable."""


class StorageError(IoiBenchError):
    """The file system refused: no permission, no space."""
