"""What selection asks of a training run, and of a circuit: members and checkpoints; what is edited at each site."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ioi_bench.dictionary import Dictionary
from ioi_bench.sites import Site

if TYPE_CHECKING:
    from ioi_bench.lm.circuit import Circuit

__all__ = ["FinishedRun", "MemberT", "RunMember", "edits_at", "headline_attributes"]


class RunMember(Protocol):
    """One SAE that was trained."""

    @property
    def variant(self) -> str:
        """What the trainer calls its architecture."""
        ...

    @property
    def site(self) -> Site:
        """Where it reads."""
        ...

    @property
    def sparsity(self) -> float:
        """λ or k."""
        ...

    @property
    def seed(self) -> int:
        """Of weights and batch order."""
        ...


MemberT = TypeVar("MemberT", bound=RunMember)


class FinishedRun(Protocol[MemberT]):
    """What selection reads of a training run."""

    @property
    def members(self) -> tuple[MemberT, ...]:
        """All SAEs."""
        ...

    @property
    def checkpoints(self) -> tuple[int, ...]:
        """Finished epochs at which every member can be read, increasing."""
        ...

    @property
    def recipe(self) -> Any:
        """Its settings: JSON values, or a pydantic model of them."""
        ...

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Where the activations came from; ``model_sha256`` where it is known."""
        ...

    def dictionary(self, member: MemberT, epoch: int) -> Dictionary:
        """One SAE at one checkpoint."""
        ...


def edits_at(circuit: Circuit) -> dict[Site, tuple[str, ...]]:
    """What the circuit's cells edit at each site, headline cells first: ``io``, ``pos``, ``pos+s``."""
    found: dict[Site, dict[str, None]] = {}
    for cell in (*circuit.headline, *circuit.further):
        for site in circuit.cross_sections[cell.cross_section].sites:
            found.setdefault(site, {})[cell.edit] = None
    return {site: tuple(edits) for site, edits in found.items()}


def headline_attributes(circuit: Circuit) -> dict[Site, str]:
    """The attribute that each site serves: of the first headline cell that holds it, else of the first further one.

    On our circuits that is ``io`` at the output of name movers and ``pos`` everywhere else, and no site has two.
    """
    return {site: edits[0] for site, edits in edits_at(circuit).items()}
