"""Where in the model a dictionary lives: roles, sites, cross-sections and cells (METHOD §2).

All are frozen values that print and parse back::

    >>> site = Site.parse("z.9.9@end")
    >>> site.hook, site.role.value
    ('blocks.9.attn.hook_z', 'end')
    >>> site.long
    'blocks.9.attn.hook_z[9]@end'
    >>> Site.parse(site.long) == site
    True
    >>> HookPoint.parse("blocks.8.hook_resid_pre").at(Role.END)
    Site(component='resid_pre', layer=8, head=None, role=<Role.END: 'end'>)
    >>> Cell.parse("pos+s@si-out").attributes
    ('pos', 's')
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ioi_bench.errors import InputError, UnknownNameError

__all__ = ["ATTRIBUTES", "COMPONENTS", "HEAD_COMPONENTS", "Cell", "CrossSection", "HookPoint", "Role", "Site"]

ATTRIBUTES = ("io", "s", "pos")
"""The attributes of a prompt, in the order in which conjunctions are written."""

HEAD_COMPONENTS = ("q", "k", "v", "z")
STREAM_COMPONENTS = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out")
COMPONENTS = HEAD_COMPONENTS + STREAM_COMPONENTS

_SHORT = re.compile(r"(?P<component>[a-z_]+)\.(?P<layer>\d{1,4})(?:\.(?P<head>\d{1,4}))?")
_LONG = re.compile(r"blocks\.(?P<layer>\d{1,4})\.(?:attn\.)?hook_(?P<component>[a-z_]+?)(?:\[(?P<head>\d{1,4})\])?")


class Role(str, Enum):
    """A semantic position in the prompt."""

    IO = "io"
    S1 = "s1"
    S1_NEXT = "s1+1"
    S2 = "s2"
    END = "end"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, order=True)
class Site:
    """One activation vector: a component at a layer, of one head or of none, at a role.

    ``head=None`` with ``q k v z`` means all heads concatenated (``[n_heads * d_head]``).
    """

    component: str
    layer: int
    head: int | None
    role: Role

    def __post_init__(self) -> None:
        if self.component not in COMPONENTS:
            raise UnknownNameError("component", self.component, COMPONENTS)
        if self.head is not None and self.component not in HEAD_COMPONENTS:
            raise InputError(f"{self.component} has no heads, but head {self.head} was given: leave the head out")

    @property
    def hook(self) -> str:
        """TransformerLens's name of the hook point."""
        infix = "attn." if self.component in HEAD_COMPONENTS else ""
        return f"blocks.{self.layer}.{infix}hook_{self.component}"

    @property
    def point(self) -> HookPoint:
        """Where it reads, without the role."""
        return HookPoint(self.component, self.layer, self.head)

    @property
    def long(self) -> str:
        """``blocks.9.attn.hook_z[9]@end``."""
        head = "" if self.head is None else f"[{self.head}]"
        return f"{self.hook}{head}@{self.role}"

    def __str__(self) -> str:
        head = "" if self.head is None else f".{self.head}"
        return f"{self.component}.{self.layer}{head}@{self.role}"

    def check_within(self, model: str, layers: int, heads: int) -> None:
        """Refuse a site that the model lacks.

        Args:
            model: its name, for the message.
            layers, heads: how many layers it has, and heads in each.

        Raises:
            InputError: names the model's range.
        """
        if self.layer >= layers:
            raise InputError(f"{self} does not exist in {model}: its layers are 0 to {layers - 1}")
        if self.head is not None and self.head >= heads:
            raise InputError(f"{self} does not exist in {model}: a layer's heads are 0 to {heads - 1}")

    @classmethod
    def parse(cls, text: str) -> Site:
        """Read either form.

        Raises:
            InputError: the text has neither form.
            UnknownNameError: the component or the role does not exist.
        """
        where, _, role = text.rpartition("@")
        match = _LONG.fullmatch(where) or _SHORT.fullmatch(where)
        if match is None or not re.fullmatch(r"[a-z0-9+]+", role):
            raise InputError(
                f"{text!r} is not a site: write 'z.3.1@end' or 'blocks.3.attn.hook_z[1]@end' "
                "(component, layer, head, role)"
            )
        roles = [role.value for role in Role]
        if role not in roles:
            raise UnknownNameError("role", role, roles)
        return cls(**_parts(match), role=Role(role))


@dataclass(frozen=True, order=True)
class HookPoint:
    """Where a dictionary reads whatever the role: a component at a layer, of one head or of none."""

    component: str
    layer: int
    head: int | None = None

    def __post_init__(self) -> None:
        self.at(Role.END)  # the same rules

    def at(self, role: Role) -> Site:
        """The site of this hook point at a role."""
        return Site(self.component, self.layer, self.head, role)

    def __str__(self) -> str:
        return self.at(Role.END).long.partition("@")[0]

    @classmethod
    def parse(cls, text: str) -> HookPoint:
        """Read ``blocks.8.hook_resid_pre``, ``blocks.9.attn.hook_z[9]``, ``resid_pre.8`` or ``z.9.9``.

        Raises:
            InputError: the text is none of these.
            UnknownNameError: the component does not exist.
        """
        match = _LONG.fullmatch(text) or _SHORT.fullmatch(text)
        if match is None:
            raise InputError(
                f"{text!r} is not a hook point: write 'blocks.2.hook_resid_pre', or 'blocks.3.attn.hook_z[1]' for one "
                "head ('resid_pre.2' and 'z.3.1' for short)"
            )
        return cls(**_parts(match))


def _parts(match: re.Match[str]) -> dict[str, Any]:
    head = match["head"]
    return {
        "component": match["component"],
        "layer": int(match["layer"]),
        "head": None if head is None else int(head),
    }


@dataclass(frozen=True)
class CrossSection:
    """Sites that are patched together."""

    name: str
    sites: tuple[Site, ...]

    def __post_init__(self) -> None:
        if not self.sites:
            raise InputError(f"cross-section {self.name!r} has no sites")
        if len(set(self.sites)) != len(self.sites):
            raise InputError(f"cross-section {self.name!r} names a site twice")


@dataclass(frozen=True, order=True)
class Cell:
    """A cross-section × the attributes that are edited there: one thing that is scored."""

    cross_section: str
    attributes: tuple[str, ...]

    def __post_init__(self) -> None:
        for attribute in self.attributes:
            if attribute not in ATTRIBUTES:
                raise UnknownNameError("attribute", attribute, ATTRIBUTES)
        if not self.attributes or len(set(self.attributes)) != len(self.attributes):
            raise InputError(f"a cell needs one or more distinct attributes, got {self.attributes!r}")

    @property
    def edit(self) -> str:
        """The counterfactual's name: ``pos`` or ``pos+s``."""
        return "+".join(self.attributes)

    def __str__(self) -> str:
        return f"{self.edit}@{self.cross_section}"

    @classmethod
    def parse(cls, text: str) -> Cell:
        """Read ``io@nm-out`` or ``pos+s@si-out``.

        Raises:
            InputError: there is no ``@`` or no attribute.
        """
        edit, at, name = text.partition("@")
        if not at or not name:
            raise InputError(f"{text!r} is not a cell: write attribute@cross-section, such as 'io@nm-out'")
        return cls(name, tuple(edit.split("+")))
