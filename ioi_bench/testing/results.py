"""What a check is, what comes of it, and how checks are run.

A check is a function that returns where all is well, and otherwise raises a `Finding` (what was found, what to do) or
`NotApplicable`. Whatever else comes out of it is the plugin's own error, and a finding too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch

from ioi_bench.errors import ConformanceError
from ioi_bench.testing.state import preserved_state

__all__ = ["Case", "Check", "CheckResult", "Finding", "NotApplicable", "require_all", "run_checks"]


class Finding(Exception):
    """Something is not as it must be."""

    def __init__(self, found: str, advice: str) -> None:
        super().__init__(found)
        self.found, self.advice = found, advice


class NotApplicable(Exception):
    """The check does not concern this plugin, or cannot be made on this machine; says why."""


@dataclass(frozen=True)
class CheckResult:
    """What came of one check.

    Attributes:
        check: its name, such as ``affinity``.
        subject: what was checked, such as ``Relu`` or ``loader saelens``.
        outcome: ``skipped`` where it does not apply, or where a check that it stands on has failed.
        message: of a failure: what was checked, what was found, what to do; of a skip: why.
    """

    check: str
    subject: str
    outcome: Literal["passed", "failed", "skipped"]
    message: str = ""

    @property
    def failed(self) -> bool:
        """Whether the plugin must be changed."""
        return self.outcome == "failed"


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: in lower case, words joined by hyphens.
        claim: what must hold, as the end of "checked that …".
        run: the check, of a `Case`.
        essential: where it fails the others cannot be made.
    """

    name: str
    claim: str
    run: Callable[[Any], None]
    essential: bool = False


class Case(Protocol):
    """A plugin's part with what is needed to check it."""

    @property
    def subject(self) -> str:
        """What it is called in messages."""
        ...

    @property
    def checks(self) -> Sequence[Check]:
        """The checks, in the order in which they are made."""
        ...

    def further(self) -> Iterable[Case]:
        """What else is to be checked once these have passed: the dictionaries of a loader."""
        ...


def run_checks(*cases: Case) -> list[CheckResult]:
    """All checks of all cases: the report that ``ioi-bench plugins check`` prints.

    Never raises for what a plugin does; its errors are findings.
    """
    return [result for case in cases for result in _results(case)]


def require_all(case: Case) -> None:
    """Raise at the first check that fails.

    Raises:
        ConformanceError: what was checked, what was found, what to do.
    """
    for result in _results(case):
        if result.failed:
            raise ConformanceError(result.message, check=result.check, subject=result.subject)


def _results(case: Case) -> Iterator[CheckResult]:
    failed, fatal = False, ""
    for check in case.checks:
        if fatal:
            yield CheckResult(check.name, case.subject, "skipped", f"{fatal!r} has failed")
            continue
        result = _outcome(check, case)
        failed |= result.failed
        fatal = check.name if result.failed and check.essential else ""
        yield result
    if not failed:
        for further in case.further():
            yield from _results(further)


def _outcome(check: Check, case: Case) -> CheckResult:
    with preserved_state(), torch.no_grad():
        try:
            check.run(case)
        except NotApplicable as reason:
            return CheckResult(check.name, case.subject, "skipped", str(reason))
        except Finding as finding:
            return _failure(check, case, finding.found, finding.advice)
        except Exception as error:  # a plugin may raise anything, and the report goes on
            found = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
            return _failure(check, case, found, f"make it run; the error comes from {_origin(error)}")
    return CheckResult(check.name, case.subject, "passed")


def _failure(check: Check, case: Case, found: str, advice: str) -> CheckResult:
    message = f"{case.subject}: checked that {check.claim} ({check.name}); found {found}; to do: {advice}"
    return CheckResult(check.name, case.subject, "failed", message)


def _origin(error: BaseException) -> str:
    """The innermost line that raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "an unknown place" if trace is None else f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
