"""Counterfactual prompts: one attribute changed, all else equal (METHOD §1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ioi_bench.errors import UnknownNameError
from ioi_bench.sites import ATTRIBUTES
from ioi_bench.task.prompts import Prompt

__all__ = ["counterfactual"]


def counterfactual(prompt: Prompt, attributes: Sequence[str], *, io: str, s: str) -> Prompt:
    """Change the named attributes: ``io`` and ``s`` to the given names, ``pos`` to the other pattern.

    >>> base = Prompt(0, 0, "ABB", io="Mary", s="John", place="", object="")
    >>> counterfactual(base, ("pos", "s"), io="Ann", s="Tom")
    Prompt(template=0, prefix=0, pattern='BAB', io='Mary', s='Tom', place='', object='')

    Raises:
        UnknownNameError: an attribute that does not exist.
    """
    for attribute in attributes:
        if attribute not in ATTRIBUTES:
            raise UnknownNameError("attribute", attribute, ATTRIBUTES)
    changed = prompt
    if "io" in attributes:
        changed = replace(changed, io=io)
    if "s" in attributes:
        changed = replace(changed, s=s)
    if "pos" in attributes:
        changed = replace(changed, pattern="BAB" if changed.pattern == "ABB" else "ABB")
    return changed
